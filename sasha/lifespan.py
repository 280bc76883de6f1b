"""What starts with the server and ends with it; Daphne has no lifespan of its own."""

from __future__ import annotations

from chat import plain_http, runner
from chat.database import close_connections, db
from providers import config


async def start() -> None:
    """Begin to own replies."""
    await db(config.sweep_sessions)
    await runner.current().start()


async def stop(grace: float) -> None:
    """End every reply, within `grace` seconds where they do not end by themselves."""
    await runner.current().drain(grace)
    plain_http.close_all()
    await close_connections()
