"""The first-token times of the last hour as a line of a few pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

BUCKETS = 30
WIDTH, HEIGHT = 120.0, 28.0
# Room for the line's own width.
EDGE = 2.0


@dataclass(frozen=True)
class Sparkline:
    """Lines for `<polyline points>`, one for each stretch of buckets without a hole, and points that stand alone."""

    lines: tuple[str, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()


def draw(times: Iterable[tuple[datetime, float]], now: datetime, span: timedelta) -> Sparkline:
    """Return the medians of the buckets of `span` up to `now`; `times` in any order, in ms."""
    buckets: list[list[float]] = [[] for _ in range(BUCKETS)]
    for at, value in times:
        number = int((1 - (now - at) / span) * BUCKETS)
        if 0 <= number < BUCKETS:
            buckets[number].append(value)
    points = [(number, median(values)) for number, values in enumerate(buckets) if values]
    highest = max((value for _, value in points), default=0) or 1
    return _lines([[_place(number, value / highest) for number, value in run] for run in _runs(points)])


def _lines(runs: list[list[tuple[float, float]]]) -> Sparkline:
    lines = tuple(" ".join(f"{x:g},{y:g}" for x, y in run) for run in runs if len(run) > 1)
    return Sparkline(lines, tuple(run[0] for run in runs if len(run) == 1))


def _runs(points: list[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """Return the points in stretches without an empty bucket between them."""
    runs: list[list[tuple[int, float]]] = []
    for point in points:
        if runs and point[0] - runs[-1][-1][0] == 1:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _place(number: int, share: float) -> tuple[float, float]:
    x = EDGE + (WIDTH - 2 * EDGE) * number / (BUCKETS - 1)
    return round(x, 1), round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share, 1)
