"""What the page's policy keeps a script from that has got in."""

from __future__ import annotations

from chat.tests.browser.pages import BROWSER

pytestmark = BROWSER

SINKS = {
    "innerHTML": "document.body.innerHTML = '<b>x</b>'",
    "insertAdjacentHTML": "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
    "a parser of its own": "new DOMParser().parseFromString('<b>x</b>', 'text/html')",
    "a script's address": "document.createElement('script').src = '/static/js/theme.js'",
    "another policy": "trustedTypes.createPolicy('mine', {createHTML: (text) => text})",
    "the same policy again": "trustedTypes.createPolicy('own-pages', {createHTML: (text) => text})",
}
# What a page may not load, each as an element that somebody has got in.
FOREIGN = {
    "a style from elsewhere": ("link", {"rel": "stylesheet", "href": "https://evil.example/x.css"}),
    "a frame": ("iframe", {"src": "/"}),
    "an image from elsewhere": ("img", {"src": "https://evil.example/x.png"}),
}
INSERT = """([tag, values]) => new Promise((resolve) => {
  addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
  document.body.append(Object.assign(document.createElement(tag), values));
})"""


async def test_no_text_becomes_html(browser, server):
    context = await browser.new_context(base_url=server.url)
    page = await context.new_page()
    await page.goto("/")
    for name, line in SINKS.items():
        refused = await page.evaluate(
            f"() => {{ try {{ {line}; return 'done' }} catch (error) {{ return error.name }} }}"
        )
        assert refused == "TypeError", name
    await context.close()


async def test_what_somebody_has_got_into_a_page_is_not_loaded(browser, server):
    context = await browser.new_context(base_url=server.url)
    page = await context.new_page()
    await page.goto("/")
    refused = {name: await page.evaluate(INSERT, what) for name, what in FOREIGN.items()}
    assert refused == {
        "a style from elsewhere": "style-src-elem",
        "a frame": "frame-src",
        "an image from elsewhere": "img-src",
    }
    await context.close()


async def test_a_script_from_elsewhere_is_not_even_imported(browser, server):
    context = await browser.new_context(base_url=server.url)
    page = await context.new_page()
    await page.goto("/")
    load = "(url) => import(url).then(() => 'done', (error) => error.name)"
    assert await page.evaluate(load, "https://evil.example/x.js") == "TypeError"
    await context.close()
