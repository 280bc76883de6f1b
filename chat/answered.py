"""How a reply was answered: every attempt of the ledger in words, who was not asked, and what it took together.

What is not known is said to be unknown; what did not happen is said not to have happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.figures import format_count
from chat.models import IMPORTED, Message
from chat.money import about, format_rate, format_usd
from chat.turns import Names, format_duration
from providers.costs import total_input, usage_of
from providers.endings import Ending
from providers.models import Attempt, CountSource, Model, PriceSource
from providers.routing import name_model

UNKNOWN = gettext_lazy("unknown")


class Fact(NamedTuple):
    """One line about an attempt: what, and the words for it."""

    name: str
    words: str


@dataclass(frozen=True)
class Entry:
    """One attempt as its reader sees it. `exact`: its `provider:model`, where the name is another."""

    name: str
    exact: str
    failed: bool
    facts: list[Fact]


class Unasked(NamedTuple):
    """A model that was not asked, and why; `exact` as of an Entry."""

    name: str
    exact: str
    reason: str


@dataclass(frozen=True)
class Story:
    """The whole story of a reply."""

    entries: list[Entry]
    unasked: list[Unasked]
    total: str
    # Why there are no entries.
    nobody: str


def make_story(reply: Message) -> Story:
    """Return how `reply` was answered; two queries."""
    attempts = list(Attempt.objects.filter(reply_id=reply.pk).order_by("number"))
    asked = [f"{attempt.provider_slug}:{attempt.model_name}" for attempt in attempts]
    names = find_names([*asked, *(name for name, _ in reply.skipped)])
    return Story(
        entries=[_make_entry(attempt, names) for attempt in attempts],
        unasked=[Unasked(*_name(name, names), reason) for name, reason in reply.skipped],
        total=_describe_all(attempts) if attempts else "",
        nobody=_explain_nobody(reply),
    )


def _explain_nobody(reply: Message) -> str:
    if reply.evidence == IMPORTED:
        return _("This answer was imported. How it was made is not known here.")
    if reply.attempts:
        # The ledger is not kept for ever.
        return _("This answer is old. How it was made is no longer kept.")
    nobody = _("Nobody was asked.")
    return f"{nobody} {reply.error or Ending(reply.ending).sentence}" if reply.ending else nobody


def find_names(exact: Iterable[str]) -> Names:
    """Return what people call the models `provider:model` and their providers; at most one query."""
    wanted = [name.partition(":") for name in set(exact)]
    if not wanted:
        return Names()
    models = Model.objects.filter(
        provider__slug__in={slug for slug, _, _ in wanted}, name__in={model for _, _, model in wanted}
    )
    rows = list(models.values_list("provider__slug", "provider__name", "name", "label"))
    return Names(
        providers={slug: provider_name for slug, provider_name, _, _ in rows},
        models={
            f"{slug}:{name}": name_model(provider_name, label or name) for slug, provider_name, name, label in rows
        },
    )


def _name(exact: str, names: Names) -> tuple[str, str]:
    """Return a model's name and, where that is another, what it is called exactly."""
    provider, _, model = exact.partition(":")
    name = names.of_model(provider, model)
    return name, "" if name == exact else exact


def _make_entry(attempt: Attempt, names: Names) -> Entry:
    failed = bool(attempt.ending) and Ending(attempt.ending).failed
    facts = [
        Fact(_("Why it was asked"), attempt.reason or str(UNKNOWN)),
        Fact(_("How it ended"), _describe_ending(attempt)),
        *(_list_refusal(attempt) if failed else []),
        Fact(_("Started"), f"{timezone.localtime(attempt.started_at):%Y-%m-%d %H:%M:%S %Z}"),
        *_list_times(attempt),
        *(_list_money(attempt) if attempt.ending else []),
    ]
    return Entry(*_name(f"{attempt.provider_slug}:{attempt.model_name}", names), failed, facts)


def _describe_ending(attempt: Attempt) -> str:
    if not attempt.ending:
        return _("It is still running.")
    sentence = Ending(attempt.ending).sentence
    if not attempt.evidence:
        return sentence
    return _("%(sentence)s Evidence: %(evidence)s.") % {"sentence": sentence, "evidence": attempt.evidence}


def _list_refusal(attempt: Attempt) -> list[Fact]:
    """Return what the provider sent instead of an answer."""
    status = _("none seen") if attempt.http_status is None else str(attempt.http_status)
    return [Fact(_("HTTP status"), status), Fact(_("The provider's words"), attempt.error or _("none"))]


def _list_times(attempt: Attempt) -> list[Fact]:
    # Without a total nobody watched it to its end: then a missing time is unknown, and else it never came.
    absent = ""
    if not attempt.ending:
        absent = _("none yet")
    elif attempt.total_ms is None:
        absent = str(UNKNOWN)
    return [
        Fact(_("Request sent"), _describe_time(attempt.request_ms, _("after {}"), absent or _("never"))),
        Fact(_("First token"), _describe_time(attempt.first_token_ms, _("after {}"), absent or _("none came"))),
        Fact(_("Longest gap"), _describe_time(attempt.longest_gap_ms, "{}", absent or _("none"))),
        Fact(_("Whole attempt"), _describe_time(attempt.total_ms, "{}", absent)),
    ]


