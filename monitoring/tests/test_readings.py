"""What the readings of a server come to, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitoring.readings import Reading, Readings

NUMBERS = dict.fromkeys(Reading.__annotations__.keys() - {"at"}, 0)
START = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


def slope_of(sizes):
    """Return the slope through one reading a minute."""
    readings = Readings()
    for minute, rss in enumerate(sizes):
        readings.add(Reading(**NUMBERS | {"at": START + timedelta(minutes=minute), "rss": rss}))
    return readings.memory()["slope_bytes_per_hour"]


def test_what_a_server_loads_in_its_first_ten_minutes_is_no_growth():
    loading = [minute * 10**6 for minute in range(10)]
    assert slope_of([*loading, *[10**7] * 12]) == 0
    assert slope_of([*loading, *[10**7] * 10]) is None


def test_what_grows_later_grows():
    assert round(slope_of([minute * 10**6 for minute in range(30)])) == 60 * 10**6
