from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from chat.models import Conversation
from chat.sums import Gauge, find_gauge, find_sums
from providers.models import Attempt, Budget, CountSource, Model, Scope
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def conversation() -> Conversation:
    return Conversation.objects.create(owner=User.objects.create_user("alice"), name="s", title="Bread")


def attempt(conversation: Conversation, minutes_ago: int = 0, **columns) -> Attempt:
    values = {"provider_slug": "sim", "model_name": "m", "ending": "complete", "input_tokens": 900, "output_tokens": 60}
    return Attempt.objects.create(
        reply_id=uuid.uuid4(),
        conversation_id=conversation.pk,
        number=1,
        started_at=timezone.now() - timedelta(minutes=minutes_ago),
        **(values | columns),
    )


def set_window(tokens: int | None) -> None:
    Model.objects.update(context_window=tokens)


@pytest.fixture(autouse=True)
def _model(db):
    make_provider("http://127.0.0.1:1", "m")
    set_window(4000)


def test_the_gauge_counts_all_that_the_latest_answer_was_made_from_and_itself(conversation):
    attempt(conversation, minutes_ago=5, input_tokens=100)
    attempt(conversation, cache_read_tokens=40)
    assert find_gauge(conversation.pk) == Gauge(1000, 4000)
    assert find_gauge(conversation.pk).words == "Context: 25 % of 4,000 tokens"


def test_an_estimate_is_about_right_and_says_so(conversation):
    attempt(conversation, count_source=CountSource.ESTIMATED)
    assert find_gauge(conversation.pk).words == "Context: about 24 % of 4,000 tokens"


@pytest.mark.parametrize("unknown", ["nothing was answered", "tokens", "window", "model"])
def test_what_is_not_known_is_not_shown(conversation, unknown):
    if unknown != "nothing was answered":
        attempt(conversation, input_tokens=None if unknown == "tokens" else 900)
    set_window(None if unknown == "window" else 4000)
    if unknown == "model":
        Model.objects.all().delete()
    assert find_gauge(conversation.pk) is None


@pytest.mark.parametrize(("used", "percent"), [(0, 0), (1, 1), (50, 1), (1990, 50), (4000, 100), (9000, 100)])
def test_the_gauge_stays_between_nothing_and_full(used, percent):
    assert Gauge(used, 4000).percent == percent


def test_a_budget_is_a_word_only_when_it_gets_short(conversation):
    Budget.objects.create(scope=Scope.EVERYONE, period="day", limit_usd=Decimal("1.00"))
    attempt(conversation, user=conversation.owner, cost_usd=Decimal("0.70"))
    assert find_sums(conversation.pk, conversation.owner_id).budget == ""
    attempt(conversation, user=conversation.owner, cost_usd=Decimal("0.15"))
    shown = find_sums(conversation.pk, conversation.owner_id).budget
    assert shown.startswith("Your budget of 1.00 USD a day is used to 85 %")
    # Whoever has not begun yet wants to know as well.
    assert find_sums(None, conversation.owner_id).budget == shown


def test_the_page_shows_them_and_fetches_them_again(conversation, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    attempt(conversation, cost_usd=Decimal("0.5"))
    client = Client()
    client.force_login(conversation.owner)
    html = client.get(f"/c/{conversation.pk}/sums").text
    assert '<meter min="0" max="100" high="80" value="24">' in html
    assert "This conversation: $0.5000" in html


@pytest.mark.parametrize(("used", "is_high"), [(3200, False), (3300, True), (9000, True)])
def test_a_context_that_is_nearly_full_says_what_follows(used, is_high):
    gauge = Gauge(used, 4000)
    assert gauge.is_high == is_high
    assert gauge.words.endswith(", nearly full: older messages are left out once there is no room") == is_high
