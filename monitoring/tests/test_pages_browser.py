"""The staff's pages in a real browser: refreshed without a reload, usable without scripts, by keyboard and at night."""

from __future__ import annotations

from datetime import timedelta

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from playwright.async_api import expect

from chat.database import db
from chat.models import Message
from chat.tests.browser.admin import PASSWORD, TOO_WIDE, sign_in, staff_page
from chat.tests.browser.chromium import chromium
from chat.tests.browser.pages import BROWSER
from monitoring.models import ReplicaState, Sample
from monitoring.tests.states import make_attempt, make_data, make_process, make_reply, store_server
from providers.models import Provider
from providers.simulator import Simulator
from sasha.testing import make_provider, server_process

MODEL = "sim-n2000-gap20"
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
# A refresh every five seconds, and one for the machine.
REFRESHED_MS = 12_000

pytestmark = BROWSER


@pytest.fixture(scope="module", autouse=True)
def _collected_files():
    call_command("collectstatic", interactive=False, verbosity=0)


def fill_database(api_base):
    User.objects.create_superuser("ada", password=PASSWORD)
    make_provider(api_base, MODEL, name="Sim")
    paused = make_provider(api_base, "one", slug="paused", name="Paused")
    now = timezone.now()
    until = now + timedelta(hours=1)
    Provider.objects.filter(pk=paused.pk).update(
        breaker="open", opened_at=now, open_until=until, open_reason="3 failures in a row."
    )
    reply = make_reply("carol", attempts=2, requested_model="paused:one")
    make_attempt(reply.pk, number=1, ending="cut", error="Gone", spawn_ms=4, request_ms=30, total_ms=300)
    make_attempt(reply.pk, number=2, spawn_ms=4, request_ms=30, first_token_ms=300, total_ms=900, longest_gap_ms=90)
    store_server(processes=[make_process(user="bob")], processes_total=1)
    nullable = {field.name: None for field in Sample._meta.fields if field.null}
    others = {field.name: 7 for field in Sample._meta.fields if not field.null and field.name != "id"}
    for minute in range(30):
        at = now - timedelta(minutes=minute)
        Sample.objects.create(**(others | nullable | {"replica": "studio:42:x", "at": at, "rss": 9e7 + minute * 1e6}))


@pytest_asyncio.fixture
async def server(transactional_db):
    simulator = Simulator()
    await simulator.start()
    await db(fill_database, simulator.url("openai-compatible"))
    # Of what is shown, nothing but the rows of these tests: its own would come every five seconds.
    with server_process(MONITORING="false") as server:
        yield server
    await simulator.stop()


@pytest_asyncio.fixture
async def browser():
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture
async def page(browser, server):
    async with staff_page(browser, server.url) as page:
        yield page


async def addresses() -> list[str]:
    reply = await Message.objects.filter(attempts=2).aget()
    pages = ["", "processes/", "history/?span=1h", f"replies/{reply.pk}/", f"processes/{reply.pk}/stop/"]
    return [f"/admin/monitor/{address}" for address in pages]


async def test_axe_finds_nothing_and_every_page_fits(browser, server):
    # In a context of its own: axe looks for imported stylesheets in the wrong place, and the console complains.
    page = await (await browser.new_context(base_url=server.url)).new_page()
    await sign_in(page)
    await page.emulate_media(reduced_motion="reduce")
    for address in await addresses():
        for scheme, width in LOOKS:
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size({"width": width, "height": 800})
            response = await page.goto(address)
            assert response.status == 200, address
            for details in await page.locator("main details").all():
                await details.evaluate("details => details.open = true")
            found = await Axe().run(page)
            assert found.violations_count == 0, f"{address} {scheme} {width}\n{found.generate_report()}"
            assert not await page.evaluate(TOO_WIDE), (address, width)


SMALL = """() => [
  ...document.querySelectorAll("main :is(button, .button, select, input:not([type=hidden]), summary)"),
  ...document.querySelectorAll("main :is(.todo, .incidents, h3) a"),
].filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 40).map((each) => each.outerHTML)"""


async def test_everything_can_be_pressed_with_a_thumb(page):
    await page.set_viewport_size({"width": 390, "height": 800})
    for address in await addresses():
        await page.goto(address)
        assert await page.evaluate(SMALL) == [], address


async def test_a_new_failure_appears_without_a_reload_and_nobody_loses_their_place(page):
    await page.goto("/admin/monitor/")
    await page.evaluate("window.stayed = true")
    link = page.get_by_role("link", name="Sim", exact=True)
    await link.focus()
    await link.evaluate("link => getSelection().selectAllChildren(link)")
    await page.evaluate("scrollTo(0, 200)")
    await db(make_reply, "mallory", ending="cut", error="It was cut just now.")
    await expect(page.locator(".incidents")).to_contain_text("It was cut just now.", timeout=REFRESHED_MS)
    await expect(link).to_be_focused()
    assert await page.evaluate("[window.stayed, scrollY, getSelection().toString()]") == [True, 200, "Sim"]


