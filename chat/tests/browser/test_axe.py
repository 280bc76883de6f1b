"""What axe-core finds on every page, light and dark, wide and narrow: nothing."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from chat.routes import find_routes
from chat.tests.browser.pages import BROWSER, ECHO, LONG, SHORT, replies, say, until_ended, until_text
from chat.tests.browser.test_markdown import DOCUMENT

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
NARROW = LOOKS[2:]
FILES = [
    {"name": name, "mimeType": "text/plain", "buffer": data}
    for name, data in (("notes.txt", b"one"), ("strange.bin", b"\0\1"))
]


def test_every_address_is_tried_or_no_page():
    routes = [route for route in find_routes() if not route.template.startswith(("/admin/", "/api/"))]
    names = {route.name for route in routes if route.name and route.parameters}
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
        "/conversations/",
        "/conversations/archived/",
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


async def test_axe_finds_nothing_in_what_opens(browser, server):
    # In a browser of its own: the console complains of the file that is refused.
    page = await browser.new_page(base_url=server.url)
    await page.goto("/")
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    await say(page, "Think", "sim-n10-gap20-reasoning")
    await until_ended(page, 2)
    await page.locator("[data-reasoning]:not([hidden]) summary").click()
    await page.locator("[data-role=user] [data-edit]").last.click()
    await page.set_input_files("[data-file-input]", FILES)
    await expect(page.locator("[data-file][data-state=refused]")).to_have_count(1)
    await assert_clean(page)
    await page.locator("[data-editor-cancel]").click()
    for opener in (
        "[data-bar-menu] [data-menu-button]",
        "[data-settings-link]",
        "[data-regenerate-with]",
        "[data-delete]",
    ):
        await page.locator(opener).last.press("Enter")
        await expect(page.locator(".menu:popover-open, dialog:modal")).to_be_visible()
        await assert_clean(page)
        await page.keyboard.press("Escape")
    await page.keyboard.press("Control+/")
    await assert_clean(page)
    await page.keyboard.press("Escape")


async def test_axe_finds_nothing_while_something_happens(page):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.locator("[data-edit]").click()
    await page.locator("[data-editor-text]").fill("Not \0 storable")
    await page.get_by_role("button", name="Save and send").click()
    await expect(page.locator("[data-status]")).to_contain_text("NUL character")
    await page.locator("[data-bar-menu] [data-menu-button]").press("Enter")
    await page.locator("[data-bar-menu] [data-act=archive]").click()
    await page.locator("[data-toasts] button").focus()
    await say(page, "Long", LONG)
    await until_text(page, "word3 ")
    await say(page, "Next")
    await expect(replies(page, "queued")).to_have_count(1)
    await assert_clean(page, LOOKS[::3])
    await page.click("[data-cancel]:visible")
    await page.click("[data-stop]")
    await until_ended(page, 2)
    await page.get_by_role("button", name="Conversations", exact=True).click()
    await assert_clean(page, NARROW)
    await page.locator("[data-item] [data-menu-button]").click()
    await assert_clean(page, NARROW)


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


async def assert_clean(page: Page, looks: list[tuple[str, int]] = LOOKS) -> None:
    # Before the colours change, which would fade otherwise.
    await page.emulate_media(reduced_motion="reduce")
    for scheme, width in looks:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 800})
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{page.url} {scheme} {width}\n{found.generate_report()}"
