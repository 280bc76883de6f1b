"""What a budget holds back, counts, refuses and says, one call after the other."""

import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone

from providers import budgets
from providers.models import Attempt, Budget, BudgetUse, Reservation

pytestmark = pytest.mark.django_db

# Not of today: what looks at the clock instead of the attempt is found out.
NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def alice():
    return get_user_model().objects.create(username="alice")


@pytest.fixture
def bob():
    return get_user_model().objects.create(username="bob")


def make_budget(limit, scope="site", period="day", **overrides):
    return Budget.objects.create(scope=scope, period=period, limit_usd=Decimal(limit), **overrides)


def make_attempt(user=None, cost=None, **overrides):
    values = {"provider_slug": "sim", "model_name": "m", "reason": "chosen", "started_at": NOON}
    ids = {"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4()}
    return Attempt.objects.create(user=user, cost_usd=cost and Decimal(cost), **(values | ids | overrides))


def reserve(amount, user=None, attempt_id=None, now=NOON):
    uses = budgets.find_uses(user and user.pk, now)
    return budgets.reserve(uses, attempt_id or uuid.uuid4(), Decimal(amount), now)


def standing(budget, user=None, now=NOON):
    return next(use for use in budgets.list_uses(user and user.pk, now=now) if use.budget == budget)


def figures(budget, user=None, now=NOON):
    use = standing(budget, user, now)
    return use.spent_usd, use.reserved_usd


def test_holds_back_the_worst_case_and_counts_the_cost():
    budget, attempt = make_budget("5"), uuid.uuid4()
    assert reserve("0.30", attempt_id=attempt) is None
    assert figures(budget) == (0, Decimal("0.30"))
    budgets.settle(attempt, Decimal("0.12"))
    assert figures(budget) == (Decimal("0.12"), 0)
    assert not Reservation.objects.exists()


def test_settling_twice_counts_once():
    budget, attempt = make_budget("5"), make_attempt(cost="0.12")
    BudgetUse.objects.create(budget=budget, begins=NOON.date())
    reserve("0.30", attempt_id=attempt.pk)
    budgets.settle(attempt.pk, Decimal("0.12"))
    budgets.settle(attempt.pk, Decimal("0.12"))
    assert figures(budget) == (Decimal("0.12"), 0)


def test_an_unknown_cost_counts_as_what_was_held_back():
    budget, attempt = make_budget("5"), uuid.uuid4()
    reserve("0.30", attempt_id=attempt)
    budgets.settle(attempt, None)
    assert figures(budget) == (Decimal("0.30"), 0)


def test_a_cost_above_the_worst_case_counts_in_full():
    budget, attempt = make_budget("5"), uuid.uuid4()
    reserve("4.90", attempt_id=attempt)
    budgets.settle(attempt, Decimal("5.50"))
    assert figures(budget) == (Decimal("5.50"), 0)
    assert standing(budget).left_usd == 0


def test_settling_what_nobody_has_seen_changes_nothing():
    budget = make_budget("5")
    budgets.settle(uuid.uuid4(), Decimal("0.12"))
    assert figures(budget) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "amount"),
    [
        ("0.5", "0.1"),
        ("0.0205", "0.0041"),
        ("0.0005", "0.0001"),
        ("3.5000", "0.700000000000"),
        ("1", "0.2"),
        ("1234.5", "246.9"),
    ],
)
def test_a_budget_for_five_admits_exactly_five(limit, amount):
    budget = make_budget(limit)
    attempts = [uuid.uuid4() for _ in range(50)]
    admitted = [attempt for attempt in attempts if reserve(amount, attempt_id=attempt) is None]
    assert admitted == attempts[:5]
    for attempt in admitted:
        budgets.settle(attempt, Decimal(amount))
    assert figures(budget) == (Decimal(limit), 0)
    assert reserve("0.000001") is not None


def test_a_large_budget_for_five_admits_exactly_five():
    make_budget("9814.6055")  # where a float has no twelve places left
    assert [reserve("1962.9211") is None for _ in range(10)] == [True] * 5 + [False] * 5


def test_a_millionth_of_a_dollar_too_much_is_refused():
    make_budget("0.5")
    assert reserve("0.500001") is not None
    assert reserve("0.5") is None


