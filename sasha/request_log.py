"""An id for every request and every socket, in all of its lines and in its answer, and a line at its end."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bound_contextvars

from monitoring.urls import probes

logger = structlog.stdlib.get_logger(__name__)

HEADER = b"x-request-id"
# What a proxy may call a request: nothing that could be anything but a name.
WELL_FORMED = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# What Django finds out about a request stands here in its scope.
FOUND = "sasha.found"
# Asked every few seconds by machines: a line only where one fails.
QUIET = {f"/{probe.pattern}" for probe in probes}
LONGEST_PATH = 200


class RequestLog:
    """ASGI middleware round all that is not a static file."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        request_id = find_request_id(scope)
        if scope["type"] == "websocket":
            with bound_contextvars(connection_id=request_id):
                await self._serve_socket(scope, receive, send)
        else:
            with bound_contextvars(request_id=request_id):
                await self._answer({**scope, FOUND: {}}, receive, send, request_id.encode())

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any, request_id: bytes) -> None:
        began, status = time.monotonic(), None

        async def send_on(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, request_id)]}
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        finally:
            _log_request(scope, status, round((time.monotonic() - began) * 1000))

    async def _serve_socket(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        began, code, is_open = time.monotonic(), None, False

        async def receive_on() -> dict[str, Any]:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect" and code is None:
                code = message.get("code")
            return message

        async def send_on(message: dict[str, Any]) -> None:
            nonlocal code, is_open
            if message["type"] == "websocket.accept":
                is_open = True
                logger.info("socket opened")
            elif message["type"] == "websocket.close" and code is None:
                code = message.get("code")
            await send(message)

        try:
            await self.app(scope, receive_on, send_on)
        finally:
            told = "socket closed" if is_open else "socket refused"
            logger.info(told, code=code, seconds=round(time.monotonic() - began, 3))


def find_request_id(scope: dict[str, Any]) -> str:
    """Return the id that a proxy in front of us has given, or a new one: anybody else's header is not believed."""
    if settings.PROXIES:
        given = [value for name, value in scope["headers"] if name == HEADER]
        if len(given) == 1 and WELL_FORMED.fullmatch(given[0]):
            return given[0].decode()
    return secrets.token_hex(8)


def _log_request(scope: dict[str, Any], status: int | None, ms: int) -> None:
    """Write the line of a request: never its query, nor the path of a page, both of which may hold secrets."""
    if scope["path"] in QUIET and status is not None and status < 400:
        return
    found = scope[FOUND]
    where = found or {"path": scope["path"][:LONGEST_PATH]}
    logger.info("request", method=scope["method"], **where, status=status, ms=ms)


class RouteMiddleware:
    """Django middleware: note for the log which page answers, and to which account."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Other servers than ASGI's, such as the test client, have no scope.
        found = getattr(request, "scope", {}).get(FOUND)
        if found is not None and request.resolver_match:
            found |= {"route": request.resolver_match.view_name, "user": _find_account(request)}
        return response


def _find_account(request: HttpRequest) -> int | None:
    """Return the id of the account, where it is known already: a line costs no query."""
    if request.api_token:  # type: ignore[attr-defined]
        return request.api_token.user_id  # type: ignore[attr-defined]
    return request.user.pk if settings.SESSION_COOKIE_NAME in request.COOKIES else None