async def test_the_focus_stays_on_a_process_when_others_end(page):
    ending, staying = make_process(user="early"), make_process(user="late")
    await ReplicaState.objects.aupdate(data=make_data(processes=[ending, staying], processes_total=2))
    await page.goto("/admin/monitor/processes/")
    stop = page.get_by_role("link", name="Stop the answer for late")
    await stop.focus()
    await ReplicaState.objects.aupdate(data=make_data(processes=[staying], processes_total=1))
    await expect(page.get_by_role("heading", name="1 answer under way")).to_be_visible(timeout=REFRESHED_MS)
    await expect(page.get_by_text("early")).to_have_count(0)
    await expect(stop).to_be_focused()


async def test_what_is_opened_stays_open(page):
    await db(make_provider, "http://127.0.0.1:9/v1", slug="none", name="Without models")
    await page.goto("/admin/monitor/")
    summary = page.get_by_text("Not asked at all: 1")
    await summary.click()
    first = await page.locator("[data-live-at]").text_content()
    await expect(page.locator("[data-live-at]")).not_to_have_text(first, timeout=REFRESHED_MS)
    await expect(page.get_by_text("it has no models")).to_be_visible()


async def test_a_pause_holds(page):
    await page.goto("/admin/monitor/")
    async with page.expect_request("**/monitor/?live*", timeout=REFRESHED_MS):
        pass
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Go on")).to_be_visible()
    async with page.expect_request("**/monitor/?live*"):
        await page.get_by_role("button", name="Go on").click()


async def test_a_server_that_does_not_answer_is_said_plainly(browser, server):
    # In a browser of its own: the console complains of the connection.
    page = await (await browser.new_context(base_url=server.url)).new_page()
    await sign_in(page)
    await page.goto("/admin/monitor/")
    at = await page.locator("[data-live-at]").text_content()
    await page.route("**/monitor/?live*", lambda route: route.abort())
    trouble = page.get_by_role("status")
    await expect(trouble).to_have_text(f"Not refreshed since {at}: the server does not answer.", timeout=REFRESHED_MS)
    await page.unroute("**/monitor/?live*")
    await expect(trouble).to_be_empty(timeout=20_000)


async def test_who_is_signed_out_meanwhile_is_told_so(browser, server):
    context = await browser.new_context(base_url=server.url)
    page = await context.new_page()
    await sign_in(page)
    await page.goto("/admin/monitor/")
    await context.clear_cookies()
    await expect(page.get_by_role("status")).to_contain_text("you are signed out", timeout=REFRESHED_MS)


async def test_a_hidden_page_asks_for_nothing(page):
    await page.goto("/admin/monitor/")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "live" in request.url else None)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    await page.evaluate(f"{hide % 'true'}; {change}")
    # Longer than a refresh takes to come; that nothing happens can only be waited for.
    await page.wait_for_timeout(6000)
    assert asked == []
    async with page.expect_request("**/monitor/?live*", timeout=2000):
        await page.evaluate(f"{hide % 'false'}; {change}")


async def test_an_answer_is_stopped_by_keyboard(page, server):
    async with server.connect("s") as socket:
        await socket.send(message="Hi", model=f"sim:{MODEL}")
        reply = (await socket.until_text("word3 "))[-1]["replyId"]
        await page.goto(f"/admin/monitor/processes/{reply}/stop/")
        await page.get_by_role("button", name="Stop it").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".messagelist")).to_contain_text("Stopped.")
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "stopped"


async def test_the_history_is_drawn_and_its_lines_have_values(page):
    await page.goto("/admin/monitor/history/?span=1h&measure=memory")
    await expect(page.locator("[data-chart] canvas")).to_be_visible()
    box = await page.locator(".u-over").bounding_box()
    await page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 50)
    await expect(page.locator(".u-legend")).to_contain_text("MB")
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("[data-chart] canvas")).to_have_count(1)


async def test_everything_but_the_refresh_works_without_scripts(browser, server):
    context = await browser.new_context(base_url=server.url, java_script_enabled=False)
    page = await context.new_page()
    await sign_in(page)
    await page.get_by_role("link", name="Monitor", exact=True).first.click()
    await expect(page.locator(".verdict")).to_contain_text("Needs attention")
    await expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    await expect(page.get_by_text("refreshed every 5 seconds")).not_to_be_visible()
    await db(make_reply, "mallory", ending="cut", error="It was cut just now.")
    await page.get_by_role("link", name="Reload").click()
    await page.get_by_role("link", name="It was cut just now.").click()
    await expect(page.get_by_role("heading", name="Time line")).to_be_visible()
    await page.goto("/admin/monitor/history/?span=1h")
    await expect(page.locator("svg.lines")).to_be_visible()
    await page.goto("/admin/monitor/processes/")
    await page.get_by_label("User").fill("bob")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
