"""The server is killed in the middle of its answers: what its clients had seen, and what is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from chat import protocol
from chat.models import Message, State
from monitoring.faults.stand import Stand
from monitoring.faults.story import Case, Notice, Seen
from providers.endings import Ending
from providers.models import Attempt, CountSource

# Pieces of text before the kill: enough for more than one checkpoint.
PIECES = 50
PATIENCE_SECONDS = 30.0


@dataclass
class Killed:
    """An answer whose server was killed. `lost_characters` were shown, and are not in the row."""

    case: Case
    seen: Seen
    lost_characters: int = 0
    last: int = 0
    wrong: list[str] = field(default_factory=list)


def kill_in_mid_answer(stand: Stand, cases: Sequence[Case]) -> list[Killed]:
    """Stream these messages at once, kill the server, start another, and return what became of them."""
    killed = asyncio.run(_stream_and_kill(stand, cases))
    orphans = stand.find_orphans()
    stand.start()
    for one in killed:
        _judge(one)
        one.wrong += orphans
    asyncio.run(_come_back(stand, killed))
    return killed


async def _stream_and_kill(stand: Stand, cases: Sequence[Case]) -> list[Killed]:
    streams = [Stream(Killed(case, Seen())) for case in cases]
    following = [asyncio.create_task(stream.follow(stand.url)) for stream in streams]
    _, late = await asyncio.wait(
        [asyncio.create_task(stream.is_far.wait()) for stream in streams], timeout=PATIENCE_SECONDS
    )
    for task in late:
        task.cancel()
    await asyncio.to_thread(stand.kill)
    await asyncio.gather(*following, return_exceptions=True)
    return [stream.killed for stream in streams]


class Stream:
    """One client, up to the moment when its server dies."""

    def __init__(self, killed: Killed) -> None:
        self.killed = killed
        self.is_far = asyncio.Event()

    async def follow(self, url: str) -> None:
        """Send the message and collect its text until the connection breaks."""
        case, seen = self.killed.case, self.killed.seen
        pieces = 0
        async with open_socket(url, case) as websocket:
            await websocket.send(json.dumps({"message": case.message, "model": case.requested}))
            while True:
                frame: dict[str, Any] = json.loads(await websocket.recv())
                seen.reply_id = frame.get("replyId", seen.reply_id)
                if frame["type"] == protocol.Chunk.type:
                    seen.text += frame["content"]
                    self.killed.last = frame["to"]
                    pieces += 1
                elif frame["type"] == protocol.Notice.type:
                    seen.notices.append(Notice(frame["kind"]))
                if pieces >= PIECES:
                    self.is_far.set()


def open_socket(url: str, case: Case) -> connect:
    """Return a socket of the case's conversation, to be entered."""
    uri = f"{url.replace('http', 'ws', 1)}/ws?session={case.session}"
    return connect(uri, proxy=None, compression=None, ping_interval=None)


def _judge(one: Killed) -> None:
    """Wait for the row's end, and compare it with what was shown."""
    if not one.seen.reply_id:
        one.wrong.append("not accepted")
        return
    deadline = time.monotonic() + PATIENCE_SECONDS
    row = Message.objects.get(pk=one.seen.reply_id)
    while row.state != State.ENDED and time.monotonic() < deadline:
        # No frame announces what another server does with a dead one's reply.
        time.sleep(0.1)
        row.refresh_from_db()
    one.lost_characters = max(0, len(one.seen.text) - len(row.text))
    attempts = list(Attempt.objects.filter(reply_id=row.pk))
    facts = {
        f"ended {row.ending or row.state}": row.ending == Ending.INTERRUPTED,
        "its text is not what the provider sent": bool(row.text) and one.case.first.text.startswith(row.text),
        f"its attempts ended {[attempt.ending for attempt in attempts]}": [attempt.ending for attempt in attempts]
        == [Ending.INTERRUPTED],
        f"its money is {row.cost_source} {row.cost_usd}": row.cost_source == CountSource.ESTIMATED
        and bool(row.cost_usd),
    }
    one.wrong += [words for words, ok in facts.items() if not ok]


async def _come_back(stand: Stand, killed: Sequence[Killed]) -> None:
    """Return to each conversation: the answer must have its end, once."""
    for one in killed:
        with contextlib.suppress(TimeoutError, OSError, WebSocketException):
            async with asyncio.timeout(PATIENCE_SECONDS), open_socket(stand.url, one.case) as websocket:
                one.seen.completes = await _count_completes(websocket, one)
        if one.seen.completes != 1:
            one.wrong.append(f"lost: {one.seen.completes} complete frames")


async def _count_completes(websocket: ClientConnection, one: Killed) -> int:
    await websocket.send(json.dumps({"type": "hello", "after": {one.seen.reply_id: one.last}}))
    await websocket.send(json.dumps({"type": "ping"}))
    completes, answered = 0, False
    while not (answered and completes):
        frame = json.loads(await websocket.recv())
        completes += frame["type"] == protocol.Complete.type
        answered = answered or frame["type"] == protocol.Pong.type
    return completes