def test_no_crumbs_are_left_behind():
    budget = make_budget("5")
    amounts = {uuid.uuid4(): Decimal(amount) for amount in ("0.1", "0.2", "0.3")}
    for attempt, amount in amounts.items():
        reserve(amount, attempt_id=attempt)
    for attempt, amount in amounts.items():
        budgets.settle(attempt, amount)
    # Compared by the database, which reads a Decimal to twelve places but may hold more.
    assert BudgetUse.objects.filter(budget=budget, spent_usd=Decimal("0.6"), reserved_usd=0).exists()


def test_a_free_model_is_never_refused(alice):
    make_budget("0")
    make_budget("1", scope="everyone")
    make_attempt(alice, cost="2")
    assert reserve("0", alice) is None
    assert reserve("0.01", alice) is not None
    assert not Reservation.objects.exists()


def test_an_amount_below_nothing_is_an_error():
    with pytest.raises(ValueError, match="held back"):
        reserve("-1")


def test_an_attempt_reserves_once():
    budget, attempt = make_budget("5"), uuid.uuid4()
    reserve("1", attempt_id=attempt)
    with pytest.raises(IntegrityError), transaction.atomic():
        reserve("1", attempt_id=attempt)
    assert figures(budget) == (0, 1)


def test_a_refusal_by_one_budget_holds_nothing_back_in_any(alice):
    mine, site = make_budget("5", scope="everyone"), make_budget("1", period="month")
    refusal = reserve("2", alice)
    assert refusal.budget == site
    assert figures(mine, alice) == figures(site, alice) == (0, 0)
    assert not Reservation.objects.exists()


def test_a_refused_period_is_summed_up_once(alice, django_assert_max_num_queries):
    make_budget("0", period="month")
    reserve("1", alice)
    with django_assert_max_num_queries(7) as captured:
        assert reserve("1", alice)
    assert not [query for query in captured if "SUM" in query["sql"]]


def test_the_end_of_an_attempt_sums_nothing_up(alice, django_assert_max_num_queries):
    make_budget("5", scope="everyone")
    make_budget("5")
    attempt = make_attempt(alice, cost="0.05")
    reserve("0.1", alice, attempt_id=attempt.pk)
    with django_assert_max_num_queries(9) as captured:
        budgets.settle(attempt.pk, Decimal("0.05"))
    assert not [query for query in captured if "SUM" in query["sql"]]


def test_an_attempt_with_two_budgets_takes_few_queries(alice, django_assert_max_num_queries):
    make_budget("5", scope="everyone")
    make_budget("5")
    reserve("0.1", alice)
    with django_assert_max_num_queries(6):
        reserve("0.1", alice)
    with django_assert_max_num_queries(1):
        budgets.find_warning(alice.pk, now=NOON)


# --- Whose budget -----------------------------------------------------------------------------------------------------


def test_without_a_budget_nothing_is_held_back(alice):
    make_budget("0", enabled=False)
    assert reserve("1000", alice) is None
    assert budgets.list_uses(alice.pk) == []
    assert budgets.find_warning(alice.pk) == ""


def test_each_user_has_a_budget_of_their_own_size(alice, bob):
    budget = make_budget("1", scope="everyone")
    assert reserve("1", alice) is None
    assert reserve("1", alice) is not None
    assert reserve("1", bob) is None
    assert figures(budget, alice) == figures(budget, bob) == (0, 1)


def test_all_users_share_the_budget_of_the_site(alice, bob):
    make_budget("1")
    assert reserve("0.6", alice) is None
    assert reserve("0.6", bob) is not None
    assert reserve("0.4", None) is None


def test_a_budget_of_ones_own_takes_the_place_of_each_users(alice, bob):
    make_budget("1", scope="everyone")
    own = make_budget("3", scope="user", user=alice)
    assert reserve("2", alice) is None
    assert reserve("2", bob) is not None
    assert [use.budget for use in budgets.list_uses(alice.pk, now=NOON)] == [own]


def test_a_budget_of_ones_own_for_another_period_stands_beside_each_users(alice):
    make_budget("1", scope="everyone", period="day")
    make_budget("3", scope="user", user=alice, period="month")
    assert reserve("2", alice) is not None


def test_a_budget_that_is_off_takes_nobodys_place(alice):
    make_budget("1", scope="everyone")
    make_budget("3", scope="user", user=alice, enabled=False)
    assert reserve("2", alice) is not None


