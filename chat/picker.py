"""Which models can be picked, at what price, and which cannot be for the time being, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils import timezone
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.money import format_rate
from providers.costs import Tier, find_prices
from providers.local_model import SLUG
from providers.models import Provider
from providers.routing import Candidate, Route, Skipped, route
from providers.secrets import has_key

# What a pause is read for is its end, to the minute.
PAUSE = re.compile(r"[^.:]* until (?:\d{4}-\d\d-\d\d )?\d\d:\d\d")
# How a reason begins that holds for all models of a provider.
OF_PROVIDER = ("{}: ", "{} is ", "{} has ", "the stored key of {} ")
# The empty page names no more than this.
NAMED = 3


@dataclass(frozen=True)
class Option:
    """A model in the picker: `provider:model`, its label, its name elsewhere, and its price or why it cannot be picked.

    The note is empty where its provider's says it all; `reason` is the whole reason.
    """

    value: str
    label: str
    name: str
    note: str
    reason: str = ""
    vision: bool = False

    @property
    def available(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class ProviderGroup:
    """A provider's models in the picker; `note`: why those of them cannot be picked that have no note of their own."""

    slug: str
    name: str
    note: str = ""
    options: list[Option] = field(default_factory=list)


def list_providers(user_id: int | None) -> list[ProviderGroup]:
    """Return what can be picked, in the order in which it is tried, and behind it what cannot be picked just now.

    What was never set up is left out.
    """
    found = route(user_id=user_id)
    prices = find_prices([candidate.model_id for candidate in found.candidates], timezone.now())
    set_up = _find_set_up(found)
    notes = {_slug_of(skipped): _shorten(skipped) for skipped in set_up if _is_of_provider(skipped)}
    names = {candidate.provider: candidate.provider_name for candidate in found.candidates}
    names |= {_slug_of(skipped): skipped.provider_name for skipped in set_up}
    groups = {slug: ProviderGroup(slug, name, notes.get(slug, "")) for slug, name in names.items()}
    for candidate in found.candidates:
        groups[candidate.provider].options.append(_make_option(candidate, prices.get(candidate.model_id, ())))
    for skipped in set_up:
        groups[_slug_of(skipped)].options.append(_make_unavailable(skipped))
    return list(groups.values())


def list_unavailable(groups: Sequence[ProviderGroup]) -> list[str]:
    """Return who cannot be picked, with the reason: the keyboard never reaches a disabled choice."""
    unavailable = []
    for group in groups:
        if group.note:
            unavailable.append(f"{group.name}: {group.note}")
        noted = [option for option in group.options if option.note and not option.available]
        unavailable += [f"{option.name}: {option.note}" for option in noted]
    return unavailable


def introduce(groups: Sequence[ProviderGroup]) -> list[str]:
    """Return who answers here and how far to trust it, for somebody who has not asked anything yet."""
    ready = [group for group in groups if any(option.available for option in group.options)]
    if not ready:
        trouble = _("no model can be asked right now") if groups else _("no model is set up")
        return [
            _("Nothing can answer yet: %(trouble)s.") % {"trouble": trouble},
            _("Whoever runs this site can change that."),
        ]
    first, *others = ready
    if first.slug == SLUG:
        sentences = [_("A small model on this very machine answers here: private and free, but often wrong.")]
    else:
        sentences = [_("%(provider)s answers first.") % {"provider": first.name}]
    if others:
        words = ngettext("If it cannot, %(others)s takes over.", "If it cannot, %(others)s take over.", len(others))
        sentences.append(words % {"others": _list_names(others)})
    return sentences


def describe_price(tiers: Sequence[Tier]) -> str:
    """Return a price in short; `from` where larger requests cost more."""
    if not tiers:
        return _("price unknown")
    lowest = tiers[0]
    if not any(rate for tier in tiers for rate in tier.rates):
        return _("free")
    price = _("%(input)s in / %(output)s out per million") % {
        "input": format_rate(lowest.input),
        "output": format_rate(lowest.output),
    }
    return _("from %(price)s") % {"price": price} if len(tiers) > 1 else price


def describe_context(tokens: int | None) -> str:
    """Return a model's room in short, rounded down: `128K context`, `1M context`; "" where it is unknown."""
    if tokens is None:
        return ""
    if tokens >= 1_000_000:
        return _("%(count)sM context") % {"count": tokens // 1_000_000}
    if tokens >= 1000:
        return _("%(count)sK context") % {"count": tokens // 1000}
    return _("%(count)s tokens of context") % {"count": tokens}


def _make_option(candidate: Candidate, tiers: Sequence[Tier]) -> Option:
    paused = _("paused, but the nearest to recovery") if candidate.early else ""
    room = describe_context(candidate.context_window)
    images = _("takes images") if candidate.row.vision else ""
    note = ", ".join(filter(None, [paused, describe_price(tiers), room, images]))
    return Option(str(candidate), candidate.label, candidate.full_name, note, vision=candidate.row.vision)


def _make_unavailable(skipped: Skipped) -> Option:
    note = "" if _is_of_provider(skipped) else _shorten(skipped)
    return Option(skipped.name, skipped.label, skipped.full_name, note, skipped.reason)


def _find_set_up(found: Route) -> list[Skipped]:
    """Return who is not asked although an admin has set it up: everybody else's reason is no news."""
    if not any(skipped.expected for skipped in found.skipped):
        return found.skipped
    rows = Provider.objects.values_list("slug", "key_variable", "encrypted_key")
    with_key = {slug for slug, variable, encrypted in rows if has_key(variable, encrypted)}
    return [skipped for skipped in found.skipped if not skipped.expected or _slug_of(skipped) in with_key]


def _slug_of(skipped: Skipped) -> str:
    return skipped.name.partition(":")[0]


def _is_of_provider(skipped: Skipped) -> bool:
    return any(skipped.reason.startswith(words.format(skipped.provider_name)) for words in OF_PROVIDER)


def _shorten(skipped: Skipped) -> str:
    """Return the reason as it reads behind a name, without what led to it."""
    reason = skipped.reason
    for words in ("{}: ", "{} ", "it ", "is "):
        reason = reason.removeprefix(words.format(skipped.provider_name))
    pause = PAUSE.match(reason)
    first = pause[0] if pause else reason.partition(". ")[0].rstrip(".")
    return first[:1].lower() + first[1:]


def _list_names(groups: Sequence[ProviderGroup]) -> str:
    names = [_("a small model on this machine") if group.slug == SLUG else group.name for group in groups]
    if len(names) > NAMED:
        names = [*names[: NAMED - 1], _("%(count)s more") % {"count": len(names) - NAMED + 1}]
    return get_text_list(names, _("and"))
