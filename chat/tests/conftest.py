from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from providers.models import Provider
from providers.simulator import Simulator
from sasha.testing import make_provider, running_site


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator in this loop."""
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest_asyncio.fixture
async def provider(transactional_db, simulator) -> Provider:
    """A provider row `sim` for it, with the models that most tests use."""
    from chat.database import db

    models = (
        "sim-n5",
        "sim-echo",
        "sim-n400-gap10",
        "sim-n5-reasoning",
        "sim-stall-at2",
        "sim-n6-cut-at3",
        "sim-http500",
        "sim-http400context",
    )
    return await db(make_provider, simulator.url("openai-compatible"), *models)


@pytest_asyncio.fixture
async def site(provider) -> AsyncIterator[None]:
    """What runs with a server, in this loop, ended without grace."""
    async with running_site():
        yield
