"""What a conversation has used: money, room in the model's context, and how much of a budget is left.

Shown under the composer, rendered with the page and fetched again after each answer.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import Count, Q, Sum
from django.utils.translation import gettext as _

from chat.figures import format_count
from chat.money import describe_total
from providers import budgets
from providers.costs import total_input, usage_of
from providers.models import Attempt, CountSource, Model

# Above it the gauge warns; templates/chat/sums.html colours it by the same figure.
HIGH_PERCENT = 80


@dataclass(frozen=True)
class Gauge:
    """How full the context of a model is: tokens that the latest answer was made from, itself included."""

    used: int
    window: int
    estimated: bool = False

    @property
    def percent(self) -> int:
        """Return how much of the context is used, from 0 to 100; anything at all is at least 1."""
        return min(100, max(1, round(100 * self.used / self.window))) if self.used else 0

    @property
    def is_high(self) -> bool:
        """Return whether the context is nearly full."""
        return self.percent > HIGH_PERCENT

    @property
    def words(self) -> str:
        """Return `Context: 12 % of 128,000 tokens`, and what follows where it is nearly full."""
        about = _("Context: about %(percent)s %% of %(window)s tokens")
        words = about if self.estimated else _("Context: %(percent)s %% of %(window)s tokens")
        described = words % {"percent": self.percent, "window": format_count(self.window)}
        if not self.is_high:
            return described
        return _("%(context)s, nearly full: older messages are left out once there is no room") % {"context": described}


@dataclass(frozen=True)
class Sums:
    """What stands under the composer; empty for what is not known or not worth a word."""

    total: str = ""
    gauge: Gauge | None = None
    budget: str = ""


def find_sums(conversation_id: uuid.UUID | None, user_id: int | None) -> Sums:
    """Return the sums of a conversation of this user; None: of one without messages, where only budgets count."""
    budget = budgets.find_warning(user_id)
    if conversation_id is None:
        return Sums(budget=budget)
    return Sums(total_of(conversation_id), find_gauge(conversation_id), budget)


def total_of(conversation_id: uuid.UUID) -> str:
    """Return what the conversation has cost, in words; "" before anything has ended. One query."""
    ended = Attempt.objects.filter(conversation_id=conversation_id).exclude(ending="")
    sums = ended.aggregate(
        cost=Sum("cost_usd"),
        estimated=Count("pk", filter=Q(count_source=CountSource.ESTIMATED, cost_usd__gt=0)),
        unknown=Count("reply_id", distinct=True, filter=Q(cost_usd=None)),
    )
    return describe_total(sums["cost"], estimated=sums["estimated"] > 0, unknown=sums["unknown"])


def find_gauge(conversation_id: uuid.UUID) -> Gauge | None:
    """Return how full the context was with the latest answer; None where its tokens or its model's room are unknown."""
    counted = Attempt.objects.filter(conversation_id=conversation_id, input_tokens__isnull=False).exclude(ending="")
    attempt = counted.order_by("-started_at").first()
    if attempt is None:
        return None
    models = Model.objects.filter(provider__slug=attempt.provider_slug, name=attempt.model_name)
    window = models.values_list("context_window", flat=True).first()
    if not window:
        return None
    used = (total_input(usage_of(attempt)) or 0) + (attempt.output_tokens or 0)
    return Gauge(used, window, attempt.count_source == CountSource.ESTIMATED)
