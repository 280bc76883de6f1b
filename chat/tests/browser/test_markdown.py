"""What an answer looks like: Markdown becomes nodes, alike however it came, and nothing of it gets lost."""

from __future__ import annotations

import re

from playwright.async_api import Page, expect

from chat.tests.browser.pages import BROWSER, ECHO, LARGE, pieces, replies, say, stored, text_of, until_ended, whole

pytestmark = BROWSER

CODE = 'def greet(name):\n    return f"<b>{name}</b>"'
DOCUMENT = f"""# Title

Use snake_case, a[0], $HOME and 5 * 3 for **bold** and *slanted* `code`.

1. First

   ```python
{"".join(f"   {line}{chr(10)}" for line in CODE.split(chr(10)))}   ```

2. Second
   - [x] done
   - [ ] open
7. Seventh

| Name | Price | More |
|:--|--:|:-:|
| a | `1` | x | surplus |

> Quoted
> - inside

[link](https://example.com/page "a title") and https://plain.example/x. [bad](javascript:alert(1))
![A cat](https://images.example/cat.png) <b>raw</b><br>next

Inline $x^2$, \\(y\\), costs $5 or $6.

\\[ \\frac{{a}}{{b}} \\]

$$\\undefined{{z}}$$
"""
# Answers with random pieces of Markdown, each streamed as a whole and cut at random places: the same nodes, all words.
COMPARE = """async ([fragments, count]) => {
  const { Part } = await import(document.querySelector("link[href*='/js/markdown/part.']").href);
  let seed = 11;
  const random = (below) => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % 65521 % below;
  const show = (pieces) => {
    const shown = document.createElement("div");
    const part = new Part(shown);
    for (const piece of pieces) {
      part.append(piece);
      part.paint();
    }
    part.end();
    // Formulas are drawn when the library is there.
    for (const drawn of shown.querySelectorAll(".math")) drawn.textContent = "";
    return shown;
  };
  const wrong = [];
  for (let i = 0; i < count; i += 1) {
    const source = Array.from({ length: 2 + random(30) }, () => fragments[random(fragments.length)]).join("");
    const cut = source.match(/[^]{1,7}/g);
    const whole = show([source]);
    if (whole.outerHTML !== show(cut).outerHTML) wrong.push(["cut", source]);
    const words = source.replace(/\\$.*?\\$|\\\\\\(.*?\\\\\\)|https?:\\S+|&amp;|<br>/g, " ").match(/[a-z]{3,}/gi) ?? [];
    const isFormula = whole.querySelector(".math-display");
    if (!isFormula && words.some((word) => !whole.textContent.includes(word))) wrong.push(["lost", source]);
  }
  return wrong;
}"""
FRAGMENTS = [
    "word ", "snake_case ", "a[0] ", "$x$ ", "**bold** ", "*em* ", "`code` ", "[link](http://x.y) ",
    "[bad](data:x) ", "![image](http://x) ", "\n", "\n\n", "\n- item ", "\n  - sub ", "\n1. one ", "\n2) two ",
    "\n   text ", "\n> quote ", "\n```py\n", "\n```\n", "\n~~~\n", "\n    code ", "\n# Head ", "\n---\n", "\n===\n",
    "\n| one | two |\n|---|---|\n", "| cell | more | most |\n", "$$", "\\[", "\\]", "\\(a\\) ", "<div>", "<br>",
    "&amp;", "*", "_", "**", "~~gone~~ ", "[", "](", "!", "https://a.b ", "- [x] task", "\t", "\r\n", "  \n",
    "[note]: http://x ", "\N{GRINNING FACE}",
]  # fmt: skip


async def until_drawn(page: Page) -> None:
    """Wait for what is fetched when it is first needed: colours and formulas."""
    await expect(replies(page).locator("code span[class^=hl-]").first).to_be_attached()
    await expect(replies(page).locator("mfrac")).to_have_count(1)


async def test_an_answer_has_the_structure_that_its_markdown_means(page):
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    await until_drawn(page)
    answer = replies(page)
    assert await text_of(page) == (await stored(page)).text

    await expect(answer.locator("h3")).to_have_text("Title")
    await expect(answer.locator("p").first).to_have_text(
        "Use snake_case, a[0], $HOME and 5 * 3 for bold and slanted code."
    )
    assert await answer.locator("ol > li").evaluate_all("items => items.map(item => item.value)") == [1, 2, 7]
    assert await answer.locator("[role=img]").evaluate_all("all => all.map(box => box.ariaLabel)") == [
        "Done",
        "Not done",
    ]
    await expect(answer.locator(".code-language")).to_have_text("python")
    await expect(answer.locator("pre .hl-keyword")).to_have_text(["def", "return"])
    assert await answer.locator("thead tr > *").evaluate_all("all => all.map(cell => cell.className)") == [
        "align-left",
        "align-right",
        "align-center",
        "",
    ]
    await expect(answer.locator("tbody td")).to_have_text(["a", "1", "x", "surplus"])
    await expect(answer.locator("blockquote li")).to_have_text("inside")
    await expect(answer.locator(".math math")).to_have_count(3)
    await expect(answer.locator(".math").last).to_have_text("$$\\undefined{z}$$")
    await expect(answer).to_contain_text("costs $5 or $6")
    await expect(answer).to_contain_text("<b>raw</b>")


