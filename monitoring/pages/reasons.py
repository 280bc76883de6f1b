"""What is not as it should be, in plain words, each with the one thing to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from django.urls import reverse

from monitoring.models import Alert
from monitoring.models.alerts import AlertState, RuleKind
from monitoring.pages.facts import Facts
from monitoring.pages.servers import Server
from monitoring.pages.words import count, milliseconds, moment, server_name, short, size
from monitoring.readings import WARM_UP_MINUTES
from providers.models import Breaker, Forced, Model, Provider
from providers.templatetags.money import percent

# Of the replies that ended in the last five minutes, where they are enough to say anything.
ENOUGH_REPLIES = 5
FEW_FAILED, MANY_FAILED = 0.05, 0.25
# Above these nobody's answer runs smoothly.
LONG_LAG_MS, LONG_DATABASE_MS = 200, 500
# The most that memory may grow in an hour under load.
GROWTH_BYTES = 5e6
# A server loads what it serves when that is first asked for: so long its memory may rise.
WARM_UP = timedelta(minutes=WARM_UP_MINUTES)
# A server that has just come has not said anything yet.
STARTING = timedelta(minutes=1)
SENTENCE_CHARACTERS = 300


class Level(IntEnum):
    WELL = 0
    ATTENTION = 1
    TROUBLE = 2


@dataclass(frozen=True)
class Reason:
    """One thing that is not as it should be. `key` is what it is about, so that it is said once."""

    level: Level
    key: tuple[str, str]
    sentence: str
    todo: str
    url: str
    since: datetime | None = None


def is_paused(provider: Provider) -> bool:
    """Return whether its breaker keeps an enabled provider from being asked."""
    return provider.enabled and not provider.forced and provider.breaker != Breaker.CLOSED


def find_askable(facts: Facts) -> list[Provider]:
    """Return the providers that could be asked if none of them was paused."""
    kept_off = facts.missing
    return [
        provider
        for provider in facts.providers
        if provider.enabled and provider.slug not in kept_off and provider.forced != Forced.OPEN
    ]


def find_reasons(facts: Facts) -> Iterator[Reason]:
    """Yield everything that is not as it should be, in no order; the same thing may come twice."""
    # What is known of this moment comes before the alert that says the same, which is older.
    yield from _of_providers(facts)
    yield from (_of_model(model) for model in facts.models_out if not is_paused(model.provider))
    living = [server for server in facts.servers if server.is_alive]
    yield from _of_failures(living)
    yield from _of_places(living)
    yield from _of_money(facts)
    for server in facts.servers:
        yield from _of_server(server, facts.now)
    yield from (_of_alert(alert) for alert in facts.alerts if alert.state == AlertState.FIRING)


def _of_providers(facts: Facts) -> Iterator[Reason]:
    askable = find_askable(facts)
    if not [provider for provider in askable if not is_paused(provider)]:
        yield Reason(
            Level.TROUBLE,
            ("nobody", ""),
            "No message can be answered: " + ("every provider is paused." if askable else "there is nobody to ask."),
            "See why, and check one by hand." if askable else "Give a provider its key, or switch one on.",
            reverse("admin:providers_provider_changelist"),
            min((provider.opened_at for provider in askable if provider.opened_at), default=None),
        )
    yield from (_of_provider(provider) for provider in askable if is_paused(provider))


def _of_provider(provider: Provider) -> Reason:
    why = _sentence(provider.open_reason)
    return Reason(
        Level.ATTENTION,
        (RuleKind.PROVIDER_DOWN, provider.slug),
        f"{short(provider.name)} is not asked for a while: {why or 'it failed.'}",
        "Press “Check now” on its page: it says whether key and address are right.",
        reverse("admin:providers_provider_change", args=[provider.pk]),
        provider.opened_at,
    )


def _of_model(model: Model) -> Reason:
    why = _sentence(model.out_reason)
    return Reason(
        Level.ATTENTION,
        ("model", str(model)),
        f"{short(str(model))} is not asked until {moment(model.out_until)}: {why or 'it was refused.'}",
        "Correct its name or its parameters, then put it back.",
        reverse("admin:providers_model_change", args=[model.pk]),
    )


def _of_failures(living: list[Server]) -> Iterator[Reason]:
    ended = sum(server.amount("figures", "errors", "ended") for server in living)
    failed = sum(server.amount("figures", "errors", "failed") for server in living)
    if ended >= ENOUGH_REPLIES and failed / ended >= FEW_FAILED:
        yield Reason(
            Level.TROUBLE if failed / ended >= MANY_FAILED else Level.ATTENTION,
            (RuleKind.ERROR_RATE, ""),
            f"{failed} of the {count(ended, 'answer')} of the last five minutes failed: {percent(failed / ended)}.",
            "Open the newest of them below: its time line says who failed, and how.",
            "#incidents",
        )


def _of_places(living: list[Server]) -> Iterator[Reason]:
    waiting = sum(server.amount("reading", "queued") for server in living)
    running = sum(server.amount("reading", "processes") for server in living)
    if waiting and running >= sum(server.places for server in living) > 0:
        yield Reason(
            Level.ATTENTION,
            ("places", ""),
            f"All {running} places are taken, and {count(waiting, 'message waits', 'messages wait')} for one.",
            "See who holds them; CHAT_PLACES allows more where the machine does.",
            reverse("monitor-processes"),
        )
    if living and all(server.is_draining for server in living):
        yield Reason(
            Level.TROUBLE,
            ("draining", ""),
            "No new message is taken: every server is about to stop.",
            "Start a new one, unless it comes by itself.",
            "#servers",
        )


def _of_money(facts: Facts) -> Iterator[Reason]:
    if unknown := sum(sums.unknown for sums in facts.money.values()):
        yield Reason(
            Level.ATTENTION,
            (RuleKind.UNKNOWN_COST, ""),
            f"The cost of {count(unknown, 'attempt')} of today is not known.",
            "Give their model a price; “manage.py reprice --from DAY --to DAY --apply” counts anew.",
            reverse("admin:providers_attempt_changelist") + "?look=unknown",
        )


def _of_server(server: Server, now: datetime) -> Iterator[Reason]:
    if not server.is_alive:
        yield from _of_gone(server)
    elif server.is_stale(now):
        yield from _of_silent(server, now)
    else:
        yield from _of_memory(server, now)
        yield from _of_slowness(server)


def _of_gone(server: Server) -> Iterator[Reason]:
    if not server.is_draining:
        yield Reason(
            Level.ATTENTION,
            ("gone", server.name),
            f"The server {server_name(server.name)} has gone without a word.",
            "Its answers have ended as interrupted. Read the end of its log; start it again where nothing else has.",
            "#servers",
            server.at,
        )


def _of_silent(server: Server, now: datetime) -> Iterator[Reason]:
    if server.at is None and server.started_at and now - server.started_at < STARTING:
        return
    told = f"since {moment(server.at)} how it is" if server.at else "yet how it is"
    yield Reason(
        Level.ATTENTION,
        ("stale", server.name),
        f"The server {server_name(server.name)} lives, but has not said {told}.",
        "Read its log: whatever looks after it has failed, or the setting MONITORING is off.",
        "#servers",
        server.at,
    )


def _of_memory(server: Server, now: datetime) -> Iterator[Reason]:
    by = server.number("figures", "memory", "slope_bytes_per_hour")
    surely = (server.number("figures", "memory", "slope_low") or 0) > GROWTH_BYTES
    is_warm = server.started_at is None or now - server.started_at > WARM_UP
    if surely or (is_warm and server.get("figures", "memory", "trend") == "increasing"):
        yield Reason(
            Level.ATTENTION,
            (RuleKind.MEMORY_SLOPE, server.name),
            f"The memory of {server_name(server.name)} grows"
            + (f", by about {size(by)} an hour." if surely and by else "."),
            "See since when. Where it does not end, restart the server in a quiet hour.",
            reverse("monitor-history") + "?measure=memory",
        )


def _of_slowness(server: Server) -> Iterator[Reason]:
    name = server_name(server.name)
    lag = server.number("reading", "loop_lag_ms") or 0
    if lag > LONG_LAG_MS:
        yield Reason(
            Level.ATTENTION,
            ("lag", server.name),
            f"The server {name} is late with everything, by {milliseconds(lag)} at worst.",
            "See whether its processor is busy; another server takes half of the load.",
            reverse("monitor-history") + "?measure=lag",
        )
    took = server.number("reading", "database_ms") or 0
    if took > LONG_DATABASE_MS:
        yield Reason(
            Level.ATTENTION,
            ("database", server.name),
            f"The database answers the server {name} after {milliseconds(took)}.",
            "See whether its disk is full or busy.",
            "#servers",
        )


def _sentence(words: str) -> str:
    """Return others' words with an end."""
    text = short(words, SENTENCE_CHARACTERS)
    return f"{text}." if text and text[-1] not in ".!?…" else text


