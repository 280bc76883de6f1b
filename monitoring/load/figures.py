"""What was measured, as numbers: one answer's times, many answers' percentiles, and the ratios of two runs. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from monitoring.figures import percentile


@dataclass
class Reading:
    """One answer, as the one who asked saw it. Times are seconds of one monotonic clock; `error` names what failed.

    A frame is one arrival: of a text frame, whatever number of events it carries, or of output of bare aichat. `tokens`
    is known of simulated models; 0 elsewhere. `due_at` is when a round begins for all users together: who starts many
    things comes to the last of them later, and that is part of the wait.
    """

    prompt: str
    asked_at: float
    due_at: float | None = None
    first_at: float | None = None
    first_text_at: float | None = None
    last_at: float | None = None
    ended_at: float = 0.0
    gaps_ms: list[float] = field(default_factory=list)
    events: int = 0
    single: int = 0
    tokens: int = 0
    text: str = ""
    ending: str = ""
    error: str = ""

    def arrived(self, now: float, *, events: int, is_text: bool) -> None:
        """Count a frame that came at `now`."""
        if self.last_at is None:
            self.first_at = now
        else:
            self.gaps_ms.append((now - self.last_at) * 1000)
        if is_text and self.first_text_at is None:
            self.first_text_at = now
        self.last_at = now
        self.events += events
        self.single += events == 1

    @property
    def first_token_ms(self) -> float | None:
        """Return the wait for the first token, from the round's beginning where there is one."""
        since = self.asked_at if self.due_at is None else self.due_at
        return None if self.first_at is None else (self.first_at - since) * 1000

    @property
    def own_first_token_ms(self) -> float | None:
        """Return the part of a round's wait that came after this message was sent, or this process started."""
        return None if self.first_at is None or self.due_at is None else (self.first_at - self.asked_at) * 1000

    @property
    def tokens_per_second(self) -> float | None:
        """Return the pace from the first token to the last, or None where there is none."""
        if self.first_at is None or self.last_at is None or self.last_at <= self.first_at:
            return None
        return ((self.tokens or self.events) - 1) / (self.last_at - self.first_at)


@dataclass(frozen=True)
class Figures:
    """A run's answers, summed up. Percentiles are values that occurred; None means that nothing was measured.

    `busy_seconds` is the time during which at least one answer was on its way, `streamed_seconds` the sum over answers.
    """

    messages: int
    failed: int
    errors: dict[str, int]
    first_token_p50_ms: float | None
    first_token_p95_ms: float | None
    first_token_max_ms: float | None
    first_text_p50_ms: float | None
    own_first_token_p50_ms: float | None
    own_first_token_p95_ms: float | None
    gap_p50_ms: float | None
    gap_p99_ms: float | None
    gap_max_ms: float | None
    frames: int
    tokens: int
    tokens_per_second: float | None
    single_event_share: float | None
    busy_seconds: float
    streamed_seconds: float

    @property
    def error_share(self) -> float:
        return self.failed / self.messages if self.messages else 0.0


def figures(readings: Sequence[Reading]) -> Figures:
    """Return the figures of a run; failed answers count as errors and in nothing else."""
    whole = [reading for reading in readings if not reading.error]
    firsts = [reading.first_token_ms for reading in whole if reading.first_token_ms is not None]
    texts = [(r.first_text_at - r.asked_at) * 1000 for r in whole if r.first_text_at is not None]
    owns = [reading.own_first_token_ms for reading in whole if reading.own_first_token_ms is not None]
    gaps = [gap for reading in whole for gap in reading.gaps_ms]
    paces = [reading.tokens_per_second for reading in whole if reading.tokens_per_second is not None]
    frames = len(gaps) + len(firsts)
    return Figures(
        messages=len(readings),
        failed=len(readings) - len(whole),
        errors=dict(Counter(reading.error for reading in readings if reading.error).most_common()),
        first_token_p50_ms=percentile(firsts, 0.50),
        first_token_p95_ms=percentile(firsts, 0.95),
        first_token_max_ms=max(firsts, default=None),
        first_text_p50_ms=percentile(texts, 0.50),
        own_first_token_p50_ms=percentile(owns, 0.50),
        own_first_token_p95_ms=percentile(owns, 0.95),
        gap_p50_ms=percentile(gaps, 0.50),
        gap_p99_ms=percentile(gaps, 0.99),
        gap_max_ms=max(gaps, default=None),
        frames=frames,
        tokens=sum(reading.tokens or reading.events for reading in whole),
        tokens_per_second=percentile(paces, 0.50),
        single_event_share=sum(reading.single for reading in whole) / frames if frames else None,
        busy_seconds=busy_seconds((reading.asked_at, reading.ended_at) for reading in readings),
        streamed_seconds=sum(reading.ended_at - reading.asked_at for reading in readings),
    )


def busy_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of `spans` (begin, end) lasted."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


def ratio(measured: float | None, reference: float | None) -> float | None:
    """Return `measured` in units of `reference`, or None where either is missing."""
    return measured / reference if measured is not None and reference else None


def difference(measured: float | None, reference: float | None) -> float | None:
    """Return how much `measured` is above `reference`, or None where either is missing."""
    return measured - reference if measured is not None and reference is not None else None


def median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are there."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None
