"""A real browser, a real server, the real aichat and the simulator."""

from __future__ import annotations

import pytest
import pytest_asyncio
from django.core.management import call_command

from chat.database import db
from chat.tests.browser.chromium import chromium, somebody
from chat.tests.browser.pages import MODELS
from sasha.testing import make_provider, server_process

# A lost connection is reported by the browser itself.
LOST = ("/ws?", "net::ERR_CONNECTION_", "net::ERR_EMPTY_RESPONSE", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")


@pytest.fixture(scope="module", autouse=True)
def _collected_files():
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest_asyncio.fixture
async def server(transactional_db, simulator, request):
    """A server, with the environment that the test may name by `parametrize(..., indirect=True)`."""
    await db(make_provider, simulator.url("openai-compatible"), *MODELS)
    with server_process(**getattr(request, "param", {})) as server:
        yield server


@pytest.fixture
def add(server, simulator):
    """Add a provider with one model, which is asked before the fixtures' own."""

    async def add(slug: str, model: str, priority: int = 10, **columns: object) -> None:
        await db(make_provider, simulator.url("openai-compatible"), model, slug=slug, priority=priority, **columns)

    return add


@pytest_asyncio.fixture
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture
async def context(browser, server):
    async with somebody(browser, server.url, *LOST) as context:
        yield context


@pytest_asyncio.fixture
async def page(context):
    page = await context.new_page()
    await page.goto("/")
    return page
