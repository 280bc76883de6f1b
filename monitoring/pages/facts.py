"""Everything that the overview is made of, in a number of queries that depends on nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.core.cache import cache
from django.db.models import Max, Q
from django.utils import timezone

from chat.models import IN_TROUBLE, Message
from monitoring.models import Alert, HealthCheck
from monitoring.models.alerts import AlertState
from monitoring.models.samples import CheckKind
from monitoring.pages.servers import Server, read_servers
from providers import spending
from providers.condition import find_missing
from providers.endings import Ending
from providers.models import Attempt, Model, Provider
from providers.spending import Span, Sums

HOUR = timedelta(hours=1)
# How far back incidents are listed, and how many of a kind.
INCIDENT_DAYS = timedelta(days=2)
INCIDENTS = 12
CHANGES = 500
# Of the last hour's attempts: far more than two processors can ask for in an hour.
ATTEMPTS = 10_000
FAILED = [ending.value for ending in Ending if ending.failed]
# How much longer than it took to add up, the money of a busy day is kept.
KEPT = 20


class Asked(NamedTuple):
    """What the page needs of an attempt."""

    provider: str
    model: str
    at: datetime
    first_token_ms: int | None
    ending: str
    error: str


@dataclass(frozen=True)
class Facts:
    """How the site is at `now`. `missing` is as of condition.find_missing(); money is today's, by provider.

    What is listed has an end, so the last failure and the end of the last alert are apart from it.
    """

    now: datetime
    providers: list[Provider] = field(default_factory=list)
    missing: Mapping[str, str] = field(default_factory=dict)
    models_out: list[Model] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    changes: list[HealthCheck] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    alert_ended_at: datetime | None = None
    replies: list[Message] = field(default_factory=list)
    failed_at: datetime | None = None
    money: Mapping[str, Sums] = field(default_factory=dict)


def read_facts(now: datetime) -> Facts:
    """Return how the site is."""
    return Facts(
        now=now,
        providers=list(Provider.objects.all()),
        missing=find_missing(),
        models_out=list(Model.objects.filter(enabled=True, out_until__gt=now).select_related("provider")),
        servers=read_servers(now),
        asked=_read_asked(now),
        changes=list(HealthCheck.objects.filter(kind=CheckKind.STATE)[:CHANGES]),
        alerts=_read_alerts(now),
        alert_ended_at=Alert.objects.aggregate(at=Max("cleared_at"))["at"],
        replies=_read_replies(now),
        failed_at=_find_last_failure(),
        money=_read_money(timezone.localdate(now)),
    )


def _read_asked(now: datetime) -> list[Asked]:
    """Return the attempts of the last hour, the newest first."""
    columns = ("provider_slug", "model_name", "started_at", "first_token_ms", "ending", "error")
    rows = Attempt.objects.filter(started_at__gt=now - HOUR).values_list(*columns)[:ATTEMPTS]
    return [Asked(*row) for row in rows]


def _read_money(today: date) -> Mapping[str, Sums]:
    """Return the sums of today by provider; those of 200,000 attempts take a second, and not one in every five."""
    key = f"monitor-money-{today}"
    if (kept := cache.get(key)) is not None:
        return kept
    began = time.monotonic()
    sums = {group.name: group.sums for group in spending.group(Span(today, today), "provider")}
    # Whole seconds: what is quick is not kept at all.
    cache.set(key, sums, int(KEPT * (time.monotonic() - began)))
    return sums


def _read_alerts(now: datetime) -> list[Alert]:
    recent = Q(began_at__gt=now - INCIDENT_DAYS) & Q(fired_at__isnull=False)
    return list(Alert.objects.filter(~Q(state=AlertState.CLEARED) | recent).select_related("rule")[:100])


def _read_replies(now: datetime) -> list[Message]:
    troubled = Message.objects.filter(IN_TROUBLE, ended_at__gt=now - INCIDENT_DAYS).order_by("-ended_at")
    return list(
        troubled.select_related("conversation__owner").only(
            "ended_at",
            "ending",
            "error",
            "attempts",
            "provider",
            "model",
            "requested_model",
            "conversation__owner__username",
        )[:INCIDENTS]
    )


def _find_last_failure() -> datetime | None:
    """Return when the last answer failed: that another provider answered instead is how it should be."""
    # Those in trouble have an index.
    failed = Message.objects.filter(IN_TROUBLE, ending__in=FAILED, ended_at__isnull=False)
    return failed.order_by("-ended_at").values_list("ended_at", flat=True).first()
