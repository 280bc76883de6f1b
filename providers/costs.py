"""What an attempt costs: which price was in force, how many tokens were used, and what may be spent at most.

The only place that knows prices. How a cost is made is told in docs/money.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil
from statistics import median
from typing import Any

from django.conf import settings
from django.db.models import DateTimeField, QuerySet

from providers.config import DEFAULT_MAX_OUTPUT
from providers.endings import Ending
from providers.models import Attempt, CountSource, Model, Price, PriceSource
from providers.prepared import Given, Prepared
from providers.transcript import Usage

# The columns of a price that are rates, in the order of a tier's fields.
RATES = ("input", "cache_read", "cache_write", "output", "reasoning")


@dataclass(frozen=True)
class Tier:
    """Rates in USD per million tokens, for requests of more than `above_tokens` input tokens, cached ones included.

    None as a cache rate: as input; as the reasoning rate: as output.
    """

    above_tokens: int
    input: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None
    output: Decimal
    reasoning: Decimal | None
    valid_from: datetime | None = None
    source: str = ""

    @property
    def rates(self) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
        """Return what a fresh, a read, a written, an output and a reasoning token cost, per million."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return self.input, read, write, self.output, self.output if self.reasoning is None else self.reasoning


@dataclass(frozen=True)
class Charge:
    """A cost in USD of at most twelve decimal places, and the rates it was made with, as strings for the ledger."""

    cost_usd: Decimal
    applied: dict[str, Any]


@dataclass(frozen=True)
class Counted:
    """An attempt's tokens, where they come from, and, in words for people, how an estimate was made."""

    usage: Usage
    source: CountSource
    method: str = ""


@dataclass(frozen=True)
class History:
    """All prices of some models, to look up many moments without a query each: the latest `valid_from` comes first."""

    prices: dict[int, list[tuple[datetime, tuple[Tier, ...]]]]

    def at(self, model_id: int | None, when: datetime) -> tuple[Tier, ...]:
        """Return the tiers in force at `when`, the lowest first; () where the price is unknown."""
        dated = self.prices.get(model_id or 0, [])
        return next((tiers for valid_from, tiers in dated if valid_from <= when), ())


# Where nothing has been learned of a model: about right for English text, OpenAI's own rule of thumb.
CHARACTERS_PER_TOKEN = 4.0
# A running count is believed while it can explain the text received: within what a learned rate is good for, or, where
# none is learned, up to a token so long that hardly any text is made of such.
LEARNED_TOLERANCE = 1.05
LONGEST_TOKEN = 16.0
# A final count that leaves more text than this to a token was no final one: the answer was ended by this site.
ABSURD_TOKEN = 100.0
# The columns of the ledger hold less than this; only a broken count could reach it.
MOST_USD = Decimal(10**8)

# A provider's final word on what it counted, by the endings that have one.
FINAL = {Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED, Ending.EMPTY}
# Nobody bills for these unless an answer had begun.
REFUSED = {
    Ending.RATE_LIMITED,
    Ending.REJECTED,
    Ending.MISCONFIGURED,
    Ending.UNAUTHORISED,
    Ending.PROVIDER_ERROR,
    Ending.UNREACHABLE,
    Ending.NOT_STARTED,
}
NOTHING = Usage(0, 0, 0, 0, 0)

# For the most that an attempt may cost: English has four bytes to a token, Chinese three, and hardly any text fewer
# than two; the frame of a conversation has tokens of its own.
LEAST_BYTES_PER_TOKEN = 2
FRAME_TOKENS = 64

# Before any attempt of any site.
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

# Learning looks at this many attempts; fewer than that prove nothing.
LEARN_FROM = 100
LEAST_WHOLE = 5
LEAST_TIMED = 20
# More seconds than Provider.total_seconds can hold.
LONGEST_ATTEMPT = timedelta(hours=10)


def find_price(model_id: int, at: datetime) -> tuple[Tier, ...]:
    """Return the tiers of the price in force at `at`, the lowest first; () where it is unknown."""
    return _history(_prices_until(model_id=model_id, at=at)).at(model_id, at)


def find_prices(model_ids: Iterable[int], at: datetime) -> dict[int, tuple[Tier, ...]]:
    """Return the tiers in force at `at` by model; models whose price is unknown are left out. One query."""
    history = _history(_prices().filter(model_id__in=list(model_ids), valid_from__lte=at))
    return {model_id: dated[0][1] for model_id, dated in history.prices.items()}


def ensure_free(model: Model) -> None:
    """Give a model without any price the price 0: one that runs on this site's own machine."""
    if not model.prices.exists():
        zero = Decimal(0)
        Price.objects.create(model=model, valid_from=LONG_AGO, input=zero, output=zero, source=PriceSource.CATALOGUE)


def read_history(model_ids: Iterable[int]) -> History:
    """Return every price of these models. One query."""
    return _history(_prices().filter(model_id__in=list(model_ids)))


def _prices() -> QuerySet[Price, Any]:
    columns = ("model_id", "above_tokens", *RATES, "valid_from", "source")
    return Price.objects.order_by("model_id", "-valid_from", "above_tokens").values_list(*columns)


