"""The Content-Security-Policy header of every page, from the setting SECURE_CSP.

Setting, middleware and header are named and shaped as in Django 6, whose own middleware can take this one's place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"


class ContentSecurityPolicyMiddleware:
    """Add the header to each response that has none yet."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        self.policy = build_policy(settings.SECURE_CSP)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        response = self.get_response(request)
        if isinstance(response, Awaitable):
            return self._add_later(response)
        return self._add(response)

    async def _add_later(self, response: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        return self._add(await response)

    def _add(self, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, self.policy)
        return response


def build_policy(directives: Mapping[str, Iterable[str]]) -> str:
    """Return the header's value for {directive: its sources}."""
    return "; ".join(" ".join([name, *sources]) for name, sources in directives.items())
