"""How many files of one person are made at once: each has a thread, a connection and a conversation in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from weakref import WeakValueDictionary

AT_ONCE = 2

# A person's places, for as long as somebody has one or waits for one.
_places: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()


async def in_turn(user_id: int, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the pieces once fewer than AT_ONCE other downloads of that person are under way."""
    places = _places.setdefault(user_id, asyncio.Semaphore(AT_ONCE))
    async with places, aclosing(pieces):
        async for piece in pieces:
            yield piece
