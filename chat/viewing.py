"""A reply as frames for one viewer: live from the log, then from the row, which has the last word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Any
from uuid import UUID

from chat import protocol
from chat.database import db
from chat.models import Message, State
from chat.protocol import ServerFrame
from chat.runner import Runner
from chat.streamlog import Asked, Event, Numbered, UnknownReply
from chat.turns import describe_ending
from providers.endings import Ending

# How often the row of a reply is read that another replica writes, or a dead one wrote.
POLL_SECONDS = 0.5
# Text in one frame: a page shows the beginning of a long answer before its end has arrived.
FRAME_BYTES = 64 * 1024
LONGEST_CHARACTER = 4


async def frames(
    runner: Runner, reply_id: UUID, session: str, after: int, *, turn: asyncio.Lock
) -> AsyncGenerator[ServerFrame, None]:
    """Yield everything behind event number `after`, as it comes, up to `complete`.

    Nothing at all where there is no such reply, or no longer. `turn` is what all replies of one viewer share.
    """
    async for position in runner.positions(reply_id):
        yield protocol.Queued(reply_id, position)
    try:
        async for step in runner.log.read(reply_id, after):
            if isinstance(step, Asked):
                yield protocol.Started(reply_id, model=step.model, provider=step.provider)
                continue
            for frame in _joined(step, reply_id, session):
                yield frame
            after = step.seq + len(step.events) - 1
    except UnknownReply:
        pass
    async with aclosing(_from_row(reply_id, session, after, turn)) as stored:
        async for frame in stored:
            yield frame


async def _from_row(reply_id: UUID, session: str, after: int, turn: asyncio.Lock) -> AsyncGenerator[ServerFrame, None]:
    while True:
        # One after the other: for a viewer who asks for a hundred and reads none, all their texts would be in memory.
        async with turn:
            row = await db(Message.objects.filter(pk=reply_id).first)
            if row is None:
                return
            if row.last_seq != after:
                # The row does not know where an event began: what is missing comes with everything before it.
                for frame in _whole(row, session):
                    yield frame
                after = row.last_seq
            if row.state == State.ENDED:
                for frame in last_frames(row, session):
                    yield frame
                return
        await asyncio.sleep(POLL_SECONDS)


def last_frames(row: Message, session: str) -> list[ServerFrame]:
    """Return how an ended reply ends: an `error` where it failed, and its `complete`."""
    complete = protocol.Complete(session, row.id, row.last_seq, metadata_of(row))
    if Ending(row.ending).failed:
        return [protocol.Error(describe_ending(row.ending, row.error), row.ending, session, reply_id=row.id), complete]
    return [complete]


def metadata_of(row: Message) -> protocol.Metadata:
    """Return what is known about an ended reply."""
    usage = protocol.Usage(
        row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.output_tokens, row.reasoning_tokens
    )
    return protocol.Metadata(
        duration=row.duration_ms,
        chunks=row.chunks,
        total_chars=len(row.text),
        ending=row.ending,
        attempts=row.attempts,
        exit_code=row.exit_code,
        provider=row.provider or None,
        model=row.model or None,
        first_token_ms=row.first_token_ms,
        reasoning_ms=row.reasoning_ms,
        usage=usage if usage != protocol.Usage() else None,
        cost_usd=None if row.cost_usd is None else str(row.cost_usd),
        cost_source=row.cost_source or None,
    )


def _joined(numbered: Numbered, reply_id: UUID, session: str) -> Iterator[ServerFrame]:
    """Yield one frame for each run of events of the same kind, up to FRAME_BYTES; notices stay apart."""
    seq = numbered.seq
    for kind, run in groupby(numbered.events, key=lambda event: event.kind):
        if kind == "notice":
            for event in run:
                yield protocol.Notice(reply_id, seq, **event.data)
                seq += 1
            continue
        for events in _portions(run):
            yield _text_frame(kind, events, session, reply_id, seq)
            seq += len(events)


def _portions(run: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield the events in groups whose text fits into a frame together; one that does not fit is a group by itself."""
    portion: list[Event] = []
    size = 0
    for event in run:
        length = _size(event.text)
        if portion and size + length > FRAME_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(event)
        size += length
    yield portion


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _text_frame(kind: str, events: Sequence[Event], session: str, reply_id: UUID, seq: int) -> protocol.Chunk:
    frame = protocol.Reasoning if kind == "reasoning" else protocol.Chunk
    content = events[0].text if len(events) == 1 else "".join(event.text for event in events)
    return frame(content, session, reply_id, seq, seq + len(events) - 1)


def _whole(row: Message, session: str) -> Iterator[ServerFrame]:
    """Yield the stored reply from number 1 to its last. Numbers inside are no longer those of the events."""
    pieces = [(kind, part) for kind, content in _pieces(row) for part in _cut(kind, content)]
    if len(pieces) > row.last_seq:
        # Fewer events than frames, each of which needs a number: it came in very large reads.
        pieces = list(_pieces(row))
    # One piece of text takes all the numbers that are left over, so that nothing seems to be missing.
    spare = row.last_seq - len(pieces)
    seq = 0
    for kind, content in pieces:
        seq += 1
        if kind == "notice":
            yield protocol.Notice(row.id, seq, **content)
            continue
        frame = protocol.Reasoning if kind == "reasoning" else protocol.Chunk
        yield frame(content, session, row.id, seq, seq + spare)
        seq, spare = seq + spare, 0


def _cut(kind: str, content: Any) -> list[Any]:
    """Return `content` in parts that fit into a frame each."""
    if kind == "notice" or _size(content) <= FRAME_BYTES:
        return [content]
    length = FRAME_BYTES if content.isascii() else FRAME_BYTES // LONGEST_CHARACTER
    return [content[start : start + length] for start in range(0, len(content), length)]


def _pieces(row: Message) -> Iterator[tuple[str, Any]]:
    if row.reasoning:
        yield "reasoning", row.reasoning
    shown = 0
    for notice in row.notices:
        if row.text[shown : notice["at"]]:
            yield "text", row.text[shown : notice["at"]]
            shown = notice["at"]
        yield "notice", {name: notice[name] for name in ("kind", "reason", "old_model", "new_model") if name in notice}
    if row.text[shown:]:
        yield "text", row.text[shown:]
