"""Who reads slowly gets everything, who does not read is cut: on the real server, with shorter clocks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest
from django.contrib.auth.models import User
from django.core import signing

from chat.identity import GUEST_COOKIE, SALT
from chat.models import Attachment, AttachmentKind
from sasha.testing import PATIENCE, ServerProcess, eventually, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

# Of 20, 15 and 60 seconds.
CLOCKS = "server.STALL_SECONDS = server.requests.Channel.abortTimeout = server.requests.IDLE_SECONDS"
COOKIE = f"Cookie: {GUEST_COOKIE}={signing.dumps('alice', salt=SALT)}"
PIECE = 65_536


@pytest.fixture
def server(transactional_db, request):
    """A server whose clocks are short; the test may name the seconds by `parametrize(..., indirect=True)`."""
    seconds = getattr(request, "param", 0.5)
    program = f"import sys; from sasha import server; {CLOCKS} = {seconds}; sys.exit(server.main())"
    with server_process(program=("-c", program)) as server:
        yield server


async def keep_file(size: int) -> str:
    """Store a file of Alice's; return its path."""
    guest, _ = await User.objects.aget_or_create(username="guest-alice")
    kept = {"name": "a.txt", "kind": AttachmentKind.TEXT, "media_type": "text/plain", "data": b"x" * size}
    return (await Attachment.objects.acreate(owner=guest, **kept)).get_absolute_url()


@asynccontextmanager
async def asked(server: ServerProcess, path: str, *lines: str, method: str = "GET") -> AsyncIterator[socket.socket]:
    """Ask over a socket of its own, for which this side's kernel keeps little: what waits, waits at the server."""
    with socket.socket() as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        asking.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(asking, ("127.0.0.1", server.port))
        head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", COOKIE, *lines, "", ""]
        await loop.sock_sendall(asking, "\r\n".join(head).encode())
        yield asking


async def begins(asking: socket.socket) -> None:
    """Wait for the beginning of a response."""
    assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(asking, 1), PATIENCE) == b"H"


def holds(server: ServerProcess, asking: socket.socket) -> bool:
    """Whether the server has that connection still; what it has given to the kernel is not its own any more."""
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    return asking.getsockname() in [connection.raddr for connection in connections]


async def read_all(asking: socket.socket, *, pause: float = 0) -> bytes:
    """Read a response to its last byte, or as far as it comes."""
    loop, read = asyncio.get_running_loop(), b""
    while b"\r\n\r\n" not in read or len(read) < length_of(read):
        piece = await asyncio.wait_for(loop.sock_recv(asking, PIECE // 4), PATIENCE)
        if not piece:
            break
        read += piece
        await asyncio.sleep(pause)
    return read


def length_of(read: bytes) -> int:
    """Return how long a response is, head included."""
    head = read[: read.index(b"\r\n\r\n") + 4]
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
    return len(head) + int(lines[b"content-length"])


@pytest.mark.parametrize("server", [2], indirect=True)
async def test_who_reads_slowly_gets_everything(server):
    """Much longer than nothing may be read, and than an idle connection is kept."""
    size = 3_000_000
    path = await keep_file(size)

    async def get(*lines: str) -> None:
        async with asked(server, path, *lines) as asking:
            read = await read_all(asking, pause=0.03)
        assert read.endswith(b"\r\n\r\n" + b"x" * size)

    await asyncio.gather(get(), get("Connection: close"))


@pytest.mark.parametrize("lines", [[], ["Connection: close"]])
async def test_who_does_not_read_is_cut_wherever_they_stop(server, lines):
    """Also where little is left, and the server has done its part."""
    paths = [await keep_file(pieces * PIECE // 2) for pieces in range(1, 14)]

    async def is_cut(path: str) -> None:
        async with asked(server, path, *lines) as asking:
            await begins(asking)
            await eventually(lambda: not holds(server, asking))

    await asyncio.gather(*map(is_cut, paths))


async def test_who_goes_in_the_middle_makes_room_at_once(transactional_db, tmp_path):
    """A person's third download waits for one of the first two."""
    path = await keep_file(8_000_000)
    with (tmp_path / "stderr").open("w") as stderr, server_process(stderr) as server:
        async with AsyncExitStack() as third:
            async with AsyncExitStack() as others:
                for _ in range(2):
                    other = await others.enter_async_context(asked(server, path))
                    await begins(other)
                    # Until the server waits for them.
                    await eventually(lambda other=other: count_unsent(server, other) > PIECE)
                asking = await third.enter_async_context(asked(server, path))
            await begins(asking)
    # What Daphne says when it ends by force, after some seconds, what has not ended by itself.
    assert "took too long" not in (tmp_path / "stderr").read_text()


async def test_the_kernel_keeps_little_for_who_does_not_read(server):
    """By itself it takes four megabytes of one response, which count as the server's memory."""
    async with asked(server, await keep_file(10_000_000)) as asking:
        waiting: list[int] = []
        await begins(asking)
        await eventually(lambda: waiting.append(count_unsent(server, asking)) or not holds(server, asking))
    assert 0 < max(waiting) < 6 * PIECE


def count_unsent(server: ServerProcess, asking: socket.socket) -> int:
    """Return how many bytes the kernel has taken from the server, and not been able to send yet: proc(5)."""
    ends = [f":{port:04X}" for port in (server.port, asking.getsockname()[1])]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].split(":")[0], 16) for row in rows if [row[1][-5:], row[2][-5:]] == ends)


async def test_a_head_is_sent_without_the_body(server):
    async with asked(server, await keep_file(3 * PIECE), method="HEAD") as asking:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(asking, f"GET /api/connection HTTP/1.1\r\nHost: 127.0.0.1\r\n{COOKIE}\r\n\r\n".encode())
        heads = b""
        while heads.count(b"\r\n\r\n") < 2:
            heads += await asyncio.wait_for(loop.sock_recv(asking, PIECE), PATIENCE)
    first, second, _ = heads.split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.startswith(b"HTTP/1.1 200 OK")
