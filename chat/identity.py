"""Who is asking: an account, a guest of local mode, or a local script; over HTTP and over a WebSocket.

Cookies count on a socket only together with an allowed Origin, which no web page can forge. What comes without an
Origin is a script: it names its account by an API token, or, in local mode and without one, acts as the user `local`.
Whether a visitor may still be there is asked again with every frame: chat.admission.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, parse_cookie
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation

from chat import rates, tokens
from chat.database import db
from chat.models import ApiToken
from chat.rates import TooMany

GUEST_COOKIE = "sasha_guest"
GUEST_COOKIE_SECONDS = 365 * 24 * 3600
SALT = "chat.identity.guest"
GUEST_PREFIX = "guest-"
LOCAL_USER = "local"
# Where a session keeps the `session_epoch` of its account at sign-in.
SESSION_EPOCH = "sasha_epoch"


def account_key(user_id: int) -> str:
    """Return the `Visitor.key` of an account."""
    return f"account {user_id}"


@dataclass(frozen=True)
class Visitor:
    """Somebody who may chat, as they were when their socket opened or their request came.

    `can_return` tells whether an answer could be fetched after the socket has closed. `user_id` is None for a guest
    who has not said anything yet. An account came in by a session or by a token; its `stamp` changes with its password
    and with "sign out everywhere".
    """

    username: str
    can_return: bool = True
    user_id: int | None = None
    session_key: str = ""
    token_id: uuid.UUID | None = None
    stamp: str = ""
    # As rates count it; the same person may be at several.
    address: str | None = field(default=None, compare=False)

    @property
    def is_account(self) -> bool:
        return bool(self.session_key or self.token_id)

    @property
    def key(self) -> str:
        """What all sockets of one person have in common. A guest's stays the same when their row is made."""
        return account_key(self.user_id) if self.user_id and self.is_account else self.username

    def make_user(self) -> User:
        """Return the row, made now where a guest or the local script speaks for the first time."""
        user, created = User.objects.get_or_create(username=self.username)
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        return user


def stamp_of(password: str, epoch: int | None) -> str:
    """Return what changes with an account's password (as stored) and with its session epoch."""
    return f"{epoch or 0}.{hashlib.sha256(password.encode()).hexdigest()[:16]}"


def epoch_of(user: User) -> int:
    """Return the number that sessions must have been signed in under to count."""
    account = getattr(user, "account", None)
    return account.session_epoch if account else 0


# --- HTTP -------------------------------------------------------------------------------------------------------------


class GuestMiddleware:
    """Give every visitor of local mode a signed cookie; the row behind it comes with the first message."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.LOCAL_MODE:
            return self.get_response(request)
        request.guest_token = _guest_token(request.COOKIES) or uuid.uuid4().hex  # type: ignore[attr-defined]
        response = self.get_response(request)
        if not response.get("Content-Type", "").startswith("text/html"):
            # A script that keeps cookies must stay the script it was.
            return response
        # With every page, so that the year begins anew; and another after `forget_guest`.
        value = signing.dumps(request.guest_token, salt=SALT)  # type: ignore[attr-defined]
        response.set_cookie(GUEST_COOKIE, value, max_age=GUEST_COOKIE_SECONDS, httponly=True, samesite="Lax")
        return response


def guest_name_of(request: HttpRequest) -> str:
    """Return the username that this browser has as a guest, "" outside local mode. There may be no row of that name."""
    token = getattr(request, "guest_token", None)
    return _guest_name(token) if token else ""


def forget_guest(request: HttpRequest) -> None:
    """Make this browser another guest: what the old one wrote belongs to an account now."""
    if hasattr(request, "guest_token"):
        request.guest_token = uuid.uuid4().hex


def has_token(request: HttpRequest) -> bool:
    """Return whether a token came with this request, good or bad. Then nothing else counts, no cookie and no guest."""
    return tokens.is_meant(request.headers.get("Authorization", ""))


def find_user(request: HttpRequest) -> User | None:
    """Return whose conversations this request may see, or None for a guest who has not said anything yet."""
    if has_token(request):
        return request.api_token.user if request.api_token else None  # type: ignore[attr-defined]
    if isinstance(request.user, User):
        return request.user
    name = guest_name_of(request)
    return User.objects.filter(username=name, is_active=True).first() if name else None


def get_user_or_404(request: HttpRequest) -> User:
    """Return whose conversations this request may see. Raises Http404 for strangers, as for what does not exist."""
    user = find_user(request)
    if user is None:
        raise Http404
    return user


def find_visitor(request: HttpRequest) -> Visitor | None:
    """Return who speaks the wire protocol over HTTP: as on the socket, but whoever it is can fetch the answer later."""
    visitor = _find_visitor(request)
    return replace(visitor, address=rates.network_of_request(request)) if visitor else None


def _find_visitor(request: HttpRequest) -> Visitor | None:
    if has_token(request):
        token = request.api_token  # type: ignore[attr-defined]
        return _visitor_of_token(token) if token else None
    if isinstance(request.user, User):
        return _visitor_of_session(request.user, request.session.session_key or "")
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


# --- WebSocket --------------------------------------------------------------------------------------------------------


class SocketIdentity:
    """ASGI middleware: put the `visitor` of a WebSocket into its scope (None: a stranger); refuse a foreign Origin."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = _headers_of(scope)
        if "origin" in headers and headers["origin"] not in settings.CSRF_TRUSTED_ORIGINS:
            await refuse(scope, receive, send)
            return
        address = address_of(scope)
        try:
            visitor = await _find_socket_visitor(headers, address)
        except TooMany:
            await refuse(scope, receive, send, status=429)
            return
        known = replace(visitor, address=address) if visitor else None
        await self.app({**scope, "visitor": known}, receive, send)


