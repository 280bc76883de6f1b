"""Watches this server: a reading every five seconds, kept in memory, told to the other servers, and a row a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import Error, transaction
from django.utils import timezone

from chat import runner
from chat.database import db
from chat.models import Message
from chat.processes import Process, list_processes
from chat.sockets import open_sockets
from monitoring import latency, metrics
from monitoring.meter import Meter
from monitoring.models import ReplicaState, Sample
from monitoring.models.samples import GONE_FOR
from monitoring.outcomes import Outcome, Outcomes
from monitoring.readings import Figures, Reading, Readings, sample_of
from providers import aichat
from providers.endings import Ending

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 5.0
# Unfinished answers that a state names; with more, only how many.
LISTED_PROCESSES = 200


class Sampler:
    """What is known of one server's life. On the loop's thread, but for `outcomes`."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self.outcomes = Outcomes()
        self.lag = latency.LoopLag()
        self._started_at = timezone.now()
        self._readings = Readings()
        self._meter = Meter()
        self._rss_by_pid: dict[int, int] = {}

    async def sample(self) -> None:
        """Take a reading, keep it, and store what the other servers and later days should know."""
        reading = await self._read()
        ended = self._readings.add(reading)
        metrics.show_reading(reading)
        sample = sample_of(self.replica, ended, self.outcomes.take_minute()) if ended else None
        metrics.show_site(
            await db(_store, ReplicaState(replica=self.replica, at=reading.at, data=self.state()), sample)
        )

    async def _read(self) -> Reading:
        pids = list(aichat.living_pids().values())
        measured = await asyncio.to_thread(self._meter.measure, pids)
        self._rss_by_pid = measured.rss_by_pid
        sizes = {name: size for name, size in vars(measured).items() if name != "rss_by_pid"}
        own = runner.current()
        return Reading(
            **sizes,
            at=timezone.now(),
            processes=len(pids),
            sockets=len(open_sockets),
            queued=own.queued,
            database_ms=await _or_none(latency.time_database()),
            log_ms=await _or_none(latency.time_log(own.log)),
            # Last, so that what this reading itself took from the loop is in it.
            loop_lag_ms=self.lag.take_worst_ms(),
        )

    def state(self) -> dict[str, Any]:
        """Return everything that is known, as `ReplicaState.data` has it."""
        own, latest = runner.current(), self._readings.latest
        return {
            "version": settings.VERSION,
            "started_at": self._started_at.isoformat(),
            "draining": own.leaving,
            "places": settings.CHAT_PLACES,
            "reading": latest.as_json() if latest else None,
            "history": self._readings.history(),
            "figures": self.figures(),
            "processes": [self._describe(process) for process in list_processes(own, LISTED_PROCESSES)],
            "processes_total": len(own.unfinished),
        }

    def figures(self) -> Figures:
        """Return what the readings and the endings come to."""
        return Figures(
            responses=self.outcomes.responses(),
            first_tokens=self.outcomes.first_tokens(),
            errors=self.outcomes.errors(),
            memory=self._readings.memory(),
        )

    def _describe(self, process: Process) -> dict[str, Any]:
        return {
            **vars(process),
            "reply_id": str(process.reply_id),
            "conversation_id": str(process.conversation_id),
            "started_at": (timezone.now() - timedelta(milliseconds=process.age_ms)).isoformat(),
            "rss": self._rss_by_pid.get(process.pid) if process.pid else None,
        }


async def _or_none(measuring: Awaitable[float]) -> float | None:
    """Return None where what is measured is away: the rest of a reading is wanted all the more then."""
    try:
        return await measuring
    except (Error, TimeoutError):
        return None


@transaction.atomic
def _store(state: ReplicaState, sample: Sample | None) -> metrics.Site:
    """Store a state and a minute, forget the servers that are long gone, and return what the site knows beside."""
    if sample:
        Sample.objects.bulk_create([sample], ignore_conflicts=True)
    ReplicaState.objects.bulk_create(
        [state], update_conflicts=True, unique_fields=["replica"], update_fields=["at", "data"]
    )
    ReplicaState.objects.filter(at__lt=state.at - GONE_FOR).delete()
    return metrics.find_site()


_sampler: Sampler | None = None


def current() -> Sampler:
    """Return the sampler of this process's runner, made on first use."""
    global _sampler
    replica = runner.current().replica
    if _sampler is None or _sampler.replica != replica:
        _sampler = Sampler(replica)
    return _sampler


# --- Steps and receivers ----------------------------------------------------------------------------------------------


async def sample() -> None:
    """Take a reading: every SAMPLE_SECONDS."""
    await current().sample()


async def look_at_loop() -> None:
    """See how late the loop is: every `latency.LOOK_SECONDS`."""
    current().lag.look()


def hear_reply(reply: Message, **_: Any) -> None:
    """Count a reply that has ended, once that is stored."""
    outcome = Outcome(Ending(reply.ending).failed, reply.duration_ms, reply.first_token_ms)
    transaction.on_commit(lambda: current().outcomes.add(outcome), robust=True)
