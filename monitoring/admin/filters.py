"""How the audit is narrowed down in the admin. What is offered is what the newest entries have."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring.models import AuditEntry
from providers import filters
from providers.filters import Choices, OfferFilter, shorten

# The values of so many entries are offered; a link or an address finds the others.
OFFER_OF = 1000
# What the site itself is called here: no user's name has brackets.
SITE = "(site)"


class DayFilter(filters.DayFilter):
    column = "at"


class ActorFilter(OfferFilter):
    title = "actor"
    parameter_name = "actor"

    def offer(self) -> Choices:
        names = [(name, shorten(name)) for name in _newest("actor") if name]
        return [(SITE, "the site itself"), *names]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return queryset.filter(actor="" if value == SITE else value) if value else queryset


class ActionFilter(OfferFilter):
    """An action, or all that begin alike: `chat.`."""

    title = "action"
    parameter_name = "action"

    def offer(self) -> Choices:
        actions = _newest("action")
        beginnings = sorted({action.partition(".")[0] for action in actions})
        return [*((f"{name}.", f"{name}: all") for name in beginnings), *((action, action) for action in actions)]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value() or ""
        if value.endswith("."):
            return queryset.filter(action__startswith=value)
        return queryset.filter(action=value) if value else queryset


class TargetFilter(OfferFilter):
    """A kind of thing, `provider:`, or one thing, `provider:3`."""

    title = "target"
    parameter_name = "target"

    def offer(self) -> Choices:
        return [(name_target(kind), kind) for kind in _newest("target_kind") if kind]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        kind, _, pk = (self.value() or "").partition(":")
        if pk:
            queryset = queryset.filter(target_id=pk)
        return queryset.filter(target_kind=kind) if kind else queryset


def name_target(kind: str, pk: str = "") -> str:
    """Return a target as the filter has it."""
    return f"{kind}:{pk}"


def _newest(column: str) -> list[str]:
    return sorted(set(AuditEntry.objects.values_list(column, flat=True)[:OFFER_OF]))
