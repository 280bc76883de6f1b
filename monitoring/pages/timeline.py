"""One answer from click to last byte: where its time went, as lengths on a line and as steps with their moments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

from chat.models import Message
from monitoring.pages.words import milliseconds, short
from providers.models import Attempt

# Of the drawing; what is shorter than a thousandth and a half is still to be seen.
WIDTH, NARROWEST = 1000.0, 1.5
# The kinds of lengths, as classes and in words.
KINDS = [
    ("stored", "stored"),
    ("queued", "waited for its turn"),
    ("spawned", "starting the process"),
    ("asked", "preparing the request"),
    ("awaited", "waiting for the first token"),
    ("streamed", "streaming"),
    ("gap", "longest gap"),
]


@dataclass(frozen=True)
class Segment:
    """A length of time on a lane; `kind` is a class of the stylesheet."""

    kind: str
    x: float
    width: float
    words: str


@dataclass(frozen=True)
class Lane:
    """What happened beside each other, or to one attempt."""

    name: str
    segments: list[Segment]


@dataclass(frozen=True)
class Step:
    """Something that happened so long after the click, and so long after the step before it."""

    at_ms: float
    words: str
    took_ms: float | None = None

    @property
    def at(self) -> str:
        return f"{self.at_ms:,.0f} ms"

    @property
    def took(self) -> str:
        return "" if self.took_ms is None else f"{self.took_ms:,.0f} ms"


@dataclass(frozen=True)
class Timeline:
    """The drawing and the table of the same."""

    lanes: list[Lane]
    steps: list[Step]
    total: str
    marks: tuple[str, str, str]


@dataclass(frozen=True)
class _Clock:
    """Turns moments into milliseconds since the click, and those into places on the line."""

    arrived: datetime
    now_ms: float
    total_ms: float = field(default=1.0)

    def since(self, at: datetime) -> float:
        return max(0.0, (at - self.arrived) / timedelta(milliseconds=1))

    def segment(self, kind: str, begins: float, ends: float, words: str) -> Segment:
        x = WIDTH * min(begins, self.total_ms) / self.total_ms
        width = WIDTH * max(0.0, ends - begins) / self.total_ms
        x = min(x, WIDTH - NARROWEST)
        shown = min(max(width, NARROWEST), WIDTH - x)
        return Segment(kind, round(x, 2), round(shown, 2), f"{words}: {milliseconds(max(0.0, ends - begins))}")


def draw(reply: Message | None, attempts: Sequence[Attempt], now: datetime) -> Timeline:
    """Return the time line of a reply, or of what the ledger knows of one that is deleted."""
    clock = _clock(reply, attempts, now)
    lanes = [*_before(reply, clock), *(_attempt(attempt, clock) for attempt in attempts)]
    steps = sorted(_steps(reply, attempts, clock), key=lambda step: step.at_ms)
    return Timeline(
        lanes=lanes,
        steps=_with_lengths(steps),
        total=milliseconds(clock.total_ms),
        marks=("0", milliseconds(clock.total_ms / 2), milliseconds(clock.total_ms)),
    )


def _clock(reply: Message | None, attempts: Sequence[Attempt], now: datetime) -> _Clock:
    arrived = reply.created_at - timedelta(milliseconds=reply.stored_ms or 0) if reply else attempts[0].started_at
    now_ms = (now - arrived) / timedelta(milliseconds=1)
    clock = _Clock(arrived, now_ms)
    ends = [clock.since(attempt.started_at) + _length(attempt, clock) for attempt in attempts]
    if reply:
        ends.append(now_ms if reply.state != "ended" else reply.duration_ms or _known_end(reply, clock))
    return _Clock(arrived, now_ms, max(1.0, *ends))


def _known_end(reply: Message, clock: _Clock) -> float:
    # Nobody measured the length of one whose server was killed.
    return clock.since(reply.ended_at) if reply.ended_at else 0.0


def _length(attempt: Attempt, clock: _Clock) -> float:
    if attempt.total_ms is not None:
        return attempt.total_ms
    return clock.since(attempt.ended_at) - clock.since(attempt.started_at) if attempt.ended_at else max(
        0.0, clock.now_ms - clock.since(attempt.started_at)
    )  # fmt: skip


def _before(reply: Message | None, clock: _Clock) -> Iterator[Lane]:
    if reply is None or reply.stored_ms is None:
        return
    begun = reply.begun_ms
    if begun is None:
        # Still waiting, or ended before its turn came.
        begun = round(clock.total_ms)
    yield Lane(
        "Before it began",
        [
            clock.segment("stored", 0, reply.stored_ms, "Stored"),
            clock.segment("queued", reply.stored_ms, begun, "Waited for its turn and a place"),
        ],
    )


def _attempt(attempt: Attempt, clock: _Clock) -> Lane:
    opened = clock.since(attempt.started_at)
    total = _length(attempt, clock)
    marks = [
        ("spawned", "Starting the process", attempt.spawn_ms),
        ("asked", "Preparing the request", attempt.request_ms),
        ("awaited", "Waiting for the first token", attempt.first_token_ms),
        ("streamed", "Streaming", total),
    ]
    segments, last = [], 0.0
    for kind, words, at in marks:
        # An attempt that ended early spent the rest of its time in the part that never came to its end.
        ends = total if at is None else min(at, total)
        segments.append(clock.segment(kind, opened + last, opened + ends, words))
        last = ends
        if at is None:
            break
    if attempt.longest_gap_ms and attempt.longest_gap_at_ms is not None:
        begins = opened + attempt.longest_gap_at_ms
        segments.append(clock.segment("gap", begins, begins + attempt.longest_gap_ms, "Longest gap"))
    return Lane(f"Attempt {attempt.number}", segments)


def _steps(reply: Message | None, attempts: Sequence[Attempt], clock: _Clock) -> Iterator[Step]:
    if reply:
        yield Step(0, "The message was received.")
        if reply.stored_ms is not None:
            yield Step(reply.stored_ms, "It was stored, with an empty answer.")
        if reply.begun_ms is not None:
            yield Step(reply.begun_ms, "Its turn had come, and it had a place.")
        if reply.state == "ended":
            ends = reply.duration_ms if reply.duration_ms is not None else _known_end(reply, clock)
            yield Step(ends, f"The answer ended: {reply.get_ending_display() or 'without an ending'}.")
    for attempt in attempts:
        yield from _steps_of(attempt, clock)


def _steps_of(attempt: Attempt, clock: _Clock) -> Iterator[Step]:
    opened, number = clock.since(attempt.started_at), attempt.number
    name = short(f"{attempt.provider_slug}:{attempt.model_name}")
    yield Step(opened, f"Attempt {number} began: {name}.")
    marks = [
        (attempt.spawn_ms, "its process was there"),
        (attempt.request_ms, "its request was sent"),
        (attempt.first_token_ms, "its first token came"),
        (attempt.longest_gap_at_ms, f"its longest gap began, of {milliseconds(attempt.longest_gap_ms)}"),
    ]
    for at, words in marks:
        if at is not None:
            yield Step(opened + at, f"Attempt {number}: {words}.")
    if attempt.ending:
        yield Step(opened + _length(attempt, clock), f"Attempt {number} ended: {attempt.get_ending_display()}.")


def _with_lengths(steps: list[Step]) -> list[Step]:
    lengths = [None, *(later.at_ms - earlier.at_ms for earlier, later in pairwise(steps))]
    return [Step(step.at_ms, step.words, length) for step, length in zip(steps, lengths, strict=True)]
