"""One WebSocket on our Daphne: backpressure both ways, refusals with a status, goodbyes, and a quick way out.

Method names are autobahn's and Twisted's; sasha/tests/test_server.py holds every one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from chat import protocol
from sasha.headers import came_over_tls, complete

# For the other side to answer a close frame. autobahn counts in whole seconds, rounded down: its own 1 may be over at
# once, and the connection reset before anybody has read why.
CLOSE_SECONDS = 3
# Frames of one socket that wait for the application before no more are read from it.
INBOUND_FRAMES = 16
INBOUND_LOOK_SECONDS = 0.02
# What Daphne refuses a handshake with.
CODE_OF_REJECTED = 403


class Protocol(WebSocketProtocol):
    """One WebSocket, with backpressure in both directions."""

    refusal = CODE_OF_REJECTED
    has_shaken_hands = False

    def onConnect(self, request: Any) -> Any:
        self.has_shaken_hands = True
        self.writable = asyncio.Event()
        self.writable.set()
        return super().onConnect(request)

    def onOpen(self) -> None:
        # The HTTP channel that this connection began as is told when the buffer is full; now it is us.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:
        self.writable.clear()

    def resumeProducing(self) -> None:
        self.writable.set()

    def stopProducing(self) -> None:
        self.writable.set()

    def cut(self) -> None:
        """End the connection at once: nobody reads."""
        self.dropConnection(abort=True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        if self.application_queue.qsize() >= INBOUND_FRAMES:
            self.transport.pauseProducing()
            asyncio.get_running_loop().call_later(INBOUND_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self.application_queue.qsize() < INBOUND_FRAMES:
            self.transport.resumeProducing()
        elif self.state == self.STATE_OPEN:
            asyncio.get_running_loop().call_later(INBOUND_LOOK_SECONDS, self._look_again)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        # A handshake that is no good ends before Daphne, or anybody, has heard of this socket.
        if self.has_shaken_hands:
            self.writable.set()
            super().onClose(wasClean, code, reason)

    def serverSend(self, content: str, binary: bool = False) -> None:
        """Send one frame, straight into the kernel where nothing waits before it.

        autobahn's framing and Twisted's round through the reactor are a quarter of what a token costs.
        """
        if self.state != self.STATE_OPEN:
            # The client has just gone, and the application is about to hear of it.
            return
        if binary:
            super().serverSend(content, binary)
            return
        payload = content.encode()
        frame = text_frame_header(len(payload)) + payload
        sent = 0
        if self.transport.connected and not (self.transport.dataBuffer or self.transport._tempDataBuffer):
            # A full buffer, or a connection that has just gone: Twisted's own write finds out and deals with it.
            with contextlib.suppress(OSError):
                sent = self.transport.socket.send(frame)
        if sent < len(frame):
            self.transport.write(frame[sent:])

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Refuse a handshake with the status that the application says; Daphne alone knows 403 only."""
        if message["type"] == "websocket.http.response.start":
            self.refusal = message["status"]
        elif message["type"] == "websocket.http.response.body":
            self.serverReject()
        else:
            super().handle_reply(message)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Answer a handshake that comes to nothing, with the headers of every response."""
        code = self.refusal if code == CODE_OF_REJECTED else code
        given = [(name.encode("latin1"), value.encode("latin1")) for name, value in self.http_headers.items()]
        own = [(b"Content-Length", b"0"), (b"Connection", b"close")]
        wanted = complete(own, is_secure=came_over_tls(given))
        headers = [(name.decode(), value.decode()) for name, value in wanted]
        super().failHandshake(HTTPStatus(code).phrase, code, [*(responseHeaders or ()), *headers])

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.factory.server_class.http_factory.leave(self.transport)

    def close_for_restart(self) -> None:
        """Say goodbye. autobahn's sendClose refuses 1012, so the frame is sent below it."""
        if self.state == self.STATE_OPEN:
            goodbye = protocol.Closing(protocol.CloseCode.RESTARTING, "The server is restarting.")
            self.sendMessage(protocol.encode(goodbye).encode(), False)
            self.sendCloseFrame(code=protocol.CloseCode.RESTARTING, isReply=False)


def text_frame_header(size: int) -> bytes:
    """Return the header of a whole, unmasked text frame with `size` bytes (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


class Factory(WebSocketFactory):
    """Makes our protocol; a message over the limit is answered with a close frame instead of a cut connection."""

    protocol = Protocol

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=CLOSE_SECONDS)
