"""Everything by keyboard."""

from __future__ import annotations

from playwright.async_api import expect

from chat.tests.browser.pages import BROWSER, ECHO, LONG, SHORT, replies, say, until_ended, until_text

pytestmark = BROWSER

# Collects what screen readers are told, sentence by sentence.
LISTEN = """() => {
  window.said = [];
  const live = document.querySelectorAll("[data-announce], [data-announce-whole]");
  const hear = (changes) => {
    const nodes = changes.flatMap((change) => [...change.addedNodes]);
    said.push(...nodes.map((node) => node.textContent.trim()));
  };
  for (const region of live) new MutationObserver(hear).observe(region, { childList: true });
}"""


async def until_said(page, *sentences: str) -> None:
    """Wait until screen readers have been told these, each once, and forget them."""
    await page.wait_for_function("(all) => all.every((one) => said.includes(one))", arg=list(sentences))
    said = await page.evaluate("said.splice(0)")
    assert [said.count(sentence) for sentence in sentences] == [1] * len(sentences), said


async def press(page, selector: str, key: str = "Enter") -> None:
    await page.locator(selector).last.focus()
    await page.keyboard.press(key)


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


async def test_messages_are_handled_by_keyboard_and_each_change_is_said_once(page):
    await page.evaluate(LISTEN)
    composer = page.locator("[data-composer]")
    await page.select_option("[data-model]", f"sim:{ECHO}")
    await composer.focus()
    await page.keyboard.type("Some **bold** `words`")
    await page.keyboard.press("Enter")
    await until_said(
        page, "Waiting for Sim.", "The answer is being written.", "The answer is complete.", "Some bold words"
    )
    await press(page, "[data-role=user] [data-edit]")
    await expect(page.locator("[data-editor-text]")).to_be_focused()
    await page.keyboard.press("Control+A")
    await page.keyboard.type("Other words")
    await page.keyboard.press("Control+Enter")
    await until_said(page, "Other words", "The answer is complete.")
    await expect(composer).to_be_focused()
    await press(page, "[data-arrow=previous]")
    await until_said(page, "Version 1 / 2")
    await press(page, "[data-regenerate]:visible")
    await expect(composer).to_be_focused()
    await until_said(page, "The answer is complete.")
    again = page.locator("[data-regenerate-with]")
    await press(page, "[data-regenerate-with]")
    await expect(page.locator(".models-button").first).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(again).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(composer).to_be_focused()
    await until_said(page, "The answer is complete.")
    await page.select_option("[data-model]", f"sim:{LONG}")
    await composer.focus()
    await page.keyboard.type("Long")
    await page.keyboard.press("Enter")
    await until_text(page, "word3 ")
    await page.keyboard.type("Next")
    await page.keyboard.press("Enter")
    await until_said(page, "Waiting for its turn.")
    await press(page, "[data-cancel]:visible")
    await until_said(page, "Cancelled. The message is back in the message field.")
    await expect(composer).to_be_focused()
    await press(page, "[data-stop]")
    await until_said(page, "The answer has ended. The answer was stopped.")
    await expect(composer).to_be_focused()
    await press(page, "[data-delete]:visible")
    await expect(page.get_by_role("link", name="Keep it")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await until_said(page, "The message is deleted.")
    await expect(composer).to_be_focused()


async def test_conversations_are_handled_by_keyboard_and_the_focus_finds_a_neighbour(page):
    await say(page, "First", SHORT)
    await until_ended(page)
    await page.keyboard.press("Control+Shift+O")
    await say(page, "Second", SHORT)
    await until_ended(page)
    await page.evaluate(LISTEN)
    first = page.get_by_role("button", name="More: First")
    second = page.locator("[data-item]").get_by_role("button", name="More: Second")
    await expect(second).to_be_attached()

    async def act(name: str) -> None:
        await first.press("Enter")
        await page.keyboard.press("ArrowUp" if name == "delete" else "ArrowDown")
        while not await page.evaluate(f"document.activeElement.matches('[data-act={name}]')"):
            await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")

    await act("pin")
    await until_said(page, "The conversation is pinned.")
    await expect(first).to_be_focused()
    for name, sentence in (
        ("archive", "The conversation is in the archive. Undo"),
        ("delete", "The conversation is deleted. Undo"),
    ):
        await act(name)
        await until_said(page, sentence)
        await expect(second).to_be_focused()
        await page.keyboard.press("F8")
        await page.keyboard.press("Enter")
        await until_said(page, "The conversation is back in the list.")
        await expect(first).to_be_focused()
    await first.press("Enter")
    await page.keyboard.press("Escape")
    await expect(first).to_be_focused()
