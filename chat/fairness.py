"""Who is next where not all can be first: who has least, then who was served longest ago, then who came first."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from itertools import count
from typing import Protocol, TypeVar


class Owned(Protocol):
    """What waits, and for whom."""

    @property
    def owner_key(self) -> Hashable: ...


Waiting = TypeVar("Waiting", bound=Owned)


class Turns:
    """Whose turn it is, among those who are here."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._served: dict[Hashable, int] = {}

    def note(self, owner_key: Hashable) -> None:
        """Remember that somebody was served."""
        self._served[owner_key] = next(self._numbers)

    def forget_all_but(self, owner_keys: Collection[Hashable]) -> None:
        """Forget who is not here any more."""
        self._served = {key: number for key, number in self._served.items() if key in owner_keys}

    def served(self, owner_key: Hashable) -> int:
        """Return a number that is the higher the later somebody was served; 0 for who was not."""
        return self._served.get(owner_key, 0)

    def order(self, waiting: Iterable[Waiting], having: Iterable[Owned]) -> list[Waiting]:
        """Return `waiting`, which is in order of arrival, in the order of their turns.

        Each owner's first, then each one's second, and so on; what they have already counts.
        """
        taken = Counter(one.owner_key for one in having)
        turns = []
        for one in waiting:
            turns.append((taken[one.owner_key], self.served(one.owner_key), one))
            taken[one.owner_key] += 1
        # Stable: what is equal stays in order of arrival.
        return [one for *_, one in sorted(turns, key=lambda turn: turn[:2])]


class FairSemaphore:
    """So many places; one that gets free goes to who has least, however many another one waits for."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[Hashable] = Counter()
        self._turns = Turns()
        # In order of arrival.
        self._waiting: dict[asyncio.Future[None], Hashable] = {}

    async def acquire(self, owner_key: Hashable) -> None:
        """Wait for a place."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[place] = owner_key
        self._advance()
        try:
            await place
        except asyncio.CancelledError:
            if self._waiting.pop(place, None) is None:
                # It was given in this very moment.
                self.release(owner_key)
            raise

    def release(self, owner_key: Hashable) -> None:
        """Give a place back."""
        self._held[owner_key] -= 1
        if not self._held[owner_key]:
            del self._held[owner_key]
        self._free += 1
        self._advance()

    def _advance(self) -> None:
        while self._free and (waiting := [place for place in self._waiting if not place.done()]):
            place = min(waiting, key=self._turn_of)
            owner_key = self._waiting.pop(place)
            self._turns.note(owner_key)
            self._held[owner_key] += 1
            self._free -= 1
            place.set_result(None)
        if not self._waiting:
            self._turns.forget_all_but(self._held)

    def _turn_of(self, place: asyncio.Future[None]) -> tuple[int, int]:
        owner_key = self._waiting[place]
        return self._held[owner_key], self._turns.served(owner_key)
