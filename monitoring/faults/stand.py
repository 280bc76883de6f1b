"""The fault test's own site: an empty database, a simulator, and a server that can be killed.

A process belongs to the stand when the stand's directory is in its environment: the server's, and that of every child.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from monitoring.faults.rows import KEY_VARIABLES
from monitoring.load.stand import ROOM, Part

# The simulator takes any; without one, aichat refuses to ask.
KEY = "simulated"
# So that a pause ends while somebody watches.
MEMORY_SECONDS = 2
# A child whose server was killed, or whose reply has ended, is gone after this; the machine may be busy.
ORPHAN_SECONDS = 2.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "XDG_CACHE_HOME")


def environment(directory: Path, database: str) -> dict[str, str]:
    """Return the environment of all parts: local mode, a data directory of their own, and none of the user's keys."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "SASHA_MODE": "local",
        "DJANGO_SETTINGS_MODULE": "sasha.settings",
        "DATA_DIR": str(directory),
        "DATABASE_URL": database or f"sqlite:///{directory / 'faults.sqlite3'}",
        "AICHAT": settings.AICHAT,
        "PROVIDER_MEMORY_SECONDS": str(MEMORY_SECONDS),
        "PROVIDER_CHECK_SECONDS": "0",
        "CHAT_SOCKETS_PER_USER": ROOM,
        "CHAT_PLACES_PER_USER": ROOM,
        "CHAT_WAITING_PER_USER": ROOM,
        **dict.fromkeys(KEY_VARIABLES.values(), KEY),
    }


@contextmanager
def new_database(url: str) -> Iterator[str]:
    """Make an empty database on the PostgreSQL at `url`, yield its address, and drop it. Raises psycopg.Error."""
    import psycopg

    name = f"fault_test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            # Whoever is still connected is a process of ours that has not ended yet.
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Stand:
    """The running parts. Use it as a context; `start` and `kill` the server in between. Raises StandFailed."""

    def __init__(self, directory: Path, variables: dict[str, str]) -> None:
        self.url = ""
        self.simulator = ""
        self.pid = 0
        self._directory = directory
        self._variables = variables
        self._parts = ExitStack()
        self._server = ExitStack()
        self._starts = 0
        self._closed_port = 0

    def __enter__(self) -> Stand:
        # Bound, and never listening: whoever connects is refused.
        silent = self._parts.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))
        self._closed_port = silent.getsockname()[1]
        argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "run_simulator"]
        simulator = Part("simulator", argv, self._variables, self._directory)
        self.simulator = self._parts.enter_context(simulator.running("Simulator listening on "))
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._parts.close()

    @property
    def closed_address(self) -> str:
        """Return an address at which nobody listens."""
        return f"http://127.0.0.1:{self._closed_port}"

    def start(self) -> None:
        """Start the server."""
        self._starts += 1
        variables = self._variables | {"PORT": str(_free_port())}
        argv = [sys.executable, "-m", "sasha.server"]
        server = Part(f"server-{self._starts}", argv, variables, self._directory)
        self.url = self._server.enter_context(server.running("Sasha Studio is at "))
        self.pid = server.pid

    def stop(self) -> None:
        """Ask the server to leave, and wait until it has."""
        self._server.close()

    def kill(self) -> None:
        """Kill the server as nothing else would: -9."""
        os.kill(self.pid, signal.SIGKILL)
        self._server.close()

    def children(self) -> list[psutil.Process]:
        """Return the living children of the server."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def count_tracebacks(self) -> int:
        """Return how many the servers have written into their logs."""
        return sum(log.read_text(errors="replace").count("Traceback") for log in self._directory.glob("server-*.log"))

    def find_orphans(self) -> list[str]:
        """Return every aichat of the stand that is still there, zombies too, once the time for leaving is over."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (left := self._find_aichats()) and time.monotonic() < deadline:
            # The processes are the server's children: nobody tells us of their end.
            time.sleep(0.05)
        return left

    def _find_aichats(self) -> list[str]:
        mark = str(self._directory)
        found = {process.pid: process for process in self.children()}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("AICHAT_CONFIG_DIR", "").startswith(mark):
                    found[process.pid] = process
        return [f"process {pid} of the stand still lives" for pid in found]


def find_child(pid: int, model: str) -> psutil.Process | None:
    """Return the aichat that the server `pid` runs for `model`, if there is one."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if child.name() == "aichat" and f"p:{model}" in child.cmdline():
                    return child
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
