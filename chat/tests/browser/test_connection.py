"""What becomes of a chat on a network that breaks things: through a real proxy that does."""

from __future__ import annotations

import asyncio
import signal

import pytest
import pytest_asyncio
from playwright.async_api import expect

from chat.database import db
from chat.models import Message
from chat.tests.browser.pages import (
    BROWSER,
    ECHO,
    LONG,
    MODELS,
    SHORT,
    SLOW,
    network_returns,
    replies,
    say,
    stored,
    text_of,
    until_ended,
    until_text,
    whole,
)
from chat.tests.browser.proxy import running_proxy
from sasha.testing import free_port, make_provider, server_process

pytestmark = BROWSER

PLAIN = "using plain HTTP instead"


@pytest.fixture
def proxy_port() -> int:
    return free_port()


@pytest_asyncio.fixture
async def server(transactional_db, simulator, proxy_port, request):
    """A server that knows the address of the proxy, unless a test says otherwise."""
    await db(make_provider, simulator.url("openai-compatible"), *MODELS)
    environment = {"ALLOWED_ORIGINS": f"http://127.0.0.1:{proxy_port}"} | getattr(request, "param", {})
    with server_process(**environment) as server:
        yield server


@pytest_asyncio.fixture
async def proxy(server, proxy_port):
    async with running_proxy(proxy_port, server.port) as proxy:
        yield proxy


@pytest.fixture
def open_page(context, proxy):
    async def open_page():
        page = await context.new_page()
        await page.goto(proxy.url)
        return page

    return open_page


def status(page):
    return page.locator("[data-status]")


async def test_with_sockets_blocked_the_whole_chat_works(open_page, proxy, context):
    proxy.refuses_sockets = True
    page = await open_page()
    await expect(status(page)).to_contain_text(f"Live connection is blocked here; {PLAIN}.")
    await say(page, "Hello", LONG)
    await until_text(page, "word3 ")
    early = await text_of(page)
    await until_text(page, "word40 ")
    assert len(early) < len(await text_of(page)) < len(whole(LONG))
    second = await context.new_page()
    await second.goto(page.url)
    await say(page, "Second", SHORT)
    await until_text(second, "Second")
    await expect(replies(second, "queued")).to_have_count(1)
    await second.click("[data-stop]")
    await until_ended(page, 2)
    await until_ended(second, 2)
    assert (await stored(page, 0)).ending == "stopped"
    assert await text_of(page, 0) == await text_of(second, 0) == (await stored(page, 0)).text
    assert await text_of(page) == await text_of(second) == whole(SHORT)
    link = page.get_by_role("link", name="What can I do?")
    await link.click()
    await expect(page.locator("#refused")).to_be_in_viewport()


async def test_the_page_returns_to_the_socket_in_the_middle_of_an_answer(open_page, proxy):
    proxy.refuses_sockets = True
    page = await open_page()
    await expect(status(page)).to_contain_text(PLAIN)
    await say(page, "Hello", SLOW)
    await until_text(page, "word10 ")
    proxy.refuses_sockets = False
    async with page.expect_websocket():
        await network_returns(page)
    await expect(status(page)).to_be_hidden()
    await until_ended(page)
    assert await text_of(page) == (await stored(page)).text == whole(SLOW)
    await say(page, "More", ECHO)
    await until_ended(page, 2)


async def test_a_socket_that_is_held_back_is_replaced(open_page, proxy):
    proxy.holds_sockets = True
    page = await open_page()
    await expect(status(page)).to_contain_text(
        f"Something on the way holds back the live connection; {PLAIN}.", timeout=20_000
    )
    await say(page, "Hello", SLOW)
    await until_text(page, "word3 ")
    await until_ended(page)
    assert await text_of(page) == whole(SLOW)


async def test_where_streams_are_held_back_too_they_are_short(open_page, proxy):
    proxy.holds_sockets = proxy.holds_streams = True
    page = await open_page()
    await expect(status(page)).to_contain_text(PLAIN, timeout=20_000)
    await say(page, "Hello", SLOW)
    await until_ended(page)
    assert await text_of(page) == (await stored(page)).text == whole(SLOW)


async def test_a_socket_that_lags_is_replaced(open_page, proxy):
    proxy.delay = 2
    page = await open_page()
    await expect(status(page)).to_contain_text("holds back", timeout=20_000)


