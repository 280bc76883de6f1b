"""What a model is sent: the system prompt, the parameters, and as much of the conversation as it has room for."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from chat.branches import tree_of, window_at_end
from chat.database import db
from chat.history import Branch
from chat.models import Account, Conversation, Message
from chat.shown import list_turns
from chat.trimming import Room, fit
from providers.aichat import Turn
from providers.models import Model
from sasha.testing import Socket

texts = st.text(max_size=60)


@st.composite
def branches(draw) -> Branch:
    turns = [Turn(role, draw(texts)) for _ in range(draw(st.integers(0, 12))) for role in ("user", "assistant")]
    starts = tuple(range(len(turns) + 1))
    unfinished = turns[-1].text if turns and draw(st.booleans()) else ""
    return Branch(tuple(turns), draw(texts), unfinished, system=draw(texts), starts=starts)


rooms = st.builds(Room, st.integers(0, 400) | st.none(), st.none() | st.floats(1, 6))


@given(branches(), rooms)
def test_the_newest_turns_are_kept_whole_and_as_many_as_fit(branch, room):
    sent = fit(branch, room)
    assert (sent.prompt, sent.system, sent.unfinished) == (branch.prompt, branch.system, branch.unfinished)
    assert sent.turns == branch.turns[len(branch.turns) - len(sent.turns) :]
    assert [turn.role for turn in sent.turns] == ["user", "assistant"] * (len(sent.turns) // 2)
    assert sent.left_out == len(branch.turns) - len(sent.turns)
    if branch.unfinished:
        assert sent.turns[-1].text == branch.unfinished
    if room.tokens is None:
        assert sent == branch
        return
    if len(sent.turns) > (2 if branch.unfinished else 0):
        assert sum(map(room.count, sent.everything)) <= room.tokens + 1e-6
    if sent.left_out:
        more = branch.since(len(branch.turns) - len(sent.turns) - 2)
        assert sum(map(room.count, more.everything)) > room.tokens - 1e-6


# --- Through the socket and the real aichat ---------------------------------------------------------------------------


def sent(simulator) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in simulator.last["body"]["messages"]]


@pytest.mark.django_db(transaction=True)
async def test_the_conversation_s_own_settings_count_more_than_the_account_s(site, simulator):
    async with Socket("s") as socket:
        await socket.say("one", model="sim:sim-echo")
        user = await User.objects.aget(username="local")
        await Account.objects.acreate(user=user, system_prompt="Be kind.", parameters={"temperature": 0.1})
        await socket.say("two", model="sim:sim-echo")
        assert sent(simulator)[0] == ("system", "Be kind.")
        assert simulator.last["body"]["temperature"] == 0.1
        own = {"temperature": 0.9, "max_tokens": 50}
        await Conversation.objects.aupdate(system_prompt="Be brief.", parameters=own)
        await socket.say("three", model="sim:sim-echo", parameters={"maxTokens": 7})
    assert sent(simulator) == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "one"),
        ("user", "two"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert (simulator.last["body"]["temperature"], simulator.last["body"]["max_tokens"]) == (0.9, 7)


@pytest.mark.django_db(transaction=True)
async def test_a_conversation_keeps_what_came_with_its_first_message_only(site, simulator):
    async with Socket("s") as socket:
        await socket.say("one", settings={"systemPrompt": "Be brief.", "maxTokens": 9})
        assert (sent(simulator)[0], simulator.last["body"]["max_tokens"]) == (("system", "Be brief."), 9)
        await socket.say("two", settings={"systemPrompt": "Be kind."})
        await socket.send(message="three", settings={"systemPrompt": "x" * 8001})
        assert (await socket.receive())["code"] == "too_long"
    assert sent(simulator)[0] == ("system", "Be brief.")


@pytest.mark.django_db(transaction=True)
async def test_what_has_no_room_is_left_out_from_the_oldest_on_and_the_page_says_where(site, simulator):
    await Model.objects.filter(name="sim-echo").aupdate(context_window=400, max_output=100)
    async with Socket("s") as socket:
        for letter in "abc":
            await socket.say(letter * 400, model="sim:sim-echo", onlyModel=True)
        frames = await socket.say("last", model="sim:sim-echo", onlyModel=True)
    assert frames[-1]["metadata"]["ending"] == "complete"
    assert [text[:1] for _, text in sent(simulator)] == ["c", "c", "l"]
    row = await Message.objects.aget(pk=frames[-1]["replyId"])
    assert row.left_out == 4
    html = await page_of(row)
    above, below = html.split("Older messages above this line were not sent to the model.")
    assert ("b" * 400 in above, "c" * 400 in above) == (True, False)
    assert ("b" * 400 in below, "c" * 400 in below) == (False, True)


async def page_of(row: Message) -> str:
    conversation = await Conversation.objects.aget(pk=row.conversation_id)

    def render() -> str:
        tree = tree_of(conversation.pk)
        turns = list_turns(tree, window_at_end(tree, conversation.current_leaf_id))
        context = {"conversation": conversation, "marked": ""}
        return "".join(render_to_string("chat/message.html", context | {"turn": turn}) for turn in turns)

    return await db(render)


@pytest.mark.django_db(transaction=True)
async def test_the_next_one_is_sent_what_it_has_room_for(site, simulator):
    await Model.objects.filter(name="sim-http500").aupdate(context_window=400, max_output=100)
    async with Socket("s") as socket:
        for letter in "abc":
            await socket.say(letter * 400, model="sim:sim-echo")
        frames = await socket.say("last", model="sim:sim-http500")
    assert len(sent(simulator)) == 7
    assert (await Message.objects.aget(pk=frames[-1]["replyId"])).left_out == 0
