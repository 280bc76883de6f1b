"""How the ledger is narrowed down in the admin. Each filter answers from an index, or from a small table."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from providers.endings import Ending
from providers.models import Attempt, Model, Provider
from providers.spending import Span

SLOW_MS = 5000
COSTLY_USD = Decimal("0.10")
# Of a user's name; a guest's has 38 characters.
NAME_CHARACTERS = 16
# The users of so many attempts are offered; the search finds the others.
OFFER_USERS_OF = 1000
Choices = list[tuple[str, str]]


class OfferFilter(SimpleListFilter):
    """A filter that also takes a value it does not offer, such as a day that a chart links to."""

    def offer(self) -> Choices:
        """Return the values to choose from, with their words."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        offered = self.offer()
        asked = request.GET.get(str(self.parameter_name), "")
        known = not asked or asked in dict(offered)
        return offered if known else [*offered, (asked, asked)]


class DayFilter(OfferFilter):
    """When it was. Not Django's date hierarchy, which reads the whole table to list its years."""

    title = "day"
    parameter_name = "day"
    column = "started_at"

    def offer(self) -> Choices:
        today = timezone.localdate()
        yesterday = today - timedelta(days=1)
        return [(str(today), "today"), (str(yesterday), "yesterday"), ("7", "last 7 days"), ("30", "last 30 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.value():
            return queryset
        span = find_span(self.value() or "")
        if span is None:
            return queryset.none()
        return queryset.filter(**{f"{self.column}__gte": span.begins, f"{self.column}__lt": span.ends})


class EndingFilter(SimpleListFilter):
    title = "ending"
    parameter_name = "ending"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        return [("failed", "any failure"), ("running", "still running"), *Ending.choices()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        value = self.value()
        if value == "failed":
            return queryset.filter(ending__in=[ending for ending in Ending if ending.failed])
        if value == "running":
            return queryset.filter(ending="")
        return queryset.filter(ending=value) if value else queryset


class ProviderFilter(OfferFilter):
    title = "provider"
    parameter_name = "provider"
    column = "provider_slug"

    def offer(self) -> Choices:
        return list(Provider.objects.values_list("slug", "name"))

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class ModelFilter(OfferFilter):
    """The model, as provider:model; offered once the provider is chosen."""

    title = "model"
    parameter_name = "model"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.provider = request.GET.get("provider", "")
        super().__init__(request, *args)

    def offer(self) -> Choices:
        models = Model.objects.filter(provider__slug=self.provider).select_related("provider")
        return [(str(model), model.label or model.name) for model in models]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        provider, _, name = (self.value() or "").partition(":")
        return queryset.filter(provider_slug=provider, model_name=name) if name else queryset


class UserFilter(OfferFilter):
    title = "user"
    parameter_name = "user"

    def offer(self) -> Choices:
        newest = Attempt.objects.values_list("username", flat=True)[:OFFER_USERS_OF]
        return [(name, shorten(name)) for name in sorted(set(newest)) if name]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        return of_user(queryset, self.value() or "") if self.value() else queryset


class LookFilter(SimpleListFilter):
    title = "what stands out"
    parameter_name = "look"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> Choices:
        return [
            ("slow", f"slow: over {SLOW_MS // 1000} s to the first token"),
            ("costly", f"costly: over {COSTLY_USD} USD"),
            ("unknown", "of unknown cost"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        if self.value() == "slow":
            return queryset.filter(first_token_ms__gt=SLOW_MS)
        if self.value() == "costly":
            return queryset.filter(cost_usd__gt=COSTLY_USD)
        return queryset.filter(cost_usd=None).exclude(ending="") if self.value() == "unknown" else queryset


def shorten(name: str) -> str:
    """Return a user's name, a long one cut to its beginning."""
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 5]}…"


def find_span(value: str) -> Span | None:
    """Return the days that "7" (the last so many) or "2026-11-23" names, or None."""
    today = timezone.localdate()
    if value in ("7", "30"):
        return Span(today - timedelta(days=int(value) - 1), today)
    try:
        day = date.fromisoformat(value)
        # Near the ends of the calendar, time zones overflow.
        return Span(day, day) if 2000 < day.year < 2100 else None
    except ValueError:
        return None


def of_user(attempts: QuerySet[Attempt], name: str) -> QuerySet[Attempt]:
    """Return the attempts of a user by name; of one who is gone, those that kept it."""
    user = User.objects.filter(username=name).first()
    return attempts.filter(user=user) if user else attempts.filter(user=None, username=name)
