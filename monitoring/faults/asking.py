"""Who chats in the fault test: a script with a socket of its own for every message, which reads by the wire's rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from chat import protocol
from monitoring.faults.rows import By, When
from monitoring.faults.stand import find_child
from monitoring.faults.story import Case, Notice, Seen
from monitoring.load.ledger import read_ledger

# No answer of the test takes nearly as long; what does is lost.
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.01
# Of the simulator's latest requests, in which a message's own is looked for.
LOOK_LINES = 200


@dataclass(frozen=True)
class Site:
    """Whom to ask, whose child to kill, and where a request arrives."""

    url: str
    pid: int
    simulator: str


async def ask_all(site: Site, cases: Sequence[Case], at_once: int) -> dict[int, Seen]:
    """Send every message, so many at a time, and return what came of each by its number."""
    gate = asyncio.Semaphore(at_once)

    async def ask(case: Case) -> tuple[int, Seen]:
        async with gate:
            return case.number, await ask_one(site, case)

    # What waits for a clock begins first, or all the others would wait for it at the end.
    ordered = sorted(cases, key=lambda case: not case.first.fault.clock)
    return dict(await asyncio.gather(*map(ask, ordered)))


async def ask_one(site: Site, case: Case) -> Seen:
    """Send one message and follow its reply to the end."""
    seen = Seen()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            uri = f"{site.url.replace('http', 'ws', 1)}/ws?session={case.session}"
            # The client shares the machine with the server: nothing that costs and is not measured.
            async with connect(uri, proxy=None, compression=None, ping_interval=None, max_size=None) as websocket:
                await Conversation(websocket, site, case, seen).run()
    except TimeoutError:
        seen.trouble = seen.trouble or "no end in time"
    except (OSError, ConnectionClosed, WebSocketException) as error:
        seen.trouble = seen.trouble or f"connection: {type(error).__name__}"
    return seen


@dataclass
class Conversation:
    """One message on its own socket."""

    websocket: ClientConnection
    site: Site
    case: Case
    seen: Seen
    pieces: list[str] = field(default_factory=list)
    last: int = 0
    acted: bool = False

    async def run(self) -> None:
        """Ask, follow, and make sure that nothing comes behind the end."""
        await self._send(message=self.case.message, **({"model": self.case.requested} if self.case.requested else {}))
        while not self.seen.completes:
            if not await self._take(await self._receive()):
                return
        await self._send(type="ping")
        while (frame := await self._receive())["type"] != "pong":
            await self._take(frame)

    async def _send(self, **frame: Any) -> None:
        await self.websocket.send(json.dumps(frame))

    async def _receive(self) -> dict[str, Any]:
        return json.loads(await self.websocket.recv())

    async def _take(self, frame: dict[str, Any]) -> bool:
        """Take one frame into account; return whether more is to come."""
        seen = self.seen
        match frame["type"]:
            case protocol.Started.type:
                seen.reply_id = frame["replyId"]
                await self._kill(When.BEFORE)
            case protocol.Chunk.type | protocol.Reasoning.type:
                self._count(frame["from"], frame["to"])
                if frame["type"] == protocol.Chunk.type:
                    self.pieces.append(frame["content"])
                    await self._act()
            case protocol.Notice.type:
                self._count(frame["seq"], frame["seq"])
                seen.notices.append(Notice(frame["kind"], frame.get("oldModel", ""), frame.get("newModel", "")))
            case protocol.Error.type:
                seen.error = frame["error"]
                return "replyId" in frame
            case protocol.Closing.type:
                seen.trouble = f"closed {frame['code']}"
                return False
            case protocol.Complete.type:
                self._end(frame["metadata"])
        return True

    def _count(self, first: int, last: int) -> None:
        if first == 1 and self.last:
            self.pieces.clear()
        elif first != self.last + 1:
            self.seen.trouble = f"event {first} after {self.last}"
        self.last = last

    def _end(self, told: dict[str, Any]) -> None:
        seen = self.seen
        seen.completes += 1
        seen.text = "".join(self.pieces)
        seen.ending, seen.attempts = told["ending"], told["attempts"]
        seen.provider, seen.cost_usd = told.get("provider", ""), told.get("costUsd")
        if told["totalChars"] != len(seen.text):
            seen.trouble = seen.trouble or "characters missing"

    async def _act(self) -> None:
        """Stop, or kill, once as much has been said as the case demands."""
        text = "".join(self.pieces)
        if self.case.stop_after and not self.acted and text.count(" ") >= self.case.stop_after:
            self.acted = True
            await self._send(type=protocol.Stop.type, replyId=self.seen.reply_id)
        if text == self.case.first.text:
            await self._kill(When.AFTER)

    async def _kill(self, when: When) -> None:
        """Kill the child, where that is the fault and this its moment."""
        fault = self.case.first.fault
        if fault.by is not By.KILL or fault.when is not when or self.acted:
            return
        self.acted = True
        await self._wait_for_request()
        child = find_child(self.site.pid, self.case.first.model)
        if child is None:
            self.seen.trouble = "no child to kill"
            return
        try:
            child.kill()
        except psutil.NoSuchProcess:
            self.seen.trouble = "the child was gone already"

    async def _wait_for_request(self) -> None:
        """Return once the provider has the request: a child that is killed earlier has cost nothing."""
        digest = hashlib.sha256(self.case.message.encode()).hexdigest()
        while True:
            lines = await read_ledger(self.site.simulator, LOOK_LINES) or []
            if any(line["prompt_sha256"] == digest for line in lines):
                return
            await asyncio.sleep(LOOK_SECONDS)