def address_of(scope: dict[str, Any]) -> str | None:
    """Return what counts as the address that a socket comes from; None in tests, where there is none."""
    host, _ = scope.get("client") or (None, 0)
    return rates.network_of(host)


def _headers_of(scope: dict[str, Any]) -> dict[str, str]:
    return {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}


def find_language(scope: dict[str, Any]) -> str:
    """Return the language of whoever opened a socket, as LocaleMiddleware finds it for a page."""
    headers = _headers_of(scope)
    request = HttpRequest()
    request.COOKIES = parse_cookie(headers.get("cookie", ""))
    request.META["HTTP_ACCEPT_LANGUAGE"] = headers.get("accept-language", "")
    return translation.get_language_from_request(request)


async def refuse(scope: dict[str, Any], receive: Any, send: Any, status: int = 403) -> None:
    """Answer a handshake with an HTTP status; servers without that extension know 403 only."""
    await receive()
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
    else:
        await send({"type": "websocket.close"})


async def _find_socket_visitor(headers: dict[str, str], address: str | None) -> Visitor | None:
    # A token decides alone, whatever else comes with it: a bad one is a stranger's.
    authorization = headers.get("authorization", "")
    if tokens.is_meant(authorization):
        return await db(_visitor_by_token, authorization, address)
    if "origin" not in headers:
        return Visitor(LOCAL_USER, can_return=False) if settings.LOCAL_MODE else None
    cookies = parse_cookie(headers.get("cookie", ""))
    if session_key := cookies.get(settings.SESSION_COOKIE_NAME):
        found = await db(_find_session_visitor, session_key)
        if found:
            return found
    return _guest(cookies)


def _find_session_visitor(session_key: str) -> Visitor | None:
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = auth.get_user(request)
    if not isinstance(user, User) or request.session.get(SESSION_EPOCH, 0) != epoch_of(user):
        return None
    return _visitor_of_session(user, session_key)


def _visitor_of_session(user: User, session_key: str) -> Visitor:
    return Visitor(
        user.username, user_id=user.pk, session_key=session_key, stamp=stamp_of(user.password, epoch_of(user))
    )


def _visitor_by_token(authorization: str, address: str | None) -> Visitor | None:
    token = tokens.find_used(authorization, address)
    return _visitor_of_token(token) if token else None


def _visitor_of_token(token: ApiToken) -> Visitor:
    return Visitor(token.user.username, user_id=token.user.pk, token_id=token.pk)


# --- Guests -----------------------------------------------------------------------------------------------------------


def _guest(cookies: dict[str, str]) -> Visitor | None:
    token = _guest_token(cookies)
    return Visitor(_guest_name(token)) if token and settings.LOCAL_MODE else None


def _guest_token(cookies: dict[str, str]) -> str | None:
    try:
        return signing.loads(cookies.get(GUEST_COOKIE, ""), salt=SALT, max_age=GUEST_COOKIE_SECONDS)
    except signing.BadSignature:
        return None


def _guest_name(token: str) -> str:
    return f"{GUEST_PREFIX}{token}"
