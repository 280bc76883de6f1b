"""The series of /metrics, in a registry of their own. No label ever names a user, a conversation or a text.

Counters and histograms are fed by what ends, once it is stored; gauges by the sampler. Nothing is done for a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from chat import runner
from chat.models import Message
from monitoring.models import AuditEntry, AuditSeal
from monitoring.readings import Reading
from providers.endings import Ending
from providers.ledger import TOKENS
from providers.models import Attempt, Breaker, Provider

# When a series began is of no use to any query here, and doubles the page.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=True)
CONTENT_TYPE = CONTENT_TYPE_LATEST

# Seconds. About the figures that are promised: half a second to the first token, 50 ms between two.
FIRST_TOKEN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
GAP_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
REPLY_BUCKETS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
SPAWN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
# Entries that wait for their seal are not counted further: by then an alarm has long been raised.
MOST_UNSEALED = 10_000


def _counter(name: str, words: str, *labels: str) -> Counter:
    return Counter(f"sasha_{name}", words, labels, registry=REGISTRY)


def _gauge(name: str, words: str, *labels: str) -> Gauge:
    return Gauge(f"sasha_{name}", words, labels, registry=REGISTRY)


def _histogram(name: str, words: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"sasha_{name}", words, labels, buckets=buckets, registry=REGISTRY)


REPLIES = _counter("replies", "Replies that ended.", "ending")
REPLY_SECONDS = _histogram("reply_seconds", "From a message's arrival to the end of its reply.", REPLY_BUCKETS)
FIRST_TOKEN = _histogram(
    "first_token_seconds", "From a message's arrival to the first token of its reply.", FIRST_TOKEN_BUCKETS
)
ATTEMPTS = _counter("attempts", "Processes that were asked for an answer, and ended.", "provider", "ending")
LONGEST_GAP = _histogram(
    "longest_gap_seconds", "The longest silence between two tokens of an attempt.", GAP_BUCKETS, "provider"
)
SPAWN = _histogram("spawn_seconds", "The start of a process, up to its being there.", SPAWN_BUCKETS)
COST = _counter("cost_usd", "What attempts cost, as priced when they ended.", "provider")
UNKNOWN_COST = _counter("attempts_of_unknown_cost", "Attempts whose cost nobody knows.", "provider")
TOKEN_COUNT = _counter("tokens", "Tokens that providers counted or that were estimated.", "provider", "kind")

PROCESSES = _gauge("active_processes", "Living processes of aichat.")
QUEUED = _gauge("queued_replies", "Replies that wait for their turn or a place.")
SOCKETS = _gauge("open_sockets", "Open WebSockets and event streams.")
PLACES = _gauge("places", "Replies that may have a process at a time.")
DRAINING = _gauge("draining", "1 while the server is about to leave.")
LOOP_LAG = _gauge("loop_lag_seconds", "The worst delay of the event loop since the last reading.")
DATABASE = _gauge("database_seconds", "A trivial query, its wait for a thread included; NaN: no answer.")
STREAM_LOG = _gauge("stream_log_seconds", "An event written to the stream log and read; NaN: no answer.")
MEMORY = _gauge("memory_bytes", "Memory, resident and unique.", "of", "kind")
CPU = _gauge("cpu_ratio", "Processor time since the last reading; 1 is a whole core.", "of")
BLOCKS = _gauge("python_blocks", "Blocks that Python has allocated.")
BREAKER = _gauge("breaker_state", "1 at the state that a provider is in.", "provider", "state")
UNSEALED = _gauge("audit_unsealed_entries", "Entries of the audit without a seal, counted up to 10,000.")
BUILD = _gauge("build_info", "Always 1; what runs here.", "version", "aichat")

BUILD.labels(settings.VERSION, settings.AICHAT_VERSION).set(1)
PLACES.set(settings.CHAT_PLACES)
for _ending in Ending:
    # As in `_begin`.
    REPLIES.labels(_ending.value)


def render() -> bytes:
    """Return every series in Prometheus' text format."""
    DRAINING.set(runner.current().leaving)
    return generate_latest(REGISTRY)


