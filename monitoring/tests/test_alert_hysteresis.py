"""When an alert begins and when it is over, by a clock that the test moves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from structlog.testing import capture_logs

from monitoring.alerts import rounds
from monitoring.alerts.hysteresis import Move, next_move
from monitoring.alerts.kinds import KINDS, default_rule, ensure_rules
from monitoring.alerts.measures import Reading
from monitoring.models import Alert, AlertMessage, AlertReceiver, AlertRule
from monitoring.models.alerts import AlertState, RuleKind
from providers.models import Breaker, Provider
from providers.tests.racing import on_threads
from sasha.testing import make_provider

START = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
RULE = AlertRule(kind=RuleKind.DISK, threshold=90, clear_below=80, for_seconds=60, clear_seconds=300)


def at(seconds):
    return START + timedelta(seconds=seconds)


def pending():
    return Alert(rule=RULE, state=AlertState.PENDING, began_at=START, value=90)


def firing(calm_since=None):
    return Alert(rule=RULE, state=AlertState.FIRING, began_at=START, value=90, calm_since=calm_since)


@pytest.mark.parametrize(
    ("alert", "value", "seconds", "move"),
    [
        (None, None, 0, Move.REST),
        (None, 89.9, 0, Move.REST),
        (None, 90, 0, Move.BEGIN),
        (pending(), 95, 59, Move.REST),
        (pending(), 95, 60, Move.FIRE),
        (pending(), 89.9, 59, Move.DROP),
        (pending(), 89.9, 60, Move.DROP),
        (pending(), None, 1, Move.DROP),
        (firing(), 95, 1000, Move.REST),
        (firing(), 85, 1000, Move.REST),
        (firing(), 80, 1000, Move.REST),
        (firing(), 79.9, 1000, Move.CALM),
        (firing(), None, 1000, Move.CALM),
        (firing(START), 80, 10, Move.RELAPSE),
        (firing(START), 79, 299, Move.REST),
        (firing(START), 79, 300, Move.CLEAR),
        (firing(START), None, 300, Move.CLEAR),
    ],
)
def test_two_levels_and_two_waits(alert, value, seconds, move):
    assert next_move(RULE, alert, value, at(seconds)) is move


@pytest.mark.parametrize(("alert", "move"), [(None, Move.REST), (pending(), Move.DROP), (firing(), Move.CLEAR)])
def test_a_rule_that_is_off_ends_what_it_had(alert, move):
    off = AlertRule(kind=RuleKind.DISK, threshold=90, clear_below=80, enabled=False)
    assert next_move(off, alert, 95, START) is move


# --- Written down -----------------------------------------------------------------------------------------------------


@pytest.fixture
def only_providers(db):
    """The rule of providers, and one receiver."""
    AlertRule.objects.exclude(kind=RuleKind.PROVIDER_DOWN).update(enabled=False)
    AlertReceiver.objects.create(kind="email", address="night@example.org")
    return make_provider("https://example.org/v1", "m", slug="p")


def put(state, seconds=0):
    """Move the breaker by hand, at a given time."""
    opened_at = None if state == Breaker.CLOSED else at(seconds)
    Provider.objects.update(breaker=state, opened_at=opened_at, open_reason="" if opened_at is None else "It said no.")


def states():
    return list(Alert.objects.order_by("pk").values_list("state", flat=True))


def events():
    return list(AlertMessage.objects.order_by("pk").values_list("event", flat=True))


def test_an_alert_begins_fires_and_clears(only_providers):
    put(Breaker.OPEN)
    rounds.evaluate(at(30))
    assert states() == []
    rounds.evaluate(at(60))
    assert (states(), events(), str(Alert.objects.get())) == (["pending"], [], "P is not asked: It said no.")
    with capture_logs() as lines:
        rounds.evaluate(at(65))
    assert (states(), events()) == (["firing"], ["fired"])
    said = {"rule": "provider_down", "subject": "p", "sentence": "P is not asked: It said no."}
    assert lines == [{"event": "alert_fired", "log_level": "warning", **said}]
    put(Breaker.CLOSED)
    for seconds in (70, 669):
        rounds.evaluate(at(seconds))
    assert (states(), events()) == (["firing"], ["fired"])
    with capture_logs() as lines:
        rounds.evaluate(at(670))
    assert (states(), events()) == (["cleared"], ["fired", "cleared"])
    assert lines == [{"event": "alert_cleared", "log_level": "warning", **said}]
    over = Alert.objects.get()
    assert (over.fired_at, over.cleared_at, over.value) == (at(65), at(670), 65)


def test_what_did_not_last_was_none(only_providers):
    put(Breaker.OPEN)
    rounds.evaluate(at(60))
    put(Breaker.CLOSED)
    rounds.evaluate(at(61))
    assert (states(), events()) == ([], [])


def test_a_provider_that_flaps_two_hundred_times_is_told_of_twice(only_providers):
    for seconds in range(0, 200 * 200, 200):
        put(Breaker.OPEN, seconds)
        for later in (5, 60, 65, 100):
            rounds.evaluate(at(seconds + later))
        put(Breaker.CLOSED)
        for later in (105, 200):
            rounds.evaluate(at(seconds + later))
    assert events() == ["fired"]
    for later in (205, 705):
        rounds.evaluate(at(seconds + later))
    assert (states(), events()) == (["cleared"], ["fired", "cleared"])


def test_each_provider_has_its_own_alert(only_providers):
    make_provider("https://example.org/v1", "m", slug="q")
    put(Breaker.OPEN)
    for seconds in (60, 65):
        rounds.evaluate(at(seconds))
    assert sorted(Alert.objects.values_list("subject", flat=True)) == ["p", "q"]
    assert events() == ["fired", "fired"]


def test_a_provider_that_is_deleted_or_switched_off_clears(only_providers):
    put(Breaker.OPEN)
    for seconds in (60, 65):
        rounds.evaluate(at(seconds))
    Provider.objects.all().delete()
    for seconds in (70, 670):
        rounds.evaluate(at(seconds))
    assert (states(), events()) == (["cleared"], ["fired", "cleared"])


def test_a_rule_that_is_switched_off_clears_at_once(only_providers):
    put(Breaker.OPEN)
    for seconds in (60, 65):
        rounds.evaluate(at(seconds))
    AlertRule.objects.update(enabled=False)
    rounds.evaluate(at(70))
    assert (states(), events()) == (["cleared"], ["fired", "cleared"])


def test_a_rule_that_fails_or_that_nobody_knows_stops_no_other(only_providers, monkeypatch):
    def fail(facts):
        raise RuntimeError

    AlertRule.objects.create(kind="of_tomorrow", threshold=1, clear_below=1, for_seconds=0, clear_seconds=0)
    AlertRule.objects.filter(kind=RuleKind.NOT_SEALED).update(enabled=True, for_seconds=0)
    monkeypatch.setitem(KINDS, RuleKind.PROVIDER_DOWN, replace(KINDS[RuleKind.PROVIDER_DOWN], look=fail))
    monkeypatch.setitem(
        KINDS, RuleKind.NOT_SEALED, replace(KINDS[RuleKind.NOT_SEALED], look=lambda _: [Reading("", 999, "Late.")])
    )
    with capture_logs() as lines:
        rounds.evaluate(at(0))
        rounds.evaluate(at(1))
    assert states() == ["firing"]
    assert [line["rule"] for line in lines if line["event"] == "rule_failed"] == ["provider_down"] * 2


def test_nobody_is_told_who_is_switched_off(only_providers):
    AlertReceiver.objects.update(enabled=False)
    put(Breaker.OPEN)
    for seconds in (60, 65):
        rounds.evaluate(at(seconds))
    assert (states(), events()) == (["firing"], [])


def test_a_changed_reason_changes_the_sentence_and_tells_nobody(only_providers):
    put(Breaker.OPEN)
    for seconds in (60, 65):
        rounds.evaluate(at(seconds))
    Provider.objects.update(open_reason="It is\nbusy. " + "x" * 286)
    rounds.evaluate(at(70))
    alert = Alert.objects.get()
    assert alert.sentence.startswith("P is not asked: It is busy. xxx")
    assert (len(alert.sentence), alert.value, events()) == (300, 70, ["fired"])


def test_a_round_of_every_rule_takes_few_queries(db, django_assert_max_num_queries):
    with django_assert_max_num_queries(9):
        rounds.evaluate(START)


@pytest.mark.django_db(transaction=True)
def test_servers_that_look_at_once_fire_once_and_clear_once(only_providers):
    put(Breaker.OPEN)
    for seconds in (60, 65):
        on_threads([lambda seconds=seconds: rounds.evaluate(at(seconds))] * 6)
    assert (states(), events()) == (["firing"], ["fired"])
    put(Breaker.CLOSED)
    for seconds in (70, 670):
        on_threads([lambda seconds=seconds: rounds.evaluate(at(seconds))] * 6)
    assert (states(), events()) == (["cleared"], ["fired", "cleared"])


# --- The rules themselves ---------------------------------------------------------------------------------------------


def test_a_site_has_a_rule_of_each_kind_and_keeps_what_an_admin_made_of_it(db):
    assert set(AlertRule.objects.values_list("kind", flat=True)) == set(RuleKind)
    AlertRule.objects.filter(kind=RuleKind.DISK).update(threshold=50, enabled=False)
    AlertRule.objects.filter(kind=RuleKind.BUDGET).delete()
    ensure_rules()
    disk = AlertRule.objects.get(kind=RuleKind.DISK)
    assert (disk.threshold, disk.enabled) == (50, False)
    assert AlertRule.objects.get(kind=RuleKind.BUDGET).threshold == default_rule(RuleKind.BUDGET)["threshold"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_emptied_has_its_rules_again():
    call_command("flush", interactive=False, verbosity=0)
    assert AlertRule.objects.count() == len(RuleKind)
