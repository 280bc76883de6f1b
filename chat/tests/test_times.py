"""When each part of an answer happened: columns from which a time line can be drawn."""

from __future__ import annotations

import pytest

from chat.database import db
from chat.models import Message
from providers.models import Attempt
from sasha.testing import Socket, make_provider

pytestmark = pytest.mark.django_db(transaction=True)


async def test_the_times_of_an_answer_follow_each_other(site, provider, simulator):
    # The first token at once, and 20 ms between the others.
    await db(make_provider, simulator.url("openai-compatible"), "sim-n5-gap20", slug="paced")
    async with Socket("s") as socket:
        complete = (await socket.say("Hi", model="paced:sim-n5-gap20"))[-1]
    reply = await Message.objects.aget(pk=complete["replyId"])
    attempt = await Attempt.objects.aget(reply_id=reply.pk)
    of_reply = [0, reply.stored_ms, reply.begun_ms, reply.first_token_ms, reply.duration_ms]
    assert of_reply == sorted(of_reply)
    gap_ended = attempt.longest_gap_at_ms + attempt.longest_gap_ms
    of_attempt = [
        attempt.spawn_ms,
        attempt.request_ms,
        attempt.first_token_ms,
        attempt.longest_gap_at_ms,
        gap_ended,
        attempt.total_ms,
    ]
    # Whole milliseconds: on a busy machine a process is there in the one in which it asks.
    assert of_attempt == sorted(of_attempt)
    assert attempt.longest_gap_ms >= 15


async def test_a_reply_that_waited_for_its_turn_begins_after_it_was_stored(site):
    async with Socket("s") as socket:
        await socket.send(message="One", model="sim:sim-n400-gap10")
        first = (await socket.until("chunk"))[-1]["replyId"]
        await socket.send(message="Two", model="sim:sim-n5")
        second = (await socket.until("queued"))[-1]["replyId"]
        await socket.send(type="stop", replyId=first)
        await socket.until("complete", replyId=second)
    reply = await Message.objects.aget(pk=second)
    assert reply.begun_ms > reply.stored_ms


async def test_what_was_never_begun_has_no_such_time(site):
    async with Socket("s") as socket:
        await socket.send(message="One", model="sim:sim-n400-gap10")
        await socket.until("chunk")
        await socket.send(message="Two", model="sim:sim-n5")
        second = (await socket.until("queued"))[-1]["replyId"]
        await socket.send(type="stop", replyId=second)
        await socket.until("complete", replyId=second)
    reply = await Message.objects.aget(pk=second)
    assert reply.stored_ms is not None
    assert reply.begun_ms is None
