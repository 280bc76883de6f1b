"""Two server processes on one database, as behind a proxy."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack

import pytest
import pytest_asyncio

from chat.database import db
from chat.models import Message
from providers.simulator import Simulator
from sasha.testing import make_provider, server_process, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

# What `sim-stall-at3` says before it falls silent.
STALLED = "word0 word1 word2 "
# Within five seconds the reply is ended; within half a second more its row is read; the rest is for a busy machine.
LONGEST_SECONDS = 6.0


@pytest_asyncio.fixture(autouse=True)
async def provider(transactional_db):
    simulator = Simulator()
    await simulator.start()
    yield await db(make_provider, simulator.url("openai-compatible"), "sim-n5", "sim-stall-at3")
    await simulator.stop()


@pytest.fixture
def servers():
    """Two servers that are killed at the end, whatever happens."""
    with ExitStack() as stack:
        yield [stack.enter_context(server_process()) for _ in range(2)]


async def test_the_replies_of_a_killed_server_are_ended_and_shown_by_the_other(servers):
    first, second = servers
    async with first.connect("s") as a, second.connect("s") as b:
        await a.send(message="Hi", model="sim:sim-stall-at3")
        reply = (await a.until_text(STALLED))[-1]["replyId"]
        await b.send(type="attach", replyId=reply, after=0)
        seen = await b.until_text(STALLED)
        killed = time.monotonic()
        await asyncio.to_thread(first.stop, signal.SIGKILL)
        seen += await b.until("complete")
        assert time.monotonic() - killed < LONGEST_SECONDS
        assert seen[-1]["metadata"]["ending"] == "interrupted"
        assert text_of(seen) == STALLED
        assert (await b.say("And now?", model="sim:sim-n5"))[-1]["metadata"]["ending"] == "complete"
    assert (await Message.objects.aget(pk=reply)).text == STALLED


async def test_a_reply_is_stopped_from_the_other_server_and_the_next_one_takes_its_turn_there(servers):
    first, second = servers
    async with first.connect("s") as a, second.connect("s") as b:
        await a.send(message="Hi", model="sim:sim-stall-at3")
        reply = (await a.until_text(STALLED))[-1]["replyId"]
        await b.send(message="And then?", model="sim:sim-n5")
        await b.until("started")
        await b.send(type="stop", replyId=reply)
        assert (await a.until("complete"))[-1]["metadata"]["ending"] == "stopped"
        assert (await b.until("complete"))[-1]["metadata"]["ending"] == "complete"


async def test_a_new_conversation_begun_at_both_servers_at_once_is_one(servers):
    first, second = servers
    async with first.connect("new") as a, second.connect("new") as b:
        ends = await asyncio.gather(a.say("One", model="sim:sim-n5"), b.say("Two", model="sim:sim-n5"))
        assert [frames[-1]["metadata"]["ending"] for frames in ends] == ["complete", "complete"]
    rows = Message.objects.filter(role="assistant").values_list("conversation", flat=True)
    assert len({conversation async for conversation in rows}) == 1
