"""Which models can be picked, at what price, and which cannot be for the time being, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone
from django.utils.text import Truncator, get_text_list

from chat.money import format_rate
from providers.costs import Tier, find_prices
from providers.local_model import SLUG
from providers.models import Provider
from providers.routing import Candidate, Route, Skipped, route
from providers.secrets import has_key

# A list of choices has one line for each; the whole reason stands in its title.
REASON_CHARACTERS = 90
# The empty page names no more than this.
NAMED = 3


@dataclass(frozen=True)
class Option:
    """A model in the picker: `provider:model`, its label, and its price or why it cannot be picked."""

    value: str
    label: str
    note: str
    reason: str = ""

    @property
    def available(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class ProviderGroup:
    """A provider's models in the picker."""

    slug: str
    name: str
    options: list[Option]


def list_providers(user_id: int | None) -> list[ProviderGroup]:
    """Return what can be picked, in the order in which it is tried, and behind it what cannot be picked just now.

    What was never set up is left out.
    """
    found = route(user_id=user_id)
    prices = find_prices([candidate.model_id for candidate in found.candidates], timezone.now())
    groups: dict[str, ProviderGroup] = {}
    for candidate in found.candidates:
        group = groups.setdefault(candidate.provider, ProviderGroup(candidate.provider, candidate.provider_name, []))
        group.options.append(_make_option(candidate, prices.get(candidate.model_id, ())))
    for skipped in _find_set_up(found):
        slug = _slug_of(skipped)
        group = groups.setdefault(slug, ProviderGroup(slug, skipped.provider_name, []))
        group.options.append(Option(skipped.name, skipped.label, _shorten(skipped), skipped.reason))
    return list(groups.values())


def list_unavailable(groups: Sequence[ProviderGroup]) -> list[str]:
    """Return every model that cannot be picked, with its reason: the keyboard never reaches a disabled choice."""
    return [
        f"{group.name} {option.label}: {option.note}"
        for group in groups
        for option in group.options
        if not option.available
    ]


def introduce(groups: Sequence[ProviderGroup]) -> list[str]:
    """Return who answers here and how far to trust it, for somebody who has not asked anything yet."""
    ready = [group for group in groups if any(option.available for option in group.options)]
    if not ready:
        trouble = "no model can be asked right now" if groups else "no model is set up"
        return [f"Nothing can answer yet: {trouble}.", "Whoever runs this site can change that."]
    first, *others = ready
    if first.slug == SLUG:
        sentences = ["A small model on this very machine answers here: private and free, but often wrong."]
    else:
        sentences = [f"{first.name} answers first."]
    if others:
        verb = "takes" if len(others) == 1 else "take"
        sentences.append(f"If it cannot, {_list_names(others)} {verb} over.")
    return sentences


def describe_price(tiers: Sequence[Tier]) -> str:
    """Return a price in short; `from` where larger requests cost more."""
    if not tiers:
        return "price unknown"
    lowest = tiers[0]
    if not any(rate for tier in tiers for rate in tier.rates):
        return "free"
    price = f"{format_rate(lowest.input)} in / {format_rate(lowest.output)} out per million"
    return f"from {price}" if len(tiers) > 1 else price


def _make_option(candidate: Candidate, tiers: Sequence[Tier]) -> Option:
    paused = "paused, but the nearest to recovery, " if candidate.early else ""
    return Option(str(candidate), candidate.label, paused + describe_price(tiers))


def _find_set_up(found: Route) -> list[Skipped]:
    """Return who is not asked although an admin has set it up: everybody else's reason is no news."""
    if not any(skipped.expected for skipped in found.skipped):
        return found.skipped
    rows = Provider.objects.values_list("slug", "key_variable", "encrypted_key")
    with_key = {slug for slug, variable, encrypted in rows if has_key(variable, encrypted)}
    return [skipped for skipped in found.skipped if not skipped.expected or _slug_of(skipped) in with_key]


def _slug_of(skipped: Skipped) -> str:
    return skipped.name.partition(":")[0]


def _shorten(skipped: Skipped) -> str:
    """Return the reason as it reads behind the model's name, under its provider's."""
    reason = skipped.reason.removeprefix(f"{skipped.provider_name}: ").removeprefix("it is ")
    if not reason.startswith(skipped.provider_name):
        reason = reason[:1].lower() + reason[1:]
    return Truncator(reason.rstrip(".")).chars(REASON_CHARACTERS)


def _list_names(groups: Sequence[ProviderGroup]) -> str:
    names = ["a small model on this machine" if group.slug == SLUG else group.name for group in groups]
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return get_text_list(names, "and")
