"""How an HTTP request comes in: how large and how slow it may be, and over how many connections.

Daphne alone writes whatever comes to disk before the application hears of it, and waits for ever for who sends a byte
now and then. Method names are Twisted's; sasha/tests/test_requests.py holds every one of them.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from django.http import parse_cookie
from django.urls import reverse
from twisted.web.http import HTTPChannel

from chat import protocol, rates, tokens
from sasha.headers import Headers
from sasha.refusals import make_refusal

# What a form adds to its file.
FORM_BYTES = 64 * 1024
# Of everything else: a frame over HTTP, and every form; what is a little too large gets its view's own words.
BODY_BYTES = 2 * protocol.FRAME_LIMIT
# Of all the bodies under way, and of those from one address, each beside one import: they take memory, and room for
# temporary files, of which a container has 256 MB.
HELD_BYTES = 128 * 1024 * 1024
HELD_BYTES_PER_ADDRESS = 64 * 1024 * 1024
# So much of a body always finds room: people write and sign in while files fill it.
SMALL_BYTES = 8 * 1024
# Between two requests.
IDLE_SECONDS = 60
# For all of a request's head, from its first byte on.
HEAD_SECONDS = 15
# For all of a body, and on top the time that it takes at the slowest rate.
BODY_SECONDS = 30
SLOWEST_BYTES_PER_SECOND = 8 * 1024
# How long what is still being sent is read and thrown away, so that its sender gets to read the refusal.
LINGER_SECONDS = 2.0


def body_limit(target: bytes) -> int:
    """Return how many bytes the body of a request for this path and query may have."""
    path = target.partition(b"?")[0].decode("latin1")
    if path == reverse("chat:upload"):
        return settings.CHAT_FILE_BYTES + FORM_BYTES
    if path == reverse("chat:import"):
        return settings.CHAT_IMPORT_BYTES + FORM_BYTES
    return BODY_BYTES


class Request(WebRequest):
    """One request; what the server itself answers has the headers of every response."""

    def __init__(self, channel: Channel, *args: Any, **kwargs: Any) -> None:
        # Django reads forms. Twisted would do so before, on the loop, and with thirteen times their size in memory.
        super().__init__(channel, *args, parsePOSTFormSubmission=False, **kwargs)
        # Kept, since a request loses its channel with the connection.
        self.writable, self.cut = channel.writable, channel.forceAbortClient

    def gotLength(self, length: int | None) -> None:
        """Make room for the body: what is small stays in memory, also where nobody has said how long it will be."""
        if self.channel.limit <= BODY_BYTES:
            self.content = io.BytesIO()
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body, unless there are too many: who sends in chunks does not say beforehand."""
        if self.content.tell() + len(data) > self.channel.limit:
            self.channel.refuse(self.channel.status_above)
        elif status := self.channel.factory.hold(self.channel.transport, len(data)):
            self.channel.refuse(status)
        if not self.channel.is_refused:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Hand the request to the application; its queue has the body now, which need not wait on the disk as well."""
        super().process()
        if self.application_queue and not self.finished:
            self.content.close()

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Send what the application says; to HEAD no body: Twisted leaves out the first piece of one alone."""
        if message["type"] == "http.response.body" and self.method == b"HEAD":
            message = {**message, "body": b""}
        super().handle_reply(message)

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Answer instead of the application: as Daphne does, without its page."""
        headers, content = make_refusal(status, _pairs(self))
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})


class Channel(HTTPChannel):
    """One connection, for one request after the other until it becomes a WebSocket."""

    requestFactory = Request
    # Of the body that comes, in bytes, and how more than that is answered.
    limit = 0
    status_above = 413
    is_refused = False
    _is_idle = True
    _abortingCall: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.writable = asyncio.Event()
        self.writable.set()

    def connectionMade(self) -> None:
        self.factory.enter(self.transport)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        self.factory.leave(self.transport)
        super().connectionLost(reason)
        self.writable.set()

    def pauseProducing(self) -> None:
        self.writable.clear()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.writable.set()

    def loseConnection(self) -> None:
        """Close once the rest has been read, and soon in any case; Twisted alone waits for ever for who does not."""
        if self._abortingCall is None:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        super().loseConnection()

    def resetTimeout(self) -> None:
        """Do not let every byte buy more time, as Twisted does: what is set is for a whole head, or a whole body."""

    def dataReceived(self, data: bytes) -> None:
        if self._is_idle:
            self._is_idle = False
            self.setTimeout(HEAD_SECONDS)
        if not self.is_refused:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        # The lines behind a refused one came with it, and are no other request.
        if not self.is_refused:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(400)

    def rawDataReceived(self, data: bytes) -> None:
        if not self.is_refused:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        try:
            is_good: bool = super().headerReceived(line)
        except ValueError:
            # A length of thousands of digits, of which Python makes no number.
            self.refuse(400)
            return False
        return is_good

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Refuse what is no HTTP with the headers of every response; Twisted alone sends a bare line."""
        self.refuse(400)

    def allHeadersReceived(self) -> None:
        # Whoever asks would choose what every link begins with; a WebSocket has its headers from here, too.
        self.requests[-1].requestHeaders.removeHeader(b"Daphne-Root-Path")
        self._set_limit()
        if self.length is not None and self.length > self.limit:
            # Twisted goes on to read a body, and finds that it is refused.
            self.refuse(self.status_above)
            return
        if self.length != 0:
            size = self.limit if self.length is None else self.length
            self.setTimeout(BODY_SECONDS + size / SLOWEST_BYTES_PER_SECOND)
        super().allHeadersReceived()

    def _set_limit(self) -> None:
        self.limit, self.status_above = body_limit(self._path), 413
        if self.limit > BODY_BYTES and not _brings_account(self.requests[-1].requestHeaders):
            # The view would say the same, once it had all of it.
            self.limit, self.status_above = BODY_BYTES, 401

    def allContentReceived(self) -> None:
        if not self.is_refused:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._is_idle, self._savedTimeOut = True, self.factory.timeOut
        self.factory.let_go(self.transport)
        super().requestDone(request)

    def refuse(self, status: int) -> None:
        """Answer, and close the connection: nothing of what is still to come is kept."""
        if self.is_refused:
            return
        self.is_refused = True
        self.setTimeout(None)
        # There is no request where its first line is none.
        headers, content = make_refusal(status, _pairs(self.requests[-1]) if self.requests else [])
        reason = HTTPStatus(status).phrase.encode()
        self.writeHeaders(b"HTTP/1.1", str(status).encode(), reason, [*headers, (b"Connection", b"close")])
        self.write(content)
        self.callLater(LINGER_SECONDS, self.transport.abortConnection)


