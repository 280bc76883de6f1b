"""Who is doing what happens right now: whoever's request it is, for what no signal says by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

from chat.identity import find_user
from monitoring.audit import SITE, Actor

_request: ContextVar[HttpRequest | None] = ContextVar("acting_request", default=None)


class ActingMiddleware:
    """Remember the request while it is answered. Stands behind whatever settles who its person is."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)


def leave(request: HttpRequest, actor: Actor) -> None:
    """Note who signs out: what else the request does, such as deleting the account, is still their doing."""
    request.signed_out = actor  # type: ignore[attr-defined]


def current() -> Actor:
    """Return whose request this is; the site where it is nobody's, or where there is none, as in a command."""
    request = _request.get()
    if request is None:
        return SITE
    return getattr(request, "signed_out", None) or Actor.of(find_user(request))


def in_request() -> bool:
    """Return whether a request is being answered."""
    return _request.get() is not None
