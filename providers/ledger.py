"""The ledger: a row for every process that is asked for an answer, opened before it starts and closed whatever happens.

Opening is also the last gate before a process: whether the model is still enabled, whether the breaker gives a seat,
whether the budgets have room. Closing prices the attempt, settles its reservation and tells the breaker.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, UUIDField
from django.utils import timezone

from providers import breaker, budgets, costs
from providers.aichat import Finished
from providers.endings import Ending, Verdict, is_spent
from providers.models import Attempt, Breaker, BudgetUse, CountSource, Forced, Model
from providers.prepared import Given, Prepared, build, columns_of
from providers.routing import Candidate
from providers.signals import attempt_ended
from providers.transcript import Usage

# Of the provider's own words, and of stderr.
ERROR_CHARACTERS = 500
STDERR_CHARACTERS = 2000


@dataclass(frozen=True)
class Account:
    """On whose account an attempt goes: the reply, its conversation and its user."""

    reply_id: uuid.UUID
    conversation_id: uuid.UUID
    user_id: int | None = None
    username: str = ""


@dataclass(frozen=True)
class Size:
    """How much is sent, and how long the answer may get: `max_tokens` None is the model's own limit."""

    characters: int
    utf8_bytes: int
    max_tokens: int | None = None


@dataclass(frozen=True)
class Opened:
    """An attempt that may start now, with at most so many tokens of answer; None: as many as the model gives.

    `warning`: a sentence where a budget is nearly used up.
    """

    attempt_id: uuid.UUID
    max_tokens: int | None = None
    warning: str = ""


@dataclass(frozen=True)
class Refused:
    """Why an attempt may not start, as the rest of a sentence."""

    reason: str


@transaction.atomic
def open_attempt(
    account: Account, number: int, candidate: Candidate, size: Size, text_from: int = 0
) -> Opened | Refused:
    """Write the attempt's row and hold back what it may cost, or return why it may not start."""
    if refused := _look_again(candidate):
        return refused
    if size.max_tokens and candidate.max_output:
        # More than the model can give is refused by some providers, and by the next ones as well.
        size = replace(size, max_tokens=min(size.max_tokens, candidate.max_output))
    # One moment for both: a reservation belongs to the day on which its attempt began.
    attempt_id, now = uuid.uuid4(), timezone.now()
    warning = ""
    if uses := budgets.find_uses(account.user_id, now):
        # Before this attempt holds back its own worst case.
        warning = budgets.warning_of(budgets.standings_of(uses, now))
        size = replace(size, max_tokens=costs.limit_answer(size.max_tokens, candidate.max_output))
        if refused := _reserve(attempt_id, now, uses, candidate, size):
            return refused
    if candidate.trial and not breaker.admit(candidate.provider_id):
        budgets.settle(attempt_id, Decimal(0))
        return Refused("another request is finding out whether it has recovered")
    Attempt.objects.create(
        id=attempt_id,
        reply_id=account.reply_id,
        conversation_id=account.conversation_id,
        user_id=account.user_id,
        username=account.username,
        number=number,
        model_id=candidate.model_id,
        provider_slug=candidate.provider,
        model_name=candidate.model,
        reason=candidate.reason[:200],
        trial=candidate.trial,
        started_at=now,
        prompt_characters=size.characters,
        text_from=text_from,
    )
    return Opened(attempt_id, size.max_tokens, warning)


def _look_again(candidate: Candidate) -> Refused | None:
    """Return why the model must not be asked any more: the plan may be minutes old."""
    row = _find_switches.first(pk=candidate.model_id)
    if row is None or not (row[0] and row[1]):
        return Refused("it has just been switched off")
    _, _, forced, state, until = row
    if forced == Forced.OPEN:
        return Refused("an admin has just paused it")
    paused = not forced and state != Breaker.CLOSED and until is not None and until > timezone.now()
    if paused and not (candidate.early or candidate.trial):
        return Refused("it has just been paused after a failure")
    return None


_find_switches = Prepared(
    lambda: (
        Model.objects.order_by()
        .filter(pk=Given("pk"))
        .values_list("enabled", "provider__enabled", "provider__forced", "provider__breaker", "provider__open_until")
    )
)


def _reserve(
    attempt_id: uuid.UUID, now: datetime, uses: list[BudgetUse], candidate: Candidate, size: Size
) -> Refused | None:
    tiers = costs.find_price(candidate.model_id, now)
    most = costs.worst_case(
        size.characters, size.utf8_bytes, size.max_tokens, candidate.max_output, candidate.context_window, tiers
    )
    if most is None:
        return Refused("its price is unknown, and there is a budget")
    refusal = budgets.reserve(uses, attempt_id, most, now)
    return Refused(refusal.sentence) if refusal else None


