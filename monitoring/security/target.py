"""The site that is attacked, as an outside client sees it: an address, and whoever may sign in there."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect

SECONDS = 20.0
FORM = "application/x-www-form-urlencoded"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Response:
    """An HTTP answer; header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass
class Visitor:
    """Somebody with cookies of their own, as a browser keeps them."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    async def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request; no redirect is followed. Raises OSError."""
        return await asyncio.to_thread(self._ask, method, path, body, headers or {})

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = make(parts.hostname or "", parts.port, timeout=SECONDS)
        try:
            connection.request(
                method, path, body, {"Cookie": self.cookie, **headers} if self.cookies else dict(headers)
            )
            answer = connection.getresponse()
            streams = answer.headers.get_content_type() == "text/event-stream"
            got = tuple(answer.headers.get_all("Set-Cookie") or ())
            read = b"" if streams else answer.read()
            response = Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, read, got)
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP: {error!r}") from error
        finally:
            connection.close()
        self._keep(response)
        return response

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def _keep(self, response: Response) -> None:
        for line in response.cookies:
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip('"')

    async def post_form(self, page: str, path: str, **fields: str) -> Response:
        """Post a form as its page would: with its token, from its origin."""
        token = CSRF.search((await self.ask("GET", page)).text)
        data = fields | ({"csrfmiddlewaretoken": token[1]} if token else {})
        return await self.ask("POST", path, urlencode(data).encode(), {"Content-Type": FORM, "Origin": self.url})

    @asynccontextmanager
    async def socket(self, session: str, **headers: str) -> AsyncIterator[Socket]:
        """Open a WebSocket with these cookies, if there are any, and as from a page of the site then."""
        mine = {"Cookie": self.cookie, "Origin": self.url} if self.cookies else {}
        async with open_socket(self.url, session, mine | headers) as socket:
            yield socket


class Socket:
    """A WebSocket that speaks frames."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def send(self, **frame: Any) -> None:
        await self.websocket.send(json.dumps(frame, ensure_ascii=False))

    async def receive(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(self.websocket.recv(), SECONDS))
        return frame

    async def first(self, message: str, **fields: Any) -> dict[str, Any]:
        """Send a message and return the first frame that answers it."""
        await self.send(message=message, **fields)
        return await self.receive()

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """Return the frames up to the first of this type."""
        frames = [await self.receive()]
        while frames[-1]["type"] != kind:
            frames.append(await self.receive())
        return frames


@asynccontextmanager
async def open_socket(url: str, session: str, headers: Mapping[str, str]) -> AsyncIterator[Socket]:
    """Open a WebSocket as any client can. Raises OSError and what `websockets` raises for a refusal."""
    uri = f"{url.replace('http', 'ws', 1)}/ws?session={session}"
    async with connect(uri, additional_headers=dict(headers), proxy=None, max_size=None, close_timeout=5) as websocket:
        yield Socket(websocket)


@dataclass
class Target:
    """The site. What is only known of one on this machine is empty for others: simulator and process.

    `script` has no cookie; `user` and `staff` are None where nobody can be signed in.
    """

    url: str
    model: str = ""
    echo: str = ""
    slow: str = ""
    steady: str = ""
    simulator: str = ""
    server_pid: int | None = None
    token: str = ""
    user: Visitor | None = None
    staff: Visitor | None = None

    @property
    def script_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @asynccontextmanager
    async def script(self, session: str = "") -> AsyncIterator[Socket]:
        """Open a socket as a plain script does, with its token where there is one."""
        async with open_socket(self.url, session or new_session(), self.script_headers) as socket:
            yield socket

    def stranger(self) -> Visitor:
        """Return somebody who has never been there."""
        return Visitor(self.url)


def new_session() -> str:
    """Return a name for a conversation that nobody has."""
    return f"security-{secrets.token_hex(6)}"
