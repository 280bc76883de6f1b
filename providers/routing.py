"""Who is asked, in which order and why, and who is not asked and why."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from providers import budgets, costs
from providers.aichat import Clocks
from providers.breaker import clock, describe_state
from providers.config import Target
from providers.endings import Ending
from providers.kinds import KINDS
from providers.models import Breaker, Forced, Model
from providers.prepared import Prepared
from providers.secrets import KeyUnreadable, find_key, has_key

# A silent provider should cost seconds: so many times its own p95, and never less than the floor.
FIRST_TOKEN_FACTOR = 3
FIRST_TOKEN_FLOOR_SECONDS = 5.0
KINDS_BY_NAME = {kind.value: info for kind, info in KINDS.items()}
TAKES_NO_IMAGES = "it takes no images"
# Endings after which another model of the same provider is no better.
PROVIDER_WIDE = {Ending.UNAUTHORISED, Ending.UNREACHABLE}


def name_model(provider_name: str, label: str) -> str:
    """Return what people call a model outside its provider's list: `OpenAI GPT-4`, but not `Claude Claude 3`."""
    return label if label.lower().startswith(provider_name.lower()) else f"{provider_name} {label}"


@dataclass(frozen=True)
class Skipped:
    """A model that is not asked. `expected`: it was never set up to be, such as one without a key."""

    name: str
    reason: str
    expected: bool = False
    over_budget: bool = False
    provider_name: str = ""
    label: str = ""

    @property
    def full_name(self) -> str:
        """What people call it; its exact name is `name`."""
        return name_model(self.provider_name, self.label)


class Row(NamedTuple):
    """A model and its provider: plain values, since building a hundred pairs of objects would take most of the time."""

    model_id: int
    name: str
    label: str
    enabled: bool
    context_window: int | None
    max_output: int | None
    vision: bool
    extra_body: str
    out_until: datetime | None
    out_reason: str
    first_token_p95_ms: int | None
    prompt_characters_per_token: float | None
    provider_id: int
    slug: str
    provider_name: str
    kind: str
    api_base: str
    options: str
    key_variable: str
    encrypted_key: str
    provider_enabled: bool
    sends_finish_reason: bool
    first_token_seconds: int
    idle_seconds: int
    total_seconds: int
    breaker: str
    forced: str
    open_until: datetime | None
    open_reason: str

    @property
    def name_in_full(self) -> str:
        return f"{self.slug}:{self.name}"

    def skipped(self, reason: str, **why: bool) -> Skipped:
        """Return this model as one that is not asked."""
        label = self.label or self.name
        return Skipped(self.name_in_full, reason, provider_name=self.provider_name, label=label, **why)

    @property
    def recovers_at(self) -> datetime | None:
        """When the pauses of both are over."""
        return max((at for at in (self.open_until, self.out_until) if at), default=None)


@dataclass(frozen=True)
class Candidate:
    """A model that can be asked, with everything a process needs to know about its provider.

    `trial`: its provider's breaker lets one request through. `early`: even that is not due yet, but nobody is better;
    such a request takes no seat, and its failure prolongs nothing.
    """

    row: Row
    reason: str
    trial: bool = False
    early: bool = False

    def __str__(self) -> str:
        return self.row.name_in_full

    @property
    def provider_id(self) -> int:
        return self.row.provider_id

    @property
    def model_id(self) -> int:
        return self.row.model_id

    @property
    def provider(self) -> str:
        return self.row.slug

    @property
    def provider_name(self) -> str:
        return self.row.provider_name

    @property
    def model(self) -> str:
        return self.row.name

    @property
    def label(self) -> str:
        return self.row.label or self.row.name

    @property
    def full_name(self) -> str:
        """What people call it; its exact name is `str()` of it."""
        return name_model(self.provider_name, self.label)

    @property
    def context_window(self) -> int | None:
        return self.row.context_window

    @property
    def max_output(self) -> int | None:
        return self.row.max_output

    @property
    def target(self) -> Target:
        """Where a request goes."""
        row = self.row
        options = tuple(sorted(json.loads(row.options).items()))
        extra_body = "" if row.extra_body == EMPTY else row.extra_body
        return Target(row.kind, row.api_base, row.name, row.max_output, options=options, extra_body=extra_body)

    def clocks(self, *, last: bool) -> Clocks:
        """Return the provider's clocks; unless it is the last to be asked, the first token's as the model is known."""
        row = self.row
        first_token = row.first_token_seconds if last else _first_token_clock(row)
        return Clocks(first_token, row.idle_seconds, row.total_seconds)

    @property
    def key(self) -> str:
        """The provider's key, or ""."""
        return find_key(self.row.key_variable, self.row.encrypted_key, self.row.provider_id)

    @property
    def needs_finish_reason(self) -> bool:
        """Whether a clean exit without a finish reason means a cut answer."""
        return self.row.sends_finish_reason and KINDS_BY_NAME[self.row.kind].dialect is not None


