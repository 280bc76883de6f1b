"""How many files of one person are sent piece by piece at once: each has a thread and a connection of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing
from typing import Any
from weakref import WeakValueDictionary

from django.http import StreamingHttpResponse

AT_ONCE = 2


class Download(StreamingHttpResponse):
    """Pieces whose thread, connection and place are given back at once where the reader goes; Django's would wait."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(pieces, **options)
        self._pieces = pieces

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._pieces) as pieces:
            async for piece in pieces:
                yield piece


# The places for each purpose, for as long as somebody has one or waits for one.
_places: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()


async def in_turn(purpose: Hashable, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces once fewer than AT_ONCE other downloads are under way for that purpose, such as a person's."""
    places = _places.setdefault(purpose, asyncio.Semaphore(AT_ONCE))
    async with places, aclosing(pieces):
        async for piece in pieces:
            yield piece