# --- What ends --------------------------------------------------------------------------------------------------------


def hear_reply(reply: Message, **_: Any) -> None:
    """Count a reply that has ended, once that is stored."""
    transaction.on_commit(lambda: _count_reply(reply), robust=True)


def _count_reply(reply: Message) -> None:
    REPLIES.labels(reply.ending).inc()
    _observe(REPLY_SECONDS, reply.duration_ms)
    _observe(FIRST_TOKEN, reply.first_token_ms)


def hear_attempt(attempt: Attempt, **_: Any) -> None:
    """Count an attempt that has ended, once that is stored."""
    transaction.on_commit(lambda: _count_attempt(attempt), robust=True)


def _count_attempt(attempt: Attempt) -> None:
    provider = attempt.provider_slug
    ATTEMPTS.labels(provider, attempt.ending).inc()
    _observe(SPAWN, attempt.spawn_ms)
    _observe(LONGEST_GAP.labels(provider), attempt.longest_gap_ms)
    if attempt.cost_usd is None:
        UNKNOWN_COST.labels(provider).inc()
    else:
        COST.labels(provider).inc(float(attempt.cost_usd))
    for name in TOKENS:
        if count := getattr(attempt, name):
            TOKEN_COUNT.labels(provider, name.removesuffix("_tokens")).inc(count)


def _observe(histogram: Histogram, ms: int | None) -> None:
    if ms is not None:
        histogram.observe(ms / 1000)


# --- What is ----------------------------------------------------------------------------------------------------------


def show_reading(reading: Reading) -> None:
    """Show what the sampler has just read of this server."""
    PROCESSES.set(reading.processes)
    QUEUED.set(reading.queued)
    SOCKETS.set(reading.sockets)
    BLOCKS.set(reading.blocks)
    LOOP_LAG.set(reading.loop_lag_ms / 1000)
    DATABASE.set(_seconds(reading.database_ms))
    STREAM_LOG.set(_seconds(reading.log_ms))
    CPU.labels("server").set(reading.cpu / 100)
    CPU.labels("children").set(reading.children_cpu / 100)
    MEMORY.labels("server", "resident").set(reading.rss)
    MEMORY.labels("server", "unique").set(reading.uss)
    MEMORY.labels("children", "resident").set(reading.children_rss)
    MEMORY.labels("children", "unique").set(reading.children_uss)


def _seconds(ms: float | None) -> float:
    return float("nan") if ms is None else ms / 1000


@dataclass(frozen=True)
class Site:
    """What all servers of a site see alike: the state of each enabled provider, and what is not sealed yet."""

    breakers: dict[str, str]
    unsealed: int


def find_site() -> Site:
    """Return what the database says."""
    rows = Provider.objects.filter(enabled=True).values_list("slug", "forced", "breaker")
    # By number: whatever is sealed comes before whatever is not, as good as always, and nothing is read twice.
    sealed = AuditSeal.objects.order_by("-sequence").values_list("entry_id", flat=True).first() or 0
    unsealed = AuditEntry.objects.filter(pk__gt=sealed).order_by()[:MOST_UNSEALED].count()
    return Site({slug: forced or breaker for slug, forced, breaker in rows}, unsealed)


def show_site(site: Site) -> None:
    """Show what the database said; providers that have gone, go."""
    UNSEALED.set(site.unsealed)
    BREAKER.clear()
    for slug, current in site.breakers.items():
        for state in Breaker:
            BREAKER.labels(slug, state.value).set(state == current)
        _begin(slug)


def _begin(provider: str) -> None:
    """Show what a provider has not done yet: from nothing to 1 is no increase for Prometheus, from 0 it is."""
    COST.labels(provider)
    UNKNOWN_COST.labels(provider)
    for ending in Ending:
        ATTEMPTS.labels(provider, ending.value)
