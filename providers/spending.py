"""What was spent in a span of days: sums over the ledger, made by the database.

A cost that is not known is NULL and stays out of every sum; how many there are stands beside it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from providers.models import Attempt, CountSource

# Who live checks are booked under: providers/checkup.py.
CHECK_USER = "check"
PLACES = Decimal("1e-12")


@dataclass(frozen=True)
class Span:
    """The days from `first` to `last`, both included, in the site's time zone."""

    first: date
    last: date

    @property
    def begins(self) -> datetime:
        return midnight(self.first)

    @property
    def ends(self) -> datetime:
        """Return the moment after the last day."""
        return midnight(self.last + timedelta(days=1))

    def days(self) -> Iterator[date]:
        """Yield every day of it."""
        for number in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=number)

    def attempts(self) -> QuerySet[Attempt]:
        """Return the attempts that began in it."""
        return Attempt.objects.filter(started_at__gte=self.begins, started_at__lt=self.ends).order_by()


@dataclass(frozen=True)
class Sums:
    """What some attempts cost together, in USD; None: of none of them is the cost known.

    `unknown` have ended and their cost is not known, `running` have not ended. `estimated_usd` is part of `cost_usd`.
    Tokens are sums of what is known, the cached ones part of the input.
    """

    attempts: int = 0
    cost_usd: Decimal | None = Decimal(0)
    estimated_usd: Decimal = Decimal(0)
    unknown: int = 0
    running: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def known_usd(self) -> Decimal:
        """Return the known part, for charts and shares, in which nothing can be drawn for the unknown."""
        return self.cost_usd or Decimal(0)

    @property
    def estimated_share(self) -> Decimal:
        """Return how much of the known cost is estimated, from 0 to 1."""
        return self.estimated_usd / self.cost_usd if self.cost_usd else Decimal(0)

    def __add__(self, other: Sums) -> Sums:
        if not self.attempts or not other.attempts:
            return other if other.attempts else self
        known = [sums.cost_usd for sums in (self, other) if sums.cost_usd is not None]
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTED}
        return Sums(cost_usd=sum(known, Decimal(0)) if known else None, **counts)


COUNTED = [field.name for field in fields(Sums) if field.name != "cost_usd"]


@dataclass(frozen=True)
class Group:
    """The sums of one day, provider, model or user."""

    name: str
    sums: Sums


class Detail(NamedTuple):
    """The sums of one model for one user; `model` is provider:model."""

    provider: str
    model: str
    user: str
    sums: Sums


# What the ledger can be grouped by, as addresses and files name it.
GROUPS = ("day", "provider", "model", "user")


def summarise(span: Span) -> Sums:
    """Return the sums of all attempts of a span."""
    return _sums(span.attempts().aggregate(**_aggregates()))


def group(span: Span, by: str) -> list[Group]:
    """Return the sums of a span by one of GROUPS: every day in its order, or else the dearest first."""
    return group_by_day(span) if by == "day" else collect(read_details(span), by)


def group_by_day(span: Span) -> list[Group]:
    """Return the sums of every day, of those without attempts too."""
    rows = span.attempts().values(day=TruncDate("started_at")).annotate(**_aggregates())
    found = {row["day"]: _sums(row) for row in rows}
    return [Group(str(day), found.get(day, Sums())) for day in span.days()]


def read_details(span: Span) -> list[Detail]:
    """Return the sums by model and user: one pass over the ledger, from which all else can be collected."""
    rows = span.attempts().values("provider_slug", "model_name", "username").annotate(**_aggregates())
    return [
        Detail(row["provider_slug"], f"{row['provider_slug']}:{row['model_name']}", row["username"], _sums(row))
        for row in rows
    ]


def collect(details: Iterable[Detail], by: str) -> list[Group]:
    """Return the sums by provider, model or user, the dearest first."""
    found: dict[str, Sums] = {}
    for detail in details:
        name = getattr(detail, by)
        found[name] = found.get(name, Sums()) + detail.sums
    groups = [Group(name, sums) for name, sums in found.items()]
    return sorted(groups, key=lambda group: (-group.sums.known_usd, -group.sums.attempts, group.name))


def add(groups: Iterable[Group]) -> Sums:
    """Return the sums of all `groups` together."""
    return sum((group.sums for group in groups), Sums())


def project_month(span: Span, sums: Sums, now: datetime) -> Decimal | None:
    """Return what this month will cost if its rest is like `span`, whose sums are `sums`.

    None where that cannot be said: the span is over, or is less than a day old.
    """
    elapsed = (now - span.begins) / timedelta(days=1)
    if elapsed < 1 or span.ends <= now:
        return None
    today = timezone.localdate(now)
    length = calendar.monthrange(today.year, today.month)[1]
    month = Span(today.replace(day=1), today.replace(day=length))
    left = Decimal((month.ends - now) / timedelta(days=1))
    spent = summarise(month).known_usd
    return (spent + sums.known_usd / Decimal(elapsed) * left).quantize(Decimal("0.01"))


def midnight(day: date) -> datetime:
    """Return when `day` begins in the site's time zone."""
    return timezone.make_aware(datetime.combine(day, time.min))


def _aggregates() -> dict[str, Any]:
    return {
        "attempts": Count("pk"),
        "cost": Sum("cost_usd"),
        "estimated": Sum("cost_usd", filter=Q(count_source=CountSource.ESTIMATED)),
        "unknown": Count("pk", filter=Q(cost_usd=None) & ~Q(ending="")),
        "running": Count("pk", filter=Q(cost_usd=None, ending="")),
        "fresh": Sum("input_tokens"),
        "cache_read": Sum("cache_read_tokens"),
        "cache_write": Sum("cache_write_tokens"),
        "output": Sum("output_tokens"),
    }


def _sums(row: Mapping[str, Any]) -> Sums:
    return Sums(
        attempts=row["attempts"],
        cost_usd=_exact(row["cost"]) if row["cost"] is not None or row["attempts"] else Decimal(0),
        estimated_usd=_exact(row["estimated"]) or Decimal(0),
        unknown=row["unknown"],
        running=row["running"],
        input_tokens=sum(row[name] or 0 for name in ("fresh", "cache_read", "cache_write")),
        output_tokens=row["output"] or 0,
    )


def _exact(value: Decimal | None) -> Decimal | None:
    # SQLite adds floats, which Django gives 15 digits: twelve places again, as the rows have.
    return None if value is None else value.quantize(PLACES)
