"""Readings as figures: many times in a few numbers, and whether memory grows. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, TypedDict

# The plan's rule: more than so much over the last so many samples is a trend.
TREND_BYTES = 10 * 1024 * 1024
TREND_SAMPLES = 10
# A slope of fewer points has no confidence worth the name.
SLOPE_POINTS = 10
SECONDS_PER_HOUR = 3600


class Summary(TypedDict):
    """Many times as a few numbers, in milliseconds; None where there were none."""

    count: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


def summarize(times_ms: Sequence[float]) -> Summary:
    """Return the mean and the percentiles of `times_ms`."""
    ordered = sorted(times_ms)
    return Summary(
        count=len(ordered),
        mean_ms=round(statistics.fmean(ordered), 1) if ordered else None,
        p50_ms=percentile(ordered, 0.5),
        p95_ms=percentile(ordered, 0.95),
        p99_ms=percentile(ordered, 0.99),
    )


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest of `values` that at least `share` of them do not exceed; None where there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


class Trend(StrEnum):
    INCREASING = "increasing"
    DECREASING = "decreasing"
    STABLE = "stable"
    UNKNOWN = "unknown"


def find_change(sizes: Sequence[int]) -> int | None:
    """Return by how many bytes the last TREND_SAMPLES of `sizes` have grown, None where there are fewer."""
    recent = sizes[-TREND_SAMPLES:]
    return recent[-1] - recent[0] if len(recent) == TREND_SAMPLES else None


def trend_of(change: int | None) -> Trend:
    """Return what a change over the last samples is called."""
    if change is None:
        return Trend.UNKNOWN
    if change > TREND_BYTES:
        return Trend.INCREASING
    return Trend.DECREASING if change < -TREND_BYTES else Trend.STABLE


class Slope(NamedTuple):
    """Growth per hour, and the bounds of its 95 % confidence interval."""

    per_hour: float
    low: float
    high: float


def slope_of(points: Sequence[tuple[float, float]]) -> Slope | None:
    """Return the least-squares slope through `points` (seconds, size), None of fewer than SLOPE_POINTS of them.

    The interval takes the deviations for independent. Those of memory are not quite, so it is a little too narrow.
    """
    if len(points) < SLOPE_POINTS:
        return None
    seconds, sizes = zip(*points, strict=True)
    line = statistics.linear_regression(seconds, sizes)
    centre = statistics.fmean(seconds)
    spread = sum((at - centre) ** 2 for at in seconds)
    missed = sum((size - line.intercept - line.slope * at) ** 2 for at, size in points)
    freedom = len(points) - 2
    margin = student_quantile(freedom) * math.sqrt(missed / freedom / spread)
    return Slope(*(SECONDS_PER_HOUR * slope for slope in (line.slope, line.slope - margin, line.slope + margin)))


def student_quantile(freedom: int) -> float:
    """Return what Student's t stays below with 97.5 %, to three digits from 8 degrees of freedom on.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = statistics.NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
