from __future__ import annotations

import random

import pytest

from monitoring.figures import find_change, percentile, slope_of, student_quantile, summarize, trend_of

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("sizes", "trend", "change"),
    [
        ([], "unknown", None),
        ([100] * 9, "unknown", None),
        ([100] * 10, "stable", 0),
        ([100] * 9 + [110], "stable", 10),
        ([100] * 9 + [111], "increasing", 11),
        ([100] * 9 + [90], "stable", -10),
        ([100] * 9 + [89], "decreasing", -11),
        # What was before the last ten does not count.
        ([1] + [100] * 10, "stable", 0),
        ([100, 500, *[100] * 8], "stable", 0),
    ],
    ids=str,
)
def test_more_than_ten_megabytes_in_ten_samples_are_a_trend(sizes, trend, change):
    found = find_change([size * MB for size in sizes])
    assert trend_of(found) == trend
    assert found == (None if change is None else change * MB)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], (0, None, None, None, None)),
        ([7], (1, 7, 7, 7, 7)),
        (range(1, 101), (100, 50.5, 50, 95, 99)),
        ([1000, 1, 1, 1], (4, 250.8, 1, 1000, 1000)),
    ],
    ids=str,
)
def test_many_times_are_a_mean_and_three_percentiles(times, expected):
    assert tuple(summarize(times).values()) == expected


@pytest.mark.parametrize(
    ("points", "per_hour"),
    [
        ([(minute * 60, 5.0) for minute in range(60)], 0),
        ([(minute * 60, 100 + minute) for minute in range(60)], 60),
        ([(minute * 60, 100 - minute / 2) for minute in range(10)], -30),
    ],
    ids=["level", "up", "down"],
)
def test_the_slope_of_a_line_is_certain(points, per_hour):
    assert slope_of(points) == pytest.approx((per_hour, per_hour, per_hour), abs=1e-6)


def test_nine_points_have_no_slope():
    assert slope_of([(second, second) for second in range(9)]) is None


def test_the_interval_holds_the_true_slope_in_95_of_100_cases():
    dice = random.Random(7)
    held = 0
    for _ in range(1000):
        slope = slope_of([(minute * 60, minute + dice.gauss(0, 5)) for minute in range(12)])
        assert slope.low < slope.per_hour < slope.high
        held += slope.low <= 60 <= slope.high
    assert 930 <= held <= 970


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(8, 2.306), (10, 2.228), (20, 2.086), (30, 2.042), (58, 2.002), (10**6, 1.960)]
)
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student_quantile(freedom) == pytest.approx(quantile, abs=0.001)


def test_percentiles_are_by_nearest_rank():
    assert percentile([], 0.95) is None
    assert percentile([5], 0.95) == 5
    assert percentile(range(1, 101), 0.95) == 95
