"""What attackers have models say runs nothing, fetches nothing and leads nowhere, wherever the stream is cut."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest_asyncio
from playwright.async_api import Page, expect

from chat.policy.judging import CONTROL
from chat.tests.browser.pages import BROWSER, ECHO, replies, say, until_ended
from chat.tests.payloads import find_payloads

pytestmark = BROWSER

SEED = 20261124
# How many payloads one call of the page takes.
BATCH = 500
# All the places where an answer can put a text.
FORMS = """{0}

[link]({0}) ![image]({0}) <{0}> **{0}** [{0}][{0}]

> # {0}
- {0}

| {0} |
|---|
| {0} |

${0}$ \\({0}\\) \\[{0}\\]

```{0}
{0}
```
"""
# Whatever a payload would call or set off is counted, on each page from its beginning.
PROBES = """
globalThis.ran = [];
for (const name of ["alert", "confirm", "prompt", "print", "open"]) globalThis[name] = () => ran.push(name);
addEventListener("securitypolicyviolation", (event) => ran.push(event.violatedDirective + " " + event.blockedURI));
addEventListener("error", ({ message }) => ran.push(message));
"""
INSPECT = """(root) => {
  const elements = new Set(
    ("a,blockquote,br,button,code,del,div,em,h3,h4,h5,h6,hr,li,ol,p,pre,span,strong,table,tbody,td,th,thead,tr,ul," +
    "math,menclose,mfrac,mi,mmultiscripts,mn,mo,mover,mpadded,mphantom,mprescripts,mroot,mrow,ms,mspace,msqrt," +
    "mstyle,msub,msubsup,msup,mtable,mtd,mtext,mtr,munder,munderover").split(","),
  );
  const attributes = new Set(
    ("aria-label,aria-pressed,class,data-code-head,data-copy-code,data-cursor,data-wrap-code,href,rel,role,tabindex," +
    "target,title,type,value").split(","),
  );
  const wrong = [];
  for (const one of root.querySelectorAll("*")) {
    if (!elements.has(one.localName)) wrong.push(one.localName);
    for (const { name, value } of one.attributes) {
      if (!attributes.has(name) && !one.closest("math")) wrong.push(`${one.localName} ${name}`);
      if (/^on|^(src|srcset|id|name|xlink:href|formaction)$/.test(name) || /url\\(/i.test(value)) {
        if (name !== "title" && name !== "href") wrong.push(`${one.localName} ${name}=${value}`);
      }
    }
  }
  for (const link of root.querySelectorAll("[href]")) {
    const isSafe = ["http:", "https:", "mailto:"].includes(link.protocol) && link.target === "_blank";
    if (!isSafe || link.rel !== "noopener noreferrer nofollow") wrong.push(link.outerHTML);
  }
  return wrong;
}"""
STREAM = """async (answers) => {
  const inspect = INSPECT;
  const { Part } = await import(document.querySelector("link[href*='/js/markdown/part.']").href);
  const wrong = [];
  for (const pieces of answers) {
    const shown = document.querySelector("[data-messages]").appendChild(document.createElement("div"));
    const part = new Part(shown);
    for (const piece of pieces) {
      part.append(piece);
      part.paint();
    }
    part.end();
    const found = inspect(shown);
    if (found.length) wrong.push([pieces.join(""), ...found]);
    shown.remove();
  }
  return wrong;
}""".replace("INSPECT", INSPECT)


@pytest_asyncio.fixture
async def watched(browser, server):
    """A page, and the list of requests that went to other hosts. What the payloads set off is in the page's `ran`."""
    context = await browser.new_context(base_url=server.url)
    await context.add_init_script(PROBES)
    page = await context.new_page()
    strange: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((server.url, "data:")) else strange.append(request.url),
    )
    page.on("dialog", lambda dialog: strange.append(dialog.message))
    page.on("popup", lambda popup: strange.append(popup.url))
    await page.goto("/")
    yield page, strange
    await context.close()


def cut(text: str, places: random.Random) -> list[str]:
    """Return `text` in pieces."""
    ends = sorted({0, len(text), *(places.randrange(len(text) + 1) for _ in range(3))})
    return [text[start:end] for start, end in pairwise(ends)]


async def assert_nothing_happened(page: Page, strange: list[str]) -> None:
    assert await page.evaluate("ran") == []
    assert strange == []


async def test_no_payload_gets_through_the_renderer_wherever_it_is_cut(watched):
    page, strange = watched
    places = random.Random(SEED)
    answers = [cut(FORMS.replace("{0}", payload), places) for payload in find_payloads()]
    assert len(answers) > 4_900
    for start in range(0, len(answers), BATCH):
        assert await page.evaluate(STREAM, answers[start : start + BATCH]) == []
    await assert_nothing_happened(page, strange)


async def test_payloads_in_an_answer_stay_text_live_and_stored(watched):
    page, strange = watched
    # What the input policy lets pass: a question about them, without control characters.
    chosen = random.Random(SEED).sample([text for text in find_payloads() if not CONTROL.search(text)], 60)
    await say(
        page, "What is <img src=x onerror=alert(1)>\n\n" + "\n\n".join(f"{text} [x]({text})" for text in chosen), ECHO
    )
    await until_ended(page)
    await expect(replies(page).locator("p").first).to_have_text("What is <img src=x onerror=alert(1)>")
    for _ in range(2):
        found = await page.locator("[data-role=assistant] [data-text]").evaluate_all(f"parts => parts.map({INSPECT})")
        assert found == [[]]
        await assert_nothing_happened(page, strange)
        await page.reload()
        await expect(replies(page).locator("p").first).to_have_text("What is <img src=x onerror=alert(1)>")