_prices_until = Prepared(
    lambda: _prices().filter(model_id=Given("model_id"), valid_from__lte=Given("at", DateTimeField()))
)


def _history(rows: Iterable[tuple[Any, ...]]) -> History:
    """Return the history of such rows as `_prices` has."""
    moments: dict[int, dict[datetime, list[Tier]]] = defaultdict(lambda: defaultdict(list))
    for model_id, above, fresh, read, write, output, reasoning, at, source in rows:
        moments[model_id][at].append(Tier(above, fresh, read, write, output, reasoning, at, source))
    return History(
        {model_id: [(at, tuple(tiers)) for at, tiers in found.items()] for model_id, found in moments.items()}
    )


def total_input(usage: Usage) -> int | None:
    """Return all input tokens, fresh and cached; None where the fresh ones are unknown."""
    if usage.input is None:
        return None
    return usage.input + (usage.cache_read or 0) + (usage.cache_write or 0)


def charge(usage: Usage, tiers: Sequence[Tier]) -> Charge | None:
    """Return the exact cost of `usage`; None where the price, the input or the output is unknown.

    The whole request is billed at the rates of the highest tier it reaches, as Anthropic, Google and OpenAI do.
    Nothing used costs nothing, whatever the price.
    """
    tokens = total_input(usage)
    if tokens is None or usage.output is None:
        return None
    if tokens == usage.output == 0:
        return Charge(Decimal(0), {})
    reached = [tier for tier in tiers if tokens > tier.above_tokens or tier.above_tokens == 0]
    if not reached:
        return None
    tier = max(reached, key=lambda tier: tier.above_tokens)
    reasoning = min(usage.reasoning or 0, usage.output)
    counts = (usage.input or 0, usage.cache_read or 0, usage.cache_write or 0, usage.output - reasoning, reasoning)
    cost = _millionth(sum((count * rate for count, rate in zip(counts, tier.rates, strict=True)), Decimal(0)))
    return Charge(cost, _applied(tier)) if cost < MOST_USD else None


def _millionth(amount: Decimal) -> Decimal:
    # Exact: rates have six places, the result twelve.
    return amount.scaleb(-6)


def _applied(tier: Tier) -> dict[str, Any]:
    applied: dict[str, Any] = {name: plain(rate) for name, rate in zip(RATES, tier.rates, strict=True)}
    applied["above_tokens"] = tier.above_tokens
    if tier.valid_from:
        applied |= {"valid_from": tier.valid_from.isoformat(), "source": tier.source}
    return applied


def plain(amount: Decimal) -> str:
    """Return a number as people write it: no exponent, no zeros at the end."""
    return f"{amount.normalize():f}"


def count(
    reported: Usage | None,
    *,
    ending: Ending,
    http_status: int | None,
    request_sent: bool,
    prompt_characters: int,
    text_characters: int,
    prompt_rate: float | None,
    text_rate: float | None,
    finished: bool = False,
) -> Counted:
    """Return the tokens of an attempt: what the provider reported where that is its last word, else an estimate.

    `text_characters` are those of text and reasoning received; the rates are the characters per token learned of the
    model for prompts and for answers. `finished`: the provider gave a reason for its last token, so that what it
    reported is final whatever ended the attempt.
    """
    if _is_unbilled(reported, ending, http_status, request_sent, text_characters):
        return Counted(NOTHING, CountSource.NOT_BILLED)
    told = _without_absurd(reported or Usage(), prompt_characters, text_characters)
    if (finished or ending in FINAL) and told.input is not None and told.output is not None:
        return Counted(told, CountSource.REPORTED)
    pieces = {}
    if told.input is None and prompt_characters:
        told = replace(told, input=_tokens(prompt_characters, prompt_rate), cache_read=None, cache_write=None)
        pieces["input"] = prompt_rate
    if not _explains(told.output, text_characters, text_rate):
        told = replace(told, output=_tokens(text_characters, text_rate))
        pieces |= {"output": text_rate} if text_characters else {}
    if told.input is None:
        return Counted(told, CountSource.UNKNOWN)
    return Counted(told, CountSource.ESTIMATED, _method(pieces))


def _is_unbilled(
    reported: Usage | None, ending: Ending, http_status: int | None, request_sent: bool, text_characters: int
) -> bool:
    if text_characters or (reported and (reported.input or reported.output)):
        return False
    return not request_sent or ending in REFUSED or (http_status or 0) >= 400


def _without_absurd(told: Usage, prompt_characters: int, text_characters: int) -> Usage:
    """Forget counts that contradict what was sent and received: some servers report 0 for what they do not count."""
    if prompt_characters and total_input(told) == 0:
        told = replace(told, input=None)
    if told.output is not None and text_characters > told.output * ABSURD_TOKEN:
        told = replace(told, output=None)
    return told


def _explains(output: int | None, text_characters: int, rate: float | None) -> bool:
    """Whether a running count can be that of all the text received; else it is stale, like Anthropic's first one."""
    if output is None:
        return False
    if _is_learned(rate):
        return _tokens(text_characters, rate) <= output * LEARNED_TOLERANCE
    return text_characters <= output * LONGEST_TOKEN


