"""Who is asked, in which order, and what a candidate takes from its rows."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from providers.aichat import Clocks
from providers.config import Target
from providers.endings import Ending
from providers.kinds import Kind
from providers.models import Budget, Model, Price, Provider
from providers.routing import next_candidates, route, with_more_context
from sasha.testing import TEST_KEY, make_provider

pytestmark = pytest.mark.django_db

BASE = "https://example.org/v1"


def candidates(preferred="", **asked):
    return route(preferred, **asked).candidates


def names(preferred="", **asked):
    return [str(candidate) for candidate in candidates(preferred, **asked)]


def why_not(name, preferred="", **asked):
    return route(preferred, **asked).why_not(name)


def test_without_providers_there_is_nobody():
    assert candidates() == []


def test_the_lowest_priority_of_a_provider_comes_first_then_that_of_its_model():
    make_provider(BASE, "b", "a", slug="second", priority=20)
    make_provider(BASE, "d", "c", slug="first", priority=10)
    Model.objects.filter(name="d").update(priority=1)
    assert names() == ["first:d", "first:c", "second:a", "second:b"]


def test_equals_are_sorted_by_name():
    make_provider(BASE, "m", slug="beta")
    make_provider(BASE, "m", slug="alpha")
    assert names() == ["alpha:m", "beta:m"]


def test_the_chosen_model_comes_first_and_the_others_keep_their_order():
    make_provider(BASE, "a", "b", slug="first", priority=10)
    make_provider(BASE, "b", slug="second", priority=20)
    assert names("second:b") == ["second:b", "first:a", "first:b"]
    assert [candidate.reason for candidate in candidates("second:b")] == ["chosen", *["next by priority"] * 2]


@pytest.mark.parametrize("preferred", ["", "b", "first", "first:nothing", "first:b", "other:b"])
def test_a_choice_that_cannot_be_had_leaves_the_order_alone(preferred):
    make_provider(BASE, "a", slug="first", priority=10)
    make_provider(BASE, "b", slug="second", priority=20)
    assert names(preferred) == ["first:a", "second:b"]
    assert {candidate.reason for candidate in candidates(preferred)} == {"next by priority"}


def test_the_disabled_are_not_asked_even_when_chosen():
    make_provider(BASE, "m", slug="off", enabled=False)
    make_provider(BASE, "m", "n", slug="on")
    Model.objects.filter(provider__slug="on", name="m").update(enabled=False)
    assert names("off:m") == names("on:m") == ["on:n"]


def test_a_provider_whose_key_is_missing_is_not_asked(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": TEST_KEY}
    make_provider(BASE, "m", slug="there", key_variable="THERE_API_KEY")
    make_provider(BASE, "m", slug="missing", key_variable="MISSING_API_KEY")
    make_provider(BASE, "m", slug="without")
    assert {str(candidate): candidate.key for candidate in candidates()} == {"there:m": TEST_KEY, "without:m": ""}


def test_a_candidate_is_all_that_a_process_needs(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": TEST_KEY}
    provider = make_provider(
        "https://example.org/v1",
        "m",
        slug="there",
        kind=Kind.CLAUDE,
        key_variable="THERE_API_KEY",
        first_token_seconds=1,
        idle_seconds=2,
        total_seconds=3,
    )
    provider.models.update(max_output=99)
    (candidate,) = candidates()
    assert candidate.target == Target("claude", "https://example.org/v1", "m", max_output=99)
    assert candidate.clocks(last=True) == Clocks(first_token=1, idle=2, total=3)
    assert (candidate.provider, candidate.model, str(candidate)) == ("there", "m", "there:m")


@pytest.mark.parametrize("sends", [True, False])
def test_a_provider_is_held_to_a_finish_reason_unless_its_row_says_otherwise(sends):
    make_provider(BASE, "m", sends_finish_reason=sends)
    assert candidates()[0].needs_finish_reason is sends


def test_only_this_model_means_nobody_else():
    make_provider(BASE, "a", "b", slug="first")
    assert names("first:b", only=True) == ["first:b"]
    assert why_not("first:a", "first:b", only=True) == "only first:b was wanted"
    assert names("first:c", only=True) == []


def test_everybody_who_is_not_asked_has_a_reason(settings):
    settings.PROVIDER_KEYS = {}
    make_provider("", "m", slug="off", name="Off", enabled=False)
    make_provider("", "m", "n", slug="on")
    Model.objects.filter(provider__slug="on", name="n").update(enabled=False)
    make_provider("", "m", slug="keyless", name="Keyless", kind="openai", key_variable="GONE_API_KEY")
    make_provider("", "m", slug="nowhere", name="Nowhere", kind="openai-compatible")
    make_provider("", "m", slug="odd", name="Odd", kind="telepathy")
    found = route()
    assert [str(candidate) for candidate in found.candidates] == []
    assert {skipped.name: skipped.reason for skipped in found.skipped} == {
        "off:m": "Off is switched off",
        "on:n": "it is switched off",
        "on:m": "On has no address",
        "keyless:m": "Keyless has no key",
        "nowhere:m": "Nowhere has no address",
        "odd:m": "its kind, telepathy, is unknown",
    }
    assert all(skipped.expected for skipped in found.skipped)


def test_a_message_goes_only_where_it_fits():
    make_provider(BASE, "blind", "short", "able", "unknown")
    Model.objects.filter(name="short").update(context_window=1000, vision=True)
    Model.objects.filter(name="able").update(context_window=9000, vision=True)
    assert names(prompt_characters=4001) == ["sim:able", "sim:blind", "sim:unknown"]
    assert why_not("sim:short", prompt_characters=4004) == (
        "it takes 1000 tokens, and this conversation has about 1001"
    )
    assert names(needs_vision=True) == ["sim:able", "sim:short"]
    assert why_not("sim:blind", needs_vision=True) == "it takes no images"


def test_the_size_of_a_message_is_judged_by_the_models_own_tokens():
    make_provider(BASE, "m")
    Model.objects.update(context_window=1000, prompt_characters_per_token=1.0)
    assert names(prompt_characters=1000) == ["sim:m"]
    assert names(prompt_characters=1001) == []


def test_a_model_of_unknown_price_is_not_asked_where_a_budget_applies(django_user_model):
    provider = make_provider(BASE, "priced", "unpriced")
    Price.objects.create(model=provider.models.get(name="priced"), input=1, output=1)
    user = django_user_model.objects.create(username="u")
    assert names(user_id=user.pk) == ["sim:priced", "sim:unpriced"]
    Budget.objects.create(limit_usd=1)
    assert names(user_id=user.pk) == ["sim:priced"]
    assert why_not("sim:unpriced", user_id=user.pk) == "its price is unknown, and there is a budget"


def pause(slug, minutes, **columns):
    until = timezone.now() + timedelta(minutes=minutes)
    values = {"breaker": "open", "open_until": until, "open_reason": "It failed."} | columns
    Provider.objects.filter(slug=slug).update(**values)


def test_a_paused_provider_is_skipped_until_its_pause_is_over_and_then_tried():
    make_provider(BASE, "m", slug="first", priority=1)
    make_provider(BASE, "m", slug="second", priority=2)
    pause("first", 5)
    assert names() == ["second:m"]
    assert why_not("first:m").startswith("First: Paused until ")
    assert why_not("first:m").endswith(" It failed.")
    pause("first", -1)
    assert [(str(found), found.trial, found.early) for found in candidates()] == [
        ("first:m", True, False),
        ("second:m", False, False),
    ]


def test_while_one_request_tries_the_others_go_elsewhere():
    make_provider(BASE, "m", slug="first", priority=1)
    make_provider(BASE, "m", slug="second", priority=2)
    pause("first", 1, breaker="half_open")
    assert names() == ["second:m"]
    assert "finding out whether it has recovered" in why_not("first:m")


def test_an_admins_word_stands_above_the_breaker():
    make_provider(BASE, "m", slug="first")
    pause("first", 5, forced="closed")
    assert [(str(found), found.trial) for found in candidates()] == [("first:m", False)]
    Provider.objects.update(forced="open", breaker="closed")
    assert why_not("first:m") == "First is paused by an admin"


def test_a_model_that_was_taken_out_leaves_its_provider_in():
    make_provider(BASE, "bad", "good")
    Model.objects.filter(name="bad").update(out_until=timezone.now() + timedelta(minutes=5), out_reason="Unknown.")
    assert names("sim:bad") == ["sim:good"]
    assert why_not("sim:bad").startswith("it is taken out until ")


def test_where_all_are_paused_the_one_nearest_to_recovery_is_asked():
    make_provider(BASE, "m", slug="first", priority=1)
    make_provider(BASE, "m", slug="second", priority=2)
    pause("first", 5)
    pause("second", 3)
    found = route()
    assert [(str(candidate), candidate.trial, candidate.early) for candidate in found.candidates] == [
        ("second:m", False, True)
    ]
    assert [skipped.name for skipped in found.skipped] == ["first:m"]


def test_a_force_to_pause_holds_even_where_nobody_is_left():
    make_provider(BASE, "m", slug="first")
    Provider.objects.update(forced="open")
    assert names() == []


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending.MISCONFIGURED, ["a:2", "b:1"]),
        (Ending.PROVIDER_ERROR, ["b:1", "a:2"]),
        (Ending.RATE_LIMITED, ["b:1", "a:2"]),
        (Ending.UNREACHABLE, ["b:1"]),
        (Ending.UNAUTHORISED, ["b:1"]),
    ],
)
def test_after_a_failure_other_providers_come_first(ending, expected):
    make_provider(BASE, "1", "2", slug="a", priority=1)
    make_provider(BASE, "1", slug="b", priority=2)
    failed, *left = candidates()
    assert [str(candidate) for candidate in next_candidates(left, failed, ending)] == expected


def test_a_conversation_that_is_too_long_goes_only_to_models_with_more_context():
    make_provider(BASE, "a", "b", "c", "d")
    for name, size in (("a", 100), ("b", 100), ("c", 200)):
        Model.objects.filter(name=name).update(context_window=size)
    failed, *left = candidates()
    assert [candidate.model for candidate in with_more_context(left, failed)] == ["c"]


def test_a_learned_first_token_time_shortens_the_clock_within_its_bounds():
    make_provider(BASE, "m", first_token_seconds=60)
    clocks = {}
    for learned in (None, 100, 4000, 90_000):
        Model.objects.update(first_token_p95_ms=learned)
        clocks[learned] = candidates()[0].clocks(last=False).first_token
    assert clocks == {None: 60, 100: 5.0, 4000: 12.0, 90_000: 60}


def test_whoever_is_the_last_to_be_asked_gets_all_the_time_that_its_row_gives():
    make_provider(BASE, "m", first_token_seconds=60)
    Model.objects.update(first_token_p95_ms=100)
    assert candidates()[0].clocks(last=True).first_token == 60


def test_a_key_in_use_is_never_stored(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": TEST_KEY}
    make_provider("", "m", key_variable="THERE_API_KEY")
    assert TEST_KEY not in str(list(Provider.objects.values()))


def test_explain_route_prints_the_order_and_everybodys_reason(capsys):
    make_provider(BASE, "a", slug="first", priority=1)
    make_provider(BASE, "b", slug="off", name="Off", enabled=False)
    call_command("explain_route", "off:b")
    assert capsys.readouterr().out == (
        "Asked, in this order:\n  1. first:a  next by priority\nNot asked:\n  - off:b  Off is switched off\n"
    )
    call_command("explain_route", "off:b", "--only", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "asked": [],
        "skipped": [["off:b", "Off is switched off"], ["first:a", "only off:b was wanted"]],
    }
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("explain_route", "--user", "nobody")
