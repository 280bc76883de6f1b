"""One run after the other: base, site, base, site, … so that what the machine does besides falls on both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from monitoring.load import sockets
from monitoring.load.bare import Bare
from monitoring.load.figures import Figures, figures
from monitoring.load.ledger import Served, read_ledger, served
from monitoring.load.machine import Use, find_server, watched
from monitoring.load.workload import OpenLine, Progress, Workload, drive


@dataclass(frozen=True)
class Run:
    """What one run of the workload gave. `served` is None where the provider is no simulator that can be asked."""

    name: str
    figures: Figures
    use: Use
    served: Served | None

    @property
    def fault(self) -> str:
        """Return what makes the run worthless as a measurement, or ""."""
        if self.served and self.served.asked_twice:
            return f"{self.served.asked_twice} prompts reached the provider twice"
        if self.served and self.served.same_text < self.figures.messages - self.figures.failed:
            return "an answer is not what the provider sent"
        return ""


@dataclass(frozen=True)
class Pair:
    """A run through the site, and the same right before it through what it is compared with."""

    site: Run
    base: Run | None = None


@dataclass(frozen=True)
class Other:
    """A second site, with other settings."""

    url: str
    server_pid: int


@dataclass(frozen=True)
class Trial:
    """Everything that a measurement needs to know; `simulator` is "" where there is none to compare with.

    The site is compared with bare aichat, or with another site, or with nothing.
    """

    name: str
    workload: Workload
    url: str
    simulator: str = ""
    base: Bare | Other | None = None
    server_pid: int | None = None

    async def run_pairs(self, repeat: int, announce: Callable[[str], Progress]) -> list[Pair]:
        """Run `repeat` pairs; `announce` is told what begins and returns its progress."""
        server = psutil.Process(self.server_pid) if self.server_pid else find_server(urlsplit(self.url).port or 80)
        pairs = []
        for number in range(1, repeat + 1):
            base = await self._run_base(f"{self.name}b{number}", announce)
            pairs.append(Pair(await self._run_site(f"{self.name}s{number}", server, announce), base))
        return pairs

    async def warm_up(self) -> None:
        """Ask once, so that the first run does not pay for what is only done once."""
        workload = Workload(self.workload.model, connections=1, messages=1, timeout=self.workload.timeout)
        lines = [self._line(self.url, f"{self.name}w")]
        if isinstance(self.base, Other):
            lines.append(self._line(self.base.url, f"{self.name}w"))
        elif self.base:
            lines.append(self.base.line)
        for open_line in lines:
            await drive(workload, f"{self.name}w", open_line, Progress(lambda _: None))

    def _line(self, url: str, name: str) -> OpenLine:
        return lambda number: sockets.connection(url, f"load-{name}-{number}", self.workload.model)

    async def _run_site(self, name: str, server: psutil.Process | None, announce: Callable[[str], Progress]) -> Run:
        return await self._run(name, self._line(self.url, name), server, announce("site"))

    async def _run_base(self, name: str, announce: Callable[[str], Progress]) -> Run | None:
        if self.base is None:
            return None
        if isinstance(self.base, Other):
            server = psutil.Process(self.base.server_pid)
            return await self._run(name, self._line(self.base.url, name), server, announce("the other site"))
        before = self.base.cpu_seconds
        run = await self._run(name, self.base.line, None, announce("bare aichat"))
        run.use.children_cpu_seconds = self.base.cpu_seconds - before
        return run

    async def _run(self, name: str, open_line: OpenLine, server: psutil.Process | None, progress: Progress) -> Run:
        async with watched(server) as use:
            await drive(self.workload, name, open_line, progress)
        readings = progress.readings
        lines = await read_ledger(self.simulator, 2 * self.workload.total) if self.simulator else None
        return Run(name, figures(readings), use, served(lines, readings) if lines is not None else None)
