"""How long the loop, the database and the stream log take right now."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from uuid import uuid4

from django.db import connection

from chat.database import db
from chat.streamlog import Event, StreamLog

# Often enough that whatever holds the loop up for longer is seen, and seldom enough to cost a thousandth of a core.
LOOK_SECONDS = 0.05
# What takes longer is not there.
LONGEST_SECONDS = 2.0


class LoopLag:
    """How late the loop comes to what is due: `look` is called every LOOK_SECONDS."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._worst = 0.0

    def look(self) -> None:
        """See how late this call is."""
        now = time.monotonic()
        if self._due is not None:
            self._worst = max(self._worst, now - self._due)
        self._due = now + LOOK_SECONDS

    def take_worst_ms(self) -> float:
        """Return the worst since this was asked last."""
        worst, self._worst = self._worst, 0.0
        return round(worst * 1000, 2)


async def time_database() -> float:
    """Return the milliseconds of a trivial query, its wait for a thread of the database's included.

    Raises TimeoutError and whatever the database raises.
    """
    began = time.monotonic()
    async with asyncio.timeout(LONGEST_SECONDS):
        await db(_ask_database)
    return _ms_since(began)


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def time_log(log: StreamLog) -> float:
    """Return the milliseconds in which one event of a reply of its own is written and read. Raises TimeoutError.

    In memory that is next to nothing, and says no more than that the loop is there.
    """
    began = time.monotonic()
    reply_id = uuid4()
    async with asyncio.timeout(LONGEST_SECONDS):
        log.open(reply_id)
        try:
            log.append(reply_id, Event("text", "ping"))
            async with aclosing(log.read(reply_id, 0)) as events:  # type: ignore[type-var]
                await anext(events)
        finally:
            log.finish(reply_id)
    return _ms_since(began)


def _ms_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
