"""What starts with the server and ends with it; Daphne has no lifespan of its own."""

from __future__ import annotations

import asyncio
import contextlib

from chat import accounts, plain_http, runner
from chat.database import close_connections, db
from chat.sockets import open_sockets
from monitoring import background
from providers import config

_watch: asyncio.Task[None] | None = None


async def start() -> None:
    """Begin to own replies, to look after the sockets, and to watch over all of it."""
    global _watch
    await db(config.sweep_sessions)
    await db(accounts.ensure_admin)
    await runner.current().start()
    _watch = asyncio.create_task(open_sockets.watch())
    await background.start()


def announce_end() -> None:
    """Say that this server is about to leave; everything goes on."""
    runner.current().leaving = True


async def stop(grace: float) -> None:
    """End every reply, within `grace` seconds where they do not end by themselves."""
    await runner.current().drain(grace)
    plain_http.close_all()
    await background.stop()
    if _watch:
        _watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await _watch
    await close_connections()
