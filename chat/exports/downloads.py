"""How many files of one person are sent piece by piece at once: each has a thread and a connection of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from weakref import WeakValueDictionary

AT_ONCE = 2

# The places for each purpose, for as long as somebody has one or waits for one.
_places: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()


async def in_turn(purpose: Hashable, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces once fewer than AT_ONCE other downloads are under way for that purpose, such as a person's."""
    places = _places.setdefault(purpose, asyncio.Semaphore(AT_ONCE))
    async with places, aclosing(pieces):
        async for piece in pieces:
            yield piece
