"""The sockets that are open on this server: how many may be, and the look, twice a second, who may still be there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from typing import Any, Protocol

from django.conf import settings

from chat import rates
from chat.admission import CHANGED, Dismissal, find_dismissals
from chat.database import db
from chat.identity import Visitor, address_of, refuse

logger = logging.getLogger(__name__)

# Whoever is signed out elsewhere, by another server or by SQL, is gone within a second.
LOOK_SECONDS = 0.5
# For how long a tab may still come with the cookie of a guest who has become an account.
CALLED_BACK_SECONDS = 60


class OpenSocket(Protocol):
    """What a socket must be to stand here."""

    visitor: Visitor | None

    async def dismiss(self, dismissal: Dismissal) -> None: ...


class OpenSockets:
    """Who has which sockets open. What is not marked as for any thread runs on the loop's thread."""

    def __init__(self) -> None:
        self._by_key: dict[str, set[OpenSocket]] = defaultdict(set)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()
        self._called_back: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def count(self, key: str) -> int:
        """Return how many sockets the visitors of this key have open."""
        return len(self._by_key.get(key, ()))

    def add(self, key: str, socket: OpenSocket) -> None:
        self._by_key[key].add(socket)

    def remove(self, key: str, socket: OpenSocket) -> None:
        self._by_key[key].discard(socket)
        if not self._by_key[key]:
            del self._by_key[key]

    async def watch(self) -> None:
        """Look for ever: every half second, and at once after `look_now`."""
        self._loop, self._wake, self._called_back = asyncio.get_running_loop(), asyncio.Event(), {}
        while True:
            try:
                await self._look()
            except Exception:
                logger.exception("looking after the sockets failed")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()

    async def _look(self) -> None:
        visitors = {socket.visitor for sockets in self._by_key.values() for socket in sockets if socket.visitor}
        if not any(visitor.user_id for visitor in visitors):
            return
        dismissals = await db(find_dismissals, visitors)
        for key in {visitor.key for visitor in dismissals}:
            for socket in list(self._by_key.get(key, ())):
                # As it is now: a first message may have made the guest's row meanwhile.
                if socket.visitor in dismissals:
                    self._dismiss(socket, dismissals[socket.visitor])

    def _dismiss(self, socket: OpenSocket, dismissal: Dismissal) -> None:
        # In a task, since one that does not read must not keep the others waiting.
        task = asyncio.create_task(socket.dismiss(dismissal))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def look_now(self) -> None:
        """Look at once, after a change that may end sockets. For any thread."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def call_back(self, key: str) -> None:
        """Let the sockets of this key close and come back, as who they are now. For any thread.

        For guests without a row, of whom no query can tell that they have signed in.
        """
        now = time.monotonic()
        # Another dictionary, since the loop may be reading this one.
        recent = {key: at for key, at in self._called_back.items() if now - at < CALLED_BACK_SECONDS}
        self._called_back = recent | {key: now}
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._dismiss_all, key)

    def is_called_back(self, key: str) -> bool:
        """Return whether a visitor of this key has become somebody else a moment ago."""
        return time.monotonic() - self._called_back.get(key, float("-inf")) < CALLED_BACK_SECONDS

    def _dismiss_all(self, key: str) -> None:
        for socket in list(self._by_key.get(key, ())):
            self._dismiss(socket, CHANGED)


open_sockets = OpenSockets()


class SocketLimits:
    """ASGI middleware: refuse the handshake of a WebSocket that would be one too many, before anything is looked up."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._count = 0
        self._by_address: Counter[str | None] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        address = address_of(scope)
        if status := self._refusal(address):
            await refuse(scope, receive, send, status)
            return
        self._count += 1
        self._by_address[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._count -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _refusal(self, address: str | None) -> int | None:
        """Return the status for who may not come in now."""
        if self._count >= settings.CHAT_SOCKETS:
            return 503
        try:
            rates.hit("RATE_SOCKETS_PER_ADDRESS", address)
        except rates.TooMany:
            return 429
        is_full = settings.RATE_LIMITS and self._by_address[address] >= settings.CHAT_SOCKETS_PER_ADDRESS
        return 429 if address and is_full else None
