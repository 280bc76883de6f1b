"""Which kinds of alert there are: what each looks at, in which unit, and with which levels a new site begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Exists, F, FloatField, OuterRef, Q, Subquery
from django.db.models.functions import Cast

from monitoring.alerts.measures import (
    Disk,
    Holding,
    Reading,
    UnknownCosts,
    measure_budgets,
    measure_disk,
    measure_errors,
    measure_memory,
    measure_providers,
    measure_unknown_costs,
    measure_unsealed,
)
from monitoring.models import AlertRule, AuditEntry, AuditSeal, ReplicaState
from monitoring.models.alerts import RuleKind
from providers.budgets import get_span
from providers.models import Attempt, Budget, BudgetUse, Period, Provider, Scope

# A server that has said nothing for so long is not there; it speaks every five seconds.
SILENT = timedelta(seconds=30)
UNKNOWN_COST_WINDOW = timedelta(hours=1)
# The most used ones of a site with very many users.
MOST_BUDGETS = 100
# Entries before the newest seal that a slow transaction may have left without one.
LOOK_BACK = 1000


class Facts:
    """What there is to measure at one moment, each looked up once, and only where a rule asks for it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    @cached_property
    def states(self) -> dict[str, Any]:
        """What each living server says of itself, by its name."""
        living = ReplicaState.objects.filter(at__gt=self.now - SILENT)
        return dict(living.values_list("replica", "data"))

    def unknown_costs(self) -> list[UnknownCosts]:
        """Return the attempts of the last hour whose cost is unknown, by model, the most first."""
        recent = Attempt.objects.filter(started_at__gt=self.now - UNKNOWN_COST_WINDOW, cost_usd=None)
        by_model = recent.exclude(ending="").values_list("provider_slug", "model_name")
        return [UnknownCosts(*row) for row in by_model.annotate(attempts=Count("pk")).order_by("-attempts")]

    def budgets(self) -> list[Holding]:
        """Return the current periods of the budgets that are on, the most used first."""
        current = Q()
        for period in Period:
            current |= Q(budget__period=period, begins=get_span(period, self.now).begins)
        own = Budget.objects.filter(
            scope=Scope.USER, user=OuterRef("holder"), period=OuterRef("budget__period"), enabled=True
        )
        replaced = Q(Exists(own), budget__scope=Scope.EVERYONE)
        # As floats: SQLite divides whole numbers without a rest.
        used = Cast(F("spent_usd") + F("reserved_usd"), FloatField())
        share = used / Cast("budget__limit_usd", FloatField())
        name = User.objects.filter(pk=OuterRef("holder")).values("username")
        uses = BudgetUse.objects.filter(current, budget__enabled=True, budget__limit_usd__gt=0).exclude(replaced)
        named = uses.select_related("budget__user").annotate(whose=Subquery(name)).order_by(share.desc())
        return [Holding(use, use.whose or "") for use in named[:MOST_BUDGETS]]

    def disk(self) -> Disk | None:
        """Return the sizes of the file system of DATA_DIR; None where that is not there."""
        try:
            usage = shutil.disk_usage(settings.DATA_DIR)
        except OSError:
            return None
        return Disk(usage.total, usage.free)

    def oldest_unsealed_at(self) -> datetime | None:
        """Return the time of the oldest entry of the audit without a seal."""
        newest = AuditSeal.objects.order_by("-sequence").values_list("entry_id", flat=True).first() or 0
        unsealed = AuditEntry.objects.filter(pk__gt=newest - LOOK_BACK, seal=None)
        return unsealed.order_by("pk").values_list("at", flat=True).first()


@dataclass(frozen=True)
class KindInfo:
    """A kind of rule: `look` measures it, the levels are those of a new site, `most` is the end of the unit's scale."""

    unit: str
    meaning: str
    look: Callable[[Facts], list[Reading]]
    threshold: float
    clear_below: float
    for_seconds: int = 60
    clear_seconds: int = 300
    most: float | None = None


KINDS = {
    RuleKind.PROVIDER_DOWN: KindInfo(
        "s",
        "How long a provider that is switched on has not been asked, for its breaker's sake or an admin's.",
        lambda facts: measure_providers(Provider.objects.filter(enabled=True), facts.now),
        threshold=60,
        clear_below=1,
        for_seconds=0,
        # Longer than a breaker's pause, after which most providers that flap fail again.
        clear_seconds=600,
    ),
    RuleKind.ERROR_RATE: KindInfo(
        "%",
        "The failed ones of the answers of the last five minutes, on all servers; nothing below three.",
        lambda facts: measure_errors(facts.states),
        threshold=20,
        clear_below=10,
        most=100,
    ),
    RuleKind.UNKNOWN_COST: KindInfo(
        "in an hour",
        "Attempts of the last hour that have ended and whose cost is unknown.",
        lambda facts: measure_unknown_costs(facts.unknown_costs()),
        threshold=5,
        clear_below=1,
    ),
    RuleKind.BUDGET: KindInfo(
        "%",
        "What is spent and held back of each budget in its current period.",
        lambda facts: measure_budgets(facts.budgets()),
        threshold=80,
        clear_below=75,
        for_seconds=0,
    ),
    RuleKind.MEMORY_SLOPE: KindInfo(
        "MB an hour",
        "By how much a server grows, where that it grows is 95 % sure.",
        lambda facts: measure_memory(facts.states),
        threshold=20,
        clear_below=10,
        for_seconds=1800,
        clear_seconds=1800,
    ),
    RuleKind.DISK: KindInfo(
        "% used",
        "How full the disk of DATA_DIR is: 90 is 10 % free.",
        lambda facts: measure_disk(facts.disk()),
        threshold=90,
        clear_below=88,
        most=100,
    ),
    RuleKind.NOT_SEALED: KindInfo(
        "s",
        "How old the oldest entry of the audit is that has no seal yet.",
        lambda facts: measure_unsealed(facts.oldest_unsealed_at(), facts.now),
        threshold=60,
        clear_below=10,
        for_seconds=0,
    ),
}


def default_rule(kind: RuleKind) -> dict[str, Any]:
    """Return the columns of a new site's rule."""
    info = KINDS[kind]
    names = ("threshold", "clear_below", "for_seconds", "clear_seconds")
    return {"kind": kind} | {name: getattr(info, name) for name in names}


def ensure_rules(apps: Any = None, **_: Any) -> None:
    """Make the rule of every kind that has none: after each migration, so that a new kind gets its own, too."""
    try:
        rules = (apps.get_model("monitoring", "AlertRule") if apps else AlertRule)._default_manager
    except LookupError:
        # Migrated back to before there were any.
        return
    rules.bulk_create([rules.model(**default_rule(kind)) for kind in RuleKind], ignore_conflicts=True)
