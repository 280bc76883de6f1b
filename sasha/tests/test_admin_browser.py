"""The admin in a real browser: nothing against the content policy, on a phone, in the dark and by keyboard."""

from __future__ import annotations

from decimal import Decimal

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.core.management import call_command
from playwright.async_api import expect

from chat.database import db
from chat.tests.browser.admin import PASSWORD, TOO_WIDE, staff_page
from chat.tests.browser.chromium import CHROMIUM, chromium
from monitoring.audit import Actor, Deed, Target, record
from providers.models import Attempt, Budget, Model, Price
from providers.tests.test_admin import make_attempt
from sasha.testing import free_port, make_provider, server_process

PAGES = [
    "/admin/",
    "/admin/providers/provider/",
    "/admin/providers/provider/add/",
    "/admin/providers/provider/1/change/",
    "/admin/providers/provider/1/history/",
    "/admin/providers/model/",
    "/admin/providers/model/1/change/",
    "/admin/providers/budget/1/delete/",
    "/admin/providers/budget/",
    "/admin/providers/budget/1/change/",
    "/admin/providers/attempt/",
    "/admin/providers/attempt/?ending=failed&q=alice",
    "/admin/providers/attempt/ATTEMPT/change/",
    "/admin/money/",
    "/admin/money/?period=days",
    "/admin/explain/",
    "/admin/monitoring/auditentry/",
    "/admin/monitoring/auditentry/?day=30&target=conversation:c1",
    "/admin/monitoring/auditentry/1/change/",
    "/admin/auth/user/",
    "/admin/auth/user/1/change/",
    "/admin/chat/sitesettings/",
    "/admin/chat/policyrule/",
    "/admin/chat/policyrule/too_long/change/",
    "/admin/chat/policyrule/try/",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, reset_sequences=True),
    pytest.mark.skipif(not CHROMIUM, reason="needs Chromium"),
]


@pytest.fixture(scope="module", autouse=True)
def _collected_files():
    call_command("collectstatic", interactive=False, verbosity=0)


def fill_database():
    data = {"provider": "a-provider", "chosen": ["a", "b"], "cost_usd": "0.000123"}
    record(Deed("chat.reply.ended", Actor("alice", 1), Target("conversation", "c1"), data, "word" * 200))
    User.objects.create_superuser("ada", password=PASSWORD)
    provider = make_provider(f"http://127.0.0.1:{free_port()}/v1", "a-model-with-a-rather-long-name", name="Sim")
    model = Model.objects.get(provider=provider)
    Price.objects.create(model=model, input=1, output=2)
    Budget.objects.create(limit_usd=5)
    for cost in (None, Decimal("0.5")):
        make_attempt(model, username="alice", cost_usd=cost)


@pytest_asyncio.fixture
async def page(transactional_db):
    await db(fill_database)
    with server_process() as server:
        async with chromium() as browser, staff_page(browser, server.url) as page:
            yield page


@pytest.mark.parametrize("width", [1280, 390])
async def test_every_page_keeps_to_the_policy_and_fits(page, width):
    await page.set_viewport_size({"width": width, "height": 800})
    attempt = await db(Attempt.objects.latest, "started_at")
    for address in PAGES:
        response = await page.goto(address.replace("ATTEMPT", str(attempt.pk)))
        assert response.status == 200, address
        assert not await page.evaluate(TOO_WIDE), address


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(page, scheme):
    await page.emulate_media(color_scheme=scheme)
    attempt = await db(Attempt.objects.latest, "started_at")
    for address in PAGES:
        await page.goto(address.replace("ATTEMPT", str(attempt.pk)))
        assert await page.evaluate(FAINT) == [], address


# Text below the contrast of WCAG 2.2 AA, https://www.w3.org/TR/WCAG22/#contrast-minimum.
FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  function rgba(color) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }
  function backdrop(element) {
    for (; element; element = element.parentElement) {
      const color = rgba(getComputedStyle(element).backgroundColor);
      if (color[3] > 0.99) return color;
    }
    return [255, 255, 255, 1];
  }
  function luminance(color) {
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = color.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const texts = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!texts || !element.checkVisibility() || element.matches(":disabled, option, script")) continue;
    const two = [rgba(getComputedStyle(element).color), backdrop(element)].map(luminance).sort((a, b) => b - a);
    const contrast = (two[0] + 0.05) / (two[1] + 0.05);
    if (contrast < 4.5) faint.add(`${contrast.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
  }
  return [...faint];
}"""


async def test_the_first_tab_stop_leads_past_the_header(page):
    await page.goto("/admin/providers/provider/1/change/")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to main content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.querySelector('main').contains(document.activeElement)")


async def test_every_stop_of_the_keyboard_can_be_seen(page):
    await page.goto("/admin/providers/provider/1/change/")
    stops = 0
    while True:
        await page.keyboard.press("Tab")
        seen = await page.evaluate(FOCUS)
        if seen is None:
            break
        assert seen["visible"], seen
        stops += 1
    assert stops > 25


FOCUS = """() => {
  const element = document.activeElement;
  if (element === document.body || element.dataset.seen) return null;
  element.dataset.seen = "yes";
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const inside = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  return { element: element.outerHTML.slice(0, 80), visible: outlined && inside };
}"""


async def test_a_provider_is_forced_open_by_keyboard(page):
    await page.goto("/admin/providers/provider/1/change/")
    await page.get_by_role("button", name="Never ask").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(".messagelist")).to_contain_text("Never asked")
    await expect(page.get_by_role("button", name="Never ask")).to_be_disabled()


async def test_a_price_is_added_in_the_page(page):
    await page.goto("/admin/providers/model/1/change/")
    await page.get_by_role("button", name="Add another Price").click()
    await page.locator("#id_prices-1-input").fill("3")
    await page.locator("#id_prices-1-output").fill("4")
    await page.get_by_role("button", name="Save and continue editing").click()
    await expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
    current = page.locator("#prices-group tr", has_text="current")
    await expect(current).to_contain_text("3.000000")
    await expect(current).to_have_count(1)


async def test_the_appearance_is_that_of_the_chat(page):
    await page.goto("/admin/money/")
    await page.get_by_label("Appearance").select_option("dark")
    assert await page.evaluate("getComputedStyle(document.body).colorScheme") == "dark"
    await page.goto("/")
    assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
