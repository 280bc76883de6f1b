"""The minutes of the past as lines: one for each server, of one measure, in as many points as can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone

from monitoring.models import Sample
from monitoring.pages.words import milliseconds, moment, server_name, size

SPANS = {
    "1h": ("1 hour", timedelta(hours=1)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
}
POINTS, TABLE_ROWS = 360, 30
# Colours that can be told apart; a server that was started anew is another one.
LINES = 6


@dataclass(frozen=True)
class Measure:
    """What can be looked at: a column of Sample; of several minutes the worst is shown, or their sum."""

    label: str
    column: str
    say: Callable[[float | None], str]
    unit: str = ""
    per_unit: float = 1.0
    join: Callable[[Iterable[float]], float] = max


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


MEASURES = {
    "memory": Measure("Memory of the server", "rss", size, "MB", 1e6),
    "children": Measure("Memory of its processes", "children_rss", size, "MB", 1e6),
    "cpu": Measure("Processor, the server", "cpu", _percent, "% of a core"),
    "children-cpu": Measure("Processor, its processes", "children_cpu", _percent, "% of a core"),
    "processes": Measure("Processes", "processes", _number),
    "lag": Measure("Lateness of the loop", "loop_lag_ms", milliseconds, "ms"),
    "database": Measure("Time of the database", "database_ms", milliseconds, "ms"),
    "response": Measure("Answers, p95", "response_p95_ms", milliseconds, "ms"),
    "first-token": Measure("First token, p95", "first_token_p95_ms", milliseconds, "ms"),
    "errors": Measure("Failed answers", "failed", _number, join=sum),
}


@dataclass(frozen=True)
class Line:
    """One server's values, None where there is none; `points` are those of its drawing, 0 to 100 both ways."""

    replica: str
    name: str
    values: list[float | None]
    points: list[str]


@dataclass(frozen=True)
class Series:
    """What is drawn, and the same in fewer rows as words."""

    measure: Measure
    times: list[int]
    lines: list[Line]
    highest: str
    begins: str
    ends: str
    rows: list[tuple[str, list[str]]]
    more: int

    @property
    def plot(self) -> dict[str, object]:
        """Return what the script draws: times in seconds since 1970, values in the measure's unit."""
        values = [[_in_unit(value, self.measure) for value in line.values] for line in self.lines]
        zone = timezone.get_current_timezone_name()
        return {
            "unit": self.measure.unit,
            "zone": zone,
            "names": [line.name for line in self.lines],
            "data": [self.times, *values],
        }


Minute = tuple[datetime, float | None]
Rows = Sequence[tuple[str, datetime, float | None]]


def read(measure: Measure, since: datetime, replica: str = "") -> Rows:
    """Return the minutes from `since` on, of one server or of all."""
    samples = Sample.objects.filter(at__gte=since).order_by("at")
    samples = samples.filter(replica=replica) if replica else samples
    return list(samples.values_list("replica", "at", measure.column))


def build(rows: Rows, measure: Measure, now: datetime, span: timedelta) -> Series:
    """Return the lines of `rows`, the newest servers first."""
    minutes: dict[str, list[Minute]] = {}
    for replica, at, value in rows:
        minutes.setdefault(replica, []).append((at, value))
    newest = sorted(minutes, key=lambda replica: minutes[replica][-1][0], reverse=True)
    shown = newest[:LINES]
    fine, coarse = (
        {replica: _bucket(minutes[replica], measure, _Grid(now, span, points)) for replica in shown}
        for points in (POINTS, TABLE_ROWS)
    )
    highest = max((value for values in fine.values() for value in values if value is not None), default=0.0)
    return Series(
        measure=measure,
        times=[int(at.timestamp()) for at in _Grid(now, span, POINTS).moments()],
        lines=[
            Line(replica, server_name(replica), fine[replica], _points(fine[replica], highest)) for replica in shown
        ],
        highest=measure.say(highest),
        begins=moment(now - span),
        ends=moment(now),
        rows=_table(coarse, measure, _Grid(now, span, TABLE_ROWS).moments()),
        more=len(newest) - len(shown),
    )


class _Grid:
    """The last `span` in parts of the same length: no more of them than minutes, or every second one would be empty."""

    def __init__(self, now: datetime, span: timedelta, points: int) -> None:
        self._now, self._span = now, span
        self.points = min(points, span // timedelta(minutes=1))

    def find(self, at: datetime) -> int | None:
        number = int((1 - (self._now - at) / self._span) * self.points)
        return number if 0 <= number < self.points else None

    def moments(self) -> list[datetime]:
        part = self._span / self.points
        return [(self._now - self._span + part * (number + 0.5)).astimezone(UTC) for number in range(self.points)]


def _bucket(minutes: Iterable[Minute], measure: Measure, grid: _Grid) -> list[float | None]:
    parts: list[list[float]] = [[] for _ in range(grid.points)]
    for at, value in minutes:
        number = grid.find(at)
        if value is not None and number is not None:
            parts[number].append(value)
    return [measure.join(values) if values else None for values in parts]


def _points(values: Sequence[float | None], highest: float) -> list[str]:
    """Return the stretches without a hole, each as the points of a `<polyline>`."""
    stretches: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            stretches.append([])
            continue
        x = 100 * (number + 0.5) / len(values)
        stretches[-1].append(f"{x:.2f},{100 - 96 * value / (highest or 1):.2f}")
    return [" ".join(stretch) for stretch in stretches if stretch]


def _table(
    coarse: dict[str, list[float | None]], measure: Measure, moments: Sequence[datetime]
) -> list[tuple[str, list[str]]]:
    rows = [
        (moment(at), [measure.say(values[number]) for values in coarse.values()])
        for number, at in enumerate(moments)
        if any(values[number] is not None for values in coarse.values())
    ]
    return rows[::-1]


def _in_unit(value: float | None, measure: Measure) -> float | None:
    return None if value is None else round(value / measure.per_unit, 2)