@pytest.mark.parametrize(("scope", "applies"), [("site", True), ("everyone", False), ("user", False)])
def test_what_belongs_to_nobody_is_limited_by_the_site_alone(alice, scope, applies):
    make_budget("1", scope=scope, user=alice if scope == "user" else None)
    assert bool(budgets.find_uses(None, NOON)) is applies
    assert (reserve("2") is not None) is applies


@pytest.mark.parametrize("scope", ["site", "everyone", "user"])
def test_every_scope_is_a_budget_of_the_user_it_applies_to(alice, bob, scope):
    make_budget("1", scope=scope, user=alice if scope == "user" else None)
    assert budgets.find_uses(alice.pk, NOON)
    assert bool(budgets.find_uses(bob.pk, NOON)) is (scope != "user")


# --- Periods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "period", "now", "begins", "starts_at", "renews_at"),
    [
        ("UTC", "day", "2026-11-24T00:00", "2026-11-24", "2026-11-24T00:00", "2026-11-25T00:00"),
        ("UTC", "day", "2026-12-31T23:59", "2026-12-31", "2026-12-31T00:00", "2027-01-01T00:00"),
        ("Asia/Tokyo", "day", "2026-11-24T15:00", "2026-11-25", "2026-11-24T15:00", "2026-11-25T15:00"),
        ("America/New_York", "day", "2026-11-24T04:59", "2026-11-23", "2026-11-23T05:00", "2026-11-24T05:00"),
        # Days of 23 and of 25 hours.
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        # A day that begins at 01:00, since the clocks skip midnight, and one whose midnight comes twice.
        ("Africa/Cairo", "day", "2026-04-24T12:00", "2026-04-24", "2026-04-23T22:00", "2026-04-24T21:00"),
        ("America/Havana", "day", "2026-11-01T12:00", "2026-11-01", "2026-11-01T04:00", "2026-11-02T05:00"),
        ("UTC", "month", "2026-02-28T23:59", "2026-02-01", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("UTC", "month", "2026-12-31T23:59", "2026-12-01", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("Europe/Berlin", "month", "2026-03-31T22:00", "2026-04-01", "2026-03-31T22:00", "2026-04-30T22:00"),
        ("Europe/Berlin", "month", "2026-03-31T21:59", "2026-03-01", "2026-02-28T23:00", "2026-03-31T22:00"),
    ],
)
def test_periods_follow_the_clocks_of_the_site(settings, zone, period, now, begins, starts_at, renews_at):
    settings.TIME_ZONE = zone
    with timezone.override("Pacific/Kiritimati"):  # of the person who asks
        span = budgets.get_span(period, datetime.fromisoformat(now + "Z"))
    assert span.begins == date.fromisoformat(begins)
    assert span.starts_at == datetime.fromisoformat(starts_at + "Z")
    assert span.renews_at == datetime.fromisoformat(renews_at + "Z")


@pytest.mark.parametrize(("period", "days"), [("day", 1), ("month", 30)])
def test_a_new_period_begins_with_all_of_the_budget(period, days):
    budget = make_budget("1", period=period)
    assert reserve("1") is None
    assert reserve("1", now=NOON + timedelta(days=days)) is None
    assert BudgetUse.objects.filter(budget=budget).count() == 2


def test_a_cost_is_counted_in_the_period_in_which_it_was_held_back():
    budget, attempt = make_budget("1"), uuid.uuid4()
    late = NOON.replace(hour=23, minute=59)
    reserve("1", attempt_id=attempt, now=late)
    reserve("0.2", now=late + timedelta(minutes=2))
    budgets.settle(attempt, Decimal("0.7"))
    assert figures(budget, now=late) == (Decimal("0.7"), 0)
    assert figures(budget, now=late + timedelta(minutes=2)) == (0, Decimal("0.2"))


def test_a_period_begins_with_what_the_ledger_has_of_it(settings, alice, bob):
    settings.TIME_ZONE = "Europe/Berlin"
    midnight = datetime(2025, 11, 23, 23, tzinfo=UTC)
    make_attempt(alice, cost="8", started_at=midnight - timedelta(seconds=1))
    make_attempt(alice, cost="0.25", started_at=midnight)
    make_attempt(bob, cost="0.5")
    make_attempt(alice, started_at=NOON)  # of unknown cost
    make_attempt(alice, cost="16", started_at=midnight + timedelta(days=1))
    mine, site = make_budget("1", scope="everyone"), make_budget("1")
    assert reserve("0.26", alice).budget == site
    assert reserve("0.25", alice) is None
    assert figures(mine, alice) == (Decimal("0.25"), Decimal("0.25"))
    assert figures(site) == (Decimal("0.75"), Decimal("0.25"))


# --- Budgets that change while attempts run ---------------------------------------------------------------------------


def test_a_budget_made_meanwhile_counts_the_attempt_once(alice):
    old, attempt = make_budget("5", scope="everyone"), make_attempt(alice)
    reserve("0.5", alice, attempt_id=attempt.pk)
    new = make_budget("9")
    assert reserve("1", alice) is None
    Attempt.objects.filter(pk=attempt.pk).update(cost_usd=Decimal("0.4"))
    for _ in range(2):
        budgets.settle(attempt.pk, Decimal("0.4"))
        assert figures(new) == (Decimal("0.4"), 1)
        assert figures(old, alice) == (Decimal("0.4"), 1)


def test_a_budget_that_is_switched_off_keeps_its_count_of_what_runs():
    budget, attempt = make_budget("1"), uuid.uuid4()
    reserve("1", attempt_id=attempt)
    Budget.objects.update(enabled=False)
    budgets.settle(attempt, Decimal("0.4"))
    Budget.objects.update(enabled=True)
    assert figures(budget) == (Decimal("0.4"), 0)


def test_a_limit_changed_holds_for_the_next_attempt():
    budget = make_budget("1")
    reserve("1")
    Budget.objects.filter(pk=budget.pk).update(limit_usd=2)
    assert reserve("1") is None
    Budget.objects.filter(pk=budget.pk).update(limit_usd=1)
    assert reserve("0.01").left_usd == 0


def test_a_refresh_counts_what_went_by_while_a_budget_was_off(alice):
    site, mine = make_budget("5"), make_budget("5", scope="everyone", period="month")
    reserve("1", alice)
    Budget.objects.update(enabled=False)
    make_attempt(alice, cost="2", started_at=NOON)
    Budget.objects.update(enabled=True)
    assert budgets.refresh(now=NOON) == 2
    assert figures(site) == figures(mine, alice) == (2, 1)
    assert budgets.refresh(now=NOON) == 0


def test_a_refresh_keeps_what_answers_of_unknown_cost_counted_as():
    budget, attempt = make_budget("5"), make_attempt()
    reserve("0.3", attempt_id=attempt.pk)
    budgets.settle(attempt.pk, None)
    assert budgets.refresh(now=NOON) == 0
    assert figures(budget) == (Decimal("0.3"), 0)


def test_a_period_can_be_compared_with_the_ledger_and_counted_anew():
    budget = make_budget("5")
    reserve("0.3")
    use = BudgetUse.objects.get(budget=budget)
    BudgetUse.objects.update(spent_usd=Decimal("3"), reserved_usd=Decimal("2"))
    make_attempt(cost="1.25")
    use.refresh_from_db()
    assert budgets.find_drift(use) == Decimal("1.75")
    budgets.rebuild(use)
    use.refresh_from_db()
    assert budgets.find_drift(use) == 0
    assert figures(budget) == (Decimal("1.25"), Decimal("0.3"))


# --- The sweep --------------------------------------------------------------------------------------------------------

HOUR = timedelta(hours=1)


def grow_old():
    Reservation.objects.update(created_at=timezone.now() - 2 * HOUR)


def test_the_sweep_leaves_alone_what_may_still_be_running():
    budget, attempt = make_budget("5"), make_attempt()
    reserve("1", attempt_id=attempt.pk)
    assert budgets.sweep(HOUR) == 0
    assert figures(budget) == (0, 1)


def test_the_sweep_settles_an_attempt_that_has_ended_by_its_cost(alice):
    mine, site = make_budget("5", scope="everyone"), make_budget("5")
    attempt = make_attempt(alice, cost="0.2", ended_at=NOON)
    BudgetUse.objects.create(budget=mine, holder=alice.pk, begins=NOON.date())
    BudgetUse.objects.create(budget=site, begins=NOON.date())
    reserve("1", alice, attempt_id=attempt.pk)
    assert budgets.sweep(HOUR) == 2
    assert figures(mine, alice) == figures(site) == (Decimal("0.2"), 0)
    assert budgets.sweep(HOUR) == 0


@pytest.mark.parametrize("ended_at", [NOON, None])
def test_the_sweep_counts_an_unknown_cost_as_the_worst_case(ended_at):
    budget, attempt = make_budget("5"), make_attempt(ended_at=ended_at)
    reserve("1", attempt_id=attempt.pk)
    grow_old()
    assert budgets.sweep(HOUR) == 1
    assert figures(budget) == (1, 0)


def test_the_sweep_gives_back_what_was_held_for_an_attempt_that_never_was():
    budget = make_budget("5")
    reserve("1")
    grow_old()
    assert budgets.sweep(HOUR) == 1
    assert figures(budget) == (0, 0)


# --- What people are told ---------------------------------------------------------------------------------------------


def use_up(budget, spent, reserved="0", user=None):
    begins = budgets.get_span(budget.period, NOON).begins
    BudgetUse.objects.create(
        budget=budget,
        holder=user.pk if user else 0,
        begins=begins,
        spent_usd=Decimal(spent),
        reserved_usd=Decimal(reserved),
    )


def test_a_refusal_says_what_is_left_and_when_it_renews(settings, alice):
    settings.TIME_ZONE = "Europe/Berlin"
    budget = make_budget("5", scope="everyone")
    use_up(budget, "4.88", user=alice)
    assert reserve("0.30", alice) == budgets.Refusal(
        "Your budget of 5.00 USD a day has 0.12 USD left, and this answer may cost up to 0.30 USD. "
        "It renews at 00:00 (Europe/Berlin).",
        budget,
        Decimal("0.12"),
        datetime(2025, 11, 24, 23, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("spent", "reserved", "amount", "said"),
    [
        ("100", "0", "0.3", "is used up, and this answer may cost up to 0.30 USD."),
        ("140", "0", "0.3", "is used up, and"),
        ("99.9999", "0", "0.00012", "has 0.0001 USD left, and this answer may cost up to 0.0002 USD."),
        ("99.87991", "0", "0.1201", "has 0.12 USD left, and this answer may cost up to 0.1201 USD."),
        ("99.5", "0.5", "0.3", "is used up (0.50 USD of it held back for answers that are still running), and"),
        ("10", "89.9", "0.3", "has 0.10 USD left (89.90 USD of it held back for answers that are still running), and"),
    ],
)
def test_a_refusal_never_promises_more_than_there_is(spent, reserved, amount, said):
    use_up(make_budget("100", period="month"), spent, reserved)
    sentence = reserve(amount).sentence
    assert sentence.startswith(f"This site's budget of 100.00 USD a month {said}")
    assert sentence.endswith(" It renews on 1 December at 00:00 (UTC).")


@pytest.mark.parametrize(
    ("spent", "reserved", "warning"),
    [
        ("3.99", "0", ""),
        ("3.99", "0.01", "is used to 80 %. Of it, 0.01 USD is held back for answers that are still running."),
        ("4.99", "0", "is used to 99 %."),
        ("5", "0", "is used up."),
        ("6", "0", "is used up."),
    ],
)
def test_a_user_is_warned_from_eighty_percent_on(alice, spent, reserved, warning):
    use_up(make_budget("5", scope="user", user=alice), spent, reserved, alice)
    said = f"Your budget of 5.00 USD a day {warning} It renews at 00:00 (UTC)." if warning else ""
    assert budgets.find_warning(alice.pk, now=NOON) == said


def test_only_staff_are_warned_about_the_budget_of_the_site(alice):
    use_up(make_budget("5"), "4.5")
    assert budgets.find_warning(alice.pk, now=NOON) == ""
    assert budgets.find_warning(alice.pk, staff=True, now=NOON).startswith("This site's budget of 5.00 USD a day")


def test_the_warning_is_about_the_budget_that_is_used_most(alice):
    use_up(make_budget("5", scope="everyone"), "4.5", user=alice)
    use_up(make_budget("50", scope="everyone", period="month"), "49", user=alice)
    assert "50.00 USD a month is used to 98 %" in budgets.find_warning(alice.pk, now=NOON)


def test_a_list_of_uses_writes_nothing(alice):
    make_attempt(alice, cost="1")
    make_budget("4", scope="everyone")
    make_budget("0")
    mine, site = budgets.list_uses(alice.pk, now=NOON)
    assert (mine.spent_usd, mine.reserved_usd, mine.left_usd, mine.share) == (1, 0, 3, Decimal("0.25"))
    assert (site.limit_usd, site.left_usd, site.share) == (0, 0, 1)
    assert mine.renews_at == datetime(2025, 11, 25, tzinfo=UTC)
    assert not BudgetUse.objects.exists()