def _of_alert(alert: Alert) -> Reason:
    todo, url = ALERTS.get(alert.rule.kind, ("See its rule.", ""))
    subject = "" if alert.rule.kind in (RuleKind.ERROR_RATE, RuleKind.UNKNOWN_COST) else alert.subject
    level = Level.TROUBLE if alert.rule.kind in GRAVE else Level.ATTENTION
    sentence = _sentence(alert.sentence)
    return Reason(level, (alert.rule.kind, subject), sentence, todo, url and reverse(url), alert.began_at)


GRAVE = {RuleKind.DISK, RuleKind.NOT_SEALED}
# What to do about an alert, and where.
ALERTS: dict[str, tuple[str, str]] = {
    RuleKind.PROVIDER_DOWN: ("Check it by hand on its page.", "admin:providers_provider_changelist"),
    RuleKind.ERROR_RATE: ("See which attempts failed.", "admin:providers_attempt_changelist"),
    RuleKind.UNKNOWN_COST: ("Give the model a price.", "admin:providers_model_changelist"),
    RuleKind.BUDGET: ("Raise the budget, or let it hold.", "admin:providers_budget_changelist"),
    RuleKind.MEMORY_SLOPE: ("See since when it grows.", "monitor-history"),
    RuleKind.DISK: ("Make room: manage.py prune_history, or a larger disk.", ""),
    RuleKind.NOT_SEALED: ("Read the log of the oldest server, which seals it.", ""),
}
