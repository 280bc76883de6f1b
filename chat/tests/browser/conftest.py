"""A real browser, a real server, the real aichat and the simulator."""

from __future__ import annotations

import pytest
import pytest_asyncio
from django.core.management import call_command
from playwright.async_api import async_playwright

from chat.database import db
from chat.tests.browser.pages import CHROMIUM, MODELS
from sasha.testing import make_provider, server_process

# No sandbox: a container has none to give. The rest keeps Chromium from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


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
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture
async def context(browser, server):
    """Somebody's browser: the pages in it share a cookie. Whatever a page complains about fails the test."""
    context = await browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield context
    await context.close()
    # A lost connection is reported by the browser itself.
    lost = ("/ws?", "net::ERR_CONNECTION_", "net::ERR_EMPTY_RESPONSE", "net::ERR_INCOMPLETE_CHUNKED_ENCODING")
    assert [text for text in complaints if not any(sign in text for sign in lost)] == []


@pytest_asyncio.fixture
async def page(context):
    page = await context.new_page()
    await page.goto("/")
    return page
