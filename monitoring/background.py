"""What monitoring does while the server runs: small steps, each again and again, none on the time of the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from django.conf import settings

from chat import runner
from chat.database import db
from monitoring import latency, sampler, sealer
from monitoring.alerts.steps import evaluate_alerts, send_alerts
from monitoring.receivers import site
from monitoring.retention import prune_some

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """`run` is awaited every `seconds`; what blocks in it goes through chat.database.db, or a thread."""

    run: Callable[[], Awaitable[None]]
    seconds: float


# In the order of their subjects; each subject has its own module.
STEPS: tuple[Step, ...] = (
    Step(sealer.seal, sealer.SEAL_SECONDS),
    Step(sampler.sample, sampler.SAMPLE_SECONDS),
    Step(sampler.look_at_loop, latency.LOOK_SECONDS),
    Step(evaluate_alerts, 5),
    Step(send_alerts, 5),
    Step(prune_some, 3600),
)

_loops: list[asyncio.Task[None]] = []


async def start() -> None:
    """Begin to watch, unless a setting says otherwise."""
    if settings.MONITORING:
        await db(site.record_start, runner.current().replica)
        _loops.extend(asyncio.create_task(_repeat(step), name=f"monitoring {step.run.__name__}") for step in STEPS)


async def stop() -> None:
    """Stop watching, and send the last traces."""
    for loop in _loops:
        loop.cancel()
    await asyncio.gather(*_loops, return_exceptions=True)
    _loops.clear()
    if settings.MONITORING:
        await _say_goodbye()
    if settings.OTLP_ENDPOINT:
        from monitoring import traces  # many modules, which nobody else needs

        await asyncio.to_thread(traces.stop)


async def _say_goodbye() -> None:
    """Record the end, and leave nothing open: no entry without a seal, no state that looks like a crash."""
    await _try(lambda: db(site.record_stop, runner.current().replica))
    await _try(sampler.sample)
    await _try(sealer.seal_the_rest)


async def _try(step: Callable[[], Awaitable[object]]) -> None:
    """Take a step of the goodbye. What comes after it, and what is closed then, comes all the same."""
    try:
        await step()
    except Exception:
        logger.exception("the end of this server is not recorded as a whole")


async def _repeat(step: Step) -> None:
    while True:
        try:
            await step.run()
        except Exception:
            # A database may come back.
            logger.exception("%s failed", step.run.__name__)
        await asyncio.sleep(step.seconds)
