"""What an attempt costs: prices in force, exact charges, counts and estimates, worst cases, and what is learned."""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from providers import costs, prices
from providers.costs import Tier, charge, count, worst_case
from providers.endings import Ending, Finish
from providers.models import Attempt, CountSource, Model, Price, Provider
from providers.simulator.dialects import Anthropic, Google, Message, OpenAI, ask
from providers.simulator.script import Spec, answer
from providers.transcript import Transcript, Usage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BASE = Tier(0, Decimal("1.25"), Decimal("0.125"), None, Decimal(10), None)
LARGE = Tier(200_000, Decimal("2.5"), Decimal("0.25"), None, Decimal(15), None)

tokens = st.integers(0, 10**7)
usages = st.builds(Usage, tokens, st.none() | tokens, st.none() | tokens, tokens, st.none() | tokens)
rates = st.decimals(0, 10_000, places=6)
tiers = st.builds(Tier, st.just(0), rates, st.none() | rates, st.none() | rates, rates, st.none() | rates)


def make_model(name="m", **provider):
    values = {"slug": "openai", "kind": "openai", "name": "OpenAI"} | provider
    owner, _ = Provider.objects.get_or_create(slug=values["slug"], defaults=values)
    return Model.objects.create(provider=owner, name=name)


def make_price(model, valid_from, rate, **values):
    return Price.objects.create(model=model, valid_from=valid_from, input=rate, output=rate, **values)


def make_attempt(model, **values):
    defaults = {
        "reply_id": uuid.uuid4(),
        "conversation_id": uuid.uuid4(),
        "model": model,
        "provider_slug": model.provider.slug,
        "model_name": model.name,
        "started_at": NOW,
        "ended_at": NOW,
        "ending": "complete",
        "count_source": CountSource.REPORTED,
    }
    return Attempt.objects.create(**defaults | values)


# --- prices in force ---


@pytest.mark.django_db
def test_the_latest_price_that_has_begun_is_in_force(django_assert_num_queries):
    one, other, unpriced = make_model("one"), make_model("other"), make_model("unpriced")
    make_price(one, NOW - timedelta(days=2), 1)
    make_price(one, NOW - timedelta(days=1), 2)
    make_price(one, NOW + timedelta(seconds=1), 3)
    make_price(other, NOW, 4)
    with django_assert_num_queries(1):
        found = costs.find_prices([one.pk, other.pk, unpriced.pk], NOW)
    assert {pk: [tier.input for tier in found[pk]] for pk in found} == {one.pk: [2], other.pk: [4]}
    assert costs.find_price(unpriced.pk, NOW) == ()


@pytest.mark.django_db
def test_tiers_of_an_older_price_do_not_join_a_newer_one():
    model = make_model()
    make_price(model, NOW - timedelta(days=2), 1)
    make_price(model, NOW - timedelta(days=2), 5, above_tokens=100)
    make_price(model, NOW - timedelta(days=1), 2)
    assert [tier.above_tokens for tier in costs.find_price(model.pk, NOW)] == [0]
    assert [tier.input for tier in costs.find_price(model.pk, NOW - timedelta(days=1, seconds=1))] == [1, 5]


@pytest.mark.django_db
def test_a_history_answers_as_a_query_for_each_moment_does():
    model = make_model()
    for days in (1, 5, 9):
        make_price(model, NOW - timedelta(days=days), days)
    history = costs.read_history([model.pk])
    for days in range(12):
        at = NOW - timedelta(days=days)
        assert history.at(model.pk, at) == costs.find_price(model.pk, at)
    assert history.at(None, NOW) == ()


@pytest.mark.django_db
def test_a_model_without_a_price_can_be_made_free_but_none_loses_its_price():
    free, paid = make_model("free"), make_model("paid")
    make_price(paid, NOW - timedelta(days=1), 2)
    for model in (free, paid, free):
        costs.ensure_free(model)
    assert [tier.input for tier in costs.find_price(free.pk, NOW)] == [0]
    assert [tier.input for tier in costs.find_price(paid.pk, NOW)] == [2]


