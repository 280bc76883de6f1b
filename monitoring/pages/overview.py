"""The overview: facts into words, numbers and lines. Nothing here asks a database or a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from monitoring.figures import Trend, percentile
from monitoring.models.samples import HealthCheck
from monitoring.pages import incidents, sparkline
from monitoring.pages.facts import ATTEMPTS, FAILED, HOUR, Asked, Facts
from monitoring.pages.incidents import Incident
from monitoring.pages.reasons import FEW_FAILED, Level, find_askable, is_paused
from monitoring.pages.servers import Server
from monitoring.pages.sparkline import Sparkline
from monitoring.pages.verdict import Verdict, judge
from monitoring.pages.words import NOTHING, age, count, milliseconds, moment, server_name, short, size
from providers.condition import describe_provider
from providers.endings import Ending
from providers.models import Provider
from providers.spending import Sums
from providers.templatetags.money import percent, usd

ERROR_CHARACTERS = 200


@dataclass(frozen=True)
class Tile:
    """A number with its name and what it means."""

    name: str
    value: str
    note: str = ""
    is_bad: bool = False
    url: str = ""
    is_money: bool = False


@dataclass(frozen=True)
class ProviderCard:
    """A provider as the page shows it; `level` is a class of the stylesheet.

    `last_words`: its own about the last error, which may repeat a prompt; for those who may see the ledger.
    """

    slug: str
    name: str
    url: str
    level: str
    words: str
    since: str
    line: Sparkline
    first_token: str
    errors: str
    last_error: str
    last_words: str
    money: str


@dataclass(frozen=True)
class ServerCard:
    """A server as the page shows it: a sentence about its life, and facts with their names."""

    key: str
    name: str
    level: str
    words: str
    facts: list[tuple[str, str]]


@dataclass(frozen=True)
class Overview:
    """Everything on the page."""

    as_of: str
    verdict: Verdict
    since: str
    tiles: list[Tile]
    providers: list[ProviderCard]
    not_asked: list[tuple[str, str, str]]
    servers: list[ServerCard]
    incidents: list[Incident]


def build(facts: Facts) -> Overview:
    """Return the page that `facts` make."""
    verdict = judge(facts)
    asked = _by_provider(facts.asked)
    shown = {provider.slug for provider in find_askable(facts)} | set(asked)
    return Overview(
        as_of=moment(facts.now),
        verdict=verdict,
        since=f"since {moment(verdict.since)}, for {age(verdict.since, facts.now)}" if verdict.since else "",
        tiles=_tiles(facts),
        providers=[
            _provider(provider, asked.get(provider.slug, []), facts)
            for provider in _worst_first(facts)
            if provider.slug in shown
        ],
        not_asked=[_not_asked(provider, facts) for provider in facts.providers if provider.slug not in shown],
        servers=[_server(server, verdict, facts.now) for server in facts.servers],
        incidents=incidents.collect(facts),
    )


# --- The whole site ---------------------------------------------------------------------------------------------------


def _tiles(facts: Facts) -> list[Tile]:
    living = [server for server in facts.servers if server.is_alive]
    total = _Totals(living)
    money = sum(facts.money.values(), Sums())
    return [
        Tile(
            "Replies now",
            f"{total('reading', 'processes'):,}",
            f"{total('reading', 'queued'):,} waiting, {sum(server.places for server in living):,} places",
            url=reverse("monitor-processes"),
        ),
        _error_tile(
            "Failed, last 5 minutes", total("figures", "errors", "failed"), total("figures", "errors", "ended")
        ),
        _error_tile(
            "Failed since start",
            total("figures", "errors", "failed_since_start"),
            total("figures", "errors", "ended_since_start"),
        ),
        Tile(
            "Money today",
            usd(money.cost_usd),
            f"and {count(money.unknown, 'attempt')} of unknown cost" if money.unknown else "all of it known",
            is_bad=money.unknown > 0,
            url=reverse("money"),
            is_money=True,
        ),
        Tile("Connections", f"{total('reading', 'sockets'):,}", f"on {count(len(living), 'server')}"),
    ]


class _Totals:
    """The sum over all servers of what each says at a path."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    def __call__(self, *path: str) -> int:
        return sum(server.amount(*path) for server in self._servers)


def _error_tile(name: str, failed: int, ended: int) -> Tile:
    value = percent(failed / ended) if ended else NOTHING
    note = f"{failed:,} of {count(ended, 'answer')}" if ended else "no answer has ended"
    return Tile(name, value, note, is_bad=bool(failed and ended and failed / ended >= FEW_FAILED))


# --- Providers --------------------------------------------------------------------------------------------------------


def _by_provider(asked: Sequence[Asked]) -> dict[str, list[Asked]]:
    found: dict[str, list[Asked]] = {}
    for attempt in asked:
        found.setdefault(attempt.provider, []).append(attempt)
    return found


def _worst_first(facts: Facts) -> list[Provider]:
    return sorted(facts.providers, key=lambda provider: not is_paused(provider))


