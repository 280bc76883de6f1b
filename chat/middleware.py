"""What is settled about the person before a view runs.

Whether they come too often, whether their session or token counts, and in which language they are answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils import translation

from chat import doors, rates, sessions, tokens
from chat.identity import SESSION_EPOCH, epoch_of
from chat.rates import TooMany


class AddressRateMiddleware:
    """Refuse who asks too often, before anything is looked up for them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            rates.hit("RATE_REQUESTS_PER_ADDRESS", rates.network_of_request(request))
        except TooMany as refused:
            return doors.refuse(request, refused)
        return self.get_response(request)


class AccountMiddleware:
    """End sessions that count no longer, read the API token, and speak the language that the account has chosen."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            self._read_token(request)
            # Visitors without a session cost no query.
            if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(request.user, User):
                self._settle(request, request.user)
        except TooMany as refused:
            return doors.refuse(request, refused)
        return self.get_response(request)

    def _read_token(self, request: HttpRequest) -> None:
        authorization = request.headers.get("Authorization", "")
        request.api_token = None  # type: ignore[attr-defined]
        if authorization:
            request.api_token = tokens.find_used(  # type: ignore[attr-defined]
                authorization, rates.network_of_request(request)
            )
        if request.api_token:  # type: ignore[attr-defined]
            rates.hit("RATE_REQUESTS_PER_USER", request.api_token.user_id)  # type: ignore[attr-defined]
        if request.api_token and settings.SESSION_COOKIE_NAME not in request.COOKIES:  # type: ignore[attr-defined]
            # No other site can make a browser send this header, and there is no cookie that it could misuse.
            request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]

    def _settle(self, request: HttpRequest, user: User) -> None:
        rates.hit("RATE_REQUESTS_PER_USER", user.pk)
        if request.session.get(SESSION_EPOCH, 0) != epoch_of(user) or not sessions.is_alive(request.session):
            # Signed out everywhere since, or too long ago.
            auth.logout(request)
            return
        language = user.account.language if hasattr(user, "account") else ""
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = language


class SignInMiddleware(LoginRequiredMiddleware):
    """In production every page needs an account, but for those marked `login_not_required`."""

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., Any],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        if settings.LOCAL_MODE or request.api_token:  # type: ignore[attr-defined]
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)

    def handle_no_permission(self, request: HttpRequest, view_func: Callable[..., Any]) -> HttpResponseRedirect:
        if request.method in ("GET", "HEAD"):
            return super().handle_no_permission(request, view_func)
        # There is nothing to come back to: what was posted is lost, and its address may show nothing by itself.
        return redirect(settings.LOGIN_URL)
