"""The facts of one answer and of each attempt at it, as names and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from chat.models import Message
from monitoring.pages.words import NOTHING, milliseconds, moment, server_name, short
from providers.endings import Ending
from providers.models import Attempt, CountSource
from providers.templatetags.money import usd

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Tried:
    """An attempt as the page shows it."""

    name: str
    url: str
    provider_url: str
    failed: bool
    facts: Pairs


@dataclass(frozen=True)
class Answer:
    """An answer as the page shows it."""

    words: str
    failed: bool
    facts: Pairs
    skipped: list[tuple[str, str]]
    attempts: list[Tried]


def describe(reply: Message | None, attempts: Sequence[Attempt]) -> Answer:
    """Return the answer in words; without its row, what the ledger has kept of it."""
    tried = [_attempt(attempt) for attempt in attempts]
    if reply is None:
        asked = [("Asked by", short(attempts[0].username) or NOTHING), ("Conversation", "deleted")]
        return Answer("Its conversation has been deleted; the ledger is what is left.", False, asked, [], tried)
    failed = bool(reply.ending) and _is_failure(reply.ending)
    return Answer(_words(reply), failed, _facts(reply), _skipped(reply), tried)


def _words(reply: Message) -> str:
    if reply.state != "ended":
        return "It is waiting for its turn." if reply.state == "queued" else "It is being answered."
    evidence = f" Decided from: {short(reply.evidence)}." if reply.evidence else ""
    error = f" The person read: {short(reply.error, 500)}" if reply.error else ""
    return f"It ended: {reply.get_ending_display() or 'without an ending'}.{evidence}{error}"


def _facts(reply: Message) -> Pairs:
    wanted = short(reply.requested_model or "Auto", 160) + (", and nobody else" if reply.only_model else "")
    return [
        ("Asked by", short(reply.conversation.owner.get_username())),
        ("Received", moment(reply.created_at)),
        ("Ended", moment(reply.ended_at)),
        ("Asked for", wanted),
        ("Answered by", short(f"{reply.provider}:{reply.model}", 160) if reply.provider else NOTHING),
        ("Server", server_name(reply.owner) if reply.owner else NOTHING),
        ("First token after", milliseconds(reply.first_token_ms)),
        ("Took", milliseconds(reply.duration_ms)),
        ("Tokens", _tokens(reply)),
        ("Cost", _cost(reply.cost_usd is None, usd(reply.cost_usd), reply.cost_source)),
    ]


def _skipped(reply: Message) -> list[tuple[str, str]]:
    """Return who was not asked, and why."""
    pairs = [entry for entry in reply.skipped if isinstance(entry, list | tuple) and len(entry) == 2]
    return [(short(str(name), 160), short(str(reason), 300)) for name, reason in pairs]


def _attempt(attempt: Attempt) -> Tried:
    return Tried(
        name=f"Attempt {attempt.number}: {short(f'{attempt.provider_slug}:{attempt.model_name}', 160)}",
        url=reverse("admin:providers_attempt_change", args=[attempt.pk]),
        provider_url=reverse("admin:providers_attempt_changelist") + f"?provider={attempt.provider_slug}",
        failed=bool(attempt.ending) and _is_failure(attempt.ending),
        facts=[
            ("Chosen because", short(attempt.reason, 200)),
            ("Ending", _ending(attempt)),
            ("HTTP status", NOTHING if attempt.http_status is None else str(attempt.http_status)),
            ("Exit code", NOTHING if attempt.exit_code is None else str(attempt.exit_code)),
            ("Error", short(attempt.error, 500) or NOTHING),
            ("Tokens", _tokens(attempt)),
            ("Cost", _attempt_cost(attempt)),
            ("Price", _price(attempt)),
        ],
    )


def _ending(attempt: Attempt) -> str:
    if not attempt.ending:
        return "it is running"
    return f"{attempt.get_ending_display()}, from: {short(attempt.evidence)}" if attempt.evidence else attempt.ending


def _tokens(row: Message | Attempt) -> str:
    parts = [
        (row.input_tokens, "fresh"),
        (row.cache_read_tokens, "from the cache"),
        (row.cache_write_tokens, "to the cache"),
        (row.output_tokens, "out"),
    ]
    return ", ".join(f"{number:,} {words}" for number, words in parts if number is not None) or "unknown"


def _attempt_cost(attempt: Attempt) -> str:
    if not attempt.ending and attempt.cost_usd is None:
        return NOTHING
    method = f", {short(attempt.count_method)}" if attempt.count_source == CountSource.ESTIMATED else ""
    return _cost(attempt.cost_usd is None, usd(attempt.cost_usd), attempt.count_source) + method


def _cost(is_unknown: bool, amount: str, source: str) -> str:
    return f"{amount}, tokens {source}" if source and not is_unknown else amount


def _price(attempt: Attempt) -> str:
    price = attempt.price or {}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in price.items() if value) or NOTHING


def _is_failure(ending: str) -> bool:
    return Ending(ending).failed
