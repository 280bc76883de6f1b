"""Who is asking: an account, a guest of local mode, or a local script; over HTTP and over a WebSocket.

Cookies count on a socket only together with an allowed Origin, which no web page can forge. What comes without an
Origin is a script: in local mode it acts as the user `local`, in production it must sign in otherwise.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from channels.auth import AuthMiddleware
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, parse_cookie
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation

GUEST_COOKIE = "sasha_guest"
GUEST_COOKIE_SECONDS = 365 * 24 * 3600
SALT = "chat.identity.guest"
LOCAL_USER = "local"


@dataclass(frozen=True)
class Visitor:
    """Somebody who may chat. `can_return` tells whether an answer could be fetched after the socket has closed."""

    username: str
    can_return: bool = True

    def get_user(self) -> User:
        """Return the row, made now where a guest or the local script speaks for the first time."""
        user, created = User.objects.get_or_create(username=self.username)
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        return user


class GuestMiddleware:
    """Give every visitor of local mode a signed cookie; the row behind it comes with the first message."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.LOCAL_MODE:
            return self.get_response(request)
        token = _guest_token(request.COOKIES) or uuid.uuid4().hex
        request.guest_token = token  # type: ignore[attr-defined]
        response = self.get_response(request)
        if not response.get("Content-Type", "").startswith("text/html"):
            # A script that keeps cookies must stay the script it was.
            return response
        # With every page, so that the year begins anew.
        value = signing.dumps(token, salt=SALT)
        response.set_cookie(GUEST_COOKIE, value, max_age=GUEST_COOKIE_SECONDS, httponly=True, samesite="Lax")
        return response


def find_user(request: HttpRequest) -> User | None:
    """Return whose conversations this request may see, or None for a guest who has not said anything yet."""
    if isinstance(request.user, User):
        return request.user
    if not settings.LOCAL_MODE:
        return None
    token = getattr(request, "guest_token", None)
    return User.objects.filter(username=_guest_name(token)).first() if token else None


def get_user_or_404(request: HttpRequest) -> User:
    """Return whose conversations this request may see. Raises Http404 for strangers, as for what does not exist."""
    user = find_user(request)
    if user is None:
        raise Http404
    return user


def find_visitor(request: HttpRequest) -> Visitor | None:
    """Return who speaks the wire protocol over HTTP: as on the socket, but whoever it is can fetch the answer later."""
    if isinstance(request.user, User):
        return Visitor(request.user.get_username())
    if _is_script(request) and settings.LOCAL_MODE:
        return Visitor(LOCAL_USER)
    return _guest(request.COOKIES)


def _is_script(request: HttpRequest) -> bool:
    """Return whether no browser has sent this, neither for a page of ours nor, without cookies, for another's."""
    return not request.COOKIES and request.headers.keys().isdisjoint({"Origin", "Sec-Fetch-Site"})


def forged(request: HttpRequest) -> bool:
    """Return whether a browser may have sent this without its reader's will: nothing in it that only our pages know."""
    if _is_script(request):
        return False
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    return check.process_view(request, lambda _: HttpResponse(), (), {}) is not None


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check, for views that take JSON and answer in JSON."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


class SocketIdentity:
    """ASGI middleware: put the `visitor` of a WebSocket into its scope (None: a stranger); refuse a foreign Origin."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.signed_in = CookieMiddleware(SessionMiddleware(AuthMiddleware(self._as_user)))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is None:
            visitor = Visitor(LOCAL_USER, can_return=False) if settings.LOCAL_MODE else None
            await self.app({**scope, "visitor": visitor}, receive, send)
        elif origin.decode("latin1") not in settings.CSRF_TRUSTED_ORIGINS:
            await refuse(scope, receive, send)
        elif settings.SESSION_COOKIE_NAME in (cookies := _cookies(headers)):
            await self.signed_in({**scope, "cookies_seen": cookies}, receive, send)
        else:
            await self.app({**scope, "visitor": _guest(cookies)}, receive, send)

    async def _as_user(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        user = scope["user"]
        visitor = Visitor(user.get_username()) if user.is_authenticated else _guest(scope["cookies_seen"])
        await self.app({**scope, "visitor": visitor}, receive, send)


def find_language(scope: dict[str, Any]) -> str:
    """Return the language of whoever opened a socket, as LocaleMiddleware finds it for a page."""
    headers = dict(scope["headers"])
    request = HttpRequest()
    request.COOKIES = _cookies(headers)
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get(b"accept-language", b"").decode("latin1")
    return translation.get_language_from_request(request)


async def refuse(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a handshake with HTTP 403."""
    await receive()
    await send({"type": "websocket.close"})


def _cookies(headers: dict[bytes, bytes]) -> dict[str, str]:
    return parse_cookie(headers.get(b"cookie", b"").decode("latin1"))


def _guest(cookies: dict[str, str]) -> Visitor | None:
    token = _guest_token(cookies)
    return Visitor(_guest_name(token)) if token and settings.LOCAL_MODE else None


def _guest_token(cookies: dict[str, str]) -> str | None:
    try:
        return signing.loads(cookies.get(GUEST_COOKIE, ""), salt=SALT, max_age=GUEST_COOKIE_SECONDS)
    except signing.BadSignature:
        return None


def _guest_name(token: str) -> str:
    return f"guest-{token}"
