"""How each thing that there can be an alert about is measured: rows in, readings out, without database or clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from providers.breaker import clock
from providers.models import Breaker, BudgetUse, Forced, Provider
from providers.templatetags.money import count

# Of one or two answers any share is an accident.
LEAST_FAILED = 3
MB = 1e6
GB = 1e9


@dataclass(frozen=True)
class Reading:
    """How one subject is: the value in its kind's unit, and a sentence that stays the same while nothing changes."""

    subject: str
    value: float
    sentence: str


class UnknownCosts(NamedTuple):
    """How many attempts of a model have no known cost."""

    provider_slug: str
    model_name: str
    attempts: int


class Holding(NamedTuple):
    """A budget's current period, and whose it is: a user's name, or ""."""

    use: BudgetUse
    whose: str


class Disk(NamedTuple):
    """The file system of DATA_DIR; `free` is what the site itself may still write."""

    total_bytes: int
    free_bytes: int


def measure_providers(providers: Iterable[Provider], now: datetime) -> list[Reading]:
    """Return for how many seconds each provider that is switched on has not been asked."""
    return [
        Reading(provider.slug, _seconds(provider.opened_at, now), f"{provider.name} is not asked: {_why(provider)}")
        for provider in providers
        if provider.enabled and _is_down(provider)
    ]


def _is_down(provider: Provider) -> bool:
    if provider.forced:
        return provider.forced == Forced.OPEN
    # A trial that is running has proved nothing yet.
    return provider.breaker != Breaker.CLOSED


def _why(provider: Provider) -> str:
    if provider.forced:
        return "an admin has decided so."
    return provider.open_reason or "its breaker is open."


def _seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def measure_errors(states: Mapping[str, Any]) -> list[Reading]:
    """Return the percentage of the answers of the last five minutes that failed, on all servers together."""
    ended, failed = (
        round(sum(_find(data, "errors", name) or 0 for data in states.values())) for name in ("ended", "failed")
    )
    if failed < LEAST_FAILED or ended < failed:
        return []
    sentence = f"{count(failed)} of {count(ended)} answers of the last five minutes failed."
    return [Reading("", 100 * failed / ended, sentence)]


def measure_unknown_costs(counts: Sequence[UnknownCosts]) -> list[Reading]:
    """Return how many attempts of the last hour have no known cost; `counts` has the most of them first."""
    total = sum(each.attempts for each in counts)
    if not total:
        return []
    worst = f"{counts[0].provider_slug}:{counts[0].model_name}"
    mostly = f"of {worst}" if len(counts) == 1 else f"most of them of {worst}"
    return [Reading("", total, f"The cost of {count(total)} answers of the last hour is unknown, {mostly}.")]


def measure_budgets(holdings: Iterable[Holding]) -> list[Reading]:
    """Return what percentage of each budget is used, what is held back for running answers included."""
    return [_measure_budget(use, whose) for use, whose in holdings if use.budget.limit_usd]


def _measure_budget(use: BudgetUse, whose: str) -> Reading:
    percentage = int(100 * (use.spent_usd + use.reserved_usd) / use.budget.limit_usd)
    by = f" by {whose}" if whose and use.budget.user is None else ""
    # A new period is a new subject: what was used up in the old one is over.
    subject = f"budget {use.budget_id}, {use.begins}" + (f", user {use.holder}" if use.holder else "")
    return Reading(subject, percentage, f"{percentage} % of {use.budget} is used{by}.")


def measure_memory(states: Mapping[str, Any]) -> list[Reading]:
    """Return by how many MB an hour each server grows, where it is 95 % sure that it grows at all."""
    readings = []
    for replica, data in states.items():
        slope, low = (_find(data, "memory", name) for name in ("slope_bytes_per_hour", "slope_low"))
        if slope is not None and low is not None and low > 0:
            sentence = f"The memory of {replica} grows by {slope / MB:.0f} MB an hour."
            readings.append(Reading(replica, slope / MB, sentence))
    return readings


def measure_disk(disk: Disk | None) -> list[Reading]:
    """Return the percentage of the disk that is used."""
    if disk is None or not disk.total_bytes:
        return []
    free = disk.free_bytes / disk.total_bytes
    sentence = f"{100 * free:.0f} % of the disk of DATA_DIR is free: {disk.free_bytes / GB:.1f} GB."
    return [Reading("", 100 * (1 - free), sentence)]


def measure_unsealed(oldest_at: datetime | None, now: datetime) -> list[Reading]:
    """Return for how many seconds the oldest entry of the audit that has no seal has been waiting for it."""
    if oldest_at is None:
        return []
    sentence = f"The audit is not sealed: the oldest entry without a seal is of {clock(oldest_at)}."
    return [Reading("", _seconds(oldest_at, now), sentence)]


def _find(data: Any, group: str, name: str) -> float | None:
    """Return a figure of a server's state; None where it has none, or something else in its place."""
    value = data.get("figures") if isinstance(data, dict) else None
    for key in (group, name):
        value = value.get(key) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