@transaction.atomic(savepoint=False)
def close_attempt(attempt_id: uuid.UUID, verdict: Verdict, finished: Finished, *, personal: bool = False) -> None:
    """Write how the attempt ended and what it cost; nothing where somebody else has closed it.

    `personal`: the message brought parameters of its own.
    """
    row = _find_open.first(pk=attempt_id)
    if row is None:
        return
    attempt = build(Attempt, row[:_MODEL_AT])
    attempt.model = build(Model, row[_MODEL_AT:]) if attempt.model_id else None
    seen, times = finished.evidence, finished.times
    attempt.ending, attempt.evidence = verdict.ending, verdict.evidence[:80]
    attempt.exit_code, attempt.http_status = seen.exit_code, seen.http_status
    attempt.error, attempt.stderr = seen.error_text[:ERROR_CHARACTERS], seen.stderr[-STDERR_CHARACTERS:]
    attempt.spawn_ms, attempt.request_ms = times.spawn_ms, times.request_ms
    attempt.first_token_ms, attempt.total_ms = times.first_token_ms, times.total_ms
    attempt.longest_gap_ms, attempt.longest_gap_at_ms = times.longest_gap_ms, times.longest_gap_at_ms
    attempt.text_characters = times.characters
    _price(attempt, finished.usage, request_sent=seen.request_sent, finished=seen.finish is not None)
    if attempt.model:
        outcome = breaker.Outcome(
            verdict.ending,
            attempt.started_at,
            verdict.ending.sentence,
            seen.error_text or seen.stderr.strip(),
            attempt.trial,
            settings.PROVIDER_MEMORY_SECONDS if is_spent(seen) else seen.retry_seconds,
            personal,
        )
        breaker.record(attempt.model.provider_id, attempt.model.pk, outcome)
    attempt_ended.send(Attempt, attempt=attempt)


@transaction.atomic
def interrupt(reply_id: uuid.UUID, text_characters: int, reasoning_characters: int = 0) -> None:
    """Close the attempts of a reply whose server has vanished, by what is left of its text and reasoning."""
    for attempt in _open_ones().filter(reply_id=reply_id).order_by("number"):
        attempt.ending, attempt.evidence = Ending.INTERRUPTED, "owner gone"
        # Nobody knows any more which attempt thought what, unless there was one alone.
        thought = reasoning_characters if attempt.number == 1 else 0
        attempt.text_characters = max(0, text_characters - attempt.text_from) + thought
        _price(attempt, None, request_sent=True)
        attempt_ended.send(Attempt, attempt=attempt)


def interrupt_stale(older_than: timedelta) -> int:
    """Close what nobody will come back to close, such as the check of a server that was killed; return how many."""
    stale = Attempt.objects.filter(ending="", started_at__lt=timezone.now() - older_than)
    reply_ids = set(stale.values_list("reply_id", flat=True))
    for reply_id in reply_ids:
        interrupt(reply_id, 0)
    return len(reply_ids)


def _open_ones() -> QuerySet[Attempt]:
    # Locked: its server and the one that takes it for dead may both come to close it.
    return Attempt.objects.select_for_update(of=("self",)).select_related("model").filter(ending="").order_by()


_find_open = Prepared(lambda: _open_ones().filter(pk=Given("pk", UUIDField())))
_MODEL_AT = len(columns_of(Attempt))


def _price(attempt: Attempt, reported: Usage | None, *, request_sent: bool, finished: bool = False) -> None:
    """Count, price and save an attempt that has ended."""
    model = attempt.model
    counted = costs.count(
        reported,
        ending=Ending(attempt.ending),
        http_status=attempt.http_status,
        request_sent=request_sent,
        prompt_characters=attempt.prompt_characters,
        text_characters=attempt.text_characters,
        prompt_rate=model.prompt_characters_per_token if model else None,
        text_rate=model.characters_per_token if model else None,
        finished=finished,
    )
    usage = counted.usage
    attempt.input_tokens, attempt.output_tokens = usage.input, usage.output
    attempt.cache_read_tokens, attempt.cache_write_tokens = usage.cache_read, usage.cache_write
    attempt.reasoning_tokens = usage.reasoning
    attempt.count_source, attempt.count_method = counted.source, counted.method[:80]
    if counted.source == CountSource.NOT_BILLED:
        attempt.cost_usd = Decimal(0)
    elif model and (charged := costs.charge(usage, costs.find_price(model.pk, attempt.started_at))):
        attempt.cost_usd, attempt.price = charged.cost_usd, charged.applied
    attempt.ended_at = timezone.now()
    attempt.save()
    budgets.settle(attempt.pk, attempt.cost_usd)


# --- Totals -----------------------------------------------------------------------------------------------------------

TOKENS = ["input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"]
# A sum is only as good as its worst part.
SOURCES = [CountSource.NOT_BILLED, CountSource.REPORTED, CountSource.ESTIMATED, CountSource.UNKNOWN]


@dataclass(frozen=True)
class Totals:
    """What all attempts of a reply took together. None is unknown: for the money, as soon as one part of it is."""

    attempts: int
    tokens: dict[str, int | None]
    cost_usd: Decimal | None
    source: str


def find_totals(reply_id: uuid.UUID) -> Totals:
    """Return the totals of a reply."""
    rows = [dict(zip(COUNTED, row, strict=True)) for row in _find_counted(reply_id=reply_id)]
    known = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    return Totals(
        attempts=len(rows),
        tokens={name: _sum([row[name] for row in rows]) for name in TOKENS},
        cost_usd=sum(known, Decimal(0)) if rows and len(known) == len(rows) else None,
        source=max((row["count_source"] for row in rows), key=_rank, default=""),
    )


COUNTED = [*TOKENS, "cost_usd", "count_source"]
_find_counted = Prepared(
    lambda: Attempt.objects.filter(reply_id=Given("reply_id", UUIDField())).order_by("number").values_list(*COUNTED)
)


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _rank(source: str) -> int:
    return SOURCES.index(CountSource(source)) if source else len(SOURCES)
