"""The page in other languages: from right to left, and with no word of the scripts outside of the catalogue."""

from __future__ import annotations

import pytest_asyncio
from playwright.async_api import expect

from chat.tests.browser.pages import BROWSER, ECHO, SHORT, say, until_ended

pytestmark = BROWSER

MIXED = "English first.\n\n- one\n\n```python\nprint(1)\n```\n\nשלום, עולם."
# Django's catalogue, in which every sentence is its English in brackets.
BRACKETS = """
globalThis.django = {
  gettext: (words) => `⟦${words}⟧`,
  ngettext: (one, many, count) => `⟦${count === 1 ? one : many}⟧`,
  pgettext: (context, words) => `⟦${words}⟧`,
  interpolate: (words, values) => words.replace(/%\\((\\w+)\\)s/g, (_, name) => String(values[name])),
};
"""


@pytest_asyncio.fixture
async def hebrew(browser, server):
    context = await browser.new_context(base_url=server.url, viewport={"width": 390, "height": 800}, locale="he")
    page = await context.new_page()
    await page.goto("/")
    yield page
    await context.close()


async def left_of(locator) -> float:
    return (await locator.bounding_box())["x"]


async def direction(locator) -> str:
    return await locator.evaluate("element => getComputedStyle(element).direction")


async def test_the_page_runs_from_right_to_left_and_each_text_as_its_letters_do(hebrew):
    assert await hebrew.locator("html").get_attribute("dir") == "rtl"
    await say(hebrew, MIXED, ECHO)
    await until_ended(hebrew)
    answer = hebrew.locator("[data-role=assistant]")
    assert await direction(answer.locator("[data-text]").first) == "ltr"
    assert await direction(answer.locator("pre").first) == "ltr"
    english, shalom = answer.locator("p").first, answer.locator("p", has_text="שלום")
    assert await english.evaluate(START_OF) < 0.5 < await shalom.evaluate(START_OF)
    for width in (390, 1280):
        await hebrew.set_viewport_size({"width": width, "height": 800})
        assert await hebrew.evaluate("document.documentElement.scrollWidth <= innerWidth")


# Where the first letter stands in its paragraph: 0 is the left end, 1 the right.
START_OF = """(element) => {
  const range = document.createRange();
  const letters = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
  range.setStart(letters, 0);
  range.setEnd(letters, 1);
  const box = element.getBoundingClientRect();
  return (range.getBoundingClientRect().x - box.x) / box.width;
}"""


async def test_the_drawer_comes_from_the_right(hebrew):
    await hebrew.emulate_media(reduced_motion="reduce")
    await hebrew.click("header [popovertarget=sidebar]")
    await expect(hebrew.locator("[data-sidebar]")).to_be_visible()
    box = await hebrew.locator("[data-sidebar]").bounding_box()
    assert box["x"] + box["width"] == 390


async def test_no_word_of_the_scripts_stands_outside_of_the_catalogue(browser, server):
    context = await browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.route("**/words/**", lambda route: route.fulfill(body=BRACKETS, content_type="text/javascript"))
    await page.goto("/")
    await say(page, "```python\nprint(1)\n```\n\n| a |\n|---|\n| 1 |\n\n- [x] b", ECHO)
    await until_ended(page)
    for sign in ("[data-facts] li:not(:first-child)", ".markdown button"):
        for words in await page.locator(sign).all_inner_texts():
            assert words.startswith(("⟦", "$")), words
    named = "[data-text] :is([aria-label], [title])"
    for words in await page.locator(named).evaluate_all("all => all.flatMap(e => [e.ariaLabel ?? '', e.title])"):
        assert not words or words.startswith("⟦"), words
    await page.keyboard.press("Control+/")
    for words in await page.locator("[data-help-list] dd").all_inner_texts():
        assert words.startswith("⟦"), words
    await page.keyboard.press("Escape")
    await context.set_offline(True)
    await expect(page.locator("[data-status]")).to_contain_text("⟦This device is offline.⟧", timeout=15_000)
    await context.set_offline(False)
    await say(page, "Again", SHORT)
    await until_ended(page, 2)
    await expect(page.locator("[data-announce]")).to_contain_text("⟦")
    await context.close()
