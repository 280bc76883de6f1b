"""What the oldest server does about alerts while it runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.utils import timezone

from chat import replicas, runner
from chat.database import aside, db
from monitoring.alerts import outbox, rounds
from monitoring.models import AlertMessage

# Slow receivers hold up each other at worst: the loop's own threads also say whether the server is ready.
_senders = ThreadPoolExecutor(max_workers=16, thread_name_prefix="alerts")


async def evaluate_alerts() -> None:
    """Look at every rule: up to a quarter of a second of a busy site, for which no message should wait."""
    await aside(partial(_evaluate, runner.current().replica))


async def send_alerts() -> None:
    """Send what there is to tell, to all receivers at once; what comes next waits for the slowest of them."""
    while messages := await db(_take, runner.current().replica):
        await asyncio.gather(*(aside(partial(outbox.deliver, message), _senders) for message in messages))


def _evaluate(replica: str) -> None:
    if replicas.is_oldest(replica):
        rounds.evaluate(timezone.now())


def _take(replica: str) -> list[AlertMessage]:
    return outbox.take(timezone.now()) if replicas.is_oldest(replica) else []
