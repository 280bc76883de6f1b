"""The numbered record of a running reply: written by its owner, read by any number of viewers, each at its own pace.

Tokens travel through here and never through channel-layer groups, which drop what a slow reader leaves behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

# Bytes of one reply; a model that goes on for ever is cut off here with the ending `length`.
REPLY_LIMIT = 1024 * 1024
# Seconds that an ended reply stays readable; after it the row has everything.
KEEP_SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """One step of a reply. `text` is content for text and reasoning; a notice has its fields in `data` instead."""

    kind: Literal["text", "reasoning", "notice"]
    text: str = ""
    data: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Numbered:
    """Events `seq`, `seq` + 1, … as they were appended."""

    seq: int
    events: Sequence[Event]


@dataclass(frozen=True)
class Asked:
    """Who is being asked, before the first event: neither numbered nor kept, and only the latest matters."""

    provider: str
    model: str


class ReplyTooLong(Exception):
    """The reply has reached REPLY_LIMIT; nothing of this event was kept."""


class UnknownReply(Exception):
    """No log of this reply here: never opened on this replica, or freed."""


class StreamLog(Protocol):
    """What runner and viewers need; every implementation passes chat/tests/test_streamlog.py."""

    def open(self, reply_id: UUID) -> None:
        """Begin a reply, with no events."""

    def append(self, reply_id: UUID, event: Event) -> int:
        """Add one event and return its number, counted from 1. Raises ReplyTooLong."""

    def tell(self, reply_id: UUID, asked: Asked) -> None:
        """Tell those who wait for the first event who is being asked now."""

    def finish(self, reply_id: UUID) -> None:
        """End a reply: its readers return, and it is freed after KEEP_SECONDS."""

    def read(self, reply_id: UUID, after: int) -> AsyncIterator[Numbered | Asked]:
        """Yield everything behind number `after`, old and new, until the end. Raises UnknownReply.

        What came while the reader was busy comes as one `Numbered`.
        """


class MemoryStreamLog:
    """The log of a single replica."""

    def __init__(self) -> None:
        self._replies: dict[UUID, _Reply] = {}

    def open(self, reply_id: UUID) -> None:
        self._replies[reply_id] = _Reply()

    def append(self, reply_id: UUID, event: Event) -> int:
        reply = self._replies[reply_id]
        # Counted in characters where all are ASCII, which is most of the time and cheaper.
        size = len(event.text) if event.text.isascii() else len(event.text.encode())
        reply.size += size
        if reply.size > REPLY_LIMIT:
            # For good: a smaller piece that would still fit must not follow one that is missing.
            raise ReplyTooLong
        reply.events.append(event)
        reply.wake()
        return len(reply.events)

    def tell(self, reply_id: UUID, asked: Asked) -> None:
        reply = self._replies[reply_id]
        reply.asked = asked
        reply.wake()

    def finish(self, reply_id: UUID) -> None:
        reply = self._replies[reply_id]
        reply.ended = True
        reply.wake()
        asyncio.get_running_loop().call_later(KEEP_SECONDS, self._replies.pop, reply_id, None)

    async def read(self, reply_id: UUID, after: int) -> AsyncIterator[Numbered | Asked]:
        reply = self._replies.get(reply_id)
        if reply is None:
            raise UnknownReply
        if after > len(reply.events):
            # Numbers of another life of this reply: begin anew.
            after = 0
        told: Asked | None = None
        while True:
            # No await between the look and the wait, so nothing is appended in between.
            if events := reply.events[after:]:
                yield Numbered(after + 1, events)
                after += len(events)
            elif reply.ended:
                return
            elif reply.asked != told and not reply.events:
                told = reply.asked
                if told:
                    yield told
            else:
                await reply.changed()


class _Reply:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.asked: Asked | None = None
        self.size = 0
        self.ended = False
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def changed(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter
