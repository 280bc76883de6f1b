"""How requests come in, on the real server; its clocks in a channel without one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sasha import requests
from sasha.requests import (
    BODY_BYTES,
    BODY_SECONDS,
    FORM_BYTES,
    HEAD_SECONDS,
    LINGER_SECONDS,
    SMALL_BYTES,
    Channel,
    Factory,
    body_limit,
)
from sasha.testing import server_process
from sasha.tests.test_headers import WANTED

LIMIT = 1_000_000
LIMITS = {"CHAT_FILE_BYTES": str(LIMIT), "CHAT_IMPORT_BYTES": str(3 * LIMIT)}


# --- Limits, on the real server ---------------------------------------------------------------------------------------


@pytest.fixture
def server(transactional_db, tmp_path):
    with server_process(**LIMITS, TMPDIR=str(tmp_path)) as server:
        yield server


async def converse(port: int, *pieces: bytes, until: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Send the pieces as far as they are taken, and return the status, headers and body of what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body
    finally:
        writer.close()


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def bodies(path: str, size: int) -> list[list[bytes]]:
    """Return a request with a body of that size twice: with its length, and in chunks."""
    sizes = [0x10000] * (size // 0x10000) + [size % 0x10000] * bool(size % 0x10000)
    chunks = [b"%x\r\n%s\r\n" % (length, b"x" * length) for length in sizes]
    return [
        [head(path, f"Content-Length: {size}"), b"x" * size],
        [head(path, "Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n"],
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_a_body_over_the_limit_is_refused_and_never_kept(server, tmp_path):
    limits = {
        "/account/sign-in": BODY_BYTES,
        "/api/conversations/a/messages": BODY_BYTES,
        "/attachments?x=/import": LIMIT + FORM_BYTES,
        "/import": 3 * LIMIT + FORM_BYTES,
    }
    for path, limit in limits.items():
        for pieces in bodies(path, limit + 1):
            status, headers, body = await converse(server.port, *pieces)
            assert (status, headers["connection"]) == (413, "close"), path
            assert json.loads(body) == {"type": "error", "error": "This is too large.", "code": "too_large"}
            assert headers.items() >= WANTED.items()
    assert not any(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_a_body_at_the_limit_reaches_its_view(server):
    for pieces in bodies("/attachments", LIMIT + FORM_BYTES):
        status, *_ = await converse(server.port, *pieces)
        assert status == 400


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_a_form_is_read_once_and_by_django(transactional_db):
    size = 20_000_000
    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"x" * size + b"\r\n--x--\r\n"
    lines = [f"Content-Length: {len(form)}", "Content-Type: multipart/form-data; boundary=x"]
    with server_process() as server:
        before = server.peak_bytes()
        status, *_ = await converse(server.port, head("/import", *lines), form)
        assert status == 403
        assert server.peak_bytes() - before < 3 * size


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"CONNECTIONS": "3"}, {"CONNECTIONS_PER_ADDRESS": "3", "RATE_LIMITS": "true"}])
async def test_connections_beyond_the_limit_find_the_door_shut_until_another_ends(transactional_db, limit):
    with server_process(**limit) as server:
        async with server.connect("a") as socket:
            # A socket counts as what it was, and once.
            await socket.send(type="ping", t=1)
            assert (await socket.receive())["type"] == "pong"
            opened = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await converse(server.port, head("/api/connection", method="GET"))
            for _, writer in opened:
                writer.close()
                await writer.wait_closed()
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    status, *_ = await converse(server.port, head("/api/connection", method="GET"))
                    break
        assert status == 200


UPGRADE = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
HANDSHAKE = [*UPGRADE, "Sec-WebSocket-Version: 13"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_what_no_view_answers_has_the_headers_too(transactional_db):
    call_command("collectstatic", interactive=False, verbosity=0)
    asked = [
        ("/static/img/icon.svg", [], 200),
        # Daphne's own refusal of what would be a header further on.
        ("/", ["X-A: a\x0bOrigin: http://127.0.0.1"], 400),
        ("/ws?session=a", [*HANDSHAKE, "Origin: http://evil.example"], 403),
        ("/elsewhere", HANDSHAKE, 403),
        ("/ws?session=a", [*UPGRADE, "Sec-WebSocket-Version: 99"], 400),
    ]
    with server_process() as server:
        for path, lines, status in asked:
            got, headers, body = await converse(server.port, head(path, *lines, method="GET"))
            assert got == status, path
            assert headers.items() >= WANTED.items(), path
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "daphne" not in body.decode().lower()


PRODUCTION = {
    "SASHA_MODE": "production",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "ALLOWED_HOSTS": "127.0.0.1",
    "BEHIND_PROXY": "true",
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_behind_a_proxy_with_tls_refusals_tell_browsers_to_insist_on_it(transactional_db):
    asked = [
        ("/", ["X-A: a\x0bb"], 400),
        ("/", ["Content-Length: 999999999"], 413),
        ("/ws?session=a", [*HANDSHAKE, "Origin: http://evil.example"], 403),
        ("/ws?session=a", [*UPGRADE, "Sec-WebSocket-Version: 99"], 400),
    ]
    with server_process(**PRODUCTION) as server:
        for path, lines, status in asked:
            for scheme in ("https", "http"):
                line = f"X-Forwarded-Proto: {scheme}"
                got, headers, _ = await converse(server.port, head(path, line, *lines, method="GET"))
                assert got == status, path
                assert ("strict-transport-security" in headers) is (scheme == "https"), path


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_no_header_moves_the_site_to_another_path(server):
    """Daphne takes one for SCRIPT_NAME, from whoever sends it."""
    for value in ("//evil.example", "/elsewhere", "%0d%0a", "é", ""):
        line = f"Daphne-Root-Path: {value}"
        status, headers, _ = await converse(server.port, head("/admin/", line, method="GET"))
        assert (status, headers["location"]) == (302, "/admin/login/?next=/admin/")
        status, *_ = await converse(server.port, head("/ws?session=a", *HANDSHAKE, line, method="GET"))
        assert status == 101


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_no_compression_is_agreed_on(server):
    """What is small on the wire may be without end when it is unpacked."""
    offered = [
        *HANDSHAKE,
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame",
    ]
    status, headers, _ = await converse(server.port, head("/ws?session=a", *offered, method="GET"))
    assert status == 101
    assert "sec-websocket-extensions" not in headers


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
async def test_a_refused_handshake_is_no_fault_of_the_server(transactional_db, tmp_path):
    with (tmp_path / "log").open("w+") as log:
        with server_process(log) as server:
            status, *_ = await converse(server.port, head("/ws?session=a", *HANDSHAKE))
            # In order, so that everything has been said.
            assert server.stop() == 0
        assert status == 405
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"CHAT_SOCKETS": "1"}, 503),
        ({"CHAT_SOCKETS_PER_ADDRESS": "1", "RATE_LIMITS": "true"}, 429),
        ({"RATE_SOCKETS_PER_ADDRESS": "1/hour", "RATE_LIMITS": "true"}, 429),
    ],
)
async def test_a_socket_too_many_is_refused_with_a_status(transactional_db, environment, status):
    with server_process(**environment) as server:
        async with server.connect("a"):
            got, headers, _ = await converse(server.port, head("/ws?session=b", *HANDSHAKE, method="GET"))
    assert got == status
    assert headers.items() >= WANTED.items()


# --- Clocks -----------------------------------------------------------------------------------------------------------


SERVER = SimpleNamespace(protocol_connected=lambda _: None, protocol_disconnected=lambda _: None)


class Line:
    """One connection to a channel of ours, under a clock that is moved by hand."""

    def __init__(self, factory: Factory | None = None, address: str = "192.0.2.1") -> None:
        self.clock = Clock()
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", address, 40_000))
        self.transport.abortConnection = self.transport.loseConnection
        self.channel = Channel()
        self.channel.callLater = self.clock.callLater
        self.channel.factory = factory or Factory(SERVER)
        self.channel.factory.timeOut = 60
        self.channel.factory.log = lambda _: None
        self.channel.timeOut = 60
        self.channel.makeConnection(self.transport)

    @property
    def is_open(self) -> bool:
        return not self.transport.disconnecting

    def drip(self, data: bytes, seconds: int) -> int:
        """Send a byte a second; return after how many seconds the line was cut."""
        for second in range(seconds):
            if not self.is_open:
                return second
            self.channel.dataReceived(data[second : second + 1] or b"x")
            self.clock.advance(1)
        return seconds


def test_a_head_that_comes_byte_by_byte_is_cut():
    line = Line()
    assert line.drip(b"GET / HTTP/1.1\r\nX-Slow: ", 100) == HEAD_SECONDS
    assert not line.is_open


def test_who_has_said_nothing_yet_has_longer():
    line = Line()
    line.clock.advance(59)
    assert line.is_open
    line.clock.advance(2)
    assert not line.is_open


@pytest.mark.parametrize("lines", ["Content-Length: 80000", "Transfer-Encoding: chunked"])
def test_a_body_that_comes_byte_by_byte_is_cut(lines):
    line = Line()
    line.channel.dataReceived(f"POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n".encode())
    data = b"13880\r\n" if "chunked" in lines else b""
    size = body_limit(b"/") if "chunked" in lines else 80_000
    assert BODY_SECONDS < line.drip(data, 1000) <= BODY_SECONDS + size / 8192 + 1


def test_what_is_sent_behind_a_refusal_is_thrown_away_and_then_cut_off():
    line = Line()
    line.channel.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
    assert line.transport.value().startswith(b"HTTP/1.1 413 ")
    line.channel.dataReceived(b"GET / HTTP/1.1\r\n\r\n" * 100)
    assert line.transport.value().count(b"HTTP/1.1") == 1
    line.clock.advance(LINGER_SECONDS)
    assert not line.is_open


# --- What is no HTTP --------------------------------------------------------------------------------------------------

# Where one server might see an end of a request and another none.
AMBIGUOUS = [
    "Content-Length: 3\r\nContent-Length: 5",
    "Content-Length: 3, 3",
    "Content-Length: +3",
    "Content-Length: " + "9" * 5000,
    "Content-Length: 6\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 6",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding : chunked",
    "X-A: a\rX-B: b",
    "X-A: a\0",
    "X-A: " + "a" * 20_000,
]


@pytest.mark.parametrize("lines", AMBIGUOUS)
@pytest.mark.parametrize("last", ["", "Expect: 100-continue\r\n"])
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_another(lines, last):
    line = Line()
    line.channel.dataReceived(f"POST / HTTP/1.1\r\n{lines}\r\n{last}\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
    answer = line.transport.value()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Content-Security-Policy" in answer
    line.clock.advance(LINGER_SECONDS)
    assert not line.is_open


# --- How much is held of unfinished bodies ----------------------------------------------------------------------------


def begin_body(line: Line, size: int) -> None:
    line.channel.dataReceived(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 80000\r\n\r\n" + b"x" * size)


@pytest.fixture
def little(settings, monkeypatch):
    settings.RATE_LIMITS, settings.PROXIES, settings.CHAT_IMPORT_BYTES = True, 0, 50_000
    monkeypatch.setattr(requests, "HELD_BYTES_PER_ADDRESS", 100_000)
    monkeypatch.setattr(requests, "HELD_BYTES", 200_000)
    return settings


def test_one_address_cannot_leave_more_bodies_unfinished_than_there_is_room_for(little):
    factory = Factory(SERVER)
    lines = [Line(factory) for _ in range(3)]
    for line in lines:
        begin_body(line, 60_000)
    assert [b" 429 " in line.transport.value() for line in lines] == [False, False, True]
    other = Line(factory, "192.0.2.7")
    begin_body(other, 60_000)
    assert other.transport.value() == b""


def test_what_has_ended_leaves_room_for_the_next(little):
    factory = Factory(SERVER)
    for _ in range(5):
        line = Line(factory)
        begin_body(line, 60_000)
        assert line.transport.value() == b""
        line.channel.connectionLost(Failure(ConnectionDone()))
    assert not factory._held


@pytest.mark.parametrize("proxies", [0, 1])
def test_all_together_cannot_leave_more_bodies_unfinished_than_there_is_room_for(little, proxies):
    """Behind a proxy, whose connections all are, as well."""
    little.PROXIES = proxies
    factory = Factory(SERVER)
    lines = [Line(factory, "192.0.2.7" if proxies else f"192.0.2.{number}") for number in range(5)]
    for line in lines:
        begin_body(line, 60_000)
    assert [b" 503 " in line.transport.value() for line in lines] == [False] * 4 + [True]
    assert b"Retry-After: 10\r\n" in lines[-1].transport.value()
    small = Line(factory)
    begin_body(small, SMALL_BYTES)
    assert small.transport.value() == b""
    for line in (*lines, small):
        line.channel.connectionLost(Failure(ConnectionDone()))
    assert factory._held_in_all == 0


def test_a_body_that_the_application_has_is_not_on_the_disk_any_more():
    queue: asyncio.Queue = asyncio.Queue()
    what_daphne_has = {"proxy_forwarded_address_header": None, "root_path": "", "request_buffer_size": 8192}
    server = SimpleNamespace(**vars(SERVER), **what_daphne_has, create_application=lambda *_: queue)
    line = Line(Factory(server))
    line.channel.dataReceived(head("/import", "Content-Length: 2000000") + b"x" * 2_000_000)
    assert line.channel.requests[0].content.closed
    assert sum(len(queue.get_nowait()["body"]) for _ in range(queue.qsize())) == 2_000_000
    line.channel.connectionLost(Failure(ConnectionDone()))


SESSION = "Cookie: a=b; sessionid=x"


@pytest.mark.parametrize("path", ["/import", "/attachments"])
@pytest.mark.parametrize("body", ["Content-Length: 2000000", "Transfer-Encoding: chunked"])
def test_only_who_may_have_an_account_may_send_much(settings, path, body):
    settings.LOCAL_MODE = False

    def answer_to(*lines: str) -> bytes:
        line = Line()
        line.channel.dataReceived(head(path, body, *lines))
        line.channel.dataReceived(b"1e8480\r\n" + b"x" * (BODY_BYTES + 1))
        line.channel.connectionLost(Failure(ConnectionDone()))
        return line.transport.value()[:13]

    for lines in ([], ["Cookie: a=sessionid; sasha_guest=x"], ["Authorization: Basic eDp5"]):
        assert answer_to(*lines) == b"HTTP/1.1 401 "
    for lines in ([SESSION], ["Authorization: Bearer sasha_x"]):
        assert answer_to(*lines) == b""
    settings.LOCAL_MODE = True
    assert answer_to() == b""
