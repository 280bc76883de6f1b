"""The page on a phone: installed, under a thumb, 360 pixels wide."""

from __future__ import annotations

import io

import pytest_asyncio
from django.urls import URLPattern
from PIL import Image
from playwright.async_api import expect

from chat.tests.browser.pages import BROWSER, ECHO, SHORT, say, until_ended
from chat.tests.browser.test_attachments import NOTES, attach, let_the_echo_see, picture
from chat.urls import urlpatterns

pytestmark = BROWSER

# Addresses without a parameter; which of them are pages, the answer says.
PLACES = [str(pattern.pattern) for pattern in urlpatterns if isinstance(pattern, URLPattern)]
PLACES = [f"/{place}" for place in PLACES if "<" not in place]
# What is too narrow to be hit, too small to be read by Safari without zooming in, or runs out of the screen.
TROUBLE = """() => {
    const shown = [...document.querySelectorAll("button, select, input, textarea, summary, nav a")]
        .filter(e => e.checkVisibility() && !e.closest(".visually-hidden"));
    const label = e => (e.closest("label") ?? e).getBoundingClientRect().height;
    const hard = shown.filter(e => Math.max(e.getBoundingClientRect().height, label(e)) < 44);
    const fields = shown.filter(e => e.matches("select, input:not([type=checkbox], [type=radio]), textarea"));
    const small = fields.filter(e => parseFloat(getComputedStyle(e).fontSize) < 16);
    const wide = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
    return [...hard, ...small, ...wide].map(e => e.outerHTML?.slice(0, 120) ?? e);
}"""


@pytest_asyncio.fixture
async def phone(browser, server):
    context = await browser.new_context(
        base_url=server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True
    )
    page = await context.new_page()
    await page.goto("/")
    yield page
    await context.close()


async def test_everything_can_be_read_and_hit_with_a_thumb(phone):
    await let_the_echo_see(phone)
    await say(phone, "Hello", SHORT)
    await until_ended(phone)
    long = "a-name-that-goes-on-and-on-without-a-single-space-in-it.png"
    await attach(phone, picture(long), picture("b.png", (900, 300)), NOTES)
    await expect(phone.locator("[data-file][data-state=there]")).to_have_count(3)
    assert await phone.evaluate(TROUBLE) == []
    await phone.locator("[data-send]").tap()
    await until_ended(phone, 2)
    await phone.select_option("[data-model]", f"sim:{ECHO}")
    assert await phone.evaluate(TROUBLE) == []
    await phone.get_by_role("button", name="Conversations", exact=True).tap()
    assert await phone.evaluate(TROUBLE) == []


async def test_a_page_that_is_enlarged_can_be_read_and_its_list_reached(page):
    wide = "document.documentElement.scrollWidth > innerWidth"
    # 1280 × 800 at 200 %.
    await page.set_viewport_size({"width": 640, "height": 400})
    await page.reload()
    await expect(page.locator("[data-empty] h2")).to_be_in_viewport(ratio=1)
    await expect(page.locator("[data-jump]")).to_be_hidden()
    assert not await page.evaluate(wide)
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.get_by_role("button", name="Conversations", exact=True).click()
    await page.locator("[data-conversation]").click(timeout=5000)
    # At 400 %.
    await page.set_viewport_size({"width": 320, "height": 200})
    assert not await page.evaluate(wide)
    await page.evaluate("scrollTo(0, 0)")
    await expect(page.locator("[data-dock]")).not_to_be_in_viewport()


async def test_every_page_fits(phone):
    fits = {}
    for place in PLACES:
        response = await phone.request.get(place)
        if response.ok and response.headers["content-type"].startswith("text/html"):
            await phone.goto(place)
            fits[place] = await phone.evaluate(TROUBLE)
    assert "/" in fits
    assert {place: trouble for place, trouble in fits.items() if trouble} == {}


async def test_the_page_can_be_installed(page, context):
    devtools = await context.new_cdp_session(page)
    found = await devtools.send("Page.getAppManifest")
    assert found["errors"] == []
    assert found["url"].endswith("/manifest.webmanifest")
    manifest = await (await page.request.get("/manifest.webmanifest")).json()
    assert (manifest["display"], manifest["start_url"], manifest["short_name"]) == ("standalone", "/", "Sasha")
    assert {(icon["sizes"], icon["purpose"]) for icon in manifest["icons"]} >= {
        ("192x192", "any"),
        ("512x512", "any"),
        ("512x512", "maskable"),
    }
    touch = await page.locator("link[rel=apple-touch-icon]").get_attribute("href")
    for address, side in [(touch, 180), *((icon["src"], int(icon["sizes"][:3])) for icon in manifest["icons"])]:
        icon = Image.open(io.BytesIO(await (await page.request.get(address)).body()))
        assert icon.size == (side, side)
    # All that is in the way is this test's own window.
    found = await devtools.send("Page.getInstallabilityErrors")
    assert [error["errorId"] for error in found["installabilityErrors"]] == ["in-incognito"]


async def test_what_is_round_the_page_has_its_colour(page):
    colour = """() => [...document.querySelectorAll("meta[name=theme-color]")]
        .filter(meta => matchMedia(meta.media).matches).map(meta => meta.content)"""
    background = "getComputedStyle(document.documentElement).backgroundColor"
    seen = {}
    for theme in ("light", "dark", ""):
        await page.locator("[data-theme-picker]").select_option(theme)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            (seen[theme, scheme],) = await page.evaluate(colour)
            rgb = [int(seen[theme, scheme][at : at + 2], 16) for at in (1, 3, 5)]
            assert await page.evaluate(background) == f"rgb({rgb[0]}, {rgb[1]}, {rgb[2]})"
    assert seen["dark", "light"] == seen["", "dark"] != seen["light", "dark"] == seen["", "light"]
