"""Whether a browser's live connection gets through to a site, found out from outside: by asking as a browser would."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake, WebSocketException

# Seconds for each question.
PATIENCE = 10.0
# Three events leave the server 200 ms apart; what arrives closer together has been held back.
TOGETHER_SECONDS = 0.2
# The server answers a greeting at once.
SLOW_SECONDS = 1.5


@dataclass(frozen=True)
class Finding:
    """One fact in one sentence. `ok` is False where somebody has something to do."""

    ok: bool
    sentence: str


async def check(url: str, origin: str = "") -> AsyncIterator[Finding]:
    """Yield what is found about the site at `url`, in the order in which a browser would meet it.

    `origin` is that of the page, where it is not the site's own.
    """
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}"
    origin = origin or base
    seen = await asyncio.to_thread(_ask, base, origin)
    if isinstance(seen, str):
        yield Finding(False, f"HTTP does not work: {seen}.")
        return
    yield Finding(True, f"HTTP works; the server is asked for as {seen['host']}.")
    yield _judge_origin(seen, origin)
    yield await _check_socket(base, origin)
    yield await asyncio.to_thread(_check_stream, base)


def _ask(base: str, origin: str) -> dict[str, str] | str:
    """Return what the server sees of a request, or why it could not be asked."""
    request = urllib.request.Request(f"{base}/api/connection", method="POST", headers={"Origin": origin})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
            return json.load(response)
    except urllib.error.HTTPError as refusal:
        return f"the answer is status {refusal.code}"
    except (OSError, ValueError) as problem:
        return str(getattr(problem, "reason", problem))


def _judge_origin(seen: dict[str, str], origin: str) -> Finding:
    if seen["origin"] is None:
        return Finding(False, "Something on the way removes the header Origin: the proxy has to let it through.")
    if not seen["allowed"]:
        return Finding(False, f"The server does not accept pages from {origin}: add it to ALLOWED_ORIGINS.")
    return Finding(True, f"The server accepts pages from {origin}.")


async def _check_socket(base: str, origin: str) -> Finding:
    """Open a socket as a page does; being asked to sign in shows that it gets through as well as an answer does."""
    address = f"ws{base.removeprefix('http')}/ws?session=check-connection&from=page"
    try:
        async with asyncio.timeout(PATIENCE), websockets.connect(address, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
            began = time.monotonic()
            try:
                await socket.send('{"type":"hello"}')
                await socket.recv()
            except ConnectionClosed:
                pass
            taken = time.monotonic() - began
    except TimeoutError:
        return Finding(False, "The WebSocket opens and stays silent: switch buffering off for /ws in the proxy.")
    except InvalidHandshake as refusal:
        return Finding(False, f"The WebSocket is refused ({refusal}): the proxy has to pass Upgrade and Connection on.")
    except (OSError, WebSocketException) as problem:
        return Finding(False, f"The WebSocket fails: {problem}.")
    if taken > SLOW_SECONDS:
        return Finding(False, f"The first frame of the WebSocket takes {taken:.1f} s: something holds it back.")
    return Finding(True, f"The WebSocket works; its first frame takes {taken * 1000:.0f} ms.")


def _check_stream(base: str) -> Finding:
    times = []
    try:
        with urllib.request.urlopen(f"{base}/api/connection/events", timeout=PATIENCE) as response:  # noqa: S310
            times = [time.monotonic() for line in response if line.startswith(b"data:")]
    except OSError as problem:
        return Finding(False, f"Event streams do not work: {problem}.")
    if len(times) < 3:
        return Finding(False, f"Event streams break off: {len(times)} of 3 events arrived.")
    if times[-1] - times[0] < TOGETHER_SECONDS:
        return Finding(False, "Event streams are held back: switch buffering off for /api in the proxy.")
    return Finding(True, "Event streams arrive piece by piece.")
