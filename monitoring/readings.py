"""The readings of this server: the last hundred, and each minute of them as a row."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypedDict

from monitoring.figures import Slope, Summary, find_change, slope_of, summarize, trend_of
from monitoring.models import Sample
from monitoring.outcomes import Errors, Minute

# The plan's number; at one in five seconds, eight minutes.
KEPT_READINGS = 100
# A server loads what it serves when that is first asked for: nothing of these minutes is in the slope.
WARM_UP_MINUTES = 10
# Minutes through which the slope is laid.
SLOPE_MINUTES = 60
# What of the last readings is drawn.
DRAWN = ("rss", "cpu", "loop_lag_ms", "processes")


@dataclass(frozen=True)
class Reading:
    """This server at one moment: bytes, percent of a core, milliseconds; None where nothing could be measured."""

    at: datetime
    rss: int
    uss: int
    children_rss: int
    children_uss: int
    blocks: int
    cpu: float
    children_cpu: float
    processes: int
    sockets: int
    queued: int
    loop_lag_ms: float
    database_ms: float | None
    log_ms: float | None

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"at": self.at.isoformat()}


class Memory(TypedDict):
    """Whether the server's resident memory grows: over the last ten readings, and over the hour."""

    trend: str
    change_bytes: int | None
    slope_bytes_per_hour: float | None
    slope_low: float | None
    slope_high: float | None


class Figures(TypedDict):
    """What the readings and the endings come to."""

    responses: Summary
    first_tokens: Summary
    errors: Errors
    memory: Memory


class Readings:
    """The last readings of one server. On the loop's thread."""

    def __init__(self) -> None:
        self._last: deque[Reading] = deque(maxlen=KEPT_READINGS)
        self._minute: list[Reading] = []
        self._minutes_ended = 0
        self._sizes: deque[tuple[float, float]] = deque(maxlen=SLOPE_MINUTES)

    @property
    def latest(self) -> Reading | None:
        return self._last[-1] if self._last else None

    def add(self, reading: Reading) -> list[Reading]:
        """Keep a reading; return those of the minute before where this is the first of the next one."""
        begins = bool(self._minute) and _minute_of(self._minute[0]) != _minute_of(reading)
        ended = self._minute if begins else []
        if ended:
            self._minutes_ended += 1
            if self._minutes_ended > WARM_UP_MINUTES:
                self._sizes.append((_minute_of(ended[0]).timestamp(), max(seen.rss for seen in ended)))
            self._minute = []
        self._minute.append(reading)
        self._last.append(reading)
        return ended

    def history(self) -> dict[str, list[Any]]:
        """Return the columns that are drawn, the oldest first."""
        columns: dict[str, list[Any]] = {"at": [reading.at.isoformat() for reading in self._last]}
        return columns | {name: [getattr(reading, name) for reading in self._last] for name in DRAWN}

    def memory(self) -> Memory:
        """Return whether memory grows."""
        change = find_change([reading.rss for reading in self._last])
        slope: Slope | tuple[None, ...] = slope_of(self._sizes) or (None, None, None)
        return Memory(
            trend=trend_of(change),
            change_bytes=change,
            slope_bytes_per_hour=slope[0],
            slope_low=slope[1],
            slope_high=slope[2],
        )


def _minute_of(reading: Reading) -> datetime:
    return reading.at.replace(second=0, microsecond=0)


# A row has the same columns as a reading.
LARGEST = tuple(column.name for column in fields(Reading) if column.name != "at")


def sample_of(replica: str, readings: list[Reading], ended: Minute) -> Sample:
    """Return the row of a minute: the largest of its readings, and what ended in it."""
    responses, first_tokens = summarize(ended.durations_ms), summarize(ended.first_tokens_ms)
    return Sample(
        replica=replica,
        at=_minute_of(readings[0]),
        replies=ended.replies,
        failed=ended.failed,
        response_p50_ms=responses["p50_ms"],
        response_p95_ms=responses["p95_ms"],
        first_token_p50_ms=first_tokens["p50_ms"],
        first_token_p95_ms=first_tokens["p95_ms"],
        **{name: _largest(readings, name) for name in LARGEST},
    )


def _largest(readings: list[Reading], name: str) -> Any:
    return max((value for seen in readings if (value := getattr(seen, name)) is not None), default=None)
