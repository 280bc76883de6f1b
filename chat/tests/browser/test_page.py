"""The page in a real browser, against a real server, the real aichat and the simulator."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.async_api import Route, WebSocket, expect

from chat.models import Conversation, Message, SiteSettings
from chat.money import describe_cost
from chat.tests.browser.pages import (
    BROWSER,
    ECHO,
    LONG,
    SHORT,
    SLOW,
    network_returns,
    pieces,
    replies,
    say,
    shown_text,
    stored,
    text_of,
    until_ended,
    until_text,
    whole,
)
from providers.models import Model, Price, Provider
from sasha.testing import server_process

pytestmark = BROWSER


async def test_an_answer_grows_before_the_eyes_and_is_stored_as_shown(page):
    await say(page, "Count the words", SLOW)
    await until_text(page, "word3 ")
    early = await text_of(page)
    await until_text(page, "word40 ")
    assert whole(SLOW).startswith(early)
    assert len(early) < len(await text_of(page)) < len(whole(SLOW))
    await until_ended(page)
    row = await stored(page)
    assert await text_of(page) == row.text == whole(SLOW)
    assert (row.state, row.ending) == ("ended", "complete")
    assert page.url.endswith(f"/c/{row.conversation_id}/")
    assert await page.input_value("[data-composer]") == ""
    await expect(page.locator("[data-conversations] a[aria-current]")).to_have_text("Count the words")
    await expect(page).to_have_title("Count the words · Sasha Studio")


async def test_what_stands_under_an_answer_is_the_same_after_a_reload(page):
    await SiteSettings.objects.acreate(failover="off")
    for number, model in enumerate((SHORT, "sim-n20-at5-cut", "sim-n10-gap20-reasoning"), start=1):
        await say(page, "Hello", model)
        await until_ended(page, number)
    live = await shown_text(page)
    assert "tokens out" in live
    assert "The connection to the provider ended in the middle of the answer." in live
    await page.reload()
    assert await shown_text(page) == live


async def test_stop_ends_the_answer_and_its_process(page, server):
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    await expect(page.locator("[data-send]")).to_be_hidden()
    await page.click("[data-stop]")
    await until_ended(page)
    row = await stored(page)
    assert row.ending == "stopped"
    assert await text_of(page) == row.text
    await expect(page.locator("[data-badge]:visible")).to_have_text("The answer was stopped.")
    await expect(page.locator("[data-stop]")).to_be_hidden()
    # Where the button was, the keyboard goes on.
    await expect(page.locator("[data-composer]")).to_be_focused()
    assert server.children() == []


async def test_nothing_is_missing_after_reloads_in_the_middle(page):
    await say(page, "Hello", SLOW)
    for word in ("word5 ", "word30 ", "word60 "):
        await until_text(page, word)
        await page.reload()
    await until_ended(page)
    assert await text_of(page) == (await stored(page)).text == whole(SLOW)


async def test_a_second_tab_shows_the_same_and_may_stop(page, context):
    await say(page, "From the first", SHORT)
    await until_ended(page)
    second = await context.new_page()
    await second.goto(page.url)
    await say(page, "More", LONG)
    await until_text(second, "More")
    await expect(replies(second, "running")).to_have_count(1)
    await expect(replies(second).nth(1).locator("[data-text]")).to_contain_text("word9 ")
    await second.click("[data-stop]")
    await until_ended(page, 2)
    await until_ended(second, 2)
    assert await text_of(page) == await text_of(second) == (await stored(page)).text
    await say(second, "From the second", SHORT)
    await until_ended(page, 3)
    await until_text(page, "From the second")
    shown = "turns => turns.map(turn => turn.dataset.id)"
    assert await page.locator("[data-message]").evaluate_all(shown) == await second.locator(
        "[data-message]"
    ).evaluate_all(shown)


async def test_a_message_sent_meanwhile_waits_its_turn(page):
    await say(page, "First", SLOW)
    await until_text(page, "word3 ")
    await say(page, "Second", SHORT)
    await expect(replies(page, "queued")).to_have_count(1)
    await until_text(page, "Waiting for its turn")
    await until_ended(page, 2)
    assert await text_of(page, 0) == whole(SLOW)
    assert await text_of(page, 1) == whole(SHORT)
    roles = await page.locator("[data-message]").evaluate_all("turns => turns.map(turn => turn.dataset.role)")
    assert roles == ["user", "assistant", "user", "assistant"]


async def test_after_a_crash_of_the_server_the_page_comes_back_by_itself(page, server):
    await say(page, "Hello", LONG)
    await until_text(page, "word20 ")
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    await expect(page.locator("[data-status]")).to_contain_text("Reconnecting")
    await say(page, "Written while nobody listened", ECHO)
    with server_process(PORT=str(server.port)):
        await until_ended(page, 2)
        await expect(page.locator("[data-status]")).to_be_hidden()
        row = await stored(page, 0)
        assert row.ending == "interrupted"
        assert await text_of(page, 0) == row.text
        assert await text_of(page, 1) == "Written while nobody listened"
        assert await Message.objects.filter(text="Written while nobody listened", role="user").acount() == 1


async def test_what_others_wrote_meanwhile_is_there_after_reconnecting(page, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    last = await stored(page)
    await asyncio.to_thread(server.stop, signal.SIGKILL)
    question = await Message.objects.acreate(
        conversation_id=last.conversation_id, role="user", text="From elsewhere", parent=last
    )
    reply = await Message.objects.acreate(
        conversation_id=last.conversation_id, role="assistant", text="Seen", parent=question, ending="complete"
    )
    await Conversation.objects.aupdate(current_leaf=reply)
    with server_process(PORT=str(server.port)):
        await until_ended(page, 2)
    turns = await page.locator("[data-message] [data-parts]").all_text_contents()
    assert turns == ["Hello", whole(SHORT), "From elsewhere", "Seen"]


@pytest.mark.parametrize("server", [{"CHAT_SOCKETS_PER_USER": "1"}], indirect=True)
async def test_a_page_too_many_says_so_and_asks_less_and_less(page, context):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    second = await context.new_page()
    tries: asyncio.Queue[float] = asyncio.Queue()
    second.on("websocket", lambda _: tries.put_nowait(asyncio.get_running_loop().time()))
    fetched = []
    second.on("request", lambda request: fetched.append(request) if request.resource_type == "fetch" else None)
    await second.goto(page.url)
    await expect(second.locator("[data-status]")).to_contain_text("You have 1 connections open; no more are allowed.")
    times = [await tries.get() for _ in range(5)]
    # 250 ms doubled three times, and at least half of that; without doubling it is never more than 313 ms.
    assert times[4] - times[3] > 0.9
    assert fetched == []
    refusals: asyncio.Queue[object] = asyncio.Queue()
    second.on("websocket", lambda socket: socket.on("close", refusals.put_nowait))
    await page.close()
    connected = asyncio.ensure_future(expect(second.locator("[data-status]")).to_be_hidden())
    while not connected.done():
        # The server may hear of the closed page only after the next try: then another is due as soon as it is refused.
        await network_returns(second)
        refused = asyncio.ensure_future(refusals.get())
        await asyncio.wait([connected, refused], return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
    await connected
    await say(second, "More", SHORT)
    await until_ended(second, 2)


async def test_an_answer_that_ends_while_a_page_catches_up_ends_there_too(page, context):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    second = await context.new_page()
    said, ended = asyncio.Event(), asyncio.Event()

    async def start_late(route: Route) -> None:
        await said.wait()
        await route.continue_()

    async def arrive_late(route: Route) -> None:
        response = await route.fetch()
        await page.click("[data-stop]")
        await ended.wait()
        await route.fulfill(response=response)

    def look(frame: str | bytes) -> None:
        if json.loads(frame)["type"] == "complete":
            ended.set()

    def watch(socket: WebSocket) -> None:
        socket.on("framereceived", look)

    second.on("websocket", watch)
    await second.route("**/main*.js", start_late)
    await second.goto(page.url, wait_until="commit")
    await second.route(page.url, arrive_late)
    await say(page, "More", LONG)
    await until_text(page, "More")
    await expect(replies(page).nth(1).locator("[data-text]")).to_contain_text("word5 ")
    said.set()
    await until_ended(second, 2)
    assert ended.is_set()
    assert await text_of(second) == (await stored(page)).text
    await expect(second.locator("[data-stop]")).to_be_hidden()


async def test_a_connection_that_hangs_is_replaced(context, server):
    page = await context.new_page()
    await page.clock.install()
    await page.goto("/")
    await say(page, "Hello", SHORT)
    await until_ended(page)
    # From here on everything is accepted by the kernel, and nothing is answered.
    server.process.send_signal(signal.SIGSTOP)
    async with page.expect_event("websocket"):
        await network_returns(page)
        await page.clock.fast_forward(3000)
    await expect(page.locator("[data-status]")).to_contain_text("Reconnecting")
    # The next one does not get through its handshake. Another network is a reason not to wait for it,
    async with page.expect_event("websocket"):
        await network_returns(page)
    # and so is time.
    async with page.expect_event("websocket"):
        await page.clock.fast_forward(10_000)
    server.process.send_signal(signal.SIGCONT)
    await expect(page.locator("[data-status]")).to_be_hidden()
    await say(page, "More", SHORT)
    await until_ended(page, 2)


async def test_stop_without_a_connection_is_kept_for_the_next(context, server):
    page = await context.new_page()
    await page.clock.install()
    await page.goto("/")
    await say(page, "Hello", LONG)
    await until_text(page, "word5 ")
    server.process.send_signal(signal.SIGSTOP)
    await network_returns(page)
    await page.clock.fast_forward(3000)
    await expect(page.locator("[data-status]")).to_contain_text("Reconnecting")
    await page.click("[data-stop]")
    server.process.send_signal(signal.SIGCONT)
    await until_ended(page)
    assert (await stored(page)).ending == "stopped"


async def test_a_page_that_gets_no_frames_keeps_up(page):
    # What happens to a page that is hidden between asking for a frame and getting it.
    await page.evaluate("requestAnimationFrame = () => 0")
    await say(page, "Hello", SHORT)
    await until_ended(page)
    assert await text_of(page) == whole(SHORT)


async def test_a_refused_message_comes_back_to_the_composer(page):
    await say(page, "Not \0 storable")
    await expect(page.locator("[data-status]")).to_have_text("The field 'message' holds a NUL character.")
    assert await page.input_value("[data-composer]") == "Not \0 storable"
    await expect(page.locator("[data-message]")).to_have_count(0)
    await expect(page.locator("[data-empty]")).to_be_visible()


async def test_what_reads_like_an_attack_comes_back_with_the_way_to_ask_it(page):
    await say(page, "test; rm -rf /")
    await expect(page.locator("[data-status]")).to_contain_text("put it in a code block")
    assert await page.input_value("[data-composer]") == "test; rm -rf /"
    await expect(page.locator("[data-message]")).to_have_count(0)
    await say(page, "```\ntest; rm -rf /\n```", ECHO)
    await until_ended(page)
    await expect(page.locator("[data-status]")).to_be_hidden()


async def test_a_message_that_is_too_long_stays_where_it_is(page):
    await page.fill("[data-composer]", "x" * 32_007)
    await page.press("[data-composer]", "Enter")
    await expect(page.locator("[data-counter]")).to_have_text("7 characters too long")
    assert len(await page.input_value("[data-composer]")) == 32_007


async def test_drafts_and_models_outlive_the_page(page):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.fill("[data-composer]", "half a tho")
    await page.reload()
    assert await page.input_value("[data-composer]") == "half a tho"
    assert await page.input_value("[data-model]") == f"sim:{SHORT}"
    await page.goto("/")
    assert await page.input_value("[data-composer]") == ""


async def test_enter_sends_and_shift_enter_does_not(page):
    await page.select_option("[data-model]", f"sim:{ECHO}")
    await page.focus("[data-composer]")
    await page.keyboard.type("one")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("two")
    await expect(page.locator("[data-message]")).to_have_count(0)
    await page.keyboard.press("Enter")
    await until_ended(page)
    assert await text_of(page) == "one\ntwo"


async def test_what_a_model_says_never_becomes_html(page):
    # As a question, which the input policy lets pass.
    nasty = "What is <img src=x onerror=\"document.title='x'\"><script>document.title='x'</script> &amp; **b**"
    await say(page, nasty, ECHO)
    await until_ended(page)
    assert await text_of(page) == nasty
    await expect(page.locator("[data-messages] img, [data-messages] script")).to_have_count(0)


async def test_the_page_follows_the_text_only_for_a_reader_at_the_bottom(page):
    await say(page, "Hello", "sim-n600-gap5")
    await until_text(page, "word300 ")
    at_bottom = "document.documentElement.scrollHeight - innerHeight - scrollY < 60"
    assert await page.evaluate(at_bottom)
    await page.mouse.move(640, 300)
    await page.mouse.wheel(0, -300)
    await expect(page.locator("[data-jump]")).to_be_visible()
    before = await page.evaluate("scrollY")
    await until_text(page, "word400 ")
    assert await page.evaluate("scrollY") == before
    await page.click("[data-jump]")
    await until_ended(page)
    assert await page.evaluate(at_bottom)
    await expect(page.locator("[data-jump]")).to_be_hidden()


async def test_screen_readers_hear_the_status_and_the_whole_answer_once(page):
    await say(page, "Hello", SHORT)
    await expect(page.locator("[role=status]")).to_contain_text("The answer is being written.")
    await until_ended(page)
    await expect(page.locator("[role=status]")).to_contain_text("The answer is complete.")
    assert await page.locator("[role=log]").text_content() == whole(SHORT).strip()
    await expect(page.locator("[data-messages][aria-live], [data-messages] [aria-live]")).to_have_count(0)


async def test_without_scripts_everything_stored_can_be_read(page, browser, context, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    state = await context.storage_state()
    scriptless = await browser.new_context(java_script_enabled=False, storage_state=state)
    reader = await scriptless.new_page()
    await reader.goto(page.url)
    await expect(reader.get_by_text(whole(SHORT).strip())).to_be_visible()
    await expect(reader.locator("noscript .status")).to_be_visible()
    await expect(reader.locator("[data-composer]")).to_be_hidden()
    await scriptless.close()


async def test_a_phone_has_a_drawer_and_room_for_fingers(page, browser, context, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    state = await context.storage_state()
    phone = await browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, storage_state=state
    )
    small = await phone.new_page()
    await small.goto(page.url)
    await expect(small.locator("[data-sidebar]")).to_be_hidden()
    assert await small.evaluate("document.documentElement.scrollWidth") == 390
    await small.locator("header [popovertarget=sidebar]").tap()
    await expect(small.locator("[data-conversation]")).to_be_visible()
    sizes = (
        "all => all.filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 60), e.getBoundingClientRect()])"
    )
    found = await small.locator("button, select, a:not(.skip), textarea").evaluate_all(sizes)
    assert [html for html, box in found if box["height"] < 44] == []
    await phone.close()


# --- Several providers ------------------------------------------------------------------------------------------------

CUT, GOOD = "sim-n6-cut-at3", "sim-n12-gap20"
SEAM = f"First {CUT}: the connection to the provider ended in the middle of the answer. Second {GOOD} continues."


async def test_a_seam_is_shown_where_it_happened_and_is_the_same_after_a_reload(page, add):
    await add("first", CUT)
    await add("second", GOOD, 20)
    await say(page, "Hello")
    await until_ended(page)
    notice = page.locator("[data-notice]")
    await expect(notice).to_have_text(SEAM)
    await expect(page.get_by_role("note")).to_have_count(1)
    parts = await replies(page).locator("[data-text]").all_text_contents()
    assert parts == ["word0 word1 word2 ", whole(GOOD).removeprefix("word0 word1 word2 ")]
    assert SEAM in (await page.locator("[role=log]").text_content())
    live = await pieces(page)
    await page.reload()
    assert await pieces(page) == live


async def test_who_is_asked_whether_another_should_continue_presses_a_button(page, add, context):
    await add("first", CUT)
    await add("second", GOOD, 20)
    await SiteSettings.objects.acreate(failover="ask")
    await page.reload()
    await say(page, "Hello")
    await until_ended(page)
    button = page.get_by_role("button", name=f"Continue with Second {GOOD}")
    await expect(button).to_be_visible()
    live = await pieces(page)
    await page.reload()
    assert await pieces(page) == live
    second = await context.new_page()
    await second.goto(page.url)
    await button.focus()
    await page.keyboard.press("Enter")
    await until_ended(page, 2)
    await expect(page.locator("[data-composer]")).to_be_focused()
    await expect(button).to_have_count(0)
    assert await text_of(page, 0) + await text_of(page, 1) == whole(GOOD)
    row = await stored(page)
    assert (row.continues, row.provider, row.requested_model) == (True, "second", f"second:{GOOD}")
    await until_ended(second, 2)
    live = await shown_text(page)
    for shown in (page, second):
        await expect(shown.locator(".turn-continues")).to_have_count(1)
        assert await shown_text(shown) == live
    await page.reload()
    assert await shown_text(page) == live


async def test_an_answer_cannot_be_continued_while_another_is_written(page, add):
    await add("first", CUT)
    await add("second", GOOD, 20)
    await SiteSettings.objects.acreate(failover="ask")
    await say(page, "Hello")
    await until_ended(page)
    await expect(page.locator("[data-continue]")).to_be_visible()
    await say(page, "More", LONG)
    await until_text(page, "More")
    await expect(page.locator("[data-continue]")).to_be_hidden()
    await page.click("[data-stop]")
    await until_ended(page, 2)
    await expect(page.locator("[data-continue]")).to_be_hidden()


async def test_how_an_answer_was_made_opens_by_keyboard(page, add):
    await add("first", "sim-http500")
    await add("second", GOOD, 20)
    await say(page, "Hello")
    await until_ended(page)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    summary = page.get_by_text("How was this answered?")
    await summary.focus()
    await page.keyboard.press("Enter")
    story = page.locator("[data-story]")
    await expect(story.locator("[data-attempt]")).to_have_count(2)
    first, second = await story.locator("[data-attempt]").all_inner_texts()
    assert "1. First sim-http500 first:sim-http500" in first
    assert "HTTP 500" in first
    assert f"2. Second {GOOD} second:{GOOD}" in second
    assert "The answer is whole." in second
    await summary.press("Enter")
    await expect(story).to_be_hidden()
    await summary.press("Enter")
    await expect(story).to_be_visible()
    assert len(requests) == 1
    await page.goto(requests[0])
    await expect(page.locator("[data-attempt]")).to_have_count(2)


async def test_without_an_answer_of_the_server_the_story_is_a_link(page, server):
    await say(page, "Hello", SHORT)
    await until_ended(page)
    await page.route("**/attempts", lambda route: route.fulfill(body="Something else"))
    await page.get_by_text("How was this answered?").click()
    link = page.get_by_role("link", name="Read it on a page of its own")
    await expect(link).to_be_visible()
    assert (await link.get_attribute("href")).endswith(f"/replies/{(await stored(page)).pk}/attempts")


async def test_only_this_model_is_sent_and_remembered(page, add):
    await add("first", "sim-http500")
    only = page.get_by_label("Only this model")
    await expect(only).to_be_disabled()
    await page.reload()
    await page.select_option("[data-model]", "first:sim-http500")
    await page.focus("[data-model]")
    await page.keyboard.press("Tab")
    await expect(only).to_be_focused()
    await page.keyboard.press("Space")
    await say(page, "Hello")
    await until_ended(page)
    row = await stored(page)
    assert (row.ending, row.only_model, row.attempts) == ("provider_error", True, 1)
    await page.reload()
    assert await only.is_checked()
    await page.select_option("[data-model]", "")
    await expect(only).to_be_disabled()
    await say(page, "Again", SHORT)
    await until_ended(page, 2)
    row = await stored(page)
    assert (row.ending, row.only_model) == ("complete", False)


async def test_a_model_that_is_paused_cannot_be_chosen_and_says_why(page, add):
    until = timezone.now() + timedelta(minutes=5)
    await add("ill", "m", breaker="open", open_until=until, open_reason="The provider cannot be reached.")
    await page.reload()
    option = page.locator("[data-model] option[value='ill:m']")
    await expect(option).to_be_disabled()
    await expect(page.locator("optgroup[label^='Ill · paused until ']")).to_have_count(1)
    described = await page.locator("[data-model]").get_attribute("aria-describedby")
    await expect(page.locator(f"#{described}")).to_contain_text("Ill: paused until ")


async def test_the_choice_of_models_follows_what_happens(page, add):
    await add("first", "sim-http401")
    await page.reload()
    option = page.locator("[data-model] option[value='first:sim-http401']")
    await expect(option).to_be_enabled()
    await say(page, "Hello", "")
    await page.select_option("[data-model]", "first:sim-http401")
    await until_ended(page)
    await expect(option).to_be_disabled()
    assert await page.input_value("[data-model]") == "first:sim-http401"
    await Provider.objects.filter(slug="first").aupdate(breaker="closed", open_until=None)
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(option).to_be_enabled()


async def test_what_follows_a_break_is_chosen_before_the_first_message_and_kept(page, add):
    await add("first", CUT)
    await add("second", GOOD, 20)
    await page.get_by_role("link", name="Instructions and parameters").click()
    sheet = page.get_by_role("dialog", name="Instructions and parameters")
    choice = sheet.get_by_label("If an answer breaks off")
    await choice.select_option(label="leave it as it is")
    await sheet.get_by_role("button", name="Save").click()
    await expect(sheet).to_be_hidden()
    await say(page, "Hello")
    await until_ended(page)
    row = await stored(page)
    assert (row.ending, row.attempts, row.text) == ("cut", 1, "word0 word1 word2 ")
    await page.get_by_role("link", name="Instructions and parameters").click()
    await expect(choice).to_have_value("off")


async def test_before_the_first_word_the_page_says_whom_it_waits_for(page, add):
    await add("first", "sim-stall-at0", name="Sim A")
    await page.reload()
    await say(page, "Hello")
    wait = replies(page, "running").locator("[data-wait]")
    await expect(wait).to_have_text("Waiting for Sim A")
    await expect(page.locator("[role=status]")).to_contain_text("Waiting for Sim A.")
    await page.reload()
    await expect(wait).to_have_text("Waiting for Sim A")
    await page.click("[data-stop]")
    await until_ended(page)
    await page.select_option("[data-model]", f"sim:{LONG}")
    await say(page, "More")
    await until_text(page, "word3 ")
    await expect(wait).to_have_text("Writing")
    await page.click("[data-stop]")
    await until_ended(page, 2)


async def test_the_conversations_total_grows_with_its_answers(page, server):
    model = await Model.objects.aget(name=SHORT)
    await Price.objects.acreate(model=model, input=1, output=1000)
    shown = page.locator("[data-total]")
    await expect(shown).to_have_count(0)
    await say(page, "Hello", SHORT)
    await until_ended(page)
    cost = describe_cost((await stored(page)).cost_usd, "reported", 1)
    await expect(shown).to_have_text(f"This conversation: {cost}")
    assert cost in await page.locator("[data-facts]").inner_text()
    await say(page, "More", ECHO)
    await until_ended(page, 2)
    await expect(shown).to_have_text(f"This conversation: {cost} (1 answer of unknown cost)")
    await page.reload()
    await expect(shown).to_have_text(f"This conversation: {cost} (1 answer of unknown cost)")


async def test_the_page_writes_costs_as_the_server_does(page):
    amounts = [
        "1234.565",
        "999.995",
        "1",
        "0.99995",
        "0.01234",
        "0.00125",
        "0.00025",
        "0.001",
        "0.00099995",
        "0.000123",
    ]
    amounts += ["0.0000000125", "1.23000E-7", "0.000000000001", "0E-12", "12345678.5"]
    cases = [[amount, source, 1] for amount in amounts for source in ("reported", "estimated", "not billed")]
    describe = "cases => import('/static/js/facts.js').then(m => cases.map(c => m.describeCost(...c)))"
    assert await page.evaluate(describe, cases) == [describe_cost(Decimal(usd), *rest) for usd, *rest in cases]
    unknown = "import('/static/js/facts.js').then(m => [m.describeCost(undefined, 'unknown', 1), m.describeCost()])"
    assert await page.evaluate(unknown) == ["cost unknown", ""]
