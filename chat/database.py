"""Database work of sockets and replies, on threads of their own.

Channels would send all of it through one thread that it shares with everything else, twice a message. One thread is
right for SQLite, which has one writer: a second would only sleep until the first is done. PostgreSQL gets a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import Error, connection

POSTGRES_THREADS = 8

P = ParamSpec("P")
R = TypeVar("R")

_pool = ThreadPoolExecutor(
    max_workers=1 if connection.vendor == "sqlite" else POSTGRES_THREADS, thread_name_prefix="database"
)


async def db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function`, which may block on the database, without blocking the loop.

    Its connection stays open for the next call, and is dropped after an error of the database's.
    """
    return await asyncio.get_running_loop().run_in_executor(_pool, lambda: _call(function, *args, **kwargs))


def _call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except Error:
        connection.close_if_unusable_or_obsolete()
        raise


async def close_connections() -> None:
    """Close the threads' connections: for a server that stops, and between tests."""
    await asyncio.gather(*(db(_close) for _ in range(_pool._max_workers)))


def _close() -> None:
    # Looked up here, on the thread whose connection it is.
    connection.close()
