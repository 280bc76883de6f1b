from __future__ import annotations

import asyncio
import json
import uuid

import pytest
from django.db import OperationalError

from chat import replies, runner, viewing
from chat.database import db
from chat.models import Conversation, Message, PolicyMode, PolicyRule
from chat.policy import modes
from providers.aichat import LIVE
from sasha.testing import Socket, eventually, text_of

pytestmark = pytest.mark.django_db(transaction=True)
# The id of nothing.
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def kinds(frames: list[dict]) -> list[str]:
    """Return the types of the frames, runs of the same type as one."""
    names = [frame["type"] for frame in frames]
    return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]


async def stored(reply_id: str) -> Message:
    return await Message.objects.aget(pk=reply_id)


async def test_a_plain_script_gets_its_answers_one_after_the_other(site):
    async with Socket("test-0") as socket:
        for n in range(5):
            frames = await socket.say(f"question {n}", model="sim:sim-echo")
            assert kinds(frames) == (
                ["started", "title", "chunk", "complete"] if n == 0 else ["started", "chunk", "complete"]
            )
            assert text_of(frames) == f"question {n}"
            assert frames[-1]["metadata"]["ending"] == "complete"


async def test_the_answer_is_stored_with_its_numbers(site):
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="sim:sim-n5-reasoning")
    row = await stored(frames[-1]["replyId"])
    assert row.text == text_of(frames)
    assert row.reasoning == text_of(frames, "reasoning") != ""
    assert (row.state, row.ending, row.provider, row.model) == ("ended", "complete", "sim", "sim-n5-reasoning")
    metadata = frames[-1]["metadata"]
    assert row.output_tokens == metadata["usage"]["outputTokens"] > 0
    assert 0 <= row.reasoning_ms == metadata["reasoningMs"] <= metadata["firstTokenMs"]
    assert row.last_seq == frames[-1]["seq"]
    assert row.cost_usd is None
    assert "costUsd" not in metadata


async def test_a_model_that_nobody_configured_falls_back_with_a_notice(site):
    async with Socket("s") as socket:
        frames = await socket.say("Hi", model="openai:gpt-3.5-turbo")
    notice = next(frame for frame in frames if frame["type"] == "notice")
    assert (notice["seq"], notice["kind"], notice["oldModel"]) == (1, "fallback", "openai:gpt-3.5-turbo")
    assert notice["newModel"] == "sim:sim-echo"
    assert text_of(frames) == "Hi"
    row = await stored(frames[-1]["replyId"])
    assert row.notices[0]["reason"] == notice["reason"]


async def test_without_any_provider_the_error_says_so(site, provider):
    await provider.adelete()
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi")
    assert (error["code"], complete["metadata"]["ending"]) == ("not_started", "not_started")
    assert error["error"] == "The answer could not be started: no provider is set up."


async def test_a_failed_answer_is_an_error_and_then_complete(site):
    async with Socket("s") as socket:
        *_, error, complete = await socket.say("Hi", model="sim:sim-n6-cut-at3", onlyModel=True)
    assert (error["type"], error["code"], error["replyId"]) == ("error", "cut", complete["replyId"])
    assert complete["metadata"]["totalChars"] > 0


async def test_stop_works_while_text_flows(site, simulator):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-n400-gap10")
        started, *_ = await socket.until("chunk")
        await socket.send(type="stop", replyId=started["replyId"])
        frames = await socket.until("complete")
    assert frames[-1]["metadata"]["ending"] == "stopped"
    assert frames[-1]["metadata"]["chunks"] < 400
    assert not LIVE


async def test_a_second_tab_sees_the_same_stream(site):
    async with Socket("s") as one, Socket("s") as two:
        await two.send(type="hello")
        await two.until("hello")
        first = await one.say("Hi", model="sim:sim-n5")
        second = await two.until("complete")
    posted = next(frame for frame in second if frame["type"] == "posted")
    assert (posted["role"], posted["text"]) == ("user", "Hi")
    assert text_of(first) == text_of(second) != ""
    assert first[-1] == second[-1]


