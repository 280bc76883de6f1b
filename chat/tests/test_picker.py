"""The model picker and the words of an empty page: who can be asked, at what price, and who cannot and why."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from chat.picker import describe_context, introduce, list_providers
from providers.local_model import SLUG
from providers.models import Budget, Model, Price, Provider
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db

ADDRESS = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _keys_and_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.PROVIDER_KEYS = {"READY_API_KEY": "sk-canary"}


def add(slug: str, *models: str, **columns) -> Provider:
    return make_provider(ADDRESS, *models, **({"slug": slug} | columns))


def price(model: str, **rates) -> None:
    Price.objects.create(model=Model.objects.get(name=model), **rates)


def options(client) -> list[tuple[str, str, bool]]:
    """Return each choice of a model as the page has it: value, words, and whether it can be chosen."""
    html = client.get("/").text
    found = re.findall(r'<option value="([^"]*:[^"]*)"([^>]*)>([^<]*)</option>', html)
    return [(value, unescape(words), "disabled" not in attributes) for value, attributes, words in found]


def groups(client) -> list[str]:
    """Return the heading of each provider's models."""
    return [unescape(label) for label in re.findall(r'<optgroup label="([^"]*)"', client.get("/").text)]


def unavailable(client) -> str:
    """Return what the picker is described by: the keyboard skips what is disabled."""
    return unescape(re.findall(r'id="unavailable"[^>]*>([^<]*)<', client.get("/").text)[0])


def introduction() -> list[str]:
    return introduce(list_providers(None))


def test_it_offers_who_can_be_asked_in_the_order_in_which_they_are(client):
    add("second", "a", priority=2)
    add("first", "c", priority=1, key_variable="READY_API_KEY")
    assert options(client) == [("first:c", "c · price unknown", True), ("second:a", "a · price unknown", True)]
    assert "sk-canary" not in client.get("/").text


def test_a_price_is_said_in_short_and_never_made_up(client):
    add("p", "dear", "tiered", "free", "unknown", "later")
    price("dear", input=Decimal("2.5"), output=10)
    price("tiered", input=Decimal("0.075"), output=Decimal("0.3"))
    price("tiered", input=1, output=2, above_tokens=200_000, valid_from=Price.objects.get(input="0.075").valid_from)
    price("free", input=0, output=0)
    price("later", input=1, output=1, valid_from=timezone.now() + timedelta(days=1))
    assert {value: words.partition(" · ")[2] for value, words, _ in options(client)} == {
        "p:dear": "$2.50 in / $10 out per million",
        "p:tiered": "from $0.075 in / $0.30 out per million",
        "p:free": "free",
        "p:unknown": "price unknown",
        "p:later": "price unknown",
    }


def test_prices_take_one_query(client, django_assert_num_queries):
    add("p", *(f"m{number}" for number in range(20)))
    with django_assert_num_queries(3):  # budgets, the models, their prices
        list_providers(None)


def test_a_provider_that_is_paused_says_so_once_and_briefly_and_cannot_be_chosen(client):
    # Today, whenever this runs.
    until = timezone.localtime().replace(hour=23, minute=59, second=59, microsecond=999_999)
    words = {"open_reason": "3 failures in a row. It is gone.", "open_detail": "upstream <secret> down"}
    add("well", "a", priority=2)
    add("ill", "b", "c", "d", priority=1, breaker="open", open_until=until, **words)
    Model.objects.filter(name="d").update(enabled=False)
    Provider.objects.filter(slug="ill").update(key_variable="READY_API_KEY")
    assert options(client)[1:] == [("ill:b", "b", False), ("ill:c", "c", False), ("ill:d", "d · switched off", False)]
    assert groups(client) == ["Well", "Ill · paused until 23:59"]
    assert unavailable(client) == "Not available: Ill: paused until 23:59; Ill d: switched off."
    assert "secret" not in client.get("/").text