def _tokens(characters: int, rate: float | None) -> int:
    return ceil(characters / (rate if rate and _is_learned(rate) else CHARACTERS_PER_TOKEN))


def _is_learned(rate: float | None) -> bool:
    return rate is not None and rate > 0


def _method(pieces: dict[str, float | None]) -> str:
    """Return the method in words, at most 80 characters of them: the column's width."""
    words = [
        f"{name} from {f'{rate:.1f}' if rate and _is_learned(rate) else f'{CHARACTERS_PER_TOKEN:g} (assumed)'}"
        for name, rate in pieces.items()
    ]
    said = f"{', '.join(words)} characters per token" if words else ""
    if len(pieces) == 2:
        return said
    return f"provider's count so far; {said}" if said else "provider's count so far"


def limit_answer(asked: int | None, max_output: int | None) -> int:
    """Return the most tokens that an answer may have where a budget applies: so much is held back for it.

    Some models may write for a dollar and more, too much to hold back for every question.
    """
    return asked or min(max_output or settings.BUDGET_ANSWER_TOKENS, settings.BUDGET_ANSWER_TOKENS)


def worst_case(
    prompt_characters: int,
    prompt_bytes: int,
    max_tokens: int | None,
    max_output: int | None,
    context_window: int | None,
    tiers: Sequence[Tier],
) -> Decimal | None:
    """Return the most USD that one attempt may cost; None without a price.

    `prompt_bytes` are those of the text sent, in UTF-8. `max_tokens` is the limit asked for with this message,
    `max_output` that of the model.
    """
    most = ceil(max(prompt_bytes, prompt_characters) / LEAST_BYTES_PER_TOKEN) + FRAME_TOKENS
    output = max_tokens or max_output or DEFAULT_MAX_OUTPUT
    if context_window:
        most, output = min(most, context_window), min(output, context_window)
    possible = [tier.rates for tier in tiers if tier.above_tokens == 0 or most > tier.above_tokens]
    if not possible:
        return None
    dearest_input = max(max(rates[:3]) for rates in possible)
    dearest_output = max(max(rates[3:]) for rates in possible)
    return _millionth(most * dearest_input + output * dearest_output)


def learn_all(since: datetime) -> int:
    """Learn from every model that ended an attempt since `since`; return how many there were."""
    # The start has an index, the end has none.
    ended = Attempt.objects.filter(started_at__gte=since - LONGEST_ATTEMPT, ended_at__gte=since, model__isnull=False)
    ids = list(ended.order_by().values_list("model_id", flat=True).distinct())
    for model_id in ids:
        if model_id is not None:
            learn(model_id)
    return len(ids)


def learn(model_id: int) -> None:
    """Write on the model what its last attempts show: characters per token, and the 95th percentile of the first token.

    What there is too little of stays as it was.
    """
    ended = Attempt.objects.filter(model_id=model_id, ended_at__isnull=False)
    last = list(ended.defer("stderr", "error", "price").order_by("-started_at")[:LEARN_FROM])
    learned = _learn_rates(last) | _learn_first_token(last)
    if learned:
        Model.objects.filter(pk=model_id).update(**learned)


def _learn_rates(attempts: list[Attempt]) -> dict[str, float]:
    whole = [
        attempt
        for attempt in attempts
        if attempt.count_source == CountSource.REPORTED and attempt.ending == Ending.COMPLETE
    ]
    # The median: one prompt that was an image, or one answer of hidden reasoning, moves nothing.
    prompts = [_per_token(attempt.prompt_characters, total_input(usage_of(attempt))) for attempt in whole]
    answers = [_per_token(attempt.text_characters, attempt.output_tokens) for attempt in whole]
    learned = {"prompt_characters_per_token": prompts, "characters_per_token": answers}
    enough = {name: [rate for rate in rates if rate] for name, rates in learned.items()}
    return {name: median(rates) for name, rates in enough.items() if len(rates) >= LEAST_WHOLE}


def _per_token(characters: int, tokens: int | None) -> float:
    return characters / tokens if tokens else 0.0


def _learn_first_token(attempts: list[Attempt]) -> dict[str, int]:
    # One whose time was up would have taken longer still: left out, the clock could only ever get shorter.
    waited = [attempt.first_token_ms or _first_token_timeout(attempt) for attempt in attempts]
    times = sorted(time for time in waited if time is not None)
    if len(times) < LEAST_TIMED:
        return {}
    return {"first_token_p95_ms": times[ceil(len(times) * 0.95) - 1]}


def _first_token_timeout(attempt: Attempt) -> int | None:
    return attempt.total_ms if attempt.ending == Ending.TIMED_OUT else None


def usage_of(attempt: Attempt) -> Usage:
    """Return the tokens that the ledger has for an attempt."""
    return Usage(
        input=attempt.input_tokens,
        cache_read=attempt.cache_read_tokens,
        cache_write=attempt.cache_write_tokens,
        output=attempt.output_tokens,
        reasoning=attempt.reasoning_tokens,
    )