async def test_a_reload_in_mid_answer_shows_everything_and_goes_on_live(site):
    cookie_user = {"Origin": "http://127.0.0.1:8000", "Cookie": guest_cookie()}
    async with Socket("s", cookie_user) as before:
        await before.send(message="Hi", model="sim:sim-n400-gap10")
        started, *_ = await before.until_text("word4 ")
    async with Socket("s", cookie_user) as after:
        await after.send(type="hello")
        hello = await after.receive()
        assert hello["running"] == started["replyId"]
        frames = await after.until_text("word19 ")
        assert frames[0]["from"] == 1
        await after.send(type="stop", replyId=started["replyId"])
        frames += await after.until("complete")
    assert text_of(frames) == (await stored(started["replyId"])).text


async def test_the_answer_of_a_guest_goes_on_when_the_tab_closes(site):
    headers = {"Origin": "http://127.0.0.1:8000", "Cookie": guest_cookie()}
    async with Socket("s", headers) as socket:
        await socket.send(message="Hi", model="sim:sim-n5")
        started = await socket.receive()
    async with Socket("s", headers) as again:
        await again.send(type="hello", after={started["replyId"]: 0})
        frames = await again.until("complete")
    assert frames[-1]["metadata"]["ending"] == "complete"
    assert text_of(frames) == (await stored(started["replyId"])).text


async def test_a_setting_makes_every_close_stop_the_answer(site, settings):
    settings.CHAT_ON_CLOSE = "stop"
    headers = {"Origin": "http://127.0.0.1:8000", "Cookie": guest_cookie()}
    async with Socket("s", headers) as socket:
        await socket.send(message="Hi", model="sim:sim-n400-gap10")
        *_, chunk = await socket.until("chunk")
    await eventually(lambda: not LIVE, within=1.0)
    assert await ending_of(chunk["replyId"]) == "stopped"


