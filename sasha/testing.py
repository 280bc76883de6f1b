"""Builders and real parts for tests: providers, a simulator, sockets, and a server process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil
import websockets
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection, connections
from websockets.asyncio.client import ClientConnection

from chat import runner
from monitoring import append_only
from providers.models import Model, Provider
from sasha import lifespan
from sasha.asgi import application

TEST_KEY = "sk-test-0123456789abcdef"
# Longest wait for any one event; only a failing test ever waits it out.
PATIENCE = 20.0


class QuickHasher(PBKDF2PasswordHasher):
    """Django's own, in one round: what it makes is verified by every server, and takes no third of a second."""

    iterations = 1


def make_provider(api_base: str, *models: str, **overrides: Any) -> Provider:
    """Store a provider at `api_base` with the models named."""
    values: dict[str, Any] = {"slug": "sim", "kind": "openai-compatible", "api_base": api_base} | overrides
    provider = Provider.objects.create(**({"name": values["slug"].title()} | values))
    for name in models:
        Model.objects.create(provider=provider, name=name)
    return provider


@asynccontextmanager
async def running_site(grace: float = 0) -> AsyncIterator[None]:
    """Run what runs with a server, in this process and loop."""
    await lifespan.start()
    try:
        yield
    finally:
        await lifespan.stop(grace)
        runner.forget()
        # Of the thread that `aget` and the like use: PostgreSQL would not let go of the test's database.
        await sync_to_async(connections.close_all)()


class Frames:
    """What a test does with a socket of either kind: send a frame, await the next, or all up to one of a type."""

    async def send_text(self, text: str) -> None:
        raise NotImplementedError

    async def receive_text(self) -> str:
        raise NotImplementedError

    async def send(self, **frame: Any) -> None:
        await self.send_text(json.dumps(frame))

    async def receive(self) -> dict[str, Any]:
        return json.loads(await self.receive_text())

    async def until(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Return the frames up to the first of type `name` that has these fields."""
        frames = []
        while True:
            frame = await self.receive()
            frames.append(frame)
            if frame["type"] == name and fields.items() <= frame.items():
                return frames

    async def until_text(self, text: str) -> list[dict[str, Any]]:
        """Return the frames up to the one that brings `text` to its end, in however many events that comes."""
        frames: list[dict[str, Any]] = []
        while text not in text_of(frames):
            frames.append(await self.receive())
        return frames

    async def say(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a message and return everything up to its `complete`."""
        return await self.say_frame("start", message=message, **fields)

    async def say_frame(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a frame that asks for a reply and return everything up to its `complete`."""
        await self.send(type=name, **fields)
        return await self.until("complete")


def without_nonce(page: str) -> str:
    """Return a page without what differs each time that it is fetched."""
    return re.sub(r'nonce="[^"]*"', 'nonce=""', page)


def text_of(frames: list[dict[str, Any]], kind: str = "chunk") -> str:
    """Return the text that a client has after `frames`, by the numbering rules of the protocol."""
    text, last = "", 0
    for frame in frames:
        if "from" not in frame:
            last = frame.get("seq", last) if frame["type"] == "notice" else last
            continue
        if frame["from"] == 1:
            text = ""
        else:
            assert frame["from"] == last + 1, f"a gap: {last} then {frame}"
        last = frame["to"]
        if frame["type"] == kind:
            text += frame["content"]
    return text


class Socket(Frames):
    """A socket on the ASGI application in this process."""

    def __init__(
        self,
        session: str,
        headers: dict[str, str] | None = None,
        query: str | None = None,
        client: tuple[str, int] | None = None,
    ) -> None:
        encoded = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        self.communicator = WebsocketCommunicator(application, query or f"/ws?session={session}", encoded)
        self.communicator.scope["client"] = client

    async def __aenter__(self) -> Socket:
        self.accepted, _ = await self.communicator.connect(timeout=PATIENCE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.communicator.disconnect(timeout=PATIENCE)

    async def send_text(self, text: str) -> None:
        await self.communicator.send_to(text_data=text)

    async def send_bytes(self, data: bytes) -> None:
        await self.communicator.send_to(bytes_data=data)

    async def receive_text(self) -> str:
        return await self.communicator.receive_from(timeout=PATIENCE)

    async def receive_close(self) -> int:
        message = await self.communicator.receive_output(timeout=PATIENCE)
        assert message["type"] == "websocket.close", message
        return message["code"]


class Connection(Frames):
    """A socket on a server in another process, as a script makes one."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def send_text(self, text: str) -> None:
        await self.websocket.send(text)

    async def receive_text(self) -> str:
        return str(await asyncio.wait_for(self.websocket.recv(), PATIENCE))


@dataclass
class ServerProcess:
    """A real server on the test's own database."""

    port: int
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return self.url

    @asynccontextmanager
    async def connect(self, session: str, **headers: str) -> AsyncIterator[Connection]:
        """Open a socket; `headers` such as Origin and Cookie make it a browser's."""
        uri = f"ws://127.0.0.1:{self.port}/ws?session={session}"
        async with websockets.connect(uri, additional_headers=headers, max_size=None, proxy=None) as websocket:
            yield Connection(websocket)

    def children(self) -> list[psutil.Process]:
        """Return the living children of the server."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def peak_bytes(self) -> int:
        """Return the most memory that it has had so far: proc(5)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def server_process(
    stderr: IO[str] | None = None, program: Sequence[str] = ("-m", "sasha.server"), **environment: str
) -> Iterator[ServerProcess]:
    """Run Python's `program` on a free port and on the database of the test, which must be transactional.

    What it logs goes to `stderr`, or where the tester's own goes.
    """
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *program],
        cwd=settings.BASE_DIR,
        env=server_environment() | {"PORT": str(port)} | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    server = ServerProcess(port, process)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "Sasha Studio is at" in line, f"the server did not start: {line!r}"
        yield server
    except BaseException:
        # Why a server left too early stands nowhere else.
        print(Path(stderr.name).read_text()[-2000:] if stderr else "")
        raise
    finally:
        server.stop(signal.SIGKILL)
        process.stdout.close()


def server_environment() -> dict[str, str]:
    """Return the environment of a process that shares this test's database and nothing with the tester's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "SASHA_MODE": "local",
        "AICHAT": settings.AICHAT,
        "DATA_DIR": str(settings.DATA_DIR),
        "STATIC_ROOT": str(settings.STATIC_ROOT),
        "DATABASE_URL": database_url(),
        "PYTHONWARNINGS": "ignore",
    }


def database_url() -> str:
    """Return the address of the test's own database, for another process."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def without_guards(connection: Any) -> list[str]:
    """Return what lets the rest of a transaction change the audit, as only the owner of a database can."""
    if connection.vendor == "postgresql":
        return ["SET LOCAL session_replication_role = replica"]
    return [f"DROP TRIGGER IF EXISTS {name}" for name in append_only.SQLITE_TRIGGERS]


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def eventually(fact: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Return `fact()` as soon as it is true; for what no frame announces, such as the death of another process."""
    deadline = asyncio.get_running_loop().time() + within
    while not (found := fact()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {within} s: {fact}"
        await asyncio.sleep(0.01)
    return found
