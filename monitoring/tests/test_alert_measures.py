"""What each kind of alert measures: rows in, readings out."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from monitoring.alerts import measures
from monitoring.alerts.kinds import KINDS, Facts
from monitoring.alerts.measures import Disk, Holding, UnknownCosts
from monitoring.models import AuditEntry, AuditSeal, ReplicaState
from monitoring.models.alerts import RuleKind
from providers import budgets
from providers.models import Attempt, Breaker, Budget, BudgetUse, Forced, Provider

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)


def provider(**values):
    return Provider(**({"slug": "p", "name": "P", "opened_at": NOW - timedelta(seconds=90)} | values))


@pytest.mark.parametrize(
    ("values", "seconds", "words"),
    [
        ({"breaker": Breaker.CLOSED}, None, ""),
        ({"breaker": Breaker.OPEN, "open_reason": "It said no."}, 90, "P is not asked: It said no."),
        ({"breaker": Breaker.HALF_OPEN}, 90, "P is not asked: its breaker is open."),
        ({"forced": Forced.OPEN}, 90, "P is not asked: an admin has decided so."),
        ({"forced": Forced.CLOSED, "breaker": Breaker.OPEN}, None, ""),
        ({"breaker": Breaker.OPEN, "enabled": False}, None, ""),
        ({"breaker": Breaker.OPEN, "opened_at": NOW + timedelta(seconds=1)}, 0, "P is not asked: its breaker is open."),
        ({"breaker": Breaker.OPEN, "opened_at": None}, 0, "P is not asked: its breaker is open."),
    ],
)
def test_a_provider_is_down_while_it_is_not_asked(values, seconds, words):
    found = [
        (each.subject, each.value, each.sentence) for each in measures.measure_providers([provider(**values)], NOW)
    ]
    assert found == ([] if seconds is None else [("p", seconds, words)])


def state(**groups):
    return {"figures": groups}


def errors(ended, failed):
    return state(errors={"ended": ended, "failed": failed})


@pytest.mark.parametrize(
    ("states", "percent"),
    [
        ([], None),
        ([errors(1, 1)], None),
        ([errors(2, 2)], None),
        ([errors(3, 3)], 100),
        ([errors(50, 10), errors(50, 5)], 15),
        ([errors(10, 4), {}, None, {"figures": None}, state(errors=[]), errors("7", None), errors(True, True)], 40),
        ([errors(0, 3)], None),
    ],
)
def test_the_share_of_failed_answers_is_that_of_all_servers(states, percent):
    found = measures.measure_errors({str(number): data for number, data in enumerate(states)})
    assert [each.value for each in found] == ([] if percent is None else [percent])


def test_unknown_costs_name_the_model_that_has_most_of_them():
    assert measures.measure_unknown_costs([]) == []
    (one,) = measures.measure_unknown_costs([UnknownCosts("p", "m", 2)])
    assert (one.value, one.sentence) == (2, "The cost of 2 answers of the last hour is unknown, of p:m.")
    (two,) = measures.measure_unknown_costs([UnknownCosts("p", "m", 4), UnknownCosts("q", "n", 3)])
    assert (two.value, two.sentence) == (7, "The cost of 7 answers of the last hour is unknown, most of them of p:m.")


def holding(spent, reserved="0", limit="10", whose="", holder=0, scope="site"):
    budget = Budget(pk=3, scope=scope, period="day", limit_usd=Decimal(limit))
    use = BudgetUse(budget=budget, holder=holder, begins=date(2026, 11, 29))
    use.spent_usd, use.reserved_usd = Decimal(spent), Decimal(reserved)
    return Holding(use, whose)


def test_a_budget_is_used_by_what_is_spent_and_what_is_held_back():
    site, user, none = measures.measure_budgets(
        [holding("7", "1.5"), holding("9.99", holder=7, whose="bob", scope="everyone"), holding("0")]
    )
    assert (site.value, site.sentence) == (85, "85 % of 10 USD per day for the whole site is used.")
    assert (user.value, user.sentence) == (99, "99 % of 10 USD per day for each user is used by bob.")
    assert len({site.subject, user.subject}) == 2
    assert none.value == 0
    assert measures.measure_budgets([holding("0", limit="0")]) == []


def memory(slope, low):
    return state(memory={"slope_bytes_per_hour": slope, "slope_low": low})


def test_memory_grows_only_where_that_is_sure():
    states = {"a": memory(30e6, 1.0), "b": memory(30e6, -1.0), "c": memory(None, None), "d": {}, "e": memory("x", 5)}
    (only,) = measures.measure_memory(states)
    assert (only.subject, only.value, only.sentence) == ("a", 30, "The memory of a grows by 30 MB an hour.")


def test_a_disk_is_as_full_as_the_site_may_not_write():
    (full,) = measures.measure_disk(Disk(100_000_000_000, 7_500_000_000))
    assert full.value == pytest.approx(92.5)
    assert full.sentence == "8 % of the disk of DATA_DIR is free: 7.5 GB."
    assert measures.measure_disk(None) == measures.measure_disk(Disk(0, 0)) == []


def test_the_oldest_entry_without_a_seal_is_what_counts():
    assert measures.measure_unsealed(None, NOW) == []
    (waiting,) = measures.measure_unsealed(NOW - timedelta(seconds=70), NOW)
    assert waiting.value == 70


def test_every_kind_begins_with_levels_that_do_not_flap():
    assert set(KINDS) == set(RuleKind)
    assert all(0 < info.clear_below < info.threshold <= (info.most or info.threshold) for info in KINDS.values())
    assert all(info.clear_seconds >= 300 for info in KINDS.values())


# --- What is looked up for them ---------------------------------------------------------------------------------------


def look(kind, now=None):
    return KINDS[kind].look(Facts(now or timezone.now()))


def make_attempt(minutes_ago=1, **values):
    names = {"provider_slug": "p", "model_name": "m", "reason": "chosen", "ending": "complete"}
    ids = {"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4()}
    started_at = timezone.now() - timedelta(minutes=minutes_ago)
    return Attempt.objects.create(started_at=started_at, **(ids | names | values))


@pytest.mark.django_db
def test_only_ended_attempts_of_the_last_hour_have_an_unknown_cost():
    make_attempt()
    make_attempt(model_name="n")
    make_attempt(model_name="n")
    make_attempt(cost_usd=0)
    make_attempt(ending="")
    make_attempt(minutes_ago=61)
    (found,) = look(RuleKind.UNKNOWN_COST)
    assert found.sentence == "The cost of 3 answers of the last hour is unknown, most of them of p:n."


@pytest.mark.django_db
def test_a_server_that_is_silent_counts_no_longer():
    now = timezone.now()
    for name, seconds in (("here", 5), ("gone", 31)):
        ReplicaState.objects.create(replica=name, at=now - timedelta(seconds=seconds), data=memory(30e6, 1e6))
    assert [reading.subject for reading in look(RuleKind.MEMORY_SLOPE, now)] == ["here"]


@pytest.mark.django_db
def test_only_budgets_that_apply_now_are_measured():
    now = timezone.now()
    alice, bob = (User.objects.create(username=name) for name in ("alice", "bob"))
    today = budgets.get_span("day", now).begins
    every = Budget.objects.create(scope="everyone", period="day", limit_usd=10)
    own = Budget.objects.create(scope="user", user=bob, period="day", limit_usd=20)
    off = Budget.objects.create(scope="site", period="day", limit_usd=1, enabled=False)
    for budget, holder, begins, spent in (
        (every, alice.pk, today, 9),
        # Bob has a budget of his own instead.
        (every, bob.pk, today, 9),
        (own, bob.pk, today, 19),
        (every, alice.pk, today - timedelta(days=1), 9),
        (off, 0, today, 1),
    ):
        BudgetUse.objects.create(budget=budget, holder=holder, begins=begins, spent_usd=spent)
    assert [reading.sentence for reading in look(RuleKind.BUDGET, now)] == [
        "95 % of 20 USD per day for bob is used.",
        "90 % of 10 USD per day for each user is used by alice.",
    ]


@pytest.mark.django_db
def test_entries_are_unsealed_behind_the_newest_seal_and_in_gaps_before_it():
    def entry(seconds_ago):
        return AuditEntry.objects.create(action="x", at=NOW - timedelta(seconds=seconds_ago))

    assert look(RuleKind.NOT_SEALED, NOW) == []
    gap, sealed, _new = entry(90), entry(60), entry(10)
    assert look(RuleKind.NOT_SEALED, NOW)[0].value == 90
    AuditSeal.objects.create(sequence=1, entry=sealed, previous="", hash="x")
    assert look(RuleKind.NOT_SEALED, NOW)[0].value == 90
    AuditSeal.objects.create(sequence=2, entry=gap, previous="x", hash="y")
    assert look(RuleKind.NOT_SEALED, NOW)[0].value == 10


@pytest.mark.django_db
def test_a_disk_that_is_not_there_is_not_measured(settings):
    assert 0 <= look(RuleKind.DISK)[0].value <= 100
    settings.DATA_DIR = settings.DATA_DIR / "gone"
    assert look(RuleKind.DISK) == []