# --- charges ---


@given(usages, tiers)
def test_a_charge_is_exact_and_never_negative(usage, tier):
    charged = charge(usage, [tier])
    reasoning = min(usage.reasoning or 0, usage.output)
    read = tier.input if tier.cache_read is None else tier.cache_read
    write = tier.input if tier.cache_write is None else tier.cache_write
    thinking = tier.output if tier.reasoning is None else tier.reasoning
    millionths = (
        usage.input * int(tier.input * 10**6)
        + (usage.cache_read or 0) * int(read * 10**6)
        + (usage.cache_write or 0) * int(write * 10**6)
        + (usage.output - reasoning) * int(tier.output * 10**6)
        + reasoning * int(thinking * 10**6)
    )
    assert int(charged.cost_usd.scaleb(12)) == millionths == charged.cost_usd.scaleb(12)
    assert charged.cost_usd >= 0
    assert charged.cost_usd.as_tuple().exponent >= -12


@given(usages, usages, tiers)
def test_two_charges_at_one_tier_add_up(one, other, tier):
    reasoning = [min(usage.reasoning or 0, usage.output) for usage in (one, other)]
    both = Usage(
        one.input + other.input,
        (one.cache_read or 0) + (other.cache_read or 0),
        (one.cache_write or 0) + (other.cache_write or 0),
        one.output + other.output,
        sum(reasoning),
    )
    assert charge(both, [tier]).cost_usd == charge(one, [tier]).cost_usd + charge(other, [tier]).cost_usd


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        (Usage(100_000, output=1000), "0.135"),
        (Usage(200_000, output=1000), "0.26"),
        (Usage(200_001, output=1000), "0.5150025"),
        (Usage(150_000, 50_000, 0, 1000), "0.20375"),
        (Usage(150_000, 50_000, 1, 1000), "0.4025025"),
        (Usage(300_000, output=1000), "0.765"),
    ],
)
def test_the_whole_request_is_billed_at_the_tier_that_its_input_reaches(usage, usd):
    charged = charge(usage, (BASE, LARGE))
    assert charged.cost_usd == Decimal(usd)
    assert charged.applied["above_tokens"] == (200_000 if costs.total_input(usage) > 200_000 else 0)


def test_what_was_applied_can_be_kept_as_json_and_names_each_rate_as_it_was_used():
    applied = charge(Usage(1, 1, 1, 1, 1), [BASE]).applied
    assert json.loads(json.dumps(applied)) == {
        "input": "1.25",
        "cache_read": "0.125",
        "cache_write": "1.25",
        "output": "10",
        "reasoning": "10",
        "above_tokens": 0,
    }


@pytest.mark.parametrize("usage", [Usage(), Usage(input=1), Usage(output=1)])
def test_what_is_unknown_costs_nothing_known(usage):
    assert charge(usage, [BASE]) is None


def test_an_unknown_price_is_no_price_of_zero_but_nothing_used_costs_nothing():
    assert charge(Usage(1, output=1), ()) is None
    assert charge(Usage(1, output=1), [LARGE]) is None
    assert charge(costs.NOTHING, ()).cost_usd == 0


def test_a_cost_that_the_ledger_cannot_hold_is_unknown():
    dear = Tier(0, Decimal(999_999), None, None, Decimal(999_999), None)
    assert charge(Usage(2**31 - 1, output=2**31 - 1), [dear]) is None


# --- the same as genai-prices, from the providers' own payloads ---

AT = "2026-11-23T21:11:45.709Z [DEBUG] aichat::client::"