async def test_a_link_says_where_it_leads_and_an_image_is_not_fetched(page):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    answer = replies(page)
    await expect(answer.locator("a[target]")).to_have_text(
        ["link (example.com)", "https://plain.example/x", "A cat (images.example)"]
    )
    assert await answer.locator("a[target]").evaluate_all("all => all.map(link => [link.href, link.rel])") == [
        ["https://example.com/page", "noopener noreferrer nofollow"],
        ["https://plain.example/x", "noopener noreferrer nofollow"],
        ["https://images.example/cat.png", "noopener noreferrer nofollow"],
    ]
    await expect(answer).to_contain_text("[bad](javascript:alert(1))")
    await expect(answer.locator(".image-chip")).to_have_text("Image not loaded")
    assert await page.locator("[data-messages] img").count() == 0
    assert [url for url in requests if "example" in url] == []


async def test_the_copy_button_gives_the_code_and_nothing_else(page, context):
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    await page.click("[data-copy-code]")
    await expect(page.locator("[data-copy-code]")).to_have_text("Copied")
    # Pages of ours may not read it: sasha/headers.py.
    composer = page.locator("[data-composer-form] textarea").first
    await composer.fill("")
    await composer.press("Control+V")
    assert await composer.input_value() == CODE
    await page.click("[data-wrap-code]")
    await expect(page.locator("[data-wrap-code]")).to_have_attribute("aria-pressed", "true")


async def test_a_stored_answer_is_shown_as_the_live_one_was(page):
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    await until_drawn(page)
    live = await pieces(page)
    await page.reload()
    await until_drawn(page)
    assert await pieces(page) == live


async def test_code_is_coloured_when_its_block_is_closed(page):
    code = await page.evaluate(
        """async () => {
          const { Markdown } = await import(document.querySelector("link[href*='/js/markdown.']").href);
          const part = document.querySelector("[data-messages]").appendChild(document.createElement("div"));
          const markdown = new Markdown(() => {});
          const colours = async (text) => {
            markdown.append(part, text);
            markdown.flush();
            await new Promise((done) => setTimeout(done, 300));
            return part.querySelectorAll("code span").length;
          };
          const first = await colours("```python\\nimport os\\n");
          return [first, await colours("import sys\\n"), await colours("```\\n")];
        }"""
    )
    assert code == [0, 0, 2]


async def test_an_answer_looks_alike_however_it_was_cut_and_loses_no_word(page):
    assert await page.evaluate(COMPARE, [FRAGMENTS, 600]) == []


async def test_what_was_written_can_be_read_without_scripts(page, browser, context):
    await say(page, DOCUMENT, ECHO)
    await until_ended(page)
    plain = await browser.new_context(java_script_enabled=False, storage_state=await context.storage_state())
    reader = await plain.new_page()
    await reader.goto(page.url)
    assert await replies(reader).locator("[data-text]").inner_text() == DOCUMENT
    await plain.close()


async def test_reasoning_is_folded_away_and_says_how_long_it_took(page):
    await say(page, "**not** bold\n- [x] <b>", "sim-n10-gap20-reasoning")
    await until_ended(page)
    label = page.locator("[data-reasoning-label]")
    words = f"Thought for {(await stored(page)).reasoning_ms} ms"
    await expect(label).to_have_text(words)
    assert await page.locator("details[open]").count() == 0
    await page.reload()
    await expect(label).to_have_text(words)
    # What a person wrote stays as it was typed.
    assert await page.locator("[data-role=user] [data-text]").inner_text() == "**not** bold\n- [x] <b>"


async def test_screen_readers_hear_words_without_signs(page):
    await say(page, "# Title\n\n- **one** `two`\n\n[a link](https://example.com)", ECHO)
    await until_ended(page)
    assert re.sub(r"\s+", " ", await page.locator("[role=log]").text_content()) == "Title one two a link"


async def test_twenty_thousand_words_arrive_whole_and_slow_nothing_down(page):
    await say(page, "Hello", LARGE)
    await expect(replies(page, "ended")).to_have_count(1, timeout=60_000)
    assert await text_of(page) == (await stored(page)).text == whole(LARGE)
    # Blocks as models write them: the last thousand words take no longer than others did.
    tenths = await page.evaluate(
        """async () => {
          const { Part } = await import(document.querySelector("link[href*='/js/markdown/part.']").href);
          const part = new Part(document.createElement("div"));
          const blocks = ["## A heading\\n\\n", "Some **words** ".repeat(25) + "\\n\\n", "- item\\n".repeat(8) + "\\n"];
          const pieces = Array.from({ length: 900 }, (_, i) => blocks[i % 3]).join("").match(/[^]{1,20}/g);
          const tenths = Array(10).fill(0);
          for (const [i, piece] of pieces.entries()) {
            const begun = performance.now();
            part.append(piece);
            part.paint();
            tenths[Math.floor((i * 10) / pieces.length)] += performance.now() - begun;
          }
          return tenths;
        }"""
    )
    assert min(tenths[-3:]) < 3 * min(tenths[:3]), tenths
