"""Edit, answer again, cancel and delete over the socket, with the real aichat."""

from __future__ import annotations

import uuid

import pytest
from django.test import AsyncClient

from chat.models import Conversation, Message
from chat.tests.test_identity import ORIGIN
from chat.tests.test_socket import guest_cookie
from providers.aichat import LIVE
from providers.models import Attempt
from sasha.testing import Socket, eventually, text_of

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = "sim:sim-n400-gap10"


async def branch() -> list[str]:
    """Return the texts of the branch that is shown, of the only conversation."""
    conversation = await Conversation.objects.aget()
    texts, at = [], conversation.current_leaf_id
    while at:
        message = await Message.objects.aget(pk=at)
        texts.append(message.text)
        at = message.parent_id
    return texts[::-1]


def browser_with(cookie: str) -> AsyncClient:
    client = AsyncClient()
    client.cookies.load(cookie)
    return client


async def test_an_edit_is_a_new_branch_and_the_old_one_is_kept(site):
    async with Socket("s") as socket:
        first = (await socket.say("one", model="sim:sim-echo"))[0]
        await socket.say("two", model="sim:sim-echo")
        frames = await socket.say_frame(
            "edit", messageId=first["userMessageId"], message="uno", model="sim:sim-echo", clientId="e"
        )
        again = await socket.say_frame("edit", messageId=first["userMessageId"], message="uno", clientId="e")
    assert text_of(frames) == "uno"
    assert again[0]["replyId"] == frames[0]["replyId"]
    assert await branch() == ["uno", "uno"]
    assert await Message.objects.acount() == 6
    roots = Message.objects.filter(parent=None, role="user")
    assert {message.text async for message in roots} == {"one", "uno"}


async def test_an_edit_while_the_old_answer_runs_stops_that(site):
    async with Socket("s") as socket:
        await socket.send(message="Long", model=SLOW)
        started, *_ = await socket.until_text("word3 ")
        await socket.send(type="edit", messageId=started["userMessageId"], message="Short", model="sim:sim-echo")
        new = (await socket.until("started"))[-1]
        frames = await socket.until("complete", replyId=started["replyId"])
        assert frames[-1]["metadata"]["ending"] == "stopped"
        frames = await socket.until("complete", replyId=new["replyId"])
    assert frames[-1]["metadata"]["ending"] == "complete"
    assert await branch() == ["Short", "Short"]
    assert not LIVE


async def test_what_cannot_be_edited_is_refused(site):
    async with Socket("s") as socket:
        started, *_ = await socket.say("one", model="sim:sim-echo")
        for message_id, text, code in (
            (started["replyId"], "x", "not_found"),
            (str(uuid.uuid4()), "x", "not_found"),
            (started["userMessageId"], " ", "empty_message"),
        ):
            await socket.send(type="edit", messageId=message_id, message=text, clientId="e")
            error = await socket.receive()
            assert (error["type"], error["code"], error["clientId"]) == ("error", code, "e")


async def test_a_message_whose_answer_was_deleted_is_refused_when_it_comes_again(site):
    async with Socket("s") as socket:
        started, *_ = await socket.say("one", model="sim:sim-echo", clientId="c")
        await Message.objects.filter(pk=started["replyId"]).adelete()
        await socket.send(message="one", clientId="c")
        refused = await socket.receive()
    assert (refused["type"], refused["code"], refused["clientId"]) == ("error", "not_found", "c")


async def test_an_answer_to_nothing_cannot_be_asked_for_again(site):
    async with Socket("s") as socket:
        started, *_ = await socket.say("one", model="sim:sim-echo")
        # As in a file in which a conversation begins with an answer.
        await Message.objects.filter(pk=started["replyId"]).aupdate(parent=None)
        await socket.send(type="regenerate", messageId=started["replyId"])
        refused = await socket.receive()
    assert (refused["type"], refused["code"]) == ("error", "nothing_asked")


async def test_a_question_without_an_answer_gets_one(site):
    async with Socket("s") as socket:
        started, *_ = await socket.say("one", model="sim:sim-echo")
        await Message.objects.filter(pk=started["replyId"]).adelete()
        frames = await socket.say_frame("regenerate", messageId=started["userMessageId"])
    assert text_of(frames) == "one"
    assert await branch() == ["one", "one"]


async def test_a_message_that_waits_is_cancelled_for_every_tab(site):
    async with Socket("s") as socket, Socket("s") as other:
        await other.send(type="hello")
        await other.until("hello")
        await socket.send(message="Long", model=SLOW)
        running, *_ = await socket.until_text("word3 ")
        await socket.send(message="Never mind", clientId="2")
        waiting = (await socket.until("started"))[-1]
        await other.until("started", replyId=waiting["replyId"])
        await socket.send(message="Last", model="sim:sim-echo", clientId="3")
        last = (await socket.until("started"))[-1]
        await other.send(type="cancel", replyId=waiting["replyId"])
        for tab in (socket, other):
            frames = await tab.until("changed")
            assert frames[-1] == {"type": "changed", "sessionId": "s", "reason": "cancelled"}
        await socket.send(type="cancel", replyId=running["replyId"])
        refused = (await socket.until("error"))[-1]
        assert (refused["code"], refused["error"]) == (
            "not_waiting",
            "This answer no longer waits for its turn. Stop it instead.",
        )
        await socket.send(type="stop", replyId=running["replyId"])
        frames = await socket.until("complete", replyId=last["replyId"])
    assert text_of([frame for frame in frames if frame.get("replyId") == last["replyId"]]) == "Last"
    texts = await branch()
    assert (texts[0], texts[2:]) == ("Long", ["Last", "Last"])
    assert not await Message.objects.filter(pk__in=[waiting["replyId"], waiting["userMessageId"]]).aexists()


async def test_deleting_while_an_answer_runs_ends_its_process_and_tells_every_tab(site):
    cookie = guest_cookie()
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        await socket.send(message="Long", model=SLOW)
        started, *_ = await socket.until_text("word3 ")
        client = browser_with(cookie)
        response = await client.post(f"/messages/{started['userMessageId']}/delete")
        assert response.status_code == 302
        await socket.until("changed", reason="deleted")
        assert not LIVE
    assert not await Message.objects.aexists()
    # What it cost until then stays in the ledger.
    assert (await Attempt.objects.aget()).ending == "stopped"


async def test_switching_the_branch_lets_a_running_answer_go_on(site):
    cookie = guest_cookie()
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        old, *_ = await socket.say("Hi", model="sim:sim-n5")
        await socket.send(type="regenerate", messageId=old["replyId"], model=SLOW)
        new = (await socket.until("started"))[-1]
        await socket.until_text("word3 ")
        conversation = await Conversation.objects.aget()
        client = browser_with(cookie)
        await client.post(f"/c/{conversation.pk}/branch", {"message": old["replyId"]})
        await socket.until("changed", reason="branch")
        assert len(LIVE) == 1
        await socket.send(type="stop", replyId=new["replyId"])
        await socket.until("complete", replyId=new["replyId"])
    await conversation.arefresh_from_db()
    assert str(conversation.current_leaf_id) == old["replyId"]
    await eventually(lambda: not LIVE)