async def test_a_script_that_cannot_come_back_takes_its_child_with_it(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        *_, chunk = await socket.until("chunk")
        assert LIVE
    await eventually(lambda: not LIVE, within=1.0)
    assert await ending_of(chunk["replyId"]) == "stopped"


async def test_a_second_message_waits_its_turn(site):
    async with Socket("s") as socket:
        await socket.send(message="one", model="sim:sim-n400-gap10")
        started = (await socket.until("chunk"))[0]
        await socket.send(message="two", model="sim:sim-echo")
        queued = (await socket.until("queued"))[-1]
        assert queued["position"] == 1
        assert (await stored(queued["replyId"])).state == "queued"
        await socket.send(type="stop", replyId=started["replyId"])
        await socket.until("complete", replyId=started["replyId"])
        frames = await socket.until("complete", replyId=queued["replyId"])
    assert text_of([frame for frame in frames if frame.get("replyId") == queued["replyId"]]) == "two"


async def test_a_waiting_message_can_be_stopped(site):
    async with Socket("s") as socket:
        await socket.send(message="one", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await socket.send(message="two", model="sim:sim-echo")
        queued = (await socket.until("queued"))[-1]
        await socket.send(type="stop", replyId=queued["replyId"])
        complete = (await socket.until("complete"))[-1]
    assert (complete["replyId"], complete["metadata"]["ending"]) == (queued["replyId"], "stopped")
    assert complete["metadata"]["attempts"] == 0


async def test_places_are_given_in_order_of_arrival(site, settings):
    settings.CHAT_PLACES = 1
    async with Socket("a") as a, Socket("b") as b, Socket("c") as c:
        await a.send(message="x", model="sim:sim-stall-at2")
        started = (await a.until("chunk"))[0]
        await b.send(message="x", model="sim:sim-n400-gap10")
        assert (await b.until("queued"))[-1]["position"] == 1
        await c.send(message="x", model="sim:sim-n5")
        assert (await c.until("queued"))[-1]["position"] == 2
        await a.send(type="stop", replyId=started["replyId"])
        assert (await c.until("queued"))[-1]["position"] == 1
        await b.until("chunk")


async def test_who_waits_too_long_for_a_place_is_told(site, settings):
    settings.CHAT_PLACES, settings.CHAT_QUEUE_SECONDS = 1, 0.1
    async with Socket("a") as a, Socket("b") as b:
        await a.send(message="x", model="sim:sim-stall-at2")
        await a.until("chunk")
        *_, error, complete = await b.say("x", model="sim:sim-n5")
    assert error["error"] == "The answer could not be started: the server is too busy; try again later."
    assert complete["metadata"]["ending"] == "not_started"


async def test_the_same_client_id_returns_the_same_reply(site, simulator):
    async with Socket("s") as socket:
        first = await socket.say("Hi", model="sim:sim-echo", clientId="c1")
        again = await socket.say("Hi", model="sim:sim-echo", clientId="c1")
    assert first[0]["replyId"] == again[0]["replyId"]
    assert text_of(again) == "Hi"
    assert await Message.objects.acount() == 2
    assert runner.current().find(uuid.UUID(first[0]["replyId"])) is None


async def test_the_model_is_sent_the_conversation_so_far(site, simulator):
    async with Socket("s") as socket:
        await socket.say("first question", model="sim:sim-echo")
        await socket.say("failing question", model="sim:sim-http500", onlyModel=True)
        await socket.say("last question", model="sim:sim-echo")
    sent = simulator.last["body"]["messages"]
    assert sent == [
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first question"},
        # The failed answer has no text, so its question and the next stand together.
        {"role": "user", "content": "failing question\n\nlast question"},
    ]


async def test_a_message_that_the_provider_refused_does_not_spoil_the_conversation(site, simulator):
    async with Socket("s") as socket:
        await socket.say("first", model="sim:sim-echo")
        refused = (await socket.say("far too long", model="sim:sim-http400context", onlyModel=True))[-1]
        assert refused["metadata"]["ending"] == "rejected"
        await socket.say("shorter", model="sim:sim-echo")
        assert [message["content"] for message in simulator.last["body"]["messages"]] == ["first", "first", "shorter"]
        # Asked for again, it is sent again: perhaps the other model has more room.
        await socket.say_frame("regenerate", messageId=refused["replyId"], model="sim:sim-echo")
    assert [message["content"] for message in simulator.last["body"]["messages"]] == ["first", "first", "far too long"]


async def test_the_history_arrives_exactly_as_it_was_written(site, simulator):
    odd = "\x01\x1b[31m\x7f\x85\x9f\u2028\u2029\ufeff\ufffe\uffff \u202e \U0001f600 é {{x}} # - : ' \" \\ \t\r\n\n end "
    await PolicyRule.objects.acreate(name="control_characters", mode=PolicyMode.OFF)
    await modes.keep_up()
    async with Socket("s") as socket:
        assert text_of(await socket.say(odd, model="sim:sim-echo")) == odd
        await socket.say("again", model="sim:sim-echo")
    assert [message["content"] for message in simulator.last["body"]["messages"]] == [odd, odd, "again"]


async def test_an_answer_can_be_asked_for_again_and_continued(site, simulator):
    async with Socket("s") as socket:
        cut = (await socket.say("Hi", model="sim:sim-n6-cut-at3", onlyModel=True))[-1]
        again = await socket.say_frame("regenerate", messageId=cut["replyId"], model="sim:sim-echo")
        assert text_of(again) == "Hi"
        more = await socket.say_frame("continue", messageId=cut["replyId"], model="sim:sim-n5")
    row = await stored(more[-1]["replyId"])
    async with Socket("s") as socket:
        assert [message["role"] for message in simulator.last["body"]["messages"]] == ["user", "assistant", "user"]
        await socket.say("thanks", model="sim:sim-echo")
    # An answer and its continuation are one to the model.
    partial = (await stored(cut["replyId"])).text
    assert [message["content"] for message in simulator.last["body"]["messages"]] == [
        "Hi",
        partial + row.text,
        "thanks",
    ]
    assert (str(row.parent_id), row.continues) == (cut["replyId"], True)
    assert more[0]["continues"] is True
    conversation = await Conversation.objects.aget()
    assert str(conversation.current_leaf_id) != cut["replyId"]


async def test_an_answer_without_a_word_is_asked_for_again_when_continued(site, simulator):
    async with Socket("s") as socket:
        failed = (await socket.say("Hi", model="sim:sim-http500", onlyModel=True))[-1]
        await socket.say_frame("continue", messageId=failed["replyId"], model="sim:sim-echo")
    assert [message["content"] for message in simulator.last["body"]["messages"]] == ["Hi"]


async def test_only_so_many_messages_wait(site, settings):
    settings.CHAT_WAITING_PER_CONVERSATION = 1
    async with Socket("s") as socket:
        await socket.send(message="one", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await socket.send(message="two")
        await socket.until("queued")
        await socket.send(message="three", clientId="c3")
        error = (await socket.until("error"))[-1]
    assert (error["code"], error["clientId"]) == ("too_many", "c3")
    assert await Message.objects.acount() == 4
    settings.CHAT_WAITING = 0
    async with Socket("other") as socket:
        await socket.send(message="four")
        assert (await socket.receive())["code"] == "too_many"


async def test_an_ending_is_stored_as_soon_as_the_database_is_back(site, monkeypatch):
    store_ending, failures = replies.store_ending, []

    def fail_twice(*args):
        if len(failures) < 2:
            failures.append(args)
            raise OperationalError("database is locked")
        store_ending(*args)

    monkeypatch.setattr(replies, "STORE_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(replies, "store_ending", fail_twice)
    async with Socket("s") as socket:
        complete = (await socket.say("Hi", model="sim:sim-n5"))[-1]
    assert len(failures) == 2
    assert complete["metadata"]["ending"] == "complete"
    assert complete["metadata"]["usage"]["outputTokens"] == 5


async def test_a_viewer_whose_frames_fail_is_closed_so_that_it_comes_back(site, monkeypatch):
    def fail(*_):
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(viewing, "last_frames", fail)
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-n5")
        closing = (await socket.until("closing"))[-1]
        assert closing["code"] == await socket.receive_close() == 4500


async def test_what_is_stored_while_the_server_stops_starts_no_child(site):
    async with Socket("s") as socket:
        await socket.send(message="one", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await socket.send(message="two", model="sim:sim-stall-at2")
        draining = asyncio.create_task(runner.current().drain(0))
        frames = await socket.until("complete")
        if any(frame["type"] == "started" for frame in frames):
            frames += await socket.until("complete")
        await asyncio.wait_for(draining, 5)
    assert {frame["metadata"]["ending"] for frame in frames if frame["type"] == "complete"} == {"interrupted"}
    assert not LIVE


async def test_the_frame_that_introduces_a_reply_names_its_model(site):
    async with Socket("s") as socket:
        started = (await socket.say("Hi", model="sim:sim-n5"))[0]
    assert (started["provider"], started["model"]) == ("sim", "sim-n5")


async def test_parameters_reach_the_provider(site, simulator):
    async with Socket("s") as socket:
        await socket.say("Hi", model="sim:sim-echo", parameters={"temperature": 0.1, "maxTokens": 9})
    body = simulator.last["body"]
    assert (body["temperature"], body["max_tokens"]) == (0.1, 9)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "bad_json"),
        ('{"message": 5}', "bad_frame"),
        ('{"type": "nonsense"}', "unknown_type"),
        ('{"message": " \\n "}', "empty_message"),
        (json.dumps({"message": "x" * 32_001}), "too_long"),
        ('{"message": "a\\u0000"}', "bad_text"),
        ('{"message": "a\\ud800"}', "bad_text"),
        (json.dumps({"message": "x", "clientId": "c" * 65}), "bad_frame"),
        (json.dumps({"message": "x", "model": "m" * 161}), "bad_frame"),
        (json.dumps({"message": "x", "parentId": UNKNOWN}), "not_found"),
        (json.dumps({"message": "x", "attachments": [{"name": "a"}]}), "bad_frame"),
        (json.dumps({"type": "stop", "replyId": UNKNOWN}), "not_found"),
        (json.dumps({"type": "attach", "replyId": UNKNOWN}), "not_found"),
        (json.dumps({"type": "regenerate", "messageId": UNKNOWN}), "not_found"),
    ],
)
async def test_bad_input_gets_one_error_and_the_socket_stays_usable(site, frame, code):
    async with Socket("s") as socket:
        await socket.send_text(frame)
        error = await socket.receive()
        assert (error["type"], error["code"]) == ("error", code)
        assert "replyId" not in error
        assert await Message.objects.acount() == 0
        assert text_of(await socket.say("still here", model="sim:sim-echo")) == "still here"


async def test_a_refusal_names_the_message_it_is_about(site):
    async with Socket("s") as socket:
        for message in (" ", 5, "a\0"):
            await socket.send(message=message, clientId="c1")
            assert (await socket.receive())["clientId"] == "c1"


async def test_binary_frames_are_refused(site):
    async with Socket("s") as socket:
        await socket.send_bytes(b"\xff\x00")
        assert (await socket.receive())["code"] == "bad_json"


async def test_ping_is_answered_while_text_flows(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await socket.send(type="ping", t=5)
        assert (await socket.until("pong"))[-1] == {"type": "pong", "t": 5}


async def test_a_stranger_cannot_see_stop_or_continue_an_answer(site):
    async with Socket("s") as alice:
        await alice.send(message="secret", model="sim:sim-stall-at2")
        reply_id = (await alice.until("chunk"))[0]["replyId"]
        async with Socket("s", {"Origin": "http://127.0.0.1:8000", "Cookie": guest_cookie()}) as bob:
            for frame in ({"type": "stop"}, {"type": "attach"}):
                await bob.send(**frame, replyId=reply_id)
                assert (await bob.receive())["code"] == "not_found"
            for kind in ("regenerate", "continue"):
                await bob.send(type=kind, messageId=reply_id)
                assert (await bob.receive())["code"] == "not_found"
            await bob.send(type="hello", after={reply_id: 0})
            hello = await bob.receive()
            assert "running" not in hello
            await bob.send(type="ping", t=1)
            assert (await bob.receive())["type"] == "pong"
    assert await ending_of(reply_id) == "stopped"


async def test_a_page_s_conversation_has_its_name_as_its_id(site):
    name = str(uuid.uuid4())
    async with Socket(name) as socket:
        await socket.say("Why is the sky blue?", model="sim:sim-n5")
    conversation = await Conversation.objects.aget()
    assert (str(conversation.id), conversation.title) == (name, "Why is the sky blue?")


async def test_a_conversation_deleted_in_mid_answer_ends_its_child(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        await socket.until("chunk")
        await Conversation.objects.all().adelete()
        await eventually(lambda: not LIVE)


async def test_a_socket_closed_while_its_message_is_stored_leaves_no_reply_behind(site):
    socket = Socket("s")
    async with socket:
        await socket.send(message="Hi", model="sim:sim-n5")
    await eventually(lambda: not runner.current()._begun and not runner.current()._waiting)
    async for message in Message.objects.all():
        assert message.state == "ended"


def guest_cookie() -> str:
    from django.core import signing

    from chat.identity import GUEST_COOKIE, SALT

    return f"{GUEST_COOKIE}={signing.dumps(uuid.uuid4().hex, salt=SALT)}"


async def ending_of(reply_id: str) -> str:
    """Return the ending of a reply, once it has one."""
    while (row := await db(Message.objects.get, pk=reply_id)).state != "ended":
        await asyncio.sleep(0.01)
    return row.ending
