"""What each server last said of itself: the rows of ReplicaState, beside those of the replicas that live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime

from chat.models import Replica
from monitoring.models import ReplicaState
from monitoring.models.samples import GONE_FOR

# A reading comes every five seconds; after three of them missed, what it says is old.
STALE_AFTER = timedelta(seconds=15)


@dataclass(frozen=True)
class Server:
    """One server; `data` is what it said at `at`, both empty for one that has said nothing yet."""

    name: str
    started_at: datetime | None
    heartbeat_at: datetime | None
    at: datetime | None
    data: Mapping[str, Any]

    @property
    def is_alive(self) -> bool:
        return self.heartbeat_at is not None

    @property
    def is_draining(self) -> bool:
        return bool(self.data.get("draining"))

    @property
    def places(self) -> int:
        return int(self.data.get("places") or 0)

    def is_stale(self, now: datetime) -> bool:
        """Return whether it lives and has not said for a while how it is."""
        return self.at is None or now - self.at > STALE_AFTER

    def get(self, *path: str) -> Any:
        """Return what stands at `path` in what it said; None where that is missing, as from another version."""
        found: Any = self.data
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def number(self, *path: str) -> float | None:
        """Return the number at `path`, or None."""
        found = self.get(*path)
        return found if isinstance(found, int | float) else None

    def amount(self, *path: str) -> int:
        """Return the whole number at `path`; nothing counts as none."""
        return int(self.number(*path) or 0)


def read_servers(now: datetime) -> list[Server]:
    """Return the servers that live and those that have gone a moment ago, the oldest first."""
    states = {state.replica: state for state in ReplicaState.objects.filter(at__gt=now - GONE_FOR)}
    living = [_server(replica, states.pop(replica.name, None)) for replica in Replica.objects.order_by("started_at")]
    return living + [_gone(state) for state in sorted(states.values(), key=lambda state: state.at)]


def _server(replica: Replica, state: ReplicaState | None) -> Server:
    at, data = (state.at, state.data) if state else (None, {})
    return Server(replica.name, replica.started_at, replica.heartbeat_at, at, data)


def _gone(state: ReplicaState) -> Server:
    started = state.data.get("started_at") if isinstance(state.data, dict) else None
    return Server(state.replica, find_moment(started), None, state.at, state.data)


def find_moment(text: object) -> datetime | None:
    """Return the moment that an ISO text names, or None."""
    try:
        return parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
