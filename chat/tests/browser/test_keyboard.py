"""Everything by keyboard."""

from __future__ import annotations

from playwright.async_api import expect

from chat.tests.browser.pages import BROWSER, LONG, SHORT, replies, say, until_ended, until_text

pytestmark = BROWSER


async def test_the_sheet_of_shortcuts_opens_and_closes_by_keyboard(page):
    await page.fill("[data-composer]", "Half a thought")
    await page.keyboard.press("Control+/")
    sheet = page.locator("[data-help]")
    await expect(sheet).to_be_visible()
    assert await sheet.locator("dt").count() == await sheet.locator("dd").count() > 8
    await expect(sheet).to_contain_text("Stop the answer")
    # What is meant for the page behind it does nothing.
    await page.keyboard.press("Control+Shift+O")
    await expect(sheet).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()
    await expect(page.locator("[data-composer]")).to_be_focused()
    assert await page.input_value("[data-composer]") == "Half a thought"


async def test_an_answer_is_stopped_and_messages_are_walked_by_keyboard(page):
    await say(page, "Count", LONG)
    await until_text(page, "word3 ")
    await page.keyboard.press("Control+.")
    await until_ended(page)
    assert await replies(page).get_attribute("data-ending") == "stopped"
    await page.keyboard.press("Alt+ArrowUp")
    await expect(replies(page)).to_be_focused()
    await page.keyboard.press("Alt+ArrowUp")
    await expect(page.locator("[data-role=user]")).to_be_focused()
    await page.keyboard.press("Shift+Escape")
    await expect(page.locator("[data-composer]")).to_be_focused()


async def test_streaming_never_moves_the_focus(page):
    await say(page, "Hello", SHORT)
    await page.focus("[data-model]")
    await until_ended(page)
    await expect(page.locator("[data-model]")).to_be_focused()


async def test_a_new_conversation_is_begun_by_keyboard(page):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.keyboard.press("Control+Shift+O")
    await expect(page).to_have_url("/")
