"""One answer played to one client: its pace, its pieces, its fault, and the line that the ledger keeps of it."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import math
import re
import socket
import struct
import termios
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from providers.endings import Finish
from providers.simulator.dialects import Dialect
from providers.simulator.script import SLOW_CLOSE_SECONDS, Answer, Fault, Spec, answer

# Often enough to deceive any clock that takes a byte for progress.
HEARTBEAT_SECONDS = 0.1
# Between the pieces of a split token, so that they travel apart; and between two looks at what has arrived.
SPLIT_SECONDS = 0.001
# Tokens that an overdue stream may write before the others get their turn.
OVERDUE_TOKENS = 32
FINISHES: dict[Fault | None, Finish] = {Fault.LENGTH: Finish.LENGTH, Fault.FILTER: Finish.FILTER}


@dataclass(slots=True)
class Line:
    """One request in the ledger. What it counts was written to the socket; the client may have read less.

    `served` is what the provider would bill, told or not: the input, and the output up to where it ended; None where
    it refused. `usage` is what of that it has reported. Both have the fields of `providers.transcript.Usage`.
    `ended` is "whole", the fault that struck, "client_gone" before either, "stopped" with the simulator, or "" so far.
    `images` are the SHA-256 of those that came, in order. `late_ms` is the furthest that a token fell behind its pace.
    """

    id: int
    protocol: str
    model: str
    fault: str
    roles: tuple[str, ...]
    has_key: bool
    prompt_sha256: str
    prompt_characters: int
    input_characters: int
    images: tuple[str, ...] = ()
    tokens_sent: int = 0
    text_sha256: str = hashlib.sha256().hexdigest()
    served: dict[str, int | None] | None = None
    usage: dict[str, int | None] | None = None
    ended: str = ""
    open: bool = True
    seconds: float = 0
    late_ms: float = 0


class ClientGoneError(ConnectionError):
    """The client hung up."""


class Client:
    """The far side of one connection: written to in chunks, and noticed as soon as it hangs up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._transport = writer.transport
        self._gone = False
        self._overdue = 0
        self._pause: asyncio.Future[None] | None = None
        # Nothing may follow the request, so whatever ends this read is the client leaving.
        self._watch = self._loop.create_task(reader.read(1))
        self._watch.add_done_callback(self._left)

    def close(self) -> None:
        """Stop watching."""
        self._watch.cancel()

    async def until(self, when: float) -> None:
        """Sleep until the loop's time is `when`.

        Raises ClientGoneError the moment the client leaves: an answer must not outlive the one who asked.
        """
        if when > self._loop.time():
            await self._sleep(when)
        else:
            self._overdue += 1
            if self._overdue % OVERDUE_TOKENS == 0:
                await asyncio.sleep(0)
        if self._gone:
            raise ClientGoneError

    async def send(self, data: bytes) -> None:
        """Write one chunk; waits only while the client does not read."""
        # A chunk of no bytes would end the response.
        if data:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        if self._transport.get_write_buffer_size():
            try:
                await self._writer.drain()
            except ConnectionError as error:
                raise ClientGoneError from error

    async def send_split(self, data: bytes) -> None:
        """Write `data` as chunks that cut every character at each of its bytes, and the rest at its middle."""
        middle = len(data) // 2
        for half in (data[:middle], data[middle:]):
            for piece in re.split(rb"(?=[\x80-\xbf])", half):
                await self.send(piece)
                await self.until(self._loop.time() + SPLIT_SECONDS)

    def begin(self, content_type: str) -> None:
        """Write the headers of a stream."""
        self._transport.write(_head(200, content_type, "Transfer-Encoding: chunked"))

    def finish(self) -> None:
        """End the stream as HTTP demands, whatever was said in it."""
        self._transport.write(b"0\r\n\r\n")

    def respond(self, status: int, body: str | dict[str, Any] | list[Any]) -> None:
        """Write a whole response: a page, or JSON."""
        content_type = "text/html" if isinstance(body, str) else "application/json"
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self._transport.write(_head(status, content_type, f"Content-Length: {len(data)}") + data)

    async def reset(self) -> None:
        """Break the connection: without a linger time the kernel sends RST, not FIN."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        # RST throws away what the client has not acknowledged, and what arrives must be certain.
        while self._transport.get_write_buffer_size() or _unacknowledged(connection):
            await self.until(self._loop.time() + SPLIT_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def _sleep(self, when: float) -> None:
        self._pause = self._loop.create_future()
        timer = self._loop.call_at(when, _wake, self._pause)
        try:
            await self._pause
        finally:
            timer.cancel()

    def _left(self, watch: asyncio.Task[bytes]) -> None:
        # How it left makes no difference, but asyncio wants an exception to be seen.
        if not watch.cancelled():
            watch.exception()
        self._gone = True
        if self._pause:
            _wake(self._pause)


class Stream:
    """One answer on its way: its pace, its fault, and its line in the ledger."""

    def __init__(self, spec: Spec, dialect: Dialect, client: Client, line: Line) -> None:
        self.line = line
        self._spec = spec
        self._dialect = dialect
        self._client = client
        self._answer: Answer = answer(spec, dialect.question.prompt)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        # Each token has its own deadline, so that the pace does not drift.
        self._due = self._began + spec.first / 1_000

    async def run(self) -> None:
        """Send the answer up to its end or its fault; faults that last, last until the client leaves."""
        try:
            await self._run()
        except ClientGoneError:
            self.line.ended = self.line.ended or "client_gone"

    def note(self) -> None:
        """Bring the line up to date."""
        text = "".join(self._answer.tokens[: self._dialect.sent])
        usage = self._dialect.usage
        self.line.tokens_sent = self._dialect.sent
        self.line.text_sha256 = hashlib.sha256(text.encode()).hexdigest()
        self.line.served = asdict(self._dialect.served)
        self.line.usage = asdict(usage) if usage else None
        self.line.seconds = round(self._loop.time() - self._began, 4)

    async def _run(self) -> None:
        self._client.begin(self._dialect.content_type)
        if self._spec.fault is Fault.SILENT:
            self._strike()
            await self._client.until(math.inf)
        await self._client.send(self._dialect.opening())
        await self._send(self._answer.reasoning, self._dialect.reasoning)
        await self._send(self._answer.tokens, self._dialect.token)
        if self._spec.fault:
            # The fault comes when the next token was due.
            await self._turn()
        await self._end()

    async def _send(self, pieces: Iterable[str], say: Callable[[str], bytes]) -> None:
        send = self._client.send_split if self._spec.split else self._client.send
        for piece in pieces:
            await self._turn()
            await send(say(piece))

    async def _turn(self) -> None:
        await self._client.until(self._due)
        late_ms = (self._loop.time() - self._due) * 1_000
        # Without a gap there is no pace to fall behind.
        if late_ms > self.line.late_ms and self._spec.gap:
            self.line.late_ms = round(late_ms, 1)
        self._due += self._spec.gap / 1_000

    def _strike(self) -> None:
        self.line.ended = self.line.fault

    async def _end(self) -> None:
        match self._spec.fault:
            case Fault.STALL:
                self._strike()
                await self._client.until(math.inf)
            case Fault.HEARTBEAT:
                self._strike()
                await self._beat()
            case Fault.RESET:
                self._strike()
                await self._client.reset()
            case Fault.CUT:
                await self._break_off(b"")
            case Fault.ERROR:
                await self._break_off(self._dialect.error())
            case Fault.MALFORMED:
                await self._break_off(self._dialect.malformed)
            case _:
                await self._finish()

    async def _beat(self) -> None:
        while True:
            await self._client.send(self._dialect.heartbeat)
            await self._client.until(self._loop.time() + HEARTBEAT_SECONDS)

    async def _break_off(self, last: bytes) -> None:
        self._strike()
        await self._client.send(last)
        self._client.finish()

    async def _finish(self) -> None:
        await self._client.send(self._dialect.ending(FINISHES.get(self._spec.fault, Finish.NATURAL)))
        self.line.ended = self.line.fault or "whole"
        if self._spec.slowclose:
            await self._client.until(self._loop.time() + SLOW_CLOSE_SECONDS)
        await self._client.send(self._dialect.closing())
        self._client.finish()


def _head(status: int, content_type: str, length: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase(status)}", f"Content-Type: {content_type}", length, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


def phrase(status: int) -> str:
    """Return the words that go with a status."""
    # 529 is Anthropic's own.
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Overloaded"


def _unacknowledged(connection: socket.socket) -> int:
    # Linux only, as setpriv is.
    count: int = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
    return count


def _wake(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