def _provider(provider: Provider, asked: Sequence[Asked], facts: Facts) -> ProviderCard:
    times = [(attempt.at, attempt.first_token_ms) for attempt in asked if attempt.first_token_ms is not None]
    p95 = percentile([value for _, value in times], 0.95)
    sums = facts.money.get(provider.slug, Sums())
    failed = next((attempt for attempt in asked if attempt.ending in FAILED), None)
    return ProviderCard(
        slug=provider.slug,
        name=short(provider.name),
        url=reverse("admin:providers_provider_change", args=[provider.pk]),
        level=_level(provider, facts).name.lower(),
        words=short(describe_provider(provider, facts.missing), 400),
        since=_since(provider, facts.changes, facts.now),
        line=sparkline.draw(times, facts.now, HOUR),
        first_token=f"p95 {milliseconds(p95)} of {_how_many(len(times))}" if times else "no answer in the last hour",
        errors=_errors(asked),
        last_error=_last_error(failed) if failed else "",
        last_words=short(failed.error, ERROR_CHARACTERS) if failed else "",
        money=usd(sums.cost_usd) + (f", {sums.unknown:,} of unknown cost" if sums.unknown else ""),
    )


def _level(provider: Provider, facts: Facts) -> Level:
    if is_paused(provider):
        return Level.TROUBLE
    return Level.ATTENTION if provider.slug in facts.missing or provider.forced else Level.WELL


def _since(provider: Provider, changes: Sequence[HealthCheck], now: datetime) -> str:
    at = provider.opened_at or next((change.at for change in changes if change.provider == provider.slug), None)
    return f"since {moment(at)}, for {age(at, now)}" if at else ""


def _how_many(number: int) -> str:
    return count(number, "answer") if number < ATTEMPTS else f"the last {number:,}"


def _errors(asked: Sequence[Asked]) -> str:
    failed = sum(attempt.ending in FAILED for attempt in asked)
    if not asked:
        return "not asked in the last hour"
    return f"{failed:,} of {count(len(asked), 'attempt')}" if failed else f"none of {count(len(asked), 'attempt')}"


def _last_error(attempt: Asked) -> str:
    return f"{moment(attempt.at)}, {short(attempt.model)}: {Ending(attempt.ending).sentence}"


def _not_asked(provider: Provider, facts: Facts) -> tuple[str, str, str]:
    """Return the address, the name and the reason."""
    url = reverse("admin:providers_provider_change", args=[provider.pk])
    return url, short(provider.name), describe_provider(provider, facts.missing)


# --- Servers ----------------------------------------------------------------------------------------------------------


def _server(server: Server, verdict: Verdict, now: datetime) -> ServerCard:
    level, words = _life(server, now)
    level = max(level, *(reason.level for reason in verdict.reasons if server.name in reason.key), Level.WELL)
    return ServerCard(short(server.name, 120), server_name(server.name), level.name.lower(), words, _machine(server))


def _life(server: Server, now: datetime) -> tuple[Level, str]:
    if not server.is_alive:
        ended = "stopped" if server.is_draining else "gone without a word"
        return Level.ATTENTION, f"{ended}, last heard of at {moment(server.at)}"
    beat = f"heartbeat {age(server.heartbeat_at, now)} ago" if server.heartbeat_at else ""
    since = f"since {moment(server.started_at)}, {beat}"
    if server.is_draining:
        return Level.ATTENTION, f"about to stop: takes nothing new; {since}"
    if server.is_stale(now):
        said = f"has said nothing since {moment(server.at)}" if server.at else "has not said yet how it is"
        return Level.ATTENTION, f"lives, but {said}; {since}"
    return Level.WELL, f"lives {since}"


def _machine(server: Server) -> list[tuple[str, str]]:
    if not server.data:
        return []
    number = server.number
    return [
        ("Memory", f"{size(number('reading', 'rss'))}, {_trend(server)}"),
        ("Of its processes", _children(server)),
        ("Processor", f"{_share('cpu', server)} itself, {_share('children_cpu', server)} its processes"),
        ("Lateness of its loop", f"{milliseconds(number('reading', 'loop_lag_ms'))} at worst"),
        ("Database answers in", milliseconds(number("reading", "database_ms"))),
        ("Answers take", _figures(server, "responses")),
        ("First token after", _figures(server, "first_tokens")),
        ("Version", short(str(server.get("version") or NOTHING), 20)),
    ]


def _children(server: Server) -> str:
    processes = count(server.amount("reading", "processes"), "process", "processes")
    return f"{size(server.number('reading', 'children_rss'))}, {processes}"


def _share(name: str, server: Server) -> str:
    number = server.number("reading", name)
    return NOTHING if number is None else f"{number:.0f} %"


def _trend(server: Server) -> str:
    """Return what memory does in words: over the last minute, and over the hour as far as that can be known."""
    trend = server.get("figures", "memory", "trend")
    change = server.number("figures", "memory", "change_bytes")
    words = trend if trend in TRENDS else "too early to say"
    by = f" ({size(change)})" if change and trend != Trend.STABLE else ""
    low, slope, high = (
        server.number("figures", "memory", name) for name in ("slope_low", "slope_bytes_per_hour", "slope_high")
    )
    if low is None or slope is None or high is None:
        return f"{words}{by}"
    if low <= 0 <= high:
        return f"{words}{by}; no clear change over the hour"
    return f"{words}{by}; over the hour {size(slope)} an hour, between {size(low)} and {size(high)}"


TRENDS = (Trend.INCREASING, Trend.DECREASING, Trend.STABLE)


def _figures(server: Server, name: str) -> str:
    if not server.amount("figures", name, "count"):
        return "no answer yet"
    parts = [(words, server.number("figures", name, f"{words}_ms")) for words in FIGURES]
    said = ", ".join(f"{words} {milliseconds(value)}" for words, value in parts)
    return f"{said} of {server.amount('figures', name, 'count'):,}"


FIGURES = ("mean", "p50", "p95", "p99")
