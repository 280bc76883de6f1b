"""Database work of sockets and replies, on threads of their own.

Channels would send all of it through one thread that it shares with everything else, twice a message. One thread is
right for SQLite, which has one writer: a second would only sleep until the first is done. PostgreSQL gets a few.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from django.db import Error, connection

POSTGRES_THREADS = 8

P = ParamSpec("P")
R = TypeVar("R")

_END = object()
_threads = 1 if connection.vendor == "sqlite" else POSTGRES_THREADS
_pool = ThreadPoolExecutor(max_workers=_threads, thread_name_prefix="database")
# Where all threads meet before they close, so that none takes the call that is meant for another.
_meeting = threading.Barrier(_threads)


async def db(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function`, which may block on the database, without blocking the loop.

    Its connection stays open for the next call, and is dropped after an error of the database's.
    """
    # With the caller's context: its language.
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_pool, lambda: context.run(lambda: _call(function, *args, **kwargs)))


def _call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except Error:
        connection.close_if_unusable_or_obsolete()
        raise


async def close_connections() -> None:
    """Close the threads' connections: for a server that stops, and between tests."""
    await asyncio.gather(*(db(_close) for _ in range(_threads)))


def _close() -> None:
    _meeting.wait()
    # Looked up here, on the thread whose connection it is.
    connection.close()


async def aside(function: Callable[[], None], pool: Executor | None = None) -> None:
    """Run `function`, which takes long or waits for more than the database, on another thread.

    Its connection is closed afterwards. What waits for strangers brings a `pool`: everybody shares the loop's own.
    """
    context = contextvars.copy_context()
    await asyncio.get_running_loop().run_in_executor(pool, context.run, _call_and_close, function)


def _call_and_close(function: Callable[[], None]) -> None:
    try:
        function()
    finally:
        connection.close()


async def stepwise(make: Callable[[], Iterator[R]]) -> AsyncGenerator[R, None]:
    """Yield what the iterator yields, which may block on the database: on a thread and a connection of its own.

    A long download takes nothing from those who chat, and nothing is made before the one before it is taken.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="stepwise")
    loop = asyncio.get_running_loop()
    iterator = iter(make())
    try:
        while (step := await loop.run_in_executor(pool, next, iterator, _END)) is not _END:
            yield step  # type: ignore[misc]
    finally:
        # Also where the reader has gone away: the thread ends by itself, nobody waits for it.
        pool.submit(_end, iterator)
        pool.shutdown(wait=False)


def _end(iterator: Iterator[Any]) -> None:
    """Close a generator and the connection of its thread, which is looked up here for that reason."""
    try:
        if isinstance(iterator, Generator):
            iterator.close()
    finally:
        connection.close()
