"""Prices out of genai-prices' data, compared with those in force here and taken over when told to.

The only module that imports genai-prices: that takes half a second and 39 MB, so no request ever does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.db import transaction

from providers import costs
from providers.costs import Tier
from providers.kinds import Kind
from providers.models import Model, Price, PriceSource, Provider

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

# What genai-prices calls the services whose address is that of the kind. Others are found by their address.
SERVICES = {Kind.OPENAI: "openai", Kind.CLAUDE: "anthropic", Kind.GEMINI: "google"}
# USD per million tokens. The dearest model ever sold took 600.
MOST_USD = Decimal(10_000)
# What the column holds.
PLACES = Decimal("0.000001")


class Finding(StrEnum):
    """What the comparison of one model's price came to."""

    SAME = "same"
    NEW = "new"
    CHANGED = "changed"
    BY_HAND = "set by hand"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True)
class Comparison:
    """A model, its tiers in force, those of genai-prices, what is to be done, and why in words."""

    model: Model
    now: tuple[Tier, ...]
    new: tuple[Tier, ...]
    finding: Finding
    words: str = ""

    @property
    def writes(self) -> bool:
        """Whether applying this writes a price."""
        return self.finding in (Finding.NEW, Finding.CHANGED)


class BadPriceError(ValueError):
    """A price that no service asks; the argument says what is wrong with it."""


def compare(at: datetime, provider: str = "") -> list[Comparison]:
    """Compare the prices of all models, or of those of one provider by its slug, as they are in force at `at`."""
    rows = Model.objects.select_related("provider").order_by("provider__priority", "provider__slug", "priority", "name")
    models = list(rows.filter(provider__slug=provider) if provider else rows)
    prices = costs.find_prices([model.pk for model in models], at)
    return [_compare_one(model, prices.get(model.pk, ()), at) for model in models]


@transaction.atomic
def apply(comparisons: Sequence[Comparison], at: datetime) -> int:
    """Write what is new or changed as prices that hold from `at` on; return for how many models."""
    chosen = [comparison for comparison in comparisons if comparison.writes]
    for comparison in chosen:
        for tier in comparison.new:
            Price.objects.create(
                model=comparison.model,
                valid_from=at,
                above_tokens=tier.above_tokens,
                input=tier.input,
                cache_read=tier.cache_read,
                cache_write=tier.cache_write,
                output=tier.output,
                reasoning=tier.reasoning,
                source=PriceSource.SYNC,
            )
    return len(chosen)


def _compare_one(model: Model, now: tuple[Tier, ...], at: datetime) -> Comparison:
    if any(tier.source == PriceSource.ADMIN for tier in now):
        return Comparison(model, now, (), Finding.BY_HAND, "an admin has set this price")
    info = find_info(model.provider, model.name)
    if info is None:
        return Comparison(model, now, (), Finding.UNKNOWN, "genai-prices does not know it")
    if _changes_by_the_hour(info):
        return Comparison(model, now, (), Finding.REFUSED, "its price changes with the hour of the day")
    try:
        new = read_tiers(info.get_prices(at))
        _check(now, new)
    except BadPriceError as error:
        return Comparison(model, now, (), Finding.REFUSED, str(error))
    words = "" if info.id == model.name else f"as {info.id}"
    if not now:
        return Comparison(model, now, new, Finding.NEW, words)
    return Comparison(model, now, new, Finding.SAME if _plain(now) == new else Finding.CHANGED, words)


def find_info(provider: Provider, name: str) -> ModelInfo | None:
    """Return what genai-prices knows of a model of this provider; None where it knows no such service or model."""
    from genai_prices.data_snapshot import get_snapshot

    service = None if provider.api_base else SERVICES.get(Kind(provider.kind))
    if not service and not provider.api_base:
        return None
    try:
        return get_snapshot().find_provider_model(name, None, service, provider.api_base or None)[1]
    except LookupError:
        return None


def _changes_by_the_hour(info: ModelInfo) -> bool:
    from genai_prices.types import TimeOfDateConstraint

    prices = info.prices if isinstance(info.prices, list) else []
    return any(isinstance(price.constraint, TimeOfDateConstraint) for price in prices)


def read_tiers(price: ModelPrice) -> tuple[Tier, ...]:
    """Return the token prices in genai-prices' form as tiers, the lowest first. Raises BadPriceError.

    There each rate has thresholds of its own; here a tier has all rates that hold above its threshold.
    """
    named = {
        "input": price.input_mtok,
        "cache_read": price.cache_read_mtok,
        "cache_write": price.cache_write_mtok,
        "output": price.output_mtok,
        "reasoning": price.output_reasoning_mtok,
    }
    if named["input"] is None or named["output"] is None:
        raise BadPriceError("it has no price per token")
    thresholds = {0} | {tier.start for rate in named.values() for tier in getattr(rate, "tiers", [])}
    return tuple(
        Tier(above_tokens=above, **{name: _rate_at(rate, above) for name, rate in named.items()})
        for above in sorted(thresholds)
    )


def _rate_at(rate: Any, above: int) -> Any:
    """Return the rate of a request just above a threshold: a Decimal of six places, or None where there is none."""
    for tier in reversed(getattr(rate, "tiers", [])):
        if tier.start <= above:
            return _rounded(tier.price)
    return _rounded(getattr(rate, "base", rate))


def _rounded(rate: Decimal | None) -> Decimal | None:
    if rate is None:
        return None
    if not rate.is_finite() or not 0 <= rate <= MOST_USD:
        raise BadPriceError(f"{rate} USD per million tokens is no price")
    return rate.quantize(PLACES, ROUND_HALF_UP).normalize()


def _check(now: Sequence[Tier], new: Sequence[Tier]) -> None:
    """Refuse a price of 0 where it was not 0, known free models apart. Raises BadPriceError."""
    was_free = bool(now) and not any(tier.input or tier.output for tier in now)
    if not was_free and any(not tier.input or not tier.output for tier in new):
        raise BadPriceError("a price of 0: set it by hand if it is true")


def _plain(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    return tuple(replace(tier, valid_from=None, source="") for tier in tiers)


def in_words(tiers: Sequence[Tier]) -> str:
    """Return the input and output rates of each tier, for a table: "2/10, above 200000: 4/15"."""
    return ", ".join(
        f"{f'above {tier.above_tokens}: ' if tier.above_tokens else ''}"
        f"{costs.plain(tier.input)}/{costs.plain(tier.output)}"
        for tier in tiers
    )


def difference(now: Sequence[Tier], new: Sequence[Tier]) -> str:
    """Return by how many per cent the input and the output of the lowest tier change, for a table: "+100 %/-33.3 %"."""
    if not now or not new or _plain(now) == tuple(new):
        return ""
    pairs = ((now[0].input, new[0].input), (now[0].output, new[0].output))
    return "/".join(f"{(after - before) / before * 100:+.1f} %" if before else "new" for before, after in pairs)
