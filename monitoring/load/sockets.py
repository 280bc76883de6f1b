"""The site as a plain script sees it: one WebSocket, no cookie, no Origin, frames read by the protocol's rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chat import protocol
from chat.protocol import CloseCode
from monitoring.load.figures import Reading
from monitoring.load.workload import Failed

TEXT_FRAMES = (protocol.Chunk.type, protocol.Reasoning.type)
TOO_MANY = f"closed {CloseCode.TOO_MANY}"


@asynccontextmanager
async def connection(url: str, session: str, model: str) -> AsyncIterator[Socket]:
    """Open a socket of conversation `session`. Raises OSError or Failed."""
    uri = f"{url.replace('http', 'ws', 1)}/ws?session={session}"
    # The client shares the machine with the server: nothing that costs and is not measured.
    opening = connect(uri, proxy=None, compression=None, ping_interval=None, max_size=None, close_timeout=5)
    try:
        websocket = await opening
    except WebSocketException as error:
        raise Failed(f"no handshake: {type(error).__name__}") from error
    try:
        yield Socket(websocket, model)
    finally:
        await websocket.close()


class Socket:
    """One user's conversation."""

    def __init__(self, websocket: ClientConnection, model: str) -> None:
        self._websocket = websocket
        self._model = model
        self._loop = asyncio.get_running_loop()

    async def ask(self, reading: Reading) -> None:
        """Send the prompt and follow the reply to its `complete`. Raises Failed where no answer comes."""
        try:
            reading.asked_at = self._loop.time()
            await self._websocket.send(json.dumps({"message": reading.prompt, "model": self._model, "onlyModel": True}))
            await self._follow(reading)
        except ConnectionClosed as error:
            raise Failed(f"closed {error.rcvd.code if error.rcvd else 'without a word'}") from error

    async def _follow(self, reading: Reading) -> None:
        pieces: list[str] = []
        last = 0
        failure = ""
        while True:
            frame: dict[str, Any] = json.loads(await self._websocket.recv())
            kind = frame["type"]
            if kind in TEXT_FRAMES:
                reading.arrived(
                    self._loop.time(), events=frame["to"] - frame["from"] + 1, is_text=kind == protocol.Chunk.type
                )
                if frame["from"] == 1:
                    pieces.clear()
                elif frame["from"] != last + 1:
                    failure = failure or "gap in the numbers"
                last = frame["to"]
                if kind == protocol.Chunk.type:
                    pieces.append(frame["content"])
            elif kind == protocol.Notice.type:
                # The only one so far: somebody else answers than was asked for.
                failure, last = failure or f"notice {frame['kind']}", frame["seq"]
            elif kind == protocol.Error.type:
                failure = failure or f"error {frame['code']}"
                if "replyId" not in frame:
                    raise Failed(failure)
            elif kind == protocol.Closing.type:
                raise Failed(f"closed {frame['code']}")
            elif kind == protocol.Complete.type:
                break
        reading.text = "".join(pieces)
        reading.ending = frame["metadata"]["ending"]
        if not failure and frame["metadata"]["totalChars"] != len(reading.text):
            failure = "characters missing"
        if failure:
            raise Failed(failure)
