"""What axe-core finds on every page, light and dark, wide and narrow: nothing."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from django.urls import get_resolver
from playwright.async_api import Page

from chat.tests.browser.pages import BROWSER, SHORT, say, until_ended
from chat.tests.test_strangers import routes

pytestmark = BROWSER

# Every page of the chat by the name of its address; what is not in either of these two fails below.
PAGES = [
    "chat:new",
    "chat:conversation",
    "chat:attempts",
    "chat:export",
    "chat:delete_message",
    "chat:settings",
    "chat:rename",
    "chat:import",
    "chat:account",
    "chat:sign-in",
    "chat:sign-up",
    "chat:shares",
    "chat:shared",
    "chat:help-connection",
]
WITHOUT_PARAMETERS = {
    "chat:new",
    "chat:import",
    "chat:account",
    "chat:sign-in",
    "chat:sign-up",
    "chat:shares",
    "chat:help-connection",
}
# What a browser never shows as a page of ours.
NOT_PAGES = {
    "chat:sums",
    "chat:branch",
    "chat:source",
    "chat:export-md",
    "chat:export-txt",
    "chat:export-json",
    "chat:share",
    "chat:revoke-share",
    "chat:attachment",
    "chat:delete-attachment",
    "chat:revoke-token",
    "words",
    *(f"chat:{act}" for act in ("archive", "delete", "pin", "restore", "unarchive", "unpin")),
}
LOOKS = [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)]


def test_every_address_is_tried_or_no_page():
    names = {name for name, _ in routes(get_resolver().url_patterns) if not name.startswith("chat:api-")}
    assert names == {*PAGES, *NOT_PAGES} - WITHOUT_PARAMETERS


async def test_axe_finds_nothing(page):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await say(page, "And now?", "sim-n20-at5-cut")
    await until_ended(page, 2)
    conversation = page.url
    await assert_clean(page)
    await page.locator("[data-answered] summary").first.click()
    await assert_clean(page)
    delete = await page.locator("[data-delete]").first.get_attribute("href")
    await page.goto(await page.locator("[data-attempts-link]").last.get_attribute("href"))
    await assert_clean(page)
    for path in (
        f"{conversation}export",
        f"{conversation}rename",
        "/import",
        "/account/",
        "/account/sign-in",
        "/account/sign-up",
        "/help/connection",
        delete,
        f"{conversation}settings",
    ):
        await page.goto(path)
        await assert_clean(page)
    await page.goto("/")
    await assert_clean(page)


@pytest.mark.parametrize("server", [{"CHAT_SHARING": "true"}], indirect=True)
async def test_axe_finds_nothing_where_conversations_are_shared(page):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.goto(f"{page.url}export")
    await assert_clean(page)
    await page.click("[data-share-button]")
    await assert_clean(page)
    await page.goto(await page.input_value("[data-share-url]"))
    await assert_clean(page)


async def test_axe_finds_nothing_where_there_is_nothing(browser, server):
    # In a browser of its own: the console complains of the status.
    page = await browser.new_page(base_url=server.url)
    await page.goto("/nowhere")
    await assert_clean(page)


async def assert_clean(page: Page) -> None:
    # Before the colours change, which would fade otherwise.
    await page.emulate_media(reduced_motion="reduce")
    for scheme, width in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{page.url} {scheme} {width}\n{found.generate_report()}"
