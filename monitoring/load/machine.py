"""Processor time and memory of a server and its children, and of this process, over a stretch of time."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS = 0.5
MIB = 1024 * 1024


@dataclass
class Use:
    """What was used between two moments. `base` is at the first of them; USS is what a process has for itself alone."""

    seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    children_cpu_seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    machine_cpu_seconds: float = 0.0
    base_rss_mib: float | None = None
    base_uss_mib: float | None = None
    peak_rss_mib: float | None = None
    end_rss_mib: float | None = None
    end_uss_mib: float | None = None
    children_peak: int = 0
    child_uss_mib: float | None = None


def find_server(port: int) -> psutil.Process | None:
    """Return the process that listens on `port` of this machine, where it can be looked into."""
    with contextlib.suppress(psutil.Error):
        for listening in psutil.net_connections("tcp"):
            address = listening.laddr
            if listening.status == psutil.CONN_LISTEN and address and address.port == port and listening.pid:
                process = psutil.Process(listening.pid)
                process.memory_full_info()
                return process
    return None


@asynccontextmanager
async def watched(server: psutil.Process | None) -> AsyncIterator[Use]:
    """Yield a `Use` that is complete when the block is left; without a server it has nothing of one.

    Raises psutil.NoSuchProcess for a server that is gone already.
    """
    use = Use()
    began = time.monotonic()
    client, machine = own_cpu_seconds(), machine_cpu_seconds()
    async with _server_watched(server, use) if server else contextlib.nullcontext():
        yield use
    use.seconds = time.monotonic() - began
    use.client_cpu_seconds = own_cpu_seconds() - client
    use.machine_cpu_seconds = machine_cpu_seconds() - machine


@asynccontextmanager
async def _server_watched(server: psutil.Process, use: Use) -> AsyncIterator[None]:
    before = server.cpu_times()
    memory = server.memory_full_info()
    use.base_rss_mib = use.peak_rss_mib = memory.rss / MIB
    use.base_uss_mib = memory.uss / MIB
    sampling = asyncio.create_task(_sample(server, use))
    try:
        yield
    finally:
        sampling.cancel()
        with contextlib.suppress(psutil.NoSuchProcess, asyncio.CancelledError):
            await sampling
    after = server.cpu_times()
    use.server_cpu_seconds = after.user + after.system - before.user - before.system
    # Of children that have ended, which all have: every message has its answer.
    use.children_cpu_seconds = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    memory = server.memory_full_info()
    use.end_rss_mib, use.end_uss_mib = memory.rss / MIB, memory.uss / MIB


def own_cpu_seconds() -> float:
    """Return the processor seconds of this process, without its children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def machine_cpu_seconds() -> float:
    """Return the processor seconds of everything that runs on this machine."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice + times.irq + times.softirq + times.steal


async def _sample(server: psutil.Process, use: Use) -> None:
    """Note the peaks. Reading what is private costs most: of the children, one a sample is looked at."""
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        use.peak_rss_mib = max(use.peak_rss_mib or 0.0, server.memory_info().rss / MIB)
        children = await asyncio.to_thread(server.children)
        use.children_peak = max(use.children_peak, len(children))
        with contextlib.suppress(psutil.Error, IndexError):
            use.child_uss_mib = max(use.child_uss_mib or 0.0, children[len(children) // 2].memory_full_info().uss / MIB)
