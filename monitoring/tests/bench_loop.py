"""How late the event loop comes to what is due while the sampler and the sealer work. Run it alone: scripts/bench-loop.

Not a test: it prints figures and fails for none. docs/performance.md has those that were seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import perf_counter

import pytest

from chat.database import db
from monitoring import sampler, sealer
from monitoring.audit import Actor, Deed, Target, record
from providers.models import Model
from sasha.testing import Socket

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30
TICK_SECONDS = 0.001
# More than are sealed in that time.
ENTRIES = 150_000
STREAMS = 50
WANTED_MS = 20
MODEL = "sim-n20000-gap20"


async def measure(name: str, work: Callable[[], Awaitable[object]] | None = None) -> None:
    """Print how late a timer of a millisecond comes while `work` is done again and again, for SECONDS."""
    late: list[float] = []
    working = asyncio.create_task(_again(work)) if work else None
    until = perf_counter() + SECONDS
    while (began := perf_counter()) < until:
        await asyncio.sleep(TICK_SECONDS)
        late.append((perf_counter() - began - TICK_SECONDS) * 1000)
    if working:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    late.sort()
    figures = {"median": late[len(late) // 2], "p99": late[int(len(late) * 0.99)], "worst": late[-1]}
    told = ", ".join(f"{name} {value:.1f} ms" for name, value in figures.items())
    over = sum(one > WANTED_MS for one in late)
    print(f"\n{name}: {told}; {over} of {len(late)} over {WANTED_MS} ms", flush=True)


async def _again(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        await work()


def write_entries(count: int) -> None:
    for number in range(0, count, 100):
        target = Target("message", number)
        record(*(Deed("chat.message.posted", Actor("alice", 1), target, text="word " * 100) for _ in range(100)))


async def test_idle(by_hand, site):
    await measure("nothing else")
    await measure("sampling without a pause", sampler.sample)
    await db(write_entries, ENTRIES)
    await measure("sealing", sealer.seal)


async def test_streaming(by_hand, settings, provider, site):
    """The same while answers stream, 50 tokens a second each, from a simulator on the same loop."""
    settings.CHAT_PLACES = settings.CHAT_PLACES_PER_USER = 2 * STREAMS
    await Model.objects.acreate(provider=provider, name=MODEL)
    async with AsyncExitStack() as stack:
        for number in range(STREAMS):
            socket = await stack.enter_async_context(Socket(f"s{number}"))
            await socket.send(message="Hello", model=f"sim:{MODEL}")
            await socket.until("chunk")
        await measure(f"{STREAMS} answers")
        await measure(f"{STREAMS} answers, sampling without a pause", sampler.sample)
        await db(write_entries, ENTRIES)
        await measure(f"{STREAMS} answers, sealing", sealer.seal)
