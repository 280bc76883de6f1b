"""The list of what runs: who waits, who is asked, who writes."""

from __future__ import annotations

import pytest

from chat import runner
from chat.processes import Process, list_processes
from providers.aichat import LIVE
from sasha.testing import Socket, eventually

pytestmark = pytest.mark.django_db(transaction=True)


def find(most: int = 10) -> list[Process]:
    return list_processes(runner.current(), most)


async def test_nothing_runs_on_an_idle_site(site):
    assert find() == []


async def test_a_reply_is_asked_for_then_written_then_gone(site):
    async with Socket("a") as socket:
        await socket.send(message="Hi", model="sim:sim-stall-at2")
        last = (await socket.until_text("word1 "))[-1]
        (process,) = find()
        assert (process.phase, process.provider, process.model) == ("streaming", "sim", "sim-stall-at2")
        assert (process.user, process.attempt, process.events) == ("local", 1, last["to"])
        assert process.characters == len("word0 word1 ")
        assert process.pid == next(iter(LIVE)).pid
        assert process.age_ms > 0
        await socket.send(type="stop", replyId=str(process.reply_id))
        await socket.until("complete")
    await eventually(lambda: not find())


async def test_one_that_thinks_and_one_that_waits_say_so(site, simulator):
    async with Socket("a") as thinking, Socket("b") as waiting:
        await thinking.send(message="Hi", model="sim:sim-n5-reasoning")
        await thinking.until("reasoning")
        assert find()[0].phase in ("thinking", "streaming")
        assert find()[0].characters > 0
        await waiting.send(message="Hi", model="sim:sim-stall-at2")
        await waiting.until("chunk")
        await waiting.send(message="And then?")
        await waiting.until("queued")
        last = find()[-1]
        assert (last.phase, last.pid, last.attempt, last.user) == ("waiting", None, 0, "")


async def test_the_oldest_come_first_and_no_more_than_asked_for(site):
    async with Socket("a") as a, Socket("b") as b:
        for socket in (a, b):
            await socket.send(message="Hi", model="sim:sim-stall-at2")
            await socket.until("chunk")
        both = find()
        assert [process.age_ms for process in both] == sorted((process.age_ms for process in both), reverse=True)
        assert find(1)[0].reply_id == both[0].reply_id
