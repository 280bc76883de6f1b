"""What the page says of answers that went wrong, and what it offers, in a real browser."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from playwright.async_api import expect

from chat.tests.browser.pages import BROWSER, LONG, replies, say, shown_text, until_ended, until_text

pytestmark = BROWSER

CUT, GOOD = "sim-n6-cut-at3", "sim-n12-gap20"


def step(page, name: str):
    return page.get_by_role("button", name=name, exact=True)


async def test_an_answer_without_text_can_be_tried_again_by_keyboard(page, add):
    await add("first", "sim-http500")
    paused = {"breaker": "open", "open_until": timezone.now() + timedelta(minutes=5), "open_reason": "It failed."}
    await add("ill", "m", **paused)
    await page.reload()
    await page.select_option("[data-model]", "first:sim-http500")
    await page.get_by_label("Only this model").check()
    await say(page, "Hello")
    await until_ended(page)
    again = step(page, "Try again")
    await expect(page.locator("[data-badge]:visible")).to_have_text("The provider reported an error of its own.")
    live = await shown_text(page)
    await page.reload()
    assert await shown_text(page) == live
    await again.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".branches-at")).to_have_text("Version 2 / 2")
    await until_ended(page)
    await expect(page.locator("[data-composer]")).to_be_focused()
    await expect(again).to_be_visible()
    # Only about the latest answer, and only while nothing is being written.
    await page.get_by_label("Only this model").uncheck()
    await say(page, "More", LONG)
    await until_text(page, "word1 ")
    await expect(again).to_be_hidden()
    await page.click("[data-stop]")
    await until_ended(page, 2)
    await expect(again).to_be_hidden()
    await expect(step(page, "Continue")).to_be_visible()
    # Why another cannot be asked can be read on a phone as well.
    await replies(page).last.get_by_role("button", name="Answer again with another model").click()
    sheet = page.get_by_role("dialog", name="Answer again with another model")
    await expect(sheet).to_contain_text("Not available: Ill: paused until ")


async def test_the_page_says_whom_it_waits_for_after_a_silent_takeover_too(page, context, add):
    await add("first", "sim-http500", name="Ann")
    await add("second", "sim-stall-at0", 20, name="Bob")
    await page.reload()
    await say(page, "Hello")
    wait = replies(page, "running").locator("[data-wait]")
    await expect(wait).to_have_text("Waiting for Bob")
    await expect(page.locator("[role=status]")).to_contain_text("Waiting for Bob.")
    second = await context.new_page()
    await second.goto(page.url)
    await expect(replies(second, "running").locator("[data-wait]")).to_have_text("Waiting for Bob")
    # What waits its turn has not been asked of anybody, and then it has.
    await say(page, "More")
    await expect(replies(page, "queued").locator("[data-wait]")).to_have_text("Waiting for its turn")
    await page.click("[data-stop]")
    await until_ended(page)
    await expect(wait).to_have_text("Waiting for Bob")
    await page.click("[data-stop]")
    await until_ended(page, 2)


async def test_words_that_were_refused_can_be_edited(page, add):
    await add("strict", "sim-http413")
    await page.reload()
    await page.select_option("[data-model]", "strict:sim-http413")
    await page.get_by_label("Only this model").check()
    await say(page, "Too much")
    await until_ended(page)
    await step(page, "Edit your message").click()
    field = page.locator("[data-editor-text]")
    await expect(field).to_be_focused()
    assert await field.input_value() == "Too much"
