"""What the browser tests of the admin's pages share, whichever app they are of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Page, expect

from chat.tests.browser.chromium import somebody

PASSWORD = "a-long-word-for-ada"
# Whatever reaches past the page's edge without a box of its own to scroll in.
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
# What the policy refuses says nothing on the console where only a style is lost.
LISTEN = "addEventListener('securitypolicyviolation', e => console.error('refused: ' + e.violatedDirective))"


@asynccontextmanager
async def staff_page(browser: Browser, url: str) -> AsyncIterator[Page]:
    """A page of the admin, signed in. Whatever a page complains about is a failure."""
    async with somebody(browser, url) as context:
        await context.add_init_script(LISTEN)
        page = await context.new_page()
        await sign_in(page)
        yield page


async def sign_in(page: Page) -> None:
    await page.goto("/admin/")
    await page.get_by_label("Username").fill("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Site administration")