@dataclass(frozen=True)
class Route:
    """The answer to: who is asked with this message?"""

    candidates: list[Candidate]
    skipped: list[Skipped]
    # Who would have been the first, if only there were more money.
    too_dear: Skipped | None = None

    def name_of(self, name: str) -> str:
        """Return what people call the model `name`; one that does not exist goes by what it was called."""
        full_names = {str(candidate): candidate.full_name for candidate in self.candidates}
        full_names |= {skipped.name: skipped.full_name for skipped in self.skipped}
        return full_names.get(name, name)

    def why_not(self, name: str) -> str:
        """Return why the model `name` is not asked, or ""."""
        return next((skipped.reason for skipped in self.skipped if skipped.name == name), "")


def route(
    preferred: str = "",
    *,
    only: bool = False,
    user_id: int | None = None,
    prompt_characters: int = 0,
    least_characters: int | None = None,
    max_tokens: int | None = None,
    needs_vision: bool = False,
) -> Route:
    """Return who is asked: the preferred `provider:model` first, then by priority; `only`: nobody else.

    `least_characters`: what cannot be left out of the prompt; without it, all of that.

    Where every provider that could be asked is paused, the one nearest to its recovery is.
    """
    rows = sorted(_rows(), key=lambda row: row.name_in_full != preferred)
    now = timezone.now()
    purse = _find_purse(user_id, rows, now)
    least = prompt_characters if least_characters is None else least_characters
    asked = _Question(preferred, only, prompt_characters, least, max_tokens, needs_vision, purse, now)
    candidates: list[Candidate] = []
    skipped: list[Skipped] = []
    paused: list[Row] = []
    too_dear = None
    for row in rows:
        if obstacle := _find_obstacle(row, asked):
            skipped.append(obstacle)
            too_dear = too_dear or (obstacle if obstacle.over_budget and not candidates else None)
        elif pause := _find_pause(row, asked.now):
            skipped.append(row.skipped(pause))
            paused.append(row)
        else:
            candidates.append(_candidate(row, preferred))
    if not candidates and paused:
        nearest = min(paused, key=lambda row: row.recovers_at or asked.now)
        skipped = [entry for entry in skipped if entry.name != nearest.name_in_full]
        reason = "paused, but nobody else was wanted" if only else "paused, but the nearest to recovery of all"
        candidates = [Candidate(nearest, reason, early=True)]
    return Route(candidates, skipped, too_dear)


def next_candidates(left: Iterable[Candidate], failed: Candidate, ending: Ending) -> list[Candidate]:
    """Return who is asked after `failed` ended so: other providers first, since what fails is seldom one model."""
    if ending is Ending.MISCONFIGURED:
        return list(left)
    others = [candidate for candidate in left if candidate.provider_id != failed.provider_id]
    if ending in PROVIDER_WIDE:
        return others
    return others + [candidate for candidate in left if candidate.provider_id == failed.provider_id]


def with_more_context(left: Iterable[Candidate], failed: Candidate) -> list[Candidate]:
    """Return those of `left` that are known to take more than `failed`, to which the conversation was too long."""
    size = failed.context_window or 0
    return [candidate for candidate in left if (candidate.context_window or 0) > size]


# Where Row's fields stand; those of neither table are the provider's, under their own names.
COLUMNS: dict[str, Any] = {
    "model_id": "id",
    # JSON as its text: it is read of the one that is asked, not of all.
    "extra_body": Cast("extra_body", TextField()),
    "options": Cast("provider__options", TextField()),
    "provider_id": "provider__id",
    "provider_name": "provider__name",
    "provider_enabled": "provider__enabled",
} | {
    name: name
    for name in (
        "name", "label", "enabled", "context_window", "max_output", "vision", "out_until", "out_reason",
        "first_token_p95_ms", "prompt_characters_per_token",
    )
}  # fmt: skip
EMPTY = "{}"


def _rows() -> list[Row]:
    return [Row(*row) for row in _all_rows()]


