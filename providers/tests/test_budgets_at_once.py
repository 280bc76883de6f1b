"""Budgets when everybody comes at once: threads with connections of their own, and processes."""

import uuid
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from providers import budgets
from providers.models import Attempt, Budget, BudgetUse, Reservation
from providers.tests.racing import in_processes, on_threads, reserve

pytestmark = pytest.mark.django_db(transaction=True)

CENT = Decimal("0.01")


@pytest.fixture
def users():
    User = get_user_model()
    return [User.objects.create(username=f"user{number}").pk for number in range(10)]


def make_budget(limit, scope="site"):
    # For a month, so that only a test begun in its last second could see two periods.
    return Budget.objects.create(scope=scope, period="month", limit_usd=Decimal(limit))


def make_attempts(count, user_id=None, **values):
    ids = [{"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4()} for _ in range(count)]
    names = {"provider_slug": "sim", "model_name": "m", "reason": "chosen"}
    return Attempt.objects.bulk_create(Attempt(user_id=user_id, **(pair | names | values)) for pair in ids)


def reserve_at_once(user_ids, amount):
    """Reserve `amount` once for each user id, all at the same moment; return the refusals, None for the admitted."""
    return on_threads([partial(reserve, user_id, amount) for user_id in user_ids])


@pytest.mark.parametrize(("limit", "amount"), [("0.5", "0.1"), ("0.0205", "0.0041")])
def test_of_fifty_at_once_a_budget_for_five_admits_five(limit, amount):
    make_budget(limit)
    refusals = reserve_at_once([None] * 50, Decimal(amount))
    assert refusals.count(None) == 5
    assert {refusal.left_usd for refusal in refusals if refusal} == {0}
    use = BudgetUse.objects.get()
    assert use.reserved_usd == Decimal(limit)
    assert Reservation.objects.count() == 5


def test_of_fifty_at_once_from_five_processes_a_budget_for_five_admits_five(users):
    make_budget("0.5", scope="everyone")
    admitted = in_processes("reserve", users[0], "0.1")
    assert sum(admitted) == 5
    assert BudgetUse.objects.get().reserved_usd == Decimal("0.5")


def test_users_who_share_the_budget_of_the_site_neither_overdraw_it_nor_block_each_other(users):
    make_budget("1.0")
    make_budget("0.3", scope="everyone")
    asked = users * 5
    refusals = reserve_at_once(asked, Decimal("0.1"))
    admitted = Counter(user_id for user_id, refusal in zip(asked, refusals, strict=True) if refusal is None)
    assert admitted.total() == 10
    assert max(admitted.values()) <= 3
    reserved = {use.holder: use.reserved_usd for use in BudgetUse.objects.all()}
    assert reserved.pop(0) == 1
    assert {user_id: amount for user_id, amount in reserved.items() if amount} == {
        user_id: count * Decimal("0.1") for user_id, count in admitted.items()
    }


def test_a_new_period_that_all_open_at_once_begins_with_the_ledger_once():
    make_attempts(3, cost_usd=Decimal("0.1"))
    make_budget("0.5")
    assert reserve_at_once([None] * 20, Decimal("0.1")).count(None) == 2
    use = BudgetUse.objects.get()
    assert (use.spent_usd, use.reserved_usd) == (Decimal("0.3"), Decimal("0.2"))


def close(attempt, cost):
    """End an attempt as the ledger does: its cost and its place in the budgets in one transaction."""
    with transaction.atomic():
        Attempt.objects.filter(pk=attempt.pk).update(ended_at=timezone.now(), cost_usd=cost)
        budgets.settle(attempt.pk, cost)


def test_ends_and_sweeps_at_once_count_every_attempt_once(users):
    make_budget("10")
    make_budget("10", scope="everyone")
    attempts = make_attempts(20, users[0])
    for attempt in attempts:
        reserve(users[0], "0.1", attempt.pk)
    ends = [lambda attempt=attempt: close(attempt, CENT) for attempt in attempts]
    again = [lambda attempt=attempt: close(attempt, CENT) for attempt in attempts[:10]]
    sweeps = [lambda: budgets.sweep(timedelta(hours=1)) for _ in range(10)]
    on_threads([*ends, *again, *sweeps])
    assert not Reservation.objects.exists()
    assert {(use.spent_usd, use.reserved_usd) for use in BudgetUse.objects.all()} == {(20 * CENT, Decimal(0))}


def test_sweeps_at_once_settle_what_was_left_behind_once():
    make_budget("10")
    attempts = make_attempts(20, cost_usd=CENT, started_at=timezone.now() - timedelta(days=60))
    for attempt in attempts:
        reserve(None, "0.1", attempt.pk)
    Attempt.objects.update(ended_at=timezone.now())
    assert sum(on_threads([lambda: budgets.sweep(timedelta(hours=1)) for _ in range(8)])) == 20
    use = BudgetUse.objects.get()
    assert (use.spent_usd, use.reserved_usd) == (20 * CENT, 0)


def test_a_budget_made_while_many_answers_end_misses_none_of_them(users):
    make_budget("10")
    attempts = make_attempts(20, users[0])
    ends = [lambda attempt=attempt: close(attempt, CENT) for attempt in attempts]
    starts = [lambda: reserve(users[0], CENT) for _ in range(5)]
    on_threads([*ends, *starts])
    use = BudgetUse.objects.get()
    assert (use.spent_usd, use.reserved_usd) == (20 * CENT, 5 * CENT)


def test_a_period_counted_anew_loses_nothing_of_what_happens_meanwhile():
    make_budget("10")
    attempts = make_attempts(20)
    for attempt in attempts:
        reserve(None, "0.1", attempt.pk)
    use = BudgetUse.objects.get()
    ends = [lambda attempt=attempt: close(attempt, CENT) for attempt in attempts]
    starts = [lambda: reserve(None, CENT) for _ in range(10)]
    on_threads([*ends, *starts, *[lambda: budgets.rebuild(use) for _ in range(10)]])
    use.refresh_from_db()
    assert (use.spent_usd, use.reserved_usd) == (20 * CENT, 10 * CENT)