def openai_usage(fresh, read, write, output, reasoning):
    usage = {
        "prompt_tokens": fresh + read,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": read},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    return "openai", [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]


def claude_usage(fresh, read, write, output, reasoning):
    start = {
        "input_tokens": fresh,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
        "output_tokens": 1,
    }
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": output}}
    return "claude", [{"type": "message_start", "message": {"usage": start}}, end]


def gemini_usage(fresh, read, write, output, reasoning):
    usage = {"promptTokenCount": fresh + read, "cachedContentTokenCount": read, "thoughtsTokenCount": reasoning}
    usage["candidatesTokenCount"] = output - reasoning
    return "vertexai", [{"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}]


PRICED = [
    (openai_usage, "openai", "gpt-6.1-sol"),
    (openai_usage, "openai", "gpt-4.1"),
    (openai_usage, "openai", "gpt-4"),
    (claude_usage, "anthropic", "claude-opus-5-5"),
    (claude_usage, "anthropic", "claude-haiku-5-5"),
    (claude_usage, "anthropic", "claude-3-haiku-20240307"),
    (gemini_usage, "google", "gemini-2.5-pro"),
    (gemini_usage, "google", "gemini-3.8-flash"),
]
KINDS = {"openai": "openai", "anthropic": "claude", "google": "gemini"}


@pytest.mark.parametrize(("dialect", "service", "name"), PRICED, ids=[name for _, _, name in PRICED])
@pytest.mark.parametrize(
    "used",
    [(1000, 0, 0, 500, 0), (70_000, 29_990, 7, 12_345, 345), (299_000, 900, 100, 1, 1), (0, 300_000, 0, 0, 0)],
    ids=lambda used: str(sum(used[:3])),
)
def test_a_payload_costs_what_genai_prices_says(dialect, service, name, used):
    fresh, read, write, output, _ = used
    module, chunks = dialect(*used)
    transcript = Transcript()
    for chunk in chunks:
        line = json.dumps(chunk, separators=(",", ":"))
        transcript.feed(f"{AT}{module}: stream-data: {line}\n".encode(), 0)
    info = prices.find_info(Provider(kind=KINDS[service]), name)
    ours = charge(transcript.usage, prices.read_tiers(info.get_prices(NOW)))

    written = write if module == "claude" else 0
    total = fresh + read + written
    theirs = GenaiUsage(input_tokens=total, cache_read_tokens=read, cache_write_tokens=written, output_tokens=output)
    expected = calc_price(theirs, name, provider_id=service, genai_request_timestamp=NOW)
    assert ours.cost_usd == expected.total_price


# --- counts ---

WHOLE = Usage(100, 20, None, 50, 10)


def counted(reported=None, **values):
    defaults = {
        "ending": Ending.STOPPED,
        "http_status": None,
        "request_sent": True,
        "prompt_characters": 400,
        "text_characters": 200,
        "prompt_rate": None,
        "text_rate": None,
    }
    return count(reported, **defaults | values)


@pytest.mark.parametrize("ending", [Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED, Ending.EMPTY])
def test_a_final_report_is_taken_as_it_is(ending):
    assert counted(WHOLE, ending=ending) == costs.Counted(WHOLE, CountSource.REPORTED)


def test_a_report_that_came_with_a_finish_reason_is_final_even_where_the_stop_came_first():
    assert counted(WHOLE, finished=True).source == CountSource.REPORTED
    assert counted(WHOLE).source == CountSource.ESTIMATED


@pytest.mark.parametrize(
    "values",
    [
        {"ending": Ending.RATE_LIMITED, "http_status": 429},
        {"ending": Ending.PROVIDER_ERROR, "http_status": 502},
        {"ending": Ending.PROVIDER_ERROR},
        {"ending": Ending.TIMED_OUT, "http_status": 504},
        {"ending": Ending.UNREACHABLE},
        {"ending": Ending.NOT_STARTED, "request_sent": False},
        {"ending": Ending.STOPPED, "request_sent": False},
        {"ending": Ending.CRASHED, "request_sent": False},
    ],
    ids=str,
)
def test_what_was_refused_before_any_answer_is_not_billed(values):
    assert counted(text_characters=0, **values) == costs.Counted(costs.NOTHING, CountSource.NOT_BILLED)


@pytest.mark.parametrize("ending", [Ending.STOPPED, Ending.CUT, Ending.STALLED, Ending.TIMED_OUT, Ending.INTERRUPTED])
def test_without_a_report_both_counts_come_from_the_rates_learned(ending):
    found = counted(ending=ending, prompt_rate=5.0, text_rate=4.04)
    assert found.usage == Usage(input=80, output=50)
    assert found.source == CountSource.ESTIMATED
    assert found.method == "input from 5.0, output from 4.0 characters per token"


def test_without_a_rate_four_characters_to_a_token_are_assumed_and_said_to_be():
    found = counted()
    assert found.usage == Usage(input=100, output=50)
    assert found.method == "input from 4 (assumed), output from 4 (assumed) characters per token"
    assert len(found.method) <= Attempt._meta.get_field("count_method").max_length


def test_what_anthropic_said_at_the_start_is_kept_and_its_stale_output_is_not():
    found = counted(Usage(60, 40, 25, 1), text_rate=4.1)
    assert found.usage == Usage(60, 40, 25, 49)
    assert found.method == "provider's count so far; output from 4.1 characters per token"


@pytest.mark.parametrize("text_rate", [None, 2.0, 3.9, 8.0])
def test_a_running_count_that_explains_the_text_is_believed(text_rate):
    found = counted(Usage(60, output=100, reasoning=50), text_rate=text_rate)
    assert found == costs.Counted(Usage(60, output=100, reasoning=50), CountSource.ESTIMATED, "provider's count so far")


def test_without_a_learned_rate_a_running_count_is_believed_for_all_but_absurdly_long_tokens():
    believed, stale = (counted(Usage(60, output=20), text_characters=characters) for characters in (320, 321))
    assert believed.usage.output == 20
    assert stale.usage.output == 81


@given(st.integers(1, 5000), st.floats(2, 8), st.none() | st.integers(0, 5000))
def test_a_stale_count_never_hides_text_that_was_received(output, rate, reported):
    text = int(output * rate)
    found = counted(Usage(10, output=reported) if reported is not None else None, text_characters=text, text_rate=rate)
    assert found.usage.output * costs.LEARNED_TOLERANCE >= text / rate


@given(st.integers(20, 5000), st.integers(20, 5000), st.floats(1, 8), st.floats(1, 8))
def test_an_estimate_is_within_five_per_cent_where_the_rates_are_those_of_the_model(sent, received, prompt, text):
    found = counted(
        prompt_characters=round(sent * prompt),
        text_characters=round(received * text),
        prompt_rate=prompt,
        text_rate=text,
    )
    truth = charge(Usage(sent, output=received), [BASE]).cost_usd
    assert abs(charge(found.usage, [BASE]).cost_usd - truth) <= truth * Decimal("0.05")


def served(dialect, module, tokens, *, whole):
    """What a transcript has of an answer of the simulator's, and what was really used."""
    server = dialect(ask("m", [Message("user", "x" * 4000)]), Spec(cached=True), 1)
    stream = server.opening() + b"".join(server.token(token) for token in tokens)
    stream += server.ending(Finish.NATURAL) if whole else b""
    transcript = Transcript()
    for found in re.findall(rb"^(?:data: |\[|,\r\n|)(\{.*\})\r?$", stream.replace(b",\r\n", b"\n"), re.MULTILINE):
        compact = json.dumps(json.loads(found), separators=(",", ":"), ensure_ascii=False)
        transcript.feed(f"{AT}{module}: stream-data: {compact}\n".encode(), 0)
    write = server.cache_write if dialect is Anthropic else 0
    truth = Usage(server.input - server.cache_read - write, server.cache_read, write, server.sent)
    return transcript, truth


@pytest.mark.parametrize(
    ("dialect", "module"), [(OpenAI, "openai"), (Anthropic, "claude"), (Google, "vertexai")], ids=lambda each: str(each)
)
@pytest.mark.parametrize("received", [10, 50, 99])
def test_a_stopped_answer_of_the_simulator_is_within_five_per_cent(dialect, module, received):
    words = answer(Spec(n=100), "").tokens
    rate = sum(map(len, words)) / len(words)
    transcript, truth = served(dialect, module, words[:received], whole=False)
    found = counted(
        transcript.usage,
        prompt_characters=4000,
        text_characters=sum(map(len, words[:received])),
        prompt_rate=4.0,
        text_rate=rate,
    )
    assert found.source == CountSource.ESTIMATED
    # Whether the input was cached is unknown where the provider has not said so.
    told = charge(truth if transcript.usage else Usage(1000, output=truth.output), [BASE]).cost_usd
    assert abs(charge(found.usage, [BASE]).cost_usd - told) <= told * Decimal("0.05")
    transcript, truth = served(dialect, module, words, whole=True)
    whole = counted(transcript.usage, ending=Ending.COMPLETE, text_characters=690, text_rate=rate)
    assert whole.source == CountSource.REPORTED
    assert charge(whole.usage, [BASE]).cost_usd == charge(truth, [BASE]).cost_usd


def test_zeros_of_a_server_that_does_not_count_are_no_report():
    found = counted(Usage(0, 0, None, 0), ending=Ending.COMPLETE)
    assert found.usage == Usage(input=100, output=50)
    assert found.source == CountSource.ESTIMATED


def test_an_answer_that_this_site_cut_for_its_length_is_estimated():
    found = counted(Usage(60, output=1), ending=Ending.LENGTH, text_characters=1_000_000, text_rate=4.0)
    assert found.usage == Usage(60, output=250_000)
    assert found.source == CountSource.ESTIMATED


def test_a_silent_attempt_that_timed_out_is_billed_its_prompt():
    found = counted(ending=Ending.TIMED_OUT, text_characters=0)
    assert found.usage == Usage(input=100, output=0)
    assert found.source == CountSource.ESTIMATED


def test_where_not_even_the_prompt_is_known_the_count_is_unknown():
    found = counted(prompt_characters=0)
    assert found.source == CountSource.UNKNOWN
    assert charge(found.usage, [BASE]) is None


# --- worst cases ---


@given(st.text(max_size=200), st.integers(1, 5000), st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
def test_no_attempt_within_its_limits_costs_more_than_the_worst_case(text, most, read, write, output):
    encoded = len(text.encode())
    limit = encoded // 2
    usage = Usage(
        max(0, limit - read - write),
        min(read, limit),
        min(write, max(0, limit - read)),
        min(output, most),
        min(output, most),
    )
    dear = Tier(0, Decimal(1), Decimal(2), Decimal(3), Decimal(4), Decimal(5))
    for tiers in ((BASE,), (BASE, LARGE), (dear,)):
        assert worst_case(len(text), encoded, most, None, None, tiers) >= charge(usage, tiers).cost_usd


@pytest.mark.parametrize(
    ("limits", "output"),
    [((10, 500), 10), ((None, 500), 500), ((None, None), 4096), ((5000, 500), 5000)],
)
def test_the_longest_answer_is_the_limit_asked_for_else_the_models_else_the_default(limits, output):
    assert worst_case(0, 0, *limits, None, [BASE]) == (64 * BASE.input + output * BASE.output) / 10**6


def test_neither_prompt_nor_answer_is_larger_than_the_context():
    assert worst_case(10**7, 10**7, 100, None, 8192, [BASE]) == (8192 * BASE.input + 100 * BASE.output) / 10**6
    assert worst_case(0, 0, None, 10**6, 8192, [BASE]) == (64 * BASE.input + 8192 * BASE.output) / 10**6


def test_a_tier_that_the_prompt_may_reach_counts():
    small, large = (
        worst_case(10, 10, 100, None, None, (BASE, LARGE)),
        worst_case(10, 400_000, 100, None, None, (BASE, LARGE)),
    )
    assert small == (69 * BASE.input + 100 * BASE.output) / 10**6
    assert large == (200_064 * LARGE.input + 100 * LARGE.output) / 10**6


def test_without_a_price_there_is_no_worst_case():
    assert worst_case(10, 10, 10, 10, 10, ()) is None


# --- learning ---


def learned(model):
    model.refresh_from_db()
    return model.prompt_characters_per_token, model.characters_per_token, model.first_token_p95_ms


def make_whole(model, count, **values):
    whole = {"prompt_characters": 500, "input_tokens": 80, "cache_read_tokens": 20}
    for _ in range(count):
        make_attempt(model, **whole | {"text_characters": 300, "output_tokens": 100} | values)


@pytest.mark.django_db
def test_rates_are_learned_from_five_whole_answers_and_not_from_four():
    model = make_model()
    make_whole(model, 4)
    costs.learn(model.pk)
    assert learned(model) == (None, None, None)
    make_whole(model, 1)
    costs.learn(model.pk)
    assert learned(model) == (5.0, 3.0, None)


@pytest.mark.django_db
def test_neither_estimates_nor_partial_answers_nor_other_models_teach_anything():
    model, other = make_model(), make_model("other")
    make_whole(model, 5)
    make_whole(model, 9, text_characters=9, count_source=CountSource.ESTIMATED)
    make_whole(model, 9, text_characters=9, ending="length")
    make_whole(model, 9, text_characters=9, ending="", ended_at=None)
    make_whole(other, 9, text_characters=9)
    make_whole(model, 1, prompt_characters=10**6)
    costs.learn(model.pk)
    assert learned(model) == (5.0, 3.0, None)


@pytest.mark.django_db
def test_the_first_token_is_learned_from_twenty_of_the_last_hundred():
    model = make_model()
    for number in range(19):
        make_attempt(model, first_token_ms=number, started_at=NOW + timedelta(seconds=number))
    costs.learn(model.pk)
    assert learned(model)[2] is None
    for number in range(19, 200):
        make_attempt(model, first_token_ms=number, started_at=NOW + timedelta(seconds=number))
    costs.learn(model.pk)
    assert learned(model)[2] == 194


@pytest.mark.django_db
def test_only_models_with_recent_attempts_are_learned_of():
    old, new = make_model("old"), make_model("new")
    make_whole(old, 5, ended_at=NOW - timedelta(hours=2))
    make_whole(new, 5)
    make_attempt(new, started_at=NOW - timedelta(hours=9), ended_at=NOW)
    assert costs.learn_all(NOW - timedelta(hours=1)) == 1
    assert learned(old)[0] is None
    assert learned(new)[0] == 5.0


@pytest.mark.django_db
# --- the page that tells all this ---


def test_the_page_about_money_names_every_source_and_every_number():
    page = (settings.BASE_DIR / "docs" / "money.md").read_text()
    for source in CountSource:
        assert f"`{source}`" in page
    assert f"more than {costs.ABSURD_TOKEN:g} characters" in page
    assert f"up to {costs.LONGEST_TOKEN:g} characters" in page
    assert f"`{costs.CHARACTERS_PER_TOKEN:g} (assumed) characters per token`" in page
    assert f"last {costs.LEARN_FROM} attempts" in page
    assert f"{costs.FRAME_TOKENS} more" in page
    assert f"{settings.BUDGET_ANSWER_TOKENS:,}" in page
    assert f"above {prices.MOST_USD:,}" in page


@pytest.mark.parametrize(
    ("asked", "most", "limit"), [(None, None, 8192), (None, 500, 500), (None, 128_000, 8192), (20_000, 128_000, 20_000)]
)
def test_where_a_budget_applies_an_answer_is_no_longer_than_what_is_held_back_for_it(asked, most, limit):
    assert costs.limit_answer(asked, most) == limit
