"""Chromium as the tests start it, and what its pages complain about."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, BrowserContext, async_playwright

CHROMIUM = shutil.which("chromium")
# No sandbox: a container has none to give. The rest keeps Chromium from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@asynccontextmanager
async def somebody(browser: Browser, url: str, *expected: str) -> AsyncIterator[BrowserContext]:
    """Somebody's browser, whose pages share a cookie. Whatever they complain about, but `expected`, is a failure."""
    context = await browser.new_context(base_url=url, viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield context
    await context.close()
    assert [text for text in complaints if not any(sign in text for sign in expected)] == []
