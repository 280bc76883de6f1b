"""What the browser tests of the admin's pages share, whichever app they are of."""

from __future__ import annotations

from playwright.async_api import Page, expect

PASSWORD = "a-long-word-for-ada"
# Whatever reaches past the page's edge without a box of its own to scroll in.
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
# What the policy refuses says nothing on the console where only a style is lost.
LISTEN = "addEventListener('securitypolicyviolation', e => console.error('refused: ' + e.violatedDirective))"


async def sign_in(page: Page) -> None:
    await page.goto("/admin/")
    await page.get_by_label("Username").fill("ada")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Site administration")
