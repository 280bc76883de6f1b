from __future__ import annotations

import asyncio

from django.db import connections

from chat.database import close_connections, db


def open_connection():
    """Return this thread's own connection, open."""
    own = connections["default"]
    own.ensure_connection()
    return own


async def test_every_thread_closes_its_connection(transactional_db):
    opened = set(await asyncio.gather(*(db(open_connection) for _ in range(50))))
    await asyncio.gather(close_connections(), close_connections())
    assert [own for own in opened if own.connection] == []
