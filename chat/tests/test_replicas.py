from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from chat import replicas, runner
from chat.database import db
from chat.models import Message, Replica
from chat.signals import reply_ended
from providers.aichat import LIVE
from sasha.testing import Socket, eventually, text_of

pytestmark = pytest.mark.django_db(transaction=True)


async def make_silent(name: str, seconds: float) -> None:
    then = timezone.now() - timedelta(seconds=seconds)
    await db(Replica.objects.update_or_create, pk=name, defaults={"started_at": then, "heartbeat_at": then})


async def give_to(owner: str, reply_id: str) -> None:
    await Message.objects.filter(pk=reply_id).aupdate(owner=owner)


async def test_a_reply_without_a_living_owner_is_interrupted_once(site):
    async with Socket("s") as socket:
        complete = (await socket.say("Hi", model="sim:sim-n5"))[-1]
    ended = []
    reply_ended.connect(listener := lambda reply, **_: ended.append(reply.ending))
    await Message.objects.filter(pk=complete["replyId"]).aupdate(state="running", ending="", owner="ghost")
    assert await db(replicas.interrupt_orphans) == 1
    assert await db(replicas.interrupt_orphans) == 0
    row = await Message.objects.aget(pk=complete["replyId"])
    assert (row.state, row.ending, row.epoch) == ("ended", "interrupted", 2)
    assert row.text
    assert ended == ["interrupted"]
    assert reply_ended.disconnect(listener)


async def test_a_replica_is_dead_after_four_seconds_of_silence(site):
    await make_silent("slow", seconds=3)
    await make_silent("dead", seconds=5)
    await db(replicas.interrupt_orphans)
    names = [replica.name async for replica in Replica.objects.all()]
    assert "slow" in names
    assert "dead" not in names


async def test_an_owner_that_lost_its_reply_kills_the_child_and_writes_nothing(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-n400-gap10")
        frames = await socket.until("chunk")
        reply_id = frames[0]["replyId"]
        await Message.objects.filter(pk=reply_id).aupdate(epoch=7, text="somebody else's", last_seq=1)
        await eventually(lambda: not LIVE)
        await eventually(lambda: not runner.current()._begun)
        row = await Message.objects.aget(pk=reply_id)
        assert (row.state, row.text) == ("running", "somebody else's")
        await Message.objects.filter(pk=reply_id).aupdate(state="ended", ending="interrupted", error="Gone.")
        frames += await socket.until("complete")
    assert text_of(frames) == "somebody else's"
    assert frames[-1]["metadata"]["ending"] == "interrupted"


async def test_a_stop_in_the_row_reaches_the_owner(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        reply_id = (await socket.until("chunk"))[0]["replyId"]
        await Message.objects.filter(pk=reply_id).aupdate(stop_requested=True)
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "stopped"


async def test_a_running_reply_is_checkpointed_while_it_runs(site):
    async with Socket("s") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        frames = await socket.until_text("word1 ")
        while (row := await Message.objects.aget(pk=frames[0]["replyId"])).text != text_of(frames):
            await asyncio.sleep(0.01)
        assert row.state == "running"


async def test_another_replica_s_reply_is_shown_from_its_row_and_goes_first(site):
    async with Socket("s") as socket:
        # A title of its own: none comes from the answer, in between.
        first = (await socket.say("Count to ten", model="sim:sim-n5"))[-1]["replyId"]
        await make_silent("elsewhere", seconds=-30)
        await Message.objects.filter(pk=first).aupdate(
            state="running", ending="", owner="elsewhere", text="abc", last_seq=3
        )
        await db(runner.current().log._replies.clear)
        await socket.send(message="Second", model="sim:sim-echo")
        started = await socket.receive()
        await socket.send(type="attach", replyId=first, after=0)
        chunk = await socket.receive()
        assert (chunk["content"], chunk["from"], chunk["to"]) == ("abc", 1, 3)
        assert (await Message.objects.aget(pk=started["replyId"])).state == "queued"
        await Message.objects.filter(pk=first).aupdate(state="ended", ending="complete", text="abcd", last_seq=4)
        frames = await socket.until("complete", replyId=first)
        assert text_of([frame for frame in frames if frame.get("replyId") == first]) == "abcd"
        if not any(frame["type"] == "complete" and frame["replyId"] == started["replyId"] for frame in frames):
            await socket.until("complete", replyId=started["replyId"])


@pytest.mark.django_db
def test_what_only_one_must_do_the_oldest_living_server_does():
    replicas.register("a")
    replicas.register("b")
    Replica.objects.filter(pk="b").update(started_at=timezone.now() - timedelta(minutes=1))
    assert (replicas.is_oldest("b"), replicas.is_oldest("a")) == (True, False)
    replicas.leave("b")
    assert replicas.is_oldest("a")
