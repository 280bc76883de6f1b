"""A row for every process, whatever happens, and closed once."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from providers import ledger
from providers.aichat import Finished, Times
from providers.endings import Ending, Evidence, Finish, Verdict
from providers.ledger import Account, Opened, Refused, Size
from providers.models import Attempt, Breaker, Budget, BudgetUse, Price, Provider, Reservation
from providers.routing import route
from providers.signals import attempt_ended
from providers.transcript import Usage
from sasha.testing import TEST_KEY, make_provider

pytestmark = pytest.mark.django_db

SIZE = Size(characters=400, utf8_bytes=400, max_tokens=100)
WHOLE = Finished(
    Evidence(exit_code=0, finish=Finish.NATURAL, has_text=True, request_sent=True),
    Usage(input=100, output=10),
    Times(
        spawn_ms=3,
        request_ms=5,
        first_token_ms=20,
        longest_gap_ms=7,
        longest_gap_at_ms=60,
        total_ms=90,
        characters=44,
    ),
)
COMPLETE = Verdict(Ending.COMPLETE, "finish reason")


@pytest.fixture
def candidate():
    provider = make_provider("https://example.org/v1", "m", slug="p")
    Price.objects.create(model=provider.models.get(), input=2, output=10)
    return route().candidates[0]


@pytest.fixture
def account(django_user_model):
    user = django_user_model.objects.create(username="ada")
    return Account(uuid.uuid4(), uuid.uuid4(), user.pk, user.username)


def opened(account, candidate, number=1, **asked):
    found = ledger.open_attempt(account, number, candidate, SIZE, **asked)
    assert isinstance(found, Opened), found
    return found.attempt_id


def test_the_row_is_there_before_the_process(account, candidate):
    pk = opened(account, candidate, text_from=7)
    row = Attempt.objects.get(pk=pk)
    assert (row.ending, row.ended_at, row.cost_usd) == ("", None, None)
    assert (row.username, row.provider_slug, row.model_name, row.number) == ("ada", "p", "m", 1)
    assert (row.prompt_characters, row.text_from, row.reason) == (400, 7, "next by priority")


def test_the_end_adds_what_is_known_and_what_it_cost(account, candidate):
    pk = opened(account, candidate)
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    row = Attempt.objects.get(pk=pk)
    assert (row.ending, row.evidence, row.exit_code) == ("complete", "finish reason", 0)
    assert (row.spawn_ms, row.request_ms, row.first_token_ms, row.total_ms) == (3, 5, 20, 90)
    assert (row.longest_gap_ms, row.longest_gap_at_ms) == (7, 60)
    assert (row.input_tokens, row.output_tokens, row.count_source) == (100, 10, "reported")
    assert row.cost_usd == Decimal("0.0003")
    assert row.price["input"] == "2"


def test_an_end_takes_few_queries(account, candidate, django_assert_max_num_queries):
    pk = opened(account, candidate)
    # The row and its price, the row again, what it held back, whose and which budgets, its provider's state, the audit.
    with django_assert_max_num_queries(8):
        ledger.close_attempt(pk, COMPLETE, WHOLE)


def test_a_price_that_comes_later_does_not_change_it(account, candidate):
    pk = opened(account, candidate)
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    Price.objects.create(model_id=candidate.model_id, input=50, output=50, valid_from=timezone.now())
    assert Attempt.objects.get(pk=pk).cost_usd == Decimal("0.0003")


def test_it_is_closed_once(account, candidate):
    pk = opened(account, candidate)
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    ledger.close_attempt(pk, Verdict(Ending.CUT, "late"), Finished(Evidence()))
    ledger.interrupt(account.reply_id, 1000)
    assert Attempt.objects.get(pk=pk).ending == "complete"


def test_without_a_price_the_cost_is_unknown_and_the_tokens_are_not(account, candidate):
    Price.objects.all().delete()
    pk = opened(account, candidate)
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    row = Attempt.objects.get(pk=pk)
    assert (row.cost_usd, row.price, row.output_tokens) == (None, None, 10)
    assert ledger.find_totals(account.reply_id).cost_usd is None


def test_what_the_provider_refused_costs_nothing_and_that_is_known(account, candidate):
    pk = opened(account, candidate)
    refused = Finished(Evidence(exit_code=1, http_status=500, request_sent=True))
    ledger.close_attempt(pk, Verdict(Ending.PROVIDER_ERROR, "HTTP 500"), refused)
    row = Attempt.objects.get(pk=pk)
    assert (row.cost_usd, row.count_source, row.http_status) == (Decimal(0), "not billed", 500)


def test_an_attempt_whose_server_vanished_is_closed_with_an_estimate(account, candidate):
    pk = opened(account, candidate, text_from=100)
    ledger.interrupt(account.reply_id, 140)
    row = Attempt.objects.get(pk=pk)
    assert (row.ending, row.evidence, row.count_source) == ("interrupted", "owner gone", "estimated")
    assert (row.input_tokens, row.output_tokens) == (100, 10)
    assert row.cost_usd == Decimal("0.0003")


def test_no_key_reaches_the_ledger(account, candidate, settings):
    settings.PROVIDER_KEYS = {"P_API_KEY": TEST_KEY}
    pk = opened(account, candidate)
    # The evidence is redacted where it is made; providers/tests/test_aichat.py has the process itself.
    ledger.close_attempt(pk, Verdict(Ending.UNAUTHORISED, "HTTP 401"), Finished(Evidence(stderr="bad key [key]")))
    assert TEST_KEY not in str(Attempt.objects.values().get())


@pytest.mark.parametrize("what", ["model", "provider"])
def test_what_was_switched_off_meanwhile_is_not_started(account, candidate, what):
    (Provider.objects if what == "provider" else Provider.objects.get().models).update(enabled=False)
    assert ledger.open_attempt(account, 1, candidate, SIZE) == Refused("it has just been switched off")
    assert not Attempt.objects.exists()


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"forced": "open"}, "an admin has just paused it"),
        ({"breaker": "open"}, "it has just been paused after a failure"),
    ],
)
def test_what_was_paused_meanwhile_is_not_started(account, candidate, columns, reason):
    Provider.objects.update(open_until=timezone.now() + timedelta(minutes=1), **columns)
    assert ledger.open_attempt(account, 1, candidate, SIZE) == Refused(reason)


def test_nobody_asks_for_more_than_the_model_can_give(account, candidate):
    Provider.objects.get().models.update(max_output=50)
    (candidate,) = route().candidates
    found = ledger.open_attempt(account, 1, candidate, SIZE)
    assert found.max_tokens == 50


def test_reasoning_is_billed_to_one_attempt_at_most(account, candidate):
    pk = opened(account, candidate, 2, text_from=0)
    ledger.interrupt(account.reply_id, 0, 4000)
    assert Attempt.objects.get(pk=pk).text_characters == 0


def test_a_budget_holds_the_worst_case_back_and_gets_the_rest_back(account, candidate):
    Budget.objects.create(limit_usd=1)
    pk = opened(account, candidate)
    # 400 bytes are at most 200 tokens, with 64 round them; 100 tokens out.
    worst = (264 * Decimal(2) + 100 * Decimal(10)) / 10**6
    assert BudgetUse.objects.get().reserved_usd == worst
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    use = BudgetUse.objects.get()
    assert (use.reserved_usd, use.spent_usd) == (0, Decimal("0.0003"))


def test_a_budget_without_room_refuses_and_writes_nothing(account, candidate):
    Budget.objects.create(limit_usd=Decimal("0.001"))
    refused = ledger.open_attempt(account, 1, candidate, SIZE)
    assert isinstance(refused, Refused)
    assert "This site's budget of 0.0010 USD a month" in refused.reason
    assert not Attempt.objects.exists()
    assert not Reservation.objects.exists()


def test_a_trial_needs_the_seat_and_gives_the_money_back_without_it(account, candidate):
    Budget.objects.create(limit_usd=1)
    past = timezone.now() - timedelta(seconds=1)
    Provider.objects.update(breaker=Breaker.OPEN, open_until=past)
    (trial,) = route().candidates
    opened(account, trial)
    refused = ledger.open_attempt(account, 2, trial, SIZE)
    assert refused == Refused("another request is finding out whether it has recovered")
    assert Reservation.objects.count() == 1


def test_the_totals_are_as_good_as_their_worst_part(account, candidate):
    first, second = opened(account, candidate), opened(account, candidate, 2)
    cut = Finished(Evidence(exit_code=1, request_sent=True, has_text=True), None, Times(characters=40))
    ledger.close_attempt(first, Verdict(Ending.CUT, "exit code 1"), cut)
    ledger.close_attempt(second, COMPLETE, WHOLE)
    totals = ledger.find_totals(account.reply_id)
    assert (totals.attempts, totals.source) == (2, "estimated")
    assert totals.tokens["output_tokens"] == 20
    assert totals.cost_usd == Decimal("0.0006")


def test_listeners_hear_of_every_attempt(account, candidate):
    heard = []
    attempt_ended.connect(lambda attempt, **_: heard.append(attempt.ending), weak=False, dispatch_uid="test")
    try:
        ledger.close_attempt(opened(account, candidate), COMPLETE, WHOLE)
        opened(account, candidate, 2)
        ledger.interrupt(account.reply_id, 0)
    finally:
        attempt_ended.disconnect(dispatch_uid="test")
    assert heard == ["complete", "interrupted"]


def test_money_outlives_its_user_and_its_provider(account, candidate, django_user_model):
    pk = opened(account, candidate)
    ledger.close_attempt(pk, COMPLETE, WHOLE)
    Budget.objects.create(scope="user", user_id=account.user_id, limit_usd=1)
    django_user_model.objects.all().delete()
    Provider.objects.all().delete()
    row = Attempt.objects.get(pk=pk)
    assert (row.user, row.model, row.username, row.provider_slug) == (None, None, "ada", "p")
    assert row.cost_usd == Decimal("0.0003")
