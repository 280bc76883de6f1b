"""When a provider is no longer asked, for how long, and how it comes back."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone

from providers import breaker
from providers.endings import Ending
from providers.models import Attempt, Breaker, Forced, Model, Provider
from providers.routing import route
from providers.signals import provider_state_changed
from providers.tests.racing import in_processes, on_threads
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def provider(transactional_db):
    return make_provider("https://example.org/v1", "m", "n", slug="p")


def happen(provider, *endings, since=None, **shown):
    """Record attempts of the model `m`, one after the other, and return the row."""
    model = provider.models.get(name="m")
    for ending in endings:
        seen = breaker.Outcome(ending, since or timezone.now(), "It said no.", **shown)
        breaker.record(provider.pk, model.pk, seen)
    provider.refresh_from_db()
    return provider


def seconds_left(provider):
    return (provider.open_until - timezone.now()).total_seconds()


def end_pause(provider):
    Provider.objects.filter(pk=provider.pk).update(open_until=timezone.now() - timedelta(seconds=1))


FAILING = [
    Ending.CUT,
    Ending.STALLED,
    Ending.TIMED_OUT,
    Ending.PROVIDER_ERROR,
    Ending.UNREACHABLE,
]
NEUTRAL = [
    Ending.EMPTY,
    Ending.FILTERED,
    Ending.REJECTED,
    Ending.CRASHED,
    Ending.STOPPED,
    Ending.INTERRUPTED,
    Ending.NOT_STARTED,
    Ending.MISCONFIGURED,
]


@pytest.mark.parametrize("ending", FAILING)
def test_the_third_failure_in_a_row_pauses_a_provider_for_five_minutes(provider, ending):
    assert happen(provider, ending, ending).breaker == Breaker.CLOSED
    happen(provider, ending)
    assert provider.breaker == Breaker.OPEN
    assert 299 < seconds_left(provider) <= 300
    assert provider.open_reason == "3 failures in a row. It said no."


@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.LENGTH])
def test_a_success_between_them_begins_the_count_anew(provider, ending):
    happen(provider, Ending.CUT, Ending.CUT, ending, Ending.CUT, Ending.CUT)
    assert provider.breaker == Breaker.CLOSED


@pytest.mark.parametrize("ending", NEUTRAL)
def test_what_is_nobodys_fault_neither_counts_nor_clears(provider, ending):
    happen(provider, Ending.CUT, Ending.CUT, *[ending] * 5)
    assert (provider.breaker, provider.failures_in_a_row) == (Breaker.CLOSED, 2)


def test_half_of_a_minutes_attempts_failing_pauses_it_even_with_successes_between(provider):
    for number in range(10):
        ending = Ending.CUT if number % 2 else Ending.COMPLETE
        Attempt.objects.create(
            reply_id=provider_id(number), conversation_id=provider_id(number), model=provider.models.first(),
            provider_slug="p", model_name="m", ending=ending, ended_at=timezone.now(),
        )  # fmt: skip
    happen(provider, Ending.COMPLETE, Ending.CUT)
    assert provider.breaker == Breaker.OPEN
    assert provider.open_reason.startswith("50% of the last minute's requests failed.")


def provider_id(number):
    return f"00000000-0000-0000-0000-{number:012d}"


def test_a_refused_key_pauses_it_at_once(provider):
    happen(provider, Ending.UNAUTHORISED)
    assert provider.breaker == Breaker.OPEN
    assert 299 < seconds_left(provider) <= 300


def test_a_rate_limit_pauses_it_for_as_long_as_the_provider_says(provider):
    happen(provider, Ending.RATE_LIMITED, retry_seconds=20)
    assert 19 < seconds_left(provider) <= 20


def test_a_rate_limit_without_a_time_pauses_it_ever_longer_up_to_five_minutes(provider):
    pauses = []
    for _ in range(7):
        happen(provider, Ending.RATE_LIMITED, trial=bool(pauses))
        pauses.append(round(seconds_left(provider)))
        end_pause(provider)
        assert breaker.admit(provider.pk)
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


def test_a_later_word_never_shortens_a_pause(provider):
    happen(provider, Ending.UNAUTHORISED)
    happen(provider, Ending.RATE_LIMITED, retry_seconds=1)
    assert seconds_left(provider) > 290


def test_an_unknown_model_is_taken_out_and_its_provider_stays(provider):
    happen(provider, Ending.MISCONFIGURED)
    bad, good = provider.models.get(name="m"), provider.models.get(name="n")
    assert provider.breaker == Breaker.CLOSED
    assert bad.out_until > timezone.now() + timedelta(seconds=299)
    assert (bad.out_reason, good.out_until) == ("It said no.", None)
    breaker.put_back(bad)
    assert Model.objects.get(pk=bad.pk).out_until is None


def test_after_the_pause_one_request_may_try_and_no_second_one(provider):
    happen(provider, Ending.UNAUTHORISED)
    assert not breaker.admit(provider.pk)
    end_pause(provider)
    assert breaker.admit(provider.pk)
    assert not breaker.admit(provider.pk)
    provider.refresh_from_db()
    assert provider.breaker == Breaker.HALF_OPEN


def test_the_seat_of_a_trial_whose_server_died_is_free_again_later(provider):
    happen(provider, Ending.UNAUTHORISED)
    end_pause(provider)
    assert breaker.admit(provider.pk)
    end_pause(provider)
    assert breaker.admit(provider.pk)


def test_a_trial_that_succeeds_closes_it_and_one_that_fails_pauses_it_again(provider):
    happen(provider, Ending.UNAUTHORISED)
    end_pause(provider)
    breaker.admit(provider.pk)
    happen(provider, Ending.CUT, trial=True)
    assert provider.breaker == Breaker.OPEN
    assert seconds_left(provider) > 290
    end_pause(provider)
    breaker.admit(provider.pk)
    happen(provider, Ending.COMPLETE, trial=True)
    assert (provider.breaker, provider.failures_in_a_row, provider.openings) == (Breaker.CLOSED, 0, 0)
    assert (provider.open_until, provider.open_reason) == (None, "")


@pytest.mark.parametrize("ending", NEUTRAL)
def test_a_trial_that_proves_nothing_leaves_the_seat_to_the_next(provider, ending):
    happen(provider, Ending.UNAUTHORISED)
    end_pause(provider)
    breaker.admit(provider.pk)
    happen(provider, ending, trial=True)
    assert breaker.admit(provider.pk)


def test_an_answer_begun_before_the_pause_does_not_end_it_and_one_begun_since_does(provider):
    before = timezone.now()
    happen(provider, Ending.UNAUTHORISED)
    happen(provider, Ending.COMPLETE, since=before)
    assert provider.breaker == Breaker.OPEN
    happen(provider, Ending.COMPLETE)
    assert provider.breaker == Breaker.CLOSED


@pytest.mark.parametrize("ending", [*FAILING, Ending.UNAUTHORISED])
def test_who_asks_during_a_pause_does_not_prolong_it(provider, ending):
    happen(provider, Ending.RATE_LIMITED, retry_seconds=20)
    happen(provider, *[ending] * 5)
    assert seconds_left(provider) <= 20


def test_a_later_rate_limit_does(provider):
    happen(provider, Ending.RATE_LIMITED, retry_seconds=20)
    happen(provider, Ending.RATE_LIMITED, retry_seconds=60)
    assert 59 < seconds_left(provider) <= 60


def test_a_parameter_of_the_message_itself_takes_no_model_from_everybody(provider):
    happen(provider, Ending.MISCONFIGURED, personal=True)
    assert provider.models.get(name="m").out_until is None


def test_counts_stop_where_their_columns_would_overflow(provider):
    Provider.objects.update(openings=1000, failures_in_a_row=1000)
    happen(provider, Ending.CUT)
    assert (provider.openings, provider.failures_in_a_row) == (1000, 1000)


def test_what_the_provider_said_is_for_admins_alone(provider):
    happen(provider, Ending.UNAUTHORISED, detail="Key of http://10.1.2.3 refused")
    assert "10.1.2.3" in breaker.describe(provider, quoting=True)
    assert "10.1.2.3" not in breaker.describe(provider)
    assert provider.open_reason == "It said no."
    happen(provider, Ending.MISCONFIGURED, detail="No model at http://10.1.2.3")
    model = provider.models.get(name="m")
    assert (model.out_reason, model.out_detail) == ("It said no.", "No model at http://10.1.2.3")
    assert not any("10.1.2.3" in skipped.reason for skipped in route().skipped)


def test_an_admin_decides_over_its_head_and_hands_it_back_fresh(provider):
    happen(provider, Ending.UNAUTHORISED)
    breaker.force(provider, Forced.CLOSED)
    provider.refresh_from_db()
    assert breaker.describe(provider) == "Always asked: an admin has decided so."
    breaker.force(provider, Forced.OPEN)
    assert breaker.describe(provider) == "Never asked: an admin has decided so."
    breaker.force(provider, "")
    provider.refresh_from_db()
    assert breaker.describe(provider) == "Asked as usual."
    assert (provider.failures_in_a_row, provider.openings) == (0, 0)


def test_its_state_is_told_in_plain_words(provider):
    happen(provider, Ending.UNAUTHORISED)
    assert breaker.describe(provider) == f"Paused until {timezone.localtime(provider.open_until):%H:%M:%S}. It said no."
    end_pause(provider)
    provider.refresh_from_db()
    assert breaker.describe(provider) == "Paused, and the next request tries it again. It said no."
    breaker.admit(provider.pk)
    provider.refresh_from_db()
    assert breaker.describe(provider) == "One request is finding out whether it has recovered. It said no."


@contextmanager
def heard_moves():
    """Yield the moves announced meanwhile, as (state, reason)."""
    heard = []

    def hear(**told):
        heard.append((told["state"], told["reason"]))

    provider_state_changed.connect(hear)
    try:
        yield heard
    finally:
        provider_state_changed.disconnect(hear)


def test_a_provider_that_has_been_deleted_moves_no_more(provider):
    model = provider.models.get(name="m")
    Provider.objects.filter(pk=provider.pk).delete()
    with heard_moves() as heard:
        breaker.record(provider.pk, model.pk, breaker.Outcome(Ending.UNAUTHORISED, timezone.now(), "It said no."))
    assert not heard


def test_every_move_is_announced_once(provider):
    with heard_moves() as heard:
        happen(provider, Ending.UNAUTHORISED)
        end_pause(provider)
        breaker.admit(provider.pk)
        happen(provider, Ending.COMPLETE, trial=True)
        breaker.force(provider, Forced.OPEN)
    assert [state for state, _ in heard] == ["open", "half_open", "closed", "open"]
    assert heard[0][1] == "It said no."


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_exactly_one_gets_the_seat(provider):
    happen(provider, Ending.UNAUTHORISED)
    for _ in range(5):
        end_pause(provider)
        assert sorted(on_threads([lambda: breaker.admit(provider.pk)] * 10)) == [False] * 9 + [True]


@pytest.mark.django_db(transaction=True)
def test_of_many_servers_at_once_exactly_one_gets_the_seat(provider):
    happen(provider, Ending.UNAUTHORISED)
    end_pause(provider)
    assert sorted(in_processes("admit", provider.pk, processes=4)) == [0, 0, 0, 1]


@pytest.mark.django_db(transaction=True)
def test_failures_at_once_are_all_counted_and_it_opens_once(provider):
    with heard_moves() as heard:
        on_threads([lambda: happen(Provider.objects.get(pk=provider.pk), Ending.CUT)] * 10)
    provider.refresh_from_db()
    assert (provider.failures_in_a_row, provider.breaker) == (10, Breaker.OPEN)
    assert [state for state, _ in heard] == ["open"]


@pytest.mark.django_db(transaction=True)
def test_a_trials_end_and_late_failures_at_once_leave_one_clear_state(provider):
    for ending in (Ending.COMPLETE, Ending.CUT):
        happen(provider, Ending.UNAUTHORISED)
        end_pause(provider)
        assert breaker.admit(provider.pk)
        late = [lambda: happen(Provider.objects.get(pk=provider.pk), Ending.STALLED)] * 2
        on_threads([lambda ending=ending: happen(Provider.objects.get(pk=provider.pk), ending, trial=True), *late])
        provider.refresh_from_db()
        assert provider.breaker == (Breaker.CLOSED if ending is Ending.COMPLETE else Breaker.OPEN)
        breaker.force(provider, "")


@pytest.mark.django_db(transaction=True)
def test_routes_made_while_a_provider_moves_see_it_either_way_and_never_halfway(provider):
    make_provider("https://example.org/v1", "x", slug="other", priority=1)

    def flip():
        for _ in range(5):
            breaker.force(Provider.objects.get(pk=provider.pk), Forced.OPEN)
            breaker.force(Provider.objects.get(pk=provider.pk), "")

    def look():
        return [sorted(map(str, route().candidates)) for _ in range(20)]

    everybody, without = ["other:x", "p:m", "p:n"], ["other:x"]
    _, *seen = on_threads([flip, look, look])
    assert all(names in (everybody, without) for looks in seen for names in looks)
