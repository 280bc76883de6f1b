"""What the system knows of this server's process and of its children: memory and processor time."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import psutil


@dataclass(frozen=True)
class Measured:
    """Sizes in bytes, processor time in percent of one core since the last time; `rss_by_pid` of each child."""

    rss: int
    uss: int
    children_rss: int
    children_uss: int
    blocks: int
    cpu: float
    children_cpu: float
    rss_by_pid: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Spent:
    at: float
    own: float
    children: float


class Meter:
    """Measures again and again. Reading /proc takes about 0.2 ms a process, so it is done on a thread."""

    def __init__(self) -> None:
        self._server = psutil.Process()
        self._last = self._spent(self._ended_children(), 0.0)

    def measure(self, pids: Iterable[int]) -> Measured:
        """Return what holds now, for the children `pids`; one that has just gone counts as nothing."""
        own = self._server.memory_full_info()
        # Before the living ones: a child that ends in between is missing once, and not counted twice.
        ended = self._ended_children()
        children = {pid: seen for pid in pids if (seen := _look_at(pid))}
        last, now = self._last, self._spent(ended, sum(seen.cpu_seconds for seen in children.values()))
        self._last, seconds = now, max(now.at - last.at, 0.001)
        return Measured(
            rss=own.rss,
            uss=own.uss,
            children_rss=sum(seen.rss for seen in children.values()),
            children_uss=sum(seen.uss for seen in children.values()),
            blocks=sys.getallocatedblocks(),
            cpu=round(100 * (now.own - last.own) / seconds, 2),
            children_cpu=round(100 * max(now.children - last.children, 0.0) / seconds, 2),
            rss_by_pid={pid: seen.rss for pid, seen in children.items()},
        )

    @staticmethod
    def _ended_children() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    @staticmethod
    def _spent(ended: float, living: float) -> _Spent:
        return _Spent(time.monotonic(), time.process_time(), ended + living)


@dataclass(frozen=True)
class _Child:
    rss: int
    uss: int
    cpu_seconds: float


def _look_at(pid: int) -> _Child | None:
    with contextlib.suppress(psutil.Error, OSError):
        child = psutil.Process(pid)
        with child.oneshot():
            memory, cpu = child.memory_full_info(), child.cpu_times()
        return _Child(memory.rss, memory.uss, cpu.user + cpu.system)
    return None
