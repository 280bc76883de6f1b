from __future__ import annotations

import time

from monitoring.outcomes import Outcome, Outcomes

GOOD = Outcome(failed=False, duration_ms=1000, first_token_ms=100)
BAD = Outcome(failed=True, duration_ms=50, first_token_ms=None)
LOST = Outcome(failed=True, duration_ms=None, first_token_ms=None)


def test_nothing_has_no_rate():
    errors = Outcomes().errors()
    assert (errors["ended"], errors["rate"], errors["rate_since_start"]) == (0, None, None)


def test_failures_are_counted_for_five_minutes_and_since_the_start(monkeypatch):
    outcomes = Outcomes()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now - 301)
    outcomes.add(BAD)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for outcome in (GOOD, GOOD, GOOD, LOST):
        outcomes.add(outcome)
    errors = outcomes.errors()
    assert (errors["ended"], errors["failed"], errors["rate"]) == (4, 1, 0.25)
    assert (errors["ended_since_start"], errors["failed_since_start"], errors["rate_since_start"]) == (5, 2, 0.4)


def test_the_last_thousand_times_are_kept():
    outcomes = Outcomes()
    for duration in range(1, 1501):
        outcomes.add(Outcome(False, duration, None))
    assert outcomes.responses() == {"count": 1000, "mean_ms": 1000.5, "p50_ms": 1000, "p95_ms": 1450, "p99_ms": 1490}
    assert outcomes.first_tokens()["count"] == 0


def test_a_minute_is_taken_once():
    outcomes = Outcomes()
    for outcome in (GOOD, BAD, LOST):
        outcomes.add(outcome)
    minute = outcomes.take_minute()
    assert (minute.replies, minute.failed) == (3, 2)
    assert (minute.durations_ms, minute.first_tokens_ms) == ([1000, 50], [100])
    assert outcomes.take_minute().replies == 0
