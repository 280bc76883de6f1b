"""The frames of the socket over plain HTTP, for networks that break WebSockets and for scripts without one.

Both directions go through the socket's own consumer, so that they can do, refuse and count what it does: what comes in
is one frame that it handles, what goes out is what it would send behind a first frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

from asgiref.sync import SyncToAsync, sync_to_async
from channels.layers import get_channel_layer
from django.db import connections
from django.utils import translation
from django.utils.translation import gettext as _

from chat import groups, protocol
from chat.consumers import ChatConsumer
from chat.identity import Visitor

# Proxies cut what is silent for long, some after 30 seconds.
HEARTBEAT_SECONDS = 15.0
# Frames that wait for a reader before the consumer waits for them, as a socket would make it.
UNREAD_FRAMES = 16


class SingleFrame(ChatConsumer):
    """One frame that came with a request. Nobody leaves afterwards, so nothing is stopped."""

    def __init__(self, visitor: Visitor, session: str) -> None:
        super().__init__()
        self.visitor, self.session = visitor, session
        self.channel_layer = get_channel_layer()
        # Nobody's: the sender's own page hears of it over its event stream, as all the others do.
        self.channel_name = ""
        self.base_send = self._keep
        self.answers: list[dict[str, Any]] = []

    async def handle(self, text: str) -> list[dict[str, Any]]:
        """Do what the frame in `text` asks for and return the frames that answer it, as plain objects."""
        await self.websocket_receive({"type": "websocket.receive", "text": text})
        return self.answers

    async def _keep(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.answers.append(json.loads(message["text"]))

    async def _join(self) -> None:
        assert self.visitor is not None
        self.group = groups.name_of(self.visitor.key, self.session)

    def _follow(self, reply_id: Any, after: int) -> None:
        """Leave the answer to whoever asks for its events."""


class FrameStream:
    """What a socket of `visitor` would be sent behind its frame `first`, for as long as somebody reads.

    It is counted as a socket, refused like one, and closed like one. With `reply_id`, nothing but that reply, and its
    `complete` is the end. With `seconds`, it ends after them.
    """

    def __init__(
        self,
        visitor: Visitor,
        session: str,
        first: dict[str, Any],
        *,
        reply_id: str | None = None,
        seconds: float | None = None,
    ) -> None:
        self._scope = {
            "type": "websocket",
            "path": "/ws",
            "query_string": urlencode({"session": session}).encode(),
            # The language that the request has been given.
            "headers": [(b"accept-language", translation.get_language().encode())],
            "visitor": visitor,
        }
        self._first = first
        self._reply_id = reply_id
        self._ends_at = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._frames: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(UNREAD_FRAMES)
        self._consumer: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncGenerator[bytes]:
        return self._events()

    def close(self) -> None:
        """Let go of everything: Django calls this, on some thread, when the response has ended or its reader left."""
        if self._consumer and not self._consumer.done():
            self._consumer.get_loop().call_soon_threadsafe(self._consumer.cancel)

    async def _events(self) -> AsyncGenerator[bytes]:
        """Yield the frames in the format of text/event-stream, and a comment where there was none for a while."""
        await give_thread_back()
        OPEN_STREAMS.add(self)
        self._consumer = asyncio.create_task(self._consume())
        try:
            # Makes proxies pass the head of the response on.
            yield COMMENT
            while not self._is_over() and (frame := await self._next()):
                yield COMMENT if frame is SILENCE else as_event(frame)
                if self._reply_id and frame.get("type") == protocol.Complete.type:
                    return
        finally:
            self.close()

    async def _next(self) -> dict[str, Any] | None:
        """Return the next frame to send, SILENCE after HEARTBEAT_SECONDS without any, None at the end."""
        try:
            async with asyncio.timeout_at(self._next_beat()):
                frame = await self._frames.get()
                while not self._is_wanted(frame):
                    frame = await self._frames.get()
                return frame
        except TimeoutError:
            return SILENCE

    def _next_beat(self) -> float:
        beat = asyncio.get_running_loop().time() + HEARTBEAT_SECONDS
        return beat if self._ends_at is None else min(beat, self._ends_at)

    def _is_over(self) -> bool:
        return self._ends_at is not None and asyncio.get_running_loop().time() >= self._ends_at

    def _is_wanted(self, frame: dict[str, Any] | None) -> bool:
        if frame is None or self._reply_id is None or frame["type"] == protocol.Closing.type:
            return True
        return frame.get("replyId") == self._reply_id

    async def _consume(self) -> None:
        """Speak to the consumer as a server does: a connection, one frame, and then silence."""
        arriving: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        arriving.put_nowait({"type": "websocket.connect"})
        arriving.put_nowait({"type": "websocket.receive", "text": json.dumps(self._first)})
        try:
            await ChatConsumer()(self._scope, arriving.get, self._take)
        finally:
            OPEN_STREAMS.discard(self)

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await self._frames.put(json.loads(message["text"]))
        elif message["type"] == "websocket.close":
            await self._frames.put(None)

    def close_for_restart(self) -> None:
        """Say goodbye to the reader; whoever has not read what came before is cut."""
        goodbye = protocol.Closing(protocol.CloseCode.RESTARTING, _("The server is restarting."))
        with contextlib.suppress(asyncio.QueueFull):
            self._frames.put_nowait(json.loads(protocol.encode(goodbye)))
            self._frames.put_nowait(None)


OPEN_STREAMS: set[FrameStream] = set()


def close_all() -> None:
    """End every stream: the server stops."""
    for stream in list(OPEN_STREAMS):
        stream.close_for_restart()


def as_event(frame: dict[str, Any]) -> bytes:
    """Return one frame as an event, without `event:`: a frame is called `error`, and a browser's own event is, too.

    Its id is what `Last-Event-ID` brings back: the number reached, and of the last one that there is nothing behind it.
    """
    seq = frame.get("to", frame.get("seq"))
    mark = "" if seq is None else f"id: {seq}{END_MARK if frame['type'] == protocol.Complete.type else ''}\n"
    return f"{mark}data: {json.dumps(frame, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


COMMENT = b": \n\n"
# In place of a frame.
SILENCE: dict[str, Any] = {"type": None}
# Behind the number in the id of `complete`: a browser would connect again and again to a stream that has ended.
END_MARK = ".end"


async def give_thread_back() -> None:
    """Free the thread that Django keeps for the synchronous parts of a request until its response has ended.

    A stream may last for hours, and needs none: https://github.com/django/asgiref#threading. A part that comes later
    gets another.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context and context in SyncToAsync.context_to_thread_executor:
        await sync_to_async(connections.close_all)()
        SyncToAsync.context_to_thread_executor.pop(context).shutdown(wait=False)