_all_rows = Prepared(
    lambda: Model.objects.values_list(*(COLUMNS.get(name, f"provider__{name}") for name in Row._fields))
)


class _Question(NamedTuple):
    """What is asked of the route."""

    preferred: str
    only: bool
    prompt_characters: int
    least_characters: int
    max_tokens: int | None
    needs_vision: bool
    purse: _Purse | None
    now: datetime


class _Purse(NamedTuple):
    """The budgets that apply, as they stand, and the prices of all models."""

    standings: list[budgets.Standing]
    prices: dict[int, tuple[costs.Tier, ...]]


def _find_purse(user_id: int | None, rows: list[Row], now: datetime) -> _Purse | None:
    standings = budgets.list_uses(user_id, now=now)
    return _Purse(standings, costs.find_prices([row.model_id for row in rows], now)) if standings else None


def _find_obstacle(row: Row, asked: _Question) -> Skipped | None:
    """Return why this model cannot be asked, whatever state its provider is in."""
    if asked.only and row.name_in_full != asked.preferred:
        return row.skipped(f"only {asked.preferred} was wanted", expected=True)
    if missing := _find_missing(row):
        return row.skipped(missing, expected=True)
    if reason := _find_unfit(row, asked):
        return row.skipped(reason)
    if asked.purse and (reason := _find_too_dear(row, asked, asked.purse)):
        return row.skipped(reason, over_budget=True)
    return None


def _find_missing(row: Row) -> str:
    """Return what an admin has not set up, or has switched off."""
    kind = KINDS_BY_NAME.get(row.kind)
    if kind is None:
        return f"its kind, {row.kind}, is unknown"
    if not row.provider_enabled:
        return f"{row.provider_name} is switched off"
    if not row.enabled:
        return "it is switched off"
    if kind.needs_address and not row.api_base:
        return f"{row.provider_name} has no address"
    if (kind.needs_key or row.key_variable) and not has_key(row.key_variable, row.encrypted_key):
        return f"{row.provider_name} has no key"
    return _find_key_trouble(row) if row.encrypted_key else ""


def _find_key_trouble(row: Row) -> str:
    try:
        find_key(row.key_variable, row.encrypted_key, row.provider_id)
    except KeyUnreadable:
        return f"the stored key of {row.provider_name} cannot be read"
    return ""


def _find_unfit(row: Row, asked: _Question) -> str:
    """Return why the model is not for this message."""
    if row.forced == Forced.OPEN:
        return f"{row.provider_name} is paused by an admin"
    if asked.needs_vision and not row.vision:
        return TAKES_NO_IMAGES
    tokens = asked.least_characters / (row.prompt_characters_per_token or costs.CHARACTERS_PER_TOKEN)
    if row.context_window and tokens > row.context_window:
        return f"it takes {row.context_window} tokens, and this conversation has about {tokens:.0f}"
    return ""


def _find_too_dear(row: Row, asked: _Question, purse: _Purse) -> str:
    """Return why no budget has room for the model; the ledger looks again, and holds the amount back."""
    most = costs.worst_case(
        asked.prompt_characters,
        asked.prompt_characters,
        costs.limit_answer(asked.max_tokens, row.max_output),
        row.max_output,
        row.context_window,
        purse.prices.get(row.model_id, ()),
    )
    if most is None:
        return "its price is unknown, and there is a budget"
    refusal = budgets.find_refusal(purse.standings, most)
    return refusal.sentence if refusal else ""


def _find_pause(row: Row, now: datetime) -> str:
    """Return why the model is not asked for the time being."""
    if row.out_until and row.out_until > now:
        return f"it is taken out until {clock(row.out_until)}: {row.out_reason}"
    if row.forced or row.breaker == Breaker.CLOSED or not row.open_until or row.open_until <= now:
        return ""
    return f"{row.provider_name}: {describe_state(row.forced, row.breaker, row.open_until, row.open_reason, now)}"


def _candidate(row: Row, preferred: str) -> Candidate:
    trial = row.breaker != Breaker.CLOSED and not row.forced
    reason = "chosen" if row.name_in_full == preferred else "next by priority"
    return Candidate(row, f"{reason}, and its provider's pause is over" if trial else reason, trial)


def _first_token_clock(row: Row) -> float:
    if row.first_token_p95_ms is None:
        return row.first_token_seconds
    learned = FIRST_TOKEN_FACTOR * row.first_token_p95_ms / 1000
    return min(row.first_token_seconds, max(FIRST_TOKEN_FLOOR_SECONDS, learned))
