"""A proxy between browser and server that does what real ones do to WebSockets and streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

END = b"\r\n\r\n"


@dataclass
class Proxy:
    """Passes everything on, except as the switches say; they hold from the next connection on."""

    port: int
    server_port: int
    # Answers a handshake of a WebSocket with 400, as a proxy that has not been told of them.
    refuses_sockets: bool = False
    # Passes nothing on but pages.
    refuses_api: bool = False
    # Keeps what a server sends on an open WebSocket, or in a stream, until that ends.
    holds_sockets: bool = False
    holds_streams: bool = False
    # Passes it on so many seconds late.
    delay: float = 0
    # Cuts each WebSocket after so many bytes from the server.
    cuts_after: int | None = None
    removes: set[str] = field(default_factory=set)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    handshakes: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Cut everything that is open."""
        for writer in list(self.writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request on, and its answer back."""
        self.writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        self.writers.discard(writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(END)
        first, *lines = head[: -len(END)].split(b"\r\n")
        headers = {line.split(b":")[0].decode().lower(): line for line in lines}
        is_socket = "upgrade" in headers
        self.handshakes += is_socket
        if (is_socket and self.refuses_sockets) or (self.refuses_api and b" /api/" in first):
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        if not is_socket:
            headers["connection"] = b"Connection: close"
        kept = [line for name, line in headers.items() if name not in self.removes]
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        self.writers.add(to_writer)
        to_writer.write(b"\r\n".join([first, *kept]) + END)
        upwards = asyncio.create_task(self._up(reader, to_writer))
        try:
            await self._down(to_reader, writer, is_socket)
        finally:
            upwards.cancel()
            self.writers.discard(to_writer)
            to_writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_socket: bool) -> None:
        head = await reader.readuntil(END)
        writer.write(head)
        is_stream = b"text/event-stream" in head
        holds = self.holds_sockets if is_socket else self.holds_streams and is_stream
        left = self.cuts_after if is_socket else None
        held = b""
        while data := await reader.read(65_536):
            if holds:
                held += data
                continue
            if self.delay and (is_socket or is_stream):
                await asyncio.sleep(self.delay)
            if left is not None:
                data, left = data[:left], left - len(data)
            writer.write(data)
            if left is not None and left <= 0:
                await writer.drain()
                return
        writer.write(held)


@asynccontextmanager
async def running_proxy(port: int, server_port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port, server_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
