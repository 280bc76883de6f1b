"""The answers under way, with their processes, on all servers, as each of them said a few seconds ago."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from monitoring.pages.servers import Server, find_moment
from monitoring.pages.words import NOTHING, age, seconds, server_name, short, size
from providers.costs import CHARACTERS_PER_TOKEN

PHASES = {
    "waiting": "waiting for its turn",
    "asking": "asking",
    "thinking": "thinking",
    "streaming": "streaming",
    "ending": "ending",
}


@dataclass(frozen=True)
class Process:
    """One line of the table."""

    reply_id: uuid.UUID
    user: str
    model: str
    phase: str
    age: str
    memory: str
    received: str
    server: str
    pid: str
    attempt: int


@dataclass(frozen=True)
class Table:
    """The answers that were asked for; `more` are under way and not listed. `users` and `models` are those of all."""

    rows: list[Process]
    users: list[str]
    models: list[str]
    more: int


def tabulate(servers: Sequence[Server], now: datetime, user: str = "", model: str = "") -> Table:
    """Return the answers for `user` by `model`, the oldest first; empty means all."""
    living = [server for server in servers if server.is_alive]
    listed = [(process, server) for server in living for process in _listed(server)]
    listed.sort(key=lambda pair: str(pair[0].get("started_at")))
    rows = [row for process, server in listed if (row := _row(process, server, now))]
    total = sum(server.amount("processes_total") for server in living)
    return Table(
        rows=[row for row in rows if user in ("", row.user) and model in ("", row.model)],
        users=_names(row.user for row in rows),
        models=_names(row.model for row in rows),
        more=max(0, total - len(listed)),
    )


def _listed(server: Server) -> Iterator[Mapping[str, Any]]:
    found = server.get("processes")
    yield from (process for process in (found if isinstance(found, list) else []) if isinstance(process, Mapping))


def _row(process: Mapping[str, Any], server: Server, now: datetime) -> Process | None:
    """Return the line of a process; None for one whose reply has no id that could be followed."""
    try:
        reply_id = uuid.UUID(str(process.get("reply_id")))
    except ValueError:
        return None
    provider, model = (str(process.get(name) or "") for name in ("provider", "model"))
    pid, rss = process.get("pid"), process.get("rss")
    return Process(
        reply_id=reply_id,
        user=short(str(process.get("user") or NOTHING), 150),
        model=short(f"{provider}:{model}" if provider else NOTHING, 160),
        phase=PHASES.get(str(process.get("phase")), NOTHING),
        age=_age(process, now),
        memory=size(rss if isinstance(rss, int | float) else None),
        received=_received(process),
        server=server_name(server.name),
        pid=str(pid) if isinstance(pid, int) else NOTHING,
        attempt=int(process.get("attempt") or 1),
    )


def _age(process: Mapping[str, Any], now: datetime) -> str:
    if started := find_moment(process.get("started_at")):
        return age(started, now)
    told = process.get("age_ms")
    return seconds(told / 1000) if isinstance(told, int | float) else NOTHING


def _received(process: Mapping[str, Any]) -> str:
    """Return what has come, reasoning included. Providers count their tokens at the end only."""
    characters = int(process.get("characters") or 0)
    return f"about {ceil(characters / CHARACTERS_PER_TOKEN):,} tokens, {characters:,} characters"


def _names(names: Iterable[str]) -> list[str]:
    return sorted(set(names) - {NOTHING})
