"""The Content-Security-Policy header of every page, from the setting SECURE_CSP.

Setting, middleware, nonce and context processor are named and shaped as in Django 6, whose own can take their place.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.forms.widgets import Media, Script
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.base import Origin
from django.template.loaders.app_directories import Loader
from django.template.response import SimpleTemplateResponse
from django.urls import reverse

HEADER = "Content-Security-Policy"
# Stands for the nonce of the response in SECURE_CSP.
NONCE = "<CSP_NONCE_SENTINEL>"
# What the admin's jQuery does not load under.
TRUSTED_TYPES = ("require-trusted-types-for", "trusted-types")
# Of everything that is no page: opened by itself it can do nothing.
BARE_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A second policy, beside which strict-dynamic allows nothing from elsewhere: a script has to please both.
OWN_SCRIPTS = "script-src 'self'"
NONCE_BYTES = 16


class ContentSecurityPolicyMiddleware:
    """Add the header to each response that has none yet."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        request._csp_nonce = secrets.token_urlsafe(NONCE_BYTES)  # type: ignore[attr-defined]
        response = self.get_response(request)
        if isinstance(response, Awaitable):
            return self._add_later(request, response)
        return self._add(request, response)

    async def _add_later(self, request: HttpRequest, response: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        return self._add(request, await response)

    def _add(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault(HEADER, _policy_of(request, response))
        return response

    def process_template_response(
        self, request: HttpRequest, response: SimpleTemplateResponse
    ) -> SimpleTemplateResponse:
        """Give the scripts of forms their nonce: the admin's templates write them by `{{ media }}`."""
        context = response.context_data or {}
        if media := context.get("media"):
            nonce = csp(request)["csp_nonce"]
            scripts: list[Any] = [Script(js, nonce=nonce) if isinstance(js, str) else js for js in media._js]
            context["media"] = Media(css=media._css, js=scripts)
        return response


def csp(request: HttpRequest) -> dict[str, str]:
    """Return what templates need: the nonce of this response. A context processor."""
    return {"csp_nonce": getattr(request, "_csp_nonce", "")}


def build_policy(directives: Mapping[str, Iterable[str]], nonce: str = "") -> str:
    """Return the header's value for {directive: its sources}."""
    policy = "; ".join(" ".join([name, *sources]) for name, sources in directives.items())
    return policy.replace(NONCE, f"'nonce-{nonce}'")


def _policy_of(request: HttpRequest, response: HttpResponseBase) -> str:
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return BARE_POLICY
    directives = settings.SECURE_CSP
    if request.path.startswith(reverse("admin:index")):
        directives = {name: sources for name, sources in directives.items() if name not in TRUSTED_TYPES}
    return f"{build_policy(directives, csp(request)['csp_nonce'])}, {OWN_SCRIPTS}"


class NonceLoader(Loader):
    """Loads Django's own templates, with the nonce in the scripts that they write: in the source, where nobody else is.

    The admin's templates of this version know of no nonce.
    """

    def get_contents(self, origin: Origin) -> str:
        return super().get_contents(origin).replace("<script", '<script nonce="{{ csp_nonce }}"')