def test_a_model_that_is_taken_out_says_until_when_and_the_others_can_be_chosen(client):
    until = timezone.now() + timedelta(days=2)
    add("p", "a", "b")
    Model.objects.filter(name="b").update(out_until=until, out_reason="There is no such model. Ask: somebody.")
    out = f"taken out until {timezone.localtime(until):%Y-%m-%d %H:%M}"
    assert options(client) == [("p:a", "a · price unknown", True), ("p:b", f"b · {out}", False)]
    assert groups(client) == ["P"]
    assert unavailable(client) == f"Not available: P b: {out}."


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"forced": "open"}, "paused by an admin"),
        ({"key_variable": "READY_API_KEY", "enabled": False}, "switched off"),
        ({"key_variable": "READY_API_KEY", "api_base": ""}, "has no address"),
        ({"breaker": "half_open"}, "one request is finding out whether it has recovered"),
    ],
)
def test_what_holds_for_a_whole_provider_stands_at_its_name(client, columns, words):
    until = timezone.now() + timedelta(minutes=5)
    add("well", "a")
    ill = add("ill", "b", "c")
    Provider.objects.filter(pk=ill.pk).update(open_until=until, open_reason="It failed.", **columns)
    assert groups(client) == ["Well", f"Ill · {words}"]
    assert [words for _, words, can_choose in options(client) if not can_choose] == ["b", "c"]


def test_what_was_never_set_up_is_left_out_and_what_was_switched_off_is_not(client):
    add("well", "a", priority=2)
    add("keyless", "b", key_variable="MISSING_API_KEY")
    add("local", "c", enabled=False)
    add("off", "d", key_variable="READY_API_KEY", enabled=False)
    add("on", "e", "retired", key_variable="READY_API_KEY", priority=1)
    Model.objects.filter(name="retired").update(enabled=False)
    assert [(value, can_choose) for value, _, can_choose in options(client)] == [
        ("on:e", True),
        ("on:retired", False),
        ("well:a", True),
        ("off:d", False),
    ]
    assert "retired · switched off" in client.get("/").text
    assert groups(client) == ["On", "Well", "Off · switched off"]


def test_a_model_that_the_visitors_budget_does_not_allow_cannot_be_chosen(client):
    add("p", "unpriced", "priced")
    price("priced", input=1, output=1)
    alice = User.objects.create_user("alice")
    Budget.objects.create(scope="user", user=alice, period="month", limit_usd=1)
    assert all(can_choose for _, _, can_choose in options(client))
    client.force_login(alice)
    assert [(value, can_choose) for value, _, can_choose in options(client)] == [
        ("p:priced", True),
        ("p:unpriced", False),
    ]


def test_the_empty_page_says_who_answers_first_and_who_takes_over():
    assert introduction()[0] == "Nothing can answer yet: no model is set up."
    add(SLUG, "smollm2", priority=100)
    assert introduction() == ["A small model on this very machine answers here: private and free, but often wrong."]
    add("openai", "a", name="OpenAI", priority=1)
    assert introduction() == ["OpenAI answers first.", "If it cannot, a small model on this machine takes over."]
    add("claude", "b", priority=2)
    assert introduction()[1] == "If it cannot, Claude and a small model on this machine take over."
    for slug in ("gemini", "groq", "xai"):
        add(slug, "c", priority=3)
    assert introduction()[1] == "If it cannot, Claude, Gemini and 3 more take over."


def test_the_empty_page_does_not_promise_who_is_switched_off():
    add("off", "a", key_variable="READY_API_KEY", enabled=False)
    assert introduction()[0] == "Nothing can answer yet: no model can be asked right now."
    add("on", "b")
    assert introduction() == ["On answers first."]


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (None, ""),
        (512, "512 tokens of context"),
        (8192, "8K context"),
        (128_000, "128K context"),
        (999_999, "999K context"),
        (1_048_576, "1M context"),
    ],
)
def test_a_models_room_is_told_in_short(tokens, words):
    assert describe_context(tokens) == words


def test_the_picker_tells_the_price_and_the_room():
    make_provider("http://127.0.0.1:1", "a")
    Model.objects.update(context_window=128_000)
    assert list_providers(None)[0].options[0].note == "price unknown, 128K context"


def test_the_picker_marks_who_takes_images():
    make_provider("http://127.0.0.1:1", "a")
    Model.objects.update(vision=True)
    assert list_providers(None)[0].options[0].note == "price unknown, takes images"
