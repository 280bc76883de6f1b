"""How an answer was made, as its reader and nobody else may see it."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from chat.models import Conversation, Message
from chat.money import describe_cost, describe_total, format_rate, format_usd
from providers.models import Attempt, Model
from sasha.testing import make_provider, without_nonce

PRICE = {
    "input": "2.5",
    "cache_read": "1.25",
    "cache_write": "2.5",
    "output": "10",
    "reasoning": "10",
    "above_tokens": 0,
    "valid_from": "2026-01-01T00:00:00+00:00",
    "source": "catalogue",
}
WHOLE = {
    "ending": "complete",
    "evidence": "finish reason",
    "spawn_ms": 5,
    "request_ms": 12,
    "first_token_ms": 420,
    "longest_gap_ms": 61,
    "total_ms": 3250,
    "text_characters": 100,
    "input_tokens": 12,
    "cache_read_tokens": 1000,
    "cache_write_tokens": 0,
    "output_tokens": 34,
    "reasoning_tokens": 10,
    "count_source": "reported",
    "price": PRICE,
    "cost_usd": Decimal("0.00162"),
    "exit_code": 0,
    "http_status": 200,
}
REFUSED = {
    "ending": "rate_limited",
    "evidence": "HTTP 429",
    "http_status": 429,
    "error": "Rate limit reached <b>now</b>",
    "spawn_ms": 5,
    "request_ms": 12,
    "total_ms": 200,
    "input_tokens": 0,
    "output_tokens": 0,
    "count_source": "not billed",
    "cost_usd": Decimal(0),
}
# What is written when the server itself was killed.
ABANDONED = {"ending": "interrupted", "evidence": "owner gone", "text_characters": 7, "count_source": "unknown"}


@pytest.fixture(autouse=True)
def _without_collected_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def reply(db) -> Message:
    conversation = Conversation.objects.create(owner=User.objects.create_user("alice"), name="s", title="Bread")
    skipped = [["gemini:pro", "Gemini: Paused until 14:05:00."]]
    return Message.objects.create(conversation=conversation, role="assistant", ending="complete", skipped=skipped)


@pytest.fixture
def as_alice(reply) -> Client:
    client = Client()
    client.force_login(reply.conversation.owner)
    return client


def attempt(reply: Message, number: int = 1, **columns) -> Attempt:
    values = {"provider_slug": "openai", "model_name": "gpt", "reason": "next by priority"} | columns
    return Attempt.objects.create(
        reply_id=reply.pk,
        conversation_id=reply.conversation_id,
        number=number,
        **({"ended_at": timezone.now()} | values),
    )


def entries(client: Client, reply: Message) -> list[dict[str, str]]:
    """Return the facts of each attempt on the page, by name, and behind them those of who was not asked."""
    response = client.get(f"/replies/{reply.pk}/attempts")
    assert response.status_code == 200
    lists = re.findall(r"<dl[^>]*>(.*?)</dl>", response.text, re.DOTALL)
    facts = [re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", found) for found in lists]
    return [{unescape(name): unescape(words) for name, words in found} for found in facts]


def total(client: Client, reply: Message) -> str:
    return re.findall(r"data-story-total>Together: ([^<]*)<", client.get(f"/replies/{reply.pk}/attempts").text)[0]


def conversation_total(client: Client, reply: Message) -> str:
    return "".join(re.findall(r"data-total>([^<]*)<", client.get(f"/c/{reply.conversation_id}/sums").text))


# --- The page ---------------------------------------------------------------------------------------------------------


def test_each_attempt_is_told_from_why_to_how_much(reply, as_alice):
    attempt(reply, 2, **WHOLE)
    attempt(reply, 1, reason="chosen", provider_slug="claude", model_name="opus", **REFUSED)
    refused, whole, unasked = entries(as_alice, reply)
    assert "Started" in refused
    del refused["Started"], whole["Started"]
    assert refused == {
        "Why it was asked": "chosen",
        "How it ended": "The provider takes no more requests from this site for now. Evidence: HTTP 429.",
        "HTTP status": "429",
        "The provider's words": "Rate limit reached <b>now</b>",
        "Request sent": "after 12 ms",
        "First token": "none came",
        "Longest gap": "none",
        "Whole attempt": "200 ms",
        "Tokens": "nothing was billed",
        "Cost": "$0.00",
    }
    assert whole == {
        "Why it was asked": "next by priority",
        "How it ended": "The answer is whole. Evidence: finish reason.",
        "Request sent": "after 12 ms",
        "First token": "after 420 ms",
        "Longest gap": "61 ms",
        "Whole attempt": "3.2 s",
        "Tokens in": "1,012 (of these, cache read 1,000)",
        "Tokens out": "34 (of these, reasoning 10)",
        "Counted": "reported by the provider",
        "Price": "fresh input $2.50, cache read $1.25, output $10 per million tokens, since 2026-01-01 (catalogue)",
        "Cost": "$0.0016",
    }
    assert unasked == {"gemini:pro": "Gemini: Paused until 14:05:00."}
    html = as_alice.get(f"/replies/{reply.pk}/attempts").text
    assert html.index("1. claude:opus") < html.index("2. openai:gpt")
    assert "<b>now" not in html
    assert total(as_alice, reply) == "2 attempts, tokens in: 1,012, tokens out: 34, cost: $0.0016"


def test_models_go_by_the_names_that_people_know_and_keep_the_exact_ones_in_small_print(reply, as_alice):
    make_provider("http://127.0.0.1:1", "gpt", slug="openai", name="OpenAI")
    make_provider("http://127.0.0.1:1", "pro", slug="gemini", name="Gemini")
    Model.objects.filter(name="gpt").update(label="GPT-4 <b>")
    Model.objects.filter(name="pro").update(label="Gemini Pro")
    attempt(reply, 1, **WHOLE)
    attempt(reply, 2, **WHOLE | {"model_name": "gone"})
    html = as_alice.get(f"/replies/{reply.pk}/attempts").text
    headings = re.findall(r"<h3>(\d.*?)</h3>|<dt>(Gemini.*?)</dt>", html)
    assert [unescape(re.sub("<.?small[^>]*>", "|", "".join(heading))) for heading in headings] == [
        "1. OpenAI GPT-4 <b> |openai:gpt|",
        "2. openai:gone",
        "Gemini Pro |gemini:pro|",
    ]


def test_what_nobody_measured_is_unknown_and_not_nothing(reply, as_alice):
    attempt(reply, **ABANDONED)
    facts = entries(as_alice, reply)[0]
    for name in ("Request sent", "First token", "Longest gap", "Whole attempt", "Counted", "Price", "Cost"):
        assert facts[name] == "unknown", name
    assert facts["Tokens in"] == "unknown"
    assert facts["Tokens out"] == "unknown"
    assert total(as_alice, reply) == "1 attempt, tokens in: unknown, tokens out: unknown, cost: unknown"


def test_an_estimate_says_so_and_how_it_was_made(reply, as_alice):
    method = "output from 4 (assumed) characters per token"
    attempt(reply, **WHOLE | {"count_source": "estimated", "count_method": method, "cost_usd": Decimal("0.000123")})
    facts = entries(as_alice, reply)[0]
    assert (facts["Counted"], facts["Cost"]) == (f"estimated: {method}", "about $0.000123")
    assert total(as_alice, reply).endswith("cost: about $0.000123")


def test_a_sum_with_an_unknown_part_says_what_of_it_is_known(reply, as_alice):
    attempt(reply, 1, **WHOLE)
    attempt(reply, 2, **ABANDONED)
    assert total(as_alice, reply) == (
        "2 attempts, tokens in: at least 1,012, tokens out: at least 34, cost: unknown ($0.0016 of it is known)"
    )


def test_an_attempt_that_runs_has_no_end_yet(reply, as_alice):
    attempt(reply, ended_at=None)
    facts = entries(as_alice, reply)[0]
    assert (facts["How it ended"], facts["First token"]) == ("It is still running.", "none yet")
    assert "Cost" not in facts


def test_the_answers_id_is_there_for_whoever_runs_the_site(reply, as_alice):
    html = as_alice.get(f"/replies/{reply.pk}/attempts").text
    assert f"Id of this answer, for whoever runs this site: {reply.pk}<" in html


def test_where_nobody_was_asked_the_page_says_why(reply, as_alice):
    Message.objects.update(ending="not_started", error="The answer could not be started: no provider is set up.")
    html = as_alice.get(f"/replies/{reply.pk}/attempts").text
    assert "Nobody was asked. The answer could not be started: no provider is set up." in html
    assert "Together" not in html


def test_where_the_attempts_are_too_old_to_be_kept_the_page_does_not_say_that_nobody_was_asked(reply, as_alice):
    Message.objects.update(attempts=1)
    html = as_alice.get(f"/replies/{reply.pk}/attempts").text
    assert "This answer is old. How it was made is no longer kept." in html
    assert "Nobody was asked" not in html


@pytest.mark.parametrize("who", ["bob", "nobody"])
def test_to_anybody_else_it_does_not_exist(reply, client, who):
    attempt(reply, **WHOLE)
    if who == "bob":
        client.force_login(User.objects.create_user("bob"))
    for path in (f"/replies/{reply.pk}/attempts", f"/c/{reply.conversation_id}/sums"):
        foreign, unknown = client.get(path), client.get(re.sub("[0-9a-f-]{36}", str(uuid.uuid4()), path))
        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert without_nonce(foreign.text) == without_nonce(unknown.text)


def test_a_persons_own_message_has_no_attempts(reply, as_alice):
    question = Message.objects.create(conversation=reply.conversation, role="user", text="Hi")
    assert as_alice.get(f"/replies/{question.pk}/attempts").status_code == 404


def test_the_answer_leads_there(reply, as_alice):
    html = as_alice.get(f"/c/{reply.conversation_id}/").text
    assert f'href="/replies/{reply.pk}/attempts"' in html


# --- The conversation's total -----------------------------------------------------------------------------------------


def test_a_conversation_says_what_it_cost(reply, as_alice):
    assert conversation_total(as_alice, reply) == ""
    attempt(reply, 1, **WHOLE)
    assert conversation_total(as_alice, reply) == "This conversation: $0.0016"
    attempt(reply, 2, **REFUSED)
    attempt(reply, 3, **ABANDONED)
    attempt(reply, 4, **ABANDONED)
    attempt(Message.objects.create(conversation=reply.conversation, role="assistant"), ended_at=None)
    # Two attempts, but one answer; what still runs is not unknown yet.
    assert conversation_total(as_alice, reply) == "This conversation: $0.0016 (1 answer of unknown cost)"
    attempt(Message.objects.create(conversation=reply.conversation, role="assistant"), **ABANDONED)
    assert conversation_total(as_alice, reply) == "This conversation: $0.0016 (2 answers of unknown cost)"
    assert "This conversation: $0.0016 (2 answers" in as_alice.get(f"/c/{reply.conversation_id}/").text


def test_a_total_with_an_estimate_in_it_is_about_right(reply, as_alice):
    attempt(reply, **WHOLE | {"count_source": "estimated"})
    assert conversation_total(as_alice, reply) == "This conversation: about $0.0016"


# --- Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        ("1234.565", "$1,234.57"),
        ("1", "$1.00"),
        ("0.01234", "$0.0123"),
        ("0.00125", "$0.0013"),
        ("0.001", "$0.0010"),
        ("0.000123", "$0.000123"),
        ("0.00012345", "$0.000123"),
        ("0.0000000125", "$0.0000000125"),
        ("0.000000000001", "$0.000000000001"),
        ("0", "$0.00"),
    ],
)
def test_small_sums_are_readable_and_never_in_exponents(usd, words):
    assert format_usd(Decimal(usd)) == words


def test_rates_have_the_digits_they_have():
    rates = ["10", "2.5", "0.075", "0.100000", "1E+1"]
    assert [format_rate(Decimal(rate)) for rate in rates] == ["$10", "$2.50", "$0.075", "$0.10", "$10"]


@pytest.mark.parametrize(
    ("usd", "source", "attempts", "words"),
    [
        ("0.0012", "reported", 1, "$0.0012"),
        ("0.0012", "estimated", 1, "about $0.0012"),
        ("0", "reported", 1, "free"),
        ("0", "estimated", 1, "free"),
        ("0", "not billed", 2, "nothing billed"),
        (None, "unknown", 1, "cost unknown"),
        (None, "", 0, ""),
    ],
)
def test_a_cost_says_how_sure_it_is(usd, source, attempts, words):
    assert describe_cost(usd and Decimal(usd), source, attempts) == words


def test_a_total_of_nothing_known_is_unknown_and_one_of_nothing_spent_is_free():
    assert describe_total(None, estimated=False, unknown=2) == "This conversation: cost unknown"
    assert describe_total(None, estimated=False, unknown=0) == ""
    assert describe_total(Decimal(0), estimated=False, unknown=0) == "This conversation: free"
    assert (
        describe_total(Decimal(0), estimated=False, unknown=1) == "This conversation: $0.00 (1 answer of unknown cost)"
    )
