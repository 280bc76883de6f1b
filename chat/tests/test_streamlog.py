from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from chat import streamlog
from chat.streamlog import Asked, Event, MemoryStreamLog, Numbered, ReplyTooLong, StreamLog, UnknownReply

REPLY = uuid.uuid4()


@pytest.fixture(params=[MemoryStreamLog])
def log(request) -> StreamLog:
    """Every implementation passes every test of this file."""
    log = request.param()
    log.open(REPLY)
    return log


async def read_all(log: StreamLog, after: int = 0) -> list[str]:
    """Return the texts behind `after`, and prove that the numbers have no gap."""
    texts = []
    async for numbered in log.read(REPLY, after):
        assert numbered.seq == after + len(texts) + 1
        texts += [event.text for event in numbered.events]
    return texts


async def test_a_reader_gets_everything_in_order_and_then_the_end(log):
    assert [log.append(REPLY, Event("text", str(n))) for n in range(3)] == [1, 2, 3]
    log.finish(REPLY)
    assert await read_all(log) == ["0", "1", "2"]
    assert await read_all(log, after=2) == ["2"]
    assert await read_all(log, after=3) == []


async def test_a_reader_waits_for_what_comes(log):
    reading = asyncio.create_task(read_all(log))
    for n in range(5):
        await asyncio.sleep(0)
        log.append(REPLY, Event("text", str(n)))
    log.finish(REPLY)
    assert await reading == ["0", "1", "2", "3", "4"]


async def test_what_came_while_a_reader_was_busy_comes_at_once(log):
    for n in range(4):
        log.append(REPLY, Event("text", str(n)))
    first = await anext(aiter(log.read(REPLY, 1)))
    assert (first.seq, len(first.events)) == (2, 3)


async def test_who_is_asked_is_told_to_those_who_wait_and_takes_no_number(log):
    log.tell(REPLY, Asked("a", "m"))
    reading = aiter(log.read(REPLY, 0))
    assert await anext(reading) == Asked("a", "m")
    log.tell(REPLY, Asked("b", "m"))
    assert await anext(reading) == Asked("b", "m")
    log.append(REPLY, Event("text", "first"))
    log.finish(REPLY)
    assert [step async for step in reading] == [Numbered(1, [Event("text", "first")])]
    assert [step async for step in log.read(REPLY, 1)] == []


async def test_a_reader_from_another_life_begins_anew(log):
    log.append(REPLY, Event("text", "new"))
    log.finish(REPLY)
    numbered = await anext(aiter(log.read(REPLY, 500)))
    assert numbered.seq == 1


async def test_readers_come_and_go_at_random_and_miss_nothing(log):
    rng = random.Random(7)

    async def read_with_drops() -> list[str]:
        seen: list[str] = []
        while True:
            dropped = False
            async for numbered in log.read(REPLY, len(seen)):
                seen += [event.text for event in numbered.events]
                if rng.random() < 0.2:
                    dropped = True
                    break
            if not dropped:
                return seen

    readers = [asyncio.create_task(read_with_drops()) for _ in range(20)]
    for n in range(500):
        log.append(REPLY, Event("text", str(n)))
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    log.finish(REPLY)
    expected = [str(n) for n in range(500)]
    assert all(seen == expected for seen in await asyncio.gather(*readers))


async def test_a_reply_has_a_size_limit_in_bytes(log):
    log.append(REPLY, Event("text", "é" * (streamlog.REPLY_LIMIT // 2 - 1)))
    for piece in ("éé", "x"):
        # The smaller one would fit, and leave a hole before it.
        with pytest.raises(ReplyTooLong):
            log.append(REPLY, Event("text", piece))
    log.finish(REPLY)
    assert len(await read_all(log)) == 1


async def test_a_reply_that_was_never_opened_is_unknown(log):
    with pytest.raises(UnknownReply):
        await anext(aiter(log.read(uuid.uuid4(), 0)))


async def test_an_ended_reply_is_freed_later(log, monkeypatch):
    monkeypatch.setattr(streamlog, "KEEP_SECONDS", 0.0)
    log.finish(REPLY)
    await asyncio.sleep(0.01)
    with pytest.raises(UnknownReply):
        await read_all(log)