def _describe_time(milliseconds: int | None, words: str, absent: str) -> str:
    return absent if milliseconds is None else words.format(format_duration(milliseconds))


def _list_money(attempt: Attempt) -> list[Fact]:
    if attempt.count_source == CountSource.NOT_BILLED:
        return [Fact(_("Tokens"), _("nothing was billed")), Fact(_("Cost"), format_usd(Decimal(0)))]
    return [
        Fact(_("Tokens in"), _describe_input(attempt)),
        Fact(_("Tokens out"), _describe_output(attempt)),
        Fact(_("Counted"), _describe_source(attempt)),
        Fact(_("Price"), _describe_price(attempt)),
        Fact(_("Cost"), _describe_cost(attempt)),
    ]


def _describe_input(attempt: Attempt) -> str:
    cached = {_("cache read"): attempt.cache_read_tokens, _("cache write"): attempt.cache_write_tokens}
    return _count(total_input(usage_of(attempt))) + _of_these(cached)


def _describe_output(attempt: Attempt) -> str:
    return _count(attempt.output_tokens) + _of_these({_("reasoning"): attempt.reasoning_tokens})


def _of_these(parts: dict[str, int | None]) -> str:
    """Return the parts of a count that were reported; what a provider has not got, it does not report."""
    told = [f"{words} {_count(tokens)}" for words, tokens in parts.items() if tokens]
    return " " + _("(of these, %(parts)s)") % {"parts": ", ".join(told)} if told else ""


def _count(tokens: int | None) -> str:
    return str(UNKNOWN) if tokens is None else format_count(tokens)


def _describe_source(attempt: Attempt) -> str:
    if not attempt.count_source:
        return str(UNKNOWN)
    words = str(CountSource(attempt.count_source).label)
    return f"{words}: {attempt.count_method}" if attempt.count_method else words


# As the ledger names the rates, and as people do.
RATES = [
    ("input", gettext_lazy("fresh input")),
    ("cache_read", gettext_lazy("cache read")),
    ("cache_write", gettext_lazy("cache write")),
    ("output", gettext_lazy("output")),
    ("reasoning", gettext_lazy("reasoning")),
]


def _describe_price(attempt: Attempt) -> str:
    """Return the rates that were applied, those alone that differ from their base."""
    price = attempt.price
    if not price or "input" not in price:
        return str(UNKNOWN)
    bases = {"cache_read": "input", "cache_write": "input", "reasoning": "output"}
    shown = [
        f"{words} {format_rate(Decimal(price[name]))}"
        for name, words in RATES
        if name in price and price[name] != price.get(bases.get(name, ""))
    ]
    return _("%(rates)s per million tokens") % {"rates": ", ".join(shown)} + _describe_origin(price)


def _describe_origin(price: dict[str, str]) -> str:
    parts = []
    if price.get("above_tokens"):
        parts.append(_("for more than %(count)s tokens in") % {"count": format_count(int(price["above_tokens"]))})
    if price.get("valid_from"):
        parts.append(_("since %(date)s") % {"date": price["valid_from"][:10]})
    source = price.get("source", "")
    origin = f" ({PriceSource(source).label})" if source in PriceSource else ""
    return "".join(f", {part}" for part in parts) + origin


def _describe_cost(attempt: Attempt) -> str:
    if attempt.cost_usd is None:
        return str(UNKNOWN)
    estimated = attempt.count_source == CountSource.ESTIMATED and attempt.cost_usd
    return about(attempt.cost_usd) if estimated else format_usd(attempt.cost_usd)


def _describe_all(attempts: Sequence[Attempt]) -> str:
    tokens_in = _sum([total_input(usage_of(attempt)) for attempt in attempts])
    tokens_out = _sum([attempt.output_tokens for attempt in attempts])
    words = ngettext(
        "%(count)s attempt, tokens in: %(tokens_in)s, tokens out: %(tokens_out)s, cost: %(cost)s",
        "%(count)s attempts, tokens in: %(tokens_in)s, tokens out: %(tokens_out)s, cost: %(cost)s",
        len(attempts),
    )
    cost = _sum_costs(attempts)
    return words % {"count": len(attempts), "tokens_in": tokens_in, "tokens_out": tokens_out, "cost": cost}


def _sum(counts: Sequence[int | None]) -> str:
    known = [count for count in counts if count is not None]
    if not known:
        return str(UNKNOWN)
    count = format_count(sum(known))
    return count if len(known) == len(counts) else _("at least %(count)s") % {"count": count}


def _sum_costs(attempts: Sequence[Attempt]) -> str:
    known = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
    cost = sum(known, Decimal(0))
    if len(known) < len(attempts):
        return _("unknown (%(cost)s of it is known)") % {"cost": format_usd(cost)} if any(known) else str(UNKNOWN)
    estimated = any(attempt.count_source == CountSource.ESTIMATED and attempt.cost_usd for attempt in attempts)
    return about(cost) if estimated else format_usd(cost)