@pytest.mark.parametrize("server", [{"ALLOWED_ORIGINS": ""}], indirect=True)
async def test_an_address_that_the_server_does_not_know_is_named(open_page, proxy):
    page = await open_page()
    await expect(status(page)).to_contain_text(
        f"The server does not accept pages from {proxy.url}: it is missing in the setting ALLOWED_ORIGINS."
    )
    await say(page, "Hello", SHORT)
    await until_ended(page)


async def test_a_proxy_that_removes_the_origin_is_found_out(open_page, proxy):
    proxy.removes = {"origin"}
    page = await open_page()
    await expect(status(page)).to_contain_text("Something on the way removes the header Origin")
    await say(page, "Hello", SHORT)
    await until_ended(page)
    conversation = (await Message.objects.select_related("conversation__owner").afirst()).conversation
    assert conversation.owner.username.startswith("guest-")


async def test_a_device_that_is_offline_says_so(open_page, proxy, context):
    page = await open_page()
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await context.set_offline(True)
    proxy.cut()
    await expect(status(page)).to_contain_text("This device is offline. Reconnecting… What you send meanwhile is kept.")
    await context.set_offline(False)
    await expect(status(page)).to_be_hidden()


async def test_what_is_cancelled_without_a_connection_is_cancelled_with_the_next(open_page, proxy, context):
    page = await open_page()
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    await say(page, "Never mind", ECHO)
    await until_text(page, "Waiting for its turn")
    await context.set_offline(True)
    proxy.cut()
    await expect(status(page)).to_contain_text("This device is offline.")
    await page.get_by_role("button", name="Cancel").click()
    await context.set_offline(False)
    await expect(page.locator("[data-composer]")).to_have_value("Never mind")
    await expect(page.locator("[data-messages]")).not_to_contain_text("Never mind")
    await page.click("[data-stop]")
    await until_ended(page)


async def test_a_server_that_is_down_says_so(open_page, server, proxy):
    page = await open_page()
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    await expect(status(page)).to_contain_text("The server cannot be reached. Reconnecting…")
    await expect(status(page)).to_have_attribute("data-state", "down")


async def test_who_is_signed_out_is_told_to_sign_in(open_page, context, proxy):
    page = await open_page()
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await context.clear_cookies()
    proxy.cut()
    await expect(status(page)).to_contain_text("You are no longer signed in.")
    await expect(status(page).get_by_role("link")).to_have_attribute("href", "/help/connection#signed-out")


async def test_an_answer_comes_whole_through_a_proxy_that_cuts_again_and_again(open_page, proxy):
    proxy.cuts_after = 6000
    page = await open_page()
    await say(page, "Hello", "sim-n600-gap5")
    await until_ended(page)
    assert proxy.handshakes >= 3
    assert await text_of(page) == (await stored(page)).text == whole("sim-n600-gap5")
    assert await Message.objects.filter(role="user").acount() == 1


async def test_what_is_written_without_a_connection_outlives_the_page_and_is_sent_once(browser, proxy):
    # In a browser of its own: the console complains of what the proxy refuses.
    context = await browser.new_context(base_url=proxy.url)
    page = await context.new_page()
    await page.goto("/")
    proxy.refuses_sockets = proxy.refuses_api = True
    proxy.cut()
    await expect(status(page)).to_contain_text("Reconnecting")
    for message in ("one", "two", "three"):
        await say(page, message, ECHO)
    unsent = page.locator("[data-message]:has([data-unsent])")
    await expect(unsent).to_have_count(3)
    await page.reload()
    await expect(unsent).to_have_count(3)
    assert await unsent.locator("[data-text]").all_text_contents() == ["one", "two", "three"]
    second = await context.new_page()
    await second.goto(page.url)
    await expect(second.locator("[data-unsent]")).to_have_count(3)
    await unsent.nth(1).get_by_role("button", name="Remove").click()
    await expect(unsent).to_have_count(2)
    proxy.refuses_sockets = proxy.refuses_api = False
    await until_ended(page, 2)
    await until_ended(second, 2)
    await expect(page.locator("[data-unsent]")).to_have_count(0)
    await expect(second.locator("[data-unsent]")).to_have_count(0)
    for shown in (page, second):
        texts = await shown.locator("[data-message] [data-text]").all_text_contents()
        assert [text.strip() for text in texts] == ["one", "one", "three", "three"]
    said = Message.objects.filter(role="user").order_by("created_at")
    assert [message.text async for message in said] == ["one", "three"]
    await context.close()
