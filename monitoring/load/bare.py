"""Bare aichat: the same program, arguments and environment as the site's, with nothing between it and its caller.

What the site costs is what it adds to this. Nothing is queued or limited: it is the shell's `for … &`. These processes
answer nobody, which is why they do not start in `providers.aichat`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from django.conf import settings

from monitoring.load.figures import Reading
from monitoring.load.workload import Failed
from providers import config
from providers.aichat import Clocks, Request, command_line, environment

READ_BYTES = 65536


class Bare:
    """Makes lines whose every message is a process; `cpu_seconds` is what the ended ones used."""

    def __init__(self, target: config.Target, key: str) -> None:
        self.cpu_seconds = 0.0
        self._target = target
        self._key = key

    @asynccontextmanager
    async def line(self, number: int) -> AsyncIterator[Bare]:
        """Return a line; there is nothing to open."""
        yield self

    async def ask(self, reading: Reading) -> None:
        """Run one process to its end. Raises Failed and OSError."""
        # The clocks are the site's; here the workload's time limit is the only one.
        request = Request(self._target, reading.prompt, Clocks(0, 0, 0), key=self._key)
        session = config.write_session([], self._target, None)
        process = Process(reading)
        try:
            process.start(request, session)
            await process.ended
        finally:
            self.cpu_seconds += process.reap()
            session.unlink()
        if process.exit_code:
            raise Failed(f"exit code {process.exit_code}")
        reading.ending = "complete"
        # aichat ends its output with a newline of its own where the text has none.
        reading.text = process.output.decode(errors="replace").removesuffix("\n")


class Process:
    """One aichat, read as it speaks."""

    def __init__(self, reading: Reading) -> None:
        self.output = bytearray()
        self.exit_code = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._reading = reading
        self._child: subprocess.Popen[bytes] | None = None
        self._fds: list[int] = []

    def start(self, request: Request, session: Path) -> None:
        """Spawn, and hand over the prompt. Raises OSError."""
        log, child_log = os.pipe()
        self._fds.append(log)
        argv = command_line(settings.AICHAT, request.target, session)
        variables = environment(request, session, child_log)
        try:
            self._reading.asked_at = self._loop.time()
            self._child = subprocess.Popen(
                argv,
                env=variables,
                cwd=config.home(),
                pass_fds=(child_log,),
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        finally:
            os.close(child_log)
        assert self._child.stdin
        assert self._child.stdout
        with self._child.stdin as stdin:
            stdin.write(request.prompt.encode())
        self._fds.append(os.dup(self._child.stdout.fileno()))
        self._child.stdout.close()
        self._fds.append(os.pidfd_open(self._child.pid))
        for fd, read in zip(self._fds, (self._read_log, self._read_output, self._exited), strict=True):
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, read, fd)

    def _read_log(self, fd: int) -> None:
        # Unread, it would hold the child up when the pipe is full.
        if not os.read(fd, READ_BYTES):
            self._loop.remove_reader(fd)

    def _read_output(self, fd: int) -> bool:
        """Read what is there; return whether there may be more."""
        data = os.read(fd, READ_BYTES)
        if not data:
            self._loop.remove_reader(fd)
        # Each of its writes is one token, but for the newline at the end.
        elif data != b"\n":
            self._reading.arrived(self._loop.time(), events=1, is_text=True)
        self.output += data
        return bool(data)

    def _exited(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        # What was written before the end, but not read yet.
        with contextlib.suppress(BlockingIOError):
            while self._read_output(self._fds[1]):
                pass
        if not self.ended.done():
            self.ended.set_result(None)

    def reap(self) -> float:
        """End the process if it still lives, let go of everything, and return the processor seconds that it used."""
        seconds = 0.0
        if child := self._child:
            if not self.ended.done() or self.ended.cancelled():
                child.kill()
            _, status, used = os.wait4(child.pid, 0)
            self.exit_code = child.returncode = os.waitstatus_to_exitcode(status)
            seconds = used.ru_utime + used.ru_stime
        for fd in self._fds:
            self._loop.remove_reader(fd)
            os.close(fd)
        self._fds.clear()
        return seconds
