from __future__ import annotations

import asyncio
import json
import random
import time
import uuid

import pytest

from chat import protocol, viewing
from chat.models import Message
from chat.streamlog import Event, Numbered
from chat.tests.test_identity import ORIGIN, guest_cookie
from sasha.testing import Socket, text_of

GUEST = {"Origin": ORIGIN, "Cookie": guest_cookie("a")}


def sent(frames) -> list[dict]:
    return [json.loads(protocol.encode(frame)) for frame in frames]


def row(text: str, last_seq: int, **columns) -> Message:
    return Message(id=uuid.uuid4(), text=text, last_seq=last_seq, **columns)


@pytest.mark.parametrize("letter", ["a", "ä", "好", "😀"])
def test_a_long_stored_answer_comes_in_frames_of_64_kib(letter):
    text = letter * 300_000
    notices = [{"kind": "seam", "reason": "r", "at": 100_000}]
    frames = sent(viewing._whole(row(text, 5000, reasoning="thought" * 20_000, notices=notices), "s"))
    assert text_of(frames) == text
    assert text_of(frames, "reasoning") == "thought" * 20_000
    assert max(len(frame["content"].encode()) for frame in frames if "content" in frame) <= 64 * 1024
    assert frames[0]["from"] == 1
    assert frames[-1]["to"] == 5000
    assert [frame["type"] for frame in frames].count("notice") == 1


@pytest.mark.parametrize("last_seq", [1, 2, 7, 8])
def test_an_answer_of_few_large_events_keeps_its_numbers(last_seq):
    frames = sent(viewing._whole(row("a" * 500_000, last_seq), "s"))
    assert (frames[0]["from"], frames[-1]["to"], text_of(frames)) == (1, last_seq, "a" * 500_000)


def test_what_a_late_viewer_missed_comes_in_frames_of_64_kib():
    events = [Event("text", f"{n} " + "ü" * 1000) for n in range(500)]
    events[100:100] = [Event("notice", data={"kind": "seam", "reason": "r"})]
    events[200] = Event("text", "x" * 100_000)
    frames = sent(viewing._joined(Numbered(1, events), uuid.uuid4(), "s"))
    assert text_of(frames) == "".join(event.text for event in events)
    assert frames[-1]["to"] == len(events)
    too_long = [frame for frame in frames if len(frame.get("content", "").encode()) > 64 * 1024]
    assert [frame["content"] for frame in too_long] == ["x" * 100_000]


@pytest.mark.django_db(transaction=True)
async def test_hello_names_everything_that_a_late_page_may_have_missed(site):
    async with Socket("s", GUEST) as first:
        await first.send(message="one", model="sim:sim-n400-gap10")
        one = await first.receive()
        await first.send(message="two", model="sim:sim-n5")
        two = (await first.until("queued"))[-1]
        async with Socket("s", GUEST) as late:
            await late.send(type="hello")
            hello = await late.receive()
            assert hello["unfinished"] == [one["replyId"], two["replyId"]]
            assert (hello["running"], hello["last"]) == (one["replyId"], two["replyId"])
            await first.send(type="stop", replyId=one["replyId"])
            await late.until("complete", replyId=two["replyId"])
            await late.send(type="hello")
            hello = await late.receive()
            assert (hello["unfinished"], hello["last"]) == ([], two["replyId"])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
async def test_a_thousand_viewers_that_come_and_go_all_end_with_what_is_stored(site, settings):
    """Cut at random places, come back with whatever they had, some of them with nothing, as often as it takes."""
    settings.CHAT_SOCKETS_PER_USER = 200
    randomness = random.Random(5)
    sessions = {}
    for n in range(4):
        async with Socket(f"s{n}", GUEST) as socket:
            await socket.send(message="Hi", model="sim:sim-n400-gap10")
            sessions[f"s{n}"] = (await socket.receive())["replyId"]
    began = time.monotonic()
    counts = await asyncio.gather(*(view(randomness, *item) for item in list(sessions.items()) * 25))
    assert sum(counts) >= 1000
    assert time.monotonic() - began < 60


async def view(randomness: random.Random, session: str, reply_id: str) -> int:
    """Watch one reply through at least ten connections; return how many those were."""
    text, last, ended, connections = "", 0, False, 0
    while not ended or connections < 10:
        connections += 1
        if randomness.random() < 0.1:
            text, last, ended = "", 0, False
        async with Socket(session, GUEST) as socket:
            by_hello = randomness.random() < 0.5
            await socket.send(**{"type": "hello", "after": {reply_id: last}} if by_hello else
                              {"type": "attach", "replyId": reply_id, "after": last})  # fmt: skip
            for _ in range(randomness.randint(1, 60)):
                frame = await socket.receive()
                if frame["type"] == "complete":
                    assert frame["seq"] == last
                    ended = True
                    break
                if frame["type"] == "chunk":
                    assert frame["from"] in (1, last + 1)
                    text = frame["content"] if frame["from"] == 1 else text + frame["content"]
                    last = frame["to"]
    stored = await Message.objects.aget(pk=reply_id)
    assert text == stored.text != ""
    return connections