@dataclass
class Line:
    """One connection, whatever it has become: where it comes from, and how much of a body has come over it so far."""

    address: str | None
    held: int = 0


class Factory(HTTPFactory):
    """Makes our channels, so many at a time; who comes on top finds the door shut."""

    protocol = Channel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = IDLE_SECONDS
        # By their transports, which stay the same where a connection becomes a WebSocket.
        self._open: dict[Any, Line] = {}
        self._by_address: Counter[str | None] = Counter()
        self._held: Counter[str | None] = Counter()
        self._held_in_all = 0

    def buildProtocol(self, addr: Any) -> Channel | None:
        address = rates.network_of(getattr(addr, "host", None))
        is_full = _is_counted() and self._by_address[address] >= settings.CONNECTIONS_PER_ADDRESS
        if is_full or len(self._open) >= settings.CONNECTIONS:
            return None
        # Past Daphne's, which would put its own class of requests in.
        channel: Channel = super(HTTPFactory, self).buildProtocol(addr)
        return channel

    def enter(self, transport: Any) -> None:
        """Count a connection."""
        line = Line(rates.network_of(getattr(transport.getPeer(), "host", None)))
        self._open[transport] = line
        self._by_address[line.address] += 1

    def leave(self, transport: Any) -> None:
        """Count a connection no longer, whatever it has become."""
        if transport in self._open:
            self.let_go(transport)
            _take(self._by_address, self._open.pop(transport).address, 1)

    def hold(self, transport: Any, size: int) -> int | None:
        """Count so many bytes more of a body; return the status to refuse it with where there is no room for them."""
        line = self._open[transport]
        line.held += size
        self._held[line.address] += size
        self._held_in_all += size
        if line.held <= SMALL_BYTES:
            return None
        if _is_counted() and self._held[line.address] > HELD_BYTES_PER_ADDRESS + settings.CHAT_IMPORT_BYTES:
            return 429
        return 503 if self._held_in_all > HELD_BYTES + settings.CHAT_IMPORT_BYTES else None

    def let_go(self, transport: Any) -> None:
        """Count the body of a connection no longer."""
        if line := self._open.get(transport):
            _take(self._held, line.address, line.held)
            self._held_in_all -= line.held
            line.held = 0


def _brings_account(headers: Any) -> bool:
    """Whether a request has a session or a token, good or bad; in local mode nobody needs one."""
    cookies = parse_cookie("; ".join(_texts(headers, b"Cookie")))
    authorization = "".join(_texts(headers, b"Authorization")[:1])
    return settings.LOCAL_MODE or settings.SESSION_COOKIE_NAME in cookies or tokens.is_meant(authorization)


def _pairs(request: Request) -> Headers:
    """Return the headers of a request as the application gets them."""
    return [(name.lower(), value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]


def _texts(headers: Any, name: bytes) -> list[str]:
    return [value.decode("latin1") for value in headers.getRawHeaders(name, ())]


def _is_counted() -> bool:
    # Behind a proxy all connections are the proxy's.
    return settings.RATE_LIMITS and not settings.PROXIES


def _take(counter: Counter[str | None], address: str | None, count: int) -> None:
    counter[address] -= count
    if counter[address] <= 0:
        del counter[address]
