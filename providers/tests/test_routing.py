"""Who is asked, in which order, and what a candidate takes from its rows."""

import pytest

from providers.aichat import Clocks
from providers.config import Target
from providers.kinds import Kind
from providers.models import Model, Provider
from providers.routing import PARSED_KINDS, candidates
from providers.transcript import DIALECTS
from sasha.testing import TEST_KEY, make_provider

pytestmark = pytest.mark.django_db


def names(preferred=""):
    return [str(candidate) for candidate in candidates(preferred)]


def test_without_providers_there_is_nobody():
    assert candidates() == []


def test_the_lowest_priority_of_a_provider_comes_first_then_that_of_its_model():
    make_provider("", "b", "a", slug="second", priority=20)
    make_provider("", "d", "c", slug="first", priority=10)
    Model.objects.filter(name="d").update(priority=1)
    assert names() == ["first:d", "first:c", "second:a", "second:b"]


def test_equals_are_sorted_by_name():
    make_provider("", "m", slug="beta")
    make_provider("", "m", slug="alpha")
    assert names() == ["alpha:m", "beta:m"]


def test_the_chosen_model_comes_first_and_the_others_keep_their_order():
    make_provider("", "a", "b", slug="first", priority=10)
    make_provider("", "b", slug="second", priority=20)
    assert names("second:b") == ["second:b", "first:a", "first:b"]
    assert [candidate.reason for candidate in candidates("second:b")] == ["chosen", *["next by priority"] * 2]


@pytest.mark.parametrize("preferred", ["", "b", "first", "first:nothing", "first:b", "other:b"])
def test_a_choice_that_cannot_be_had_leaves_the_order_alone(preferred):
    make_provider("", "a", slug="first", priority=10)
    make_provider("", "b", slug="second", priority=20)
    assert names(preferred) == ["first:a", "second:b"]
    assert {candidate.reason for candidate in candidates(preferred)} == {"next by priority"}


def test_the_disabled_are_not_asked_even_when_chosen():
    make_provider("", "m", slug="off", enabled=False)
    make_provider("", "m", "n", slug="on")
    Model.objects.filter(provider__slug="on", name="m").update(enabled=False)
    assert names("off:m") == names("on:m") == ["on:n"]


def test_a_provider_whose_key_is_missing_is_not_asked(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": TEST_KEY}
    make_provider("", "m", slug="there", key_variable="THERE_API_KEY")
    make_provider("", "m", slug="missing", key_variable="MISSING_API_KEY")
    make_provider("", "m", slug="without")
    assert {str(candidate): candidate.key for candidate in candidates()} == {"there:m": TEST_KEY, "without:m": ""}


def test_a_candidate_is_all_that_a_process_needs():
    provider = make_provider(
        "https://example.org/v1",
        "m",
        slug="there",
        kind=Kind.CLAUDE,
        first_token_seconds=1,
        idle_seconds=2,
        total_seconds=3,
    )
    provider.models.update(max_output=99)
    (candidate,) = candidates()
    assert candidate.target == Target("claude", "https://example.org/v1", "m", max_output=99)
    assert candidate.clocks == Clocks(first_token=1, idle=2, total=3)
    assert (candidate.provider, candidate.model, str(candidate)) == ("there", "m", "there:m")


@pytest.mark.parametrize("sends", [True, False])
def test_a_provider_is_held_to_a_finish_reason_unless_its_row_says_otherwise(sends):
    make_provider("", "m", sends_finish_reason=sends)
    assert candidates()[0].needs_finish_reason is sends


def test_every_kind_has_a_dialect_that_the_transcript_reads():
    assert set(PARSED_KINDS) == {"openai", "openai-compatible", "claude", "gemini"}
    # Gemini logs as vertexai, the compatible as openai.
    assert set(DIALECTS) == {b"openai", b"claude", b"vertexai"}


def test_it_takes_one_query(django_assert_num_queries):
    for number in range(5):
        make_provider("", "a", "b", slug=f"p{number}")
    with django_assert_num_queries(1):
        assert len(candidates("p3:b")) == 10


def test_a_key_in_use_is_never_stored(settings):
    settings.PROVIDER_KEYS = {"THERE_API_KEY": TEST_KEY}
    make_provider("", "m", key_variable="THERE_API_KEY")
    assert TEST_KEY not in str(list(Provider.objects.values()))
