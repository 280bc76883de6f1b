"""A site of the load test's own: a simulator and a server on free ports, with an empty database, gone at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from monitoring.load.measure import Other

KEY_VARIABLE = "SIM_API_KEY"
# The simulator takes any; without one, aichat refuses to ask.
KEY = "simulated"
# More than any load that the command accepts.
ROOM = "100000"
STOP_SECONDS = 15.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "CHAT_STARTS_IN_FLIGHT", "CHAT_PLACES")


class StandFailed(Exception):
    """A part did not start; the text says which, and its last words."""


@dataclass(frozen=True)
class Stand:
    """What runs: the site, the simulator, the site's process, and the other site that it is compared with."""

    url: str
    simulator: str
    server_pid: int
    other: Other | None = None

    @property
    def api_base(self) -> str:
        return f"{self.simulator}/v1"


@contextmanager
def running_stand(model: str, versus: str | None = None, more: Sequence[str] = (), **changed: str) -> Iterator[Stand]:
    """Start simulator and server, with `model` and `more` of the provider `sim`. Raises StandFailed.

    `changed` are variables of the server. With `versus`, such as MONITORING=false, a second server with that variable,
    on a database of its own.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
        simulator = Part("simulator", [*_manage(), "run_simulator"], _variables(directory), directory)
        address = stack.enter_context(simulator.running("Simulator listening on "))
        other = None
        if versus:
            (directory / "other").mkdir()
            name, _, value = versus.partition("=")
            other = Other(*_start_server(stack, directory / "other", address, [model], {name: value}))
        url, server_pid = _start_server(stack, directory, address, [model, *more], changed)
        yield Stand(url, address, server_pid, other)


def _start_server(
    stack: ExitStack, directory: Path, simulator: str, models: Sequence[str], changed: dict[str, str]
) -> tuple[str, int]:
    """Return the address and the process id of a server with a database of its own in `directory`."""
    variables = _variables(directory) | changed | {"PORT": str(_free_port())}
    prepare = [sys.executable, "-m", "monitoring.load.prepare", f"{simulator}/v1", KEY_VARIABLE, *models]
    Part("database", prepare, variables, directory).finish()
    server = Part("server", [sys.executable, "-m", "sasha.server"], variables, directory)
    url = stack.enter_context(server.running("Sasha Studio is at "))
    return url, server.pid


def _manage() -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py")]


def _variables(directory: Path) -> dict[str, str]:
    """Return the environment of the parts: local mode, a data directory of their own, and none of the user's keys."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {
        "CHAT_PLACES": ROOM,
        **kept,
        "SASHA_MODE": "local",
        "DATA_DIR": str(directory),
        "AICHAT": settings.AICHAT,
        "CHAT_SOCKETS_PER_USER": ROOM,
        "CHAT_PLACES_PER_USER": ROOM,
        "CHAT_WAITING_PER_USER": ROOM,
        KEY_VARIABLE: KEY,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Part:
    """One process of the stand; what it says on stderr is kept for the case that it does not start."""

    def __init__(self, name: str, argv: Sequence[str], variables: dict[str, str], directory: Path) -> None:
        self.pid = 0
        self._name = name
        # However this process ends, the parts end with it.
        self._argv = ["/usr/bin/setpriv", "--pdeathsig", "TERM", "--", *argv]
        self._variables = variables
        self._errors = directory / f"{name}.log"

    def finish(self) -> None:
        """Run it to its end. Raises StandFailed."""
        with self._errors.open("w") as errors:
            ended = subprocess.run(
                self._argv, cwd=settings.BASE_DIR, env=self._variables, stdout=errors, stderr=errors, check=False
            )
        if ended.returncode:
            raise StandFailed(self._last_words())

    @contextmanager
    def running(self, announcement: str) -> Iterator[str]:
        """Start it, yield what follows `announcement` on its first line, and stop it at the end. Raises StandFailed."""
        with self._errors.open("w") as errors:
            process = subprocess.Popen(
                self._argv, cwd=settings.BASE_DIR, env=self._variables, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert process.stdout
        self.pid = process.pid
        try:
            line = process.stdout.readline()
            if not line.startswith(announcement):
                raise StandFailed(self._last_words())
            yield line.removeprefix(announcement).strip()
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def _last_words(self) -> str:
        said = self._errors.read_text(errors="replace").strip().splitlines()
        return f"The {self._name} of the load test did not start: {said[-1] if said else 'it said nothing'}"
