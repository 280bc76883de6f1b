"""What the browser tests do with a page: write, wait for what it shows, read it."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from chat.models import Message
from chat.tests.browser.chromium import CHROMIUM
from providers.simulator.script import answer, parse_model

SHORT, SLOW, LONG, ECHO = "sim-n20-gap20", "sim-n100-gap20", "sim-n2000-gap20", "sim-echo"
LARGE = "sim-n20000-gap0"
# 20 ms apart for a minute, and 60 tokens a second for five minutes: what bench_page.py reads.
MINUTE, STEADY = "sim-n3000-gap20", "sim-n18000-gap16"
MODELS = (SHORT, SLOW, LONG, ECHO, "sim-n20-at5-cut", "sim-n10-gap20-reasoning", "sim-n600-gap5", LARGE, MINUTE, STEADY)

SOURCES = """async (parts) => {
  const { sourceOf } = await import(document.querySelector("link[href*='/js/markdown.']").href);
  return parts.map(sourceOf);
}"""

# What is off the screen is not laid out (content-visibility), and has no inner text then.
SHOWN = """(messages) => {
  for (const turn of messages.children) turn.style.contentVisibility = "visible";
  return messages.innerText;
}"""

# Every module of this folder sets `pytestmark` to this.
BROWSER = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
]


async def say(page: Page, text: str, model: str = "") -> None:
    if model:
        await page.select_option("[data-model]", f"sim:{model}")
    await page.fill("[data-composer]", text)
    await page.press("[data-composer]", "Enter")


def replies(page: Page, state: str = ""):
    return page.locator(f"[data-role=assistant][data-state={state}]" if state else "[data-role=assistant]")


async def text_of(page: Page, at: int = -1) -> str:
    """Return the text of a reply as the page has got it: what the model wrote, before its Markdown is read."""
    return "".join(await replies(page).nth(at).locator("[data-text]").evaluate_all(SOURCES))


async def shown_text(page: Page) -> str:
    """Return what the messages show, those off the screen included."""
    return await page.locator("[data-messages]").evaluate(SHOWN)


async def pieces(page: Page) -> list[str]:
    """Return what the answers are made of: their texts and notices, as HTML."""
    return await replies(page).locator("[data-parts] > *").evaluate_all("all => all.map(piece => piece.outerHTML)")


async def until_ended(page: Page, count: int = 1) -> None:
    await expect(replies(page, "ended")).to_have_count(count, timeout=20_000)


async def until_text(page: Page, text: str) -> None:
    await expect(page.locator("[data-messages]")).to_contain_text(text, timeout=20_000)


async def stored(page: Page, at: int = -1) -> Message:
    return await Message.objects.aget(pk=await replies(page).nth(at).get_attribute("data-id"))


async def network_returns(page: Page) -> None:
    await page.evaluate("dispatchEvent(new Event('online'))")


def whole(model: str) -> str:
    return answer(parse_model(model), "").text
