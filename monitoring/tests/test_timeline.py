"""Where the time of an answer went."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.utils import timezone

from chat.models import Message
from monitoring.pages import sparkline
from monitoring.pages.timeline import WIDTH, draw
from providers.models import Attempt

NOW = timezone.now()
ARRIVED = NOW - timedelta(minutes=1)


def reply(**values):
    usual = {"state": "ended", "ending": "complete", "stored_ms": 10, "begun_ms": 100, "duration_ms": 1000}
    return Message(created_at=ARRIVED + timedelta(milliseconds=10), **(usual | values))


def attempt(number=1, at_ms=110, **values):
    usual = {"spawn_ms": 5, "request_ms": 40, "first_token_ms": 240, "total_ms": 840, "ending": "complete"}
    started_at = ARRIVED + timedelta(milliseconds=at_ms)
    return Attempt(
        reply_id=uuid.uuid4(),
        number=number,
        started_at=started_at,
        provider_slug="sim",
        model_name="one",
        **(usual | values),
    )


def shape(lane):
    """The parts of a lane, each with its place and length in ms of a line of 1,000 ms."""
    return [(part.kind, round(part.x), round(part.width)) for part in lane.segments]


def test_every_part_stands_where_it_happened():
    before, first = draw(reply(), [attempt(longest_gap_ms=100, longest_gap_at_ms=500)], NOW).lanes
    assert shape(before) == [("stored", 0, 10), ("queued", 10, 90)]
    assert shape(first) == [
        ("spawned", 110, 5),
        ("asked", 115, 35),
        ("awaited", 150, 200),
        ("streamed", 350, 600),
        ("gap", 610, 100),
    ]


def test_the_steps_say_the_same_in_their_order():
    timeline = draw(reply(), [attempt()], NOW)
    assert [(step.at, step.took) for step in timeline.steps] == [
        ("0 ms", ""),
        ("10 ms", "10 ms"),
        ("100 ms", "90 ms"),
        ("110 ms", "10 ms"),
        ("115 ms", "5 ms"),
        ("150 ms", "35 ms"),
        ("350 ms", "200 ms"),
        ("950 ms", "600 ms"),
        ("1,000 ms", "50 ms"),
    ]
    assert timeline.steps[-1].words == "The answer ended: complete."


def test_an_attempt_that_failed_early_ends_in_the_part_that_it_reached():
    failed = attempt(first_token_ms=None, total_ms=300, ending="provider_error")
    _, lane = draw(reply(), [failed], NOW).lanes
    assert shape(lane)[-1] == ("awaited", 150, 260)


def test_attempts_stand_below_each_other():
    lanes = draw(reply(), [attempt(1), attempt(2, at_ms=600, total_ms=300)], NOW).lanes
    assert [lane.name for lane in lanes] == ["Before it began", "Attempt 1", "Attempt 2"]


def test_what_still_runs_reaches_up_to_now():
    running = draw(reply(state="running", ending="", duration_ms=None), [attempt(total_ms=None, ending="")], NOW)
    assert running.total == "1 min"
    assert running.lanes[-1].segments[-1].kind == "streamed"


def test_what_waits_has_not_begun():
    waiting = draw(reply(state="queued", ending="", begun_ms=None, duration_ms=None), [], NOW)
    assert [part.kind for part in waiting.lanes[0].segments] == ["stored", "queued"]


def test_an_answer_whose_server_was_killed_ends_when_that_was_noticed():
    killed = reply(ending="interrupted", duration_ms=None, ended_at=ARRIVED + timedelta(seconds=4))
    assert draw(killed, [attempt(total_ms=None, ending="")], ARRIVED + timedelta(seconds=4)).total == "4.0 s"


def test_of_a_deleted_conversation_the_ledger_is_left():
    (lane,) = draw(None, [attempt()], NOW).lanes
    assert shape(lane)[0][:2] == ("spawned", 0)


def test_nothing_is_drawn_outside_or_too_small_to_be_seen():
    odd = [attempt(at_ms=-500, spawn_ms=0), attempt(2, at_ms=999, spawn_ms=9000, total_ms=1)]
    for lane in draw(reply(), odd, NOW).lanes:
        for part in lane.segments:
            assert part.width >= 1
            assert part.x >= 0
            assert part.x + part.width <= WIDTH


def test_a_sparkline_has_the_medians_of_its_parts_and_breaks_where_nothing_was():
    minute = timedelta(minutes=1)
    times = [(NOW - minute, 100.0), (NOW - minute, 300.0), (NOW - 3 * minute, 100.0), (NOW - 30 * minute, 50.0)]
    line = sparkline.draw(times, NOW, timedelta(hours=1))
    assert len(line.lines) == 1
    assert len(line.lines[0].split()) == 2
    assert len(line.dots) == 1
    assert sparkline.draw([], NOW, timedelta(hours=1)) == sparkline.Sparkline()
