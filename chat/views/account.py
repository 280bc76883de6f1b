"""The pages about a person's account. What they do is in chat.accounts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat import accounts, doors, rates, tokens
from chat.forms import (
    ChangePasswordForm,
    DefaultsForm,
    DeleteAccountForm,
    DeleteGuestForm,
    LanguageForm,
    SignInForm,
    SignUpForm,
    TokenForm,
)
from chat.identity import find_user, has_token
from chat.models import Conversation
from chat.rates import TooMany

LANGUAGE_COOKIE_SECONDS = 365 * 24 * 3600

View = Callable[..., HttpResponseBase]


def person_required(view: View) -> View:
    """Let accounts in that have signed in here, and guests; not tokens, which are for chatting."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if has_token(request):
            return redirect("chat:sign-in")
        return view(request, *args, **kwargs)

    return guarded


def account_required(view: View) -> View:
    """Let only accounts in that have signed in here."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return redirect("chat:sign-in")
        return view(request, *args, **kwargs)

    return guarded


# --- In and out -------------------------------------------------------------------------------------------------------


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password, and go on to where somebody wanted to be."""
    destination = _destination_of(request)
    if isinstance(request.user, User):
        return redirect(destination)
    form = SignInForm(request, request.POST if request.method == "POST" else None)
    if form.is_valid():
        accounts.sign_in(request, form.get_user())
        return _speak(redirect(destination), accounts.language_of(form.get_user()))
    return _render_door(request, "account/sign_in.html", form)


@login_not_required
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account, out of the guest where there is one."""
    if isinstance(request.user, User):
        return redirect("chat:new")
    if not settings.CHAT_SIGN_UP:
        return _render_door(request, "account/sign_up_off.html", None, status=200 if request.method != "POST" else 403)
    form = SignUpForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            rates.hit("RATE_SIGN_UPS_PER_ADDRESS", rates.network_of_request(request))
            accounts.sign_up(request, form.cleaned_data["username"], form.cleaned_data["password1"])
        except accounts.NameTaken:
            form.add_error("username", _("Somebody took this name a moment ago. Choose another."))
        except TooMany as refused:
            return doors.refuse(request, refused)
        else:
            return redirect(_destination_of(request))
    return _render_door(request, "account/sign_up.html", form)


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session of this browser."""
    accounts.sign_out(request)
    return redirect("chat:sign-in")


def _render_door(request: HttpRequest, template: str, form: Any, status: int = 200) -> HttpResponse:
    guest = find_user(request)
    context = {
        "form": form,
        "next": _wanted_by(request),
        "languages": settings.LANGUAGES,
        "guest_has_written": bool(guest and Conversation.objects.of(guest).exists()),
        "is_local": settings.LOCAL_MODE,
        # Looked up where the page says it.
        "makes_admin": accounts.makes_admin,
        "can_sign_up": settings.CHAT_SIGN_UP,
    }
    return render(request, template, context, status=status)


def _destination_of(request: HttpRequest) -> str:
    """Return where to go now: an address of this site, never another's."""
    wanted = _wanted_by(request)
    # What is no path would be looked up as the name of a view.
    is_path = wanted.startswith("/")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_path and is_ours else resolve_url(settings.LOGIN_REDIRECT_URL)


def _wanted_by(request: HttpRequest) -> str:
    """Return where somebody was going, or, where nobody says so, which page they came from. Not to be trusted."""
    given = request.POST.get("next", request.GET.get("next"))
    if given is not None:
        return given
    page = urlsplit(request.headers.get("Referer", ""))
    is_page = page.netloc == request.get_host() and not page.path.startswith(reverse("chat:account"))
    return page.path if is_page else ""


# --- The account's page -----------------------------------------------------------------------------------------------


@require_safe
@person_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Show everything that a person can decide about their account; to a guest, what there is for guests."""
    return _render_account(request)


@sensitive_post_parameters()
@require_POST
@account_required
@never_cache
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password; this browser stays signed in, every other is signed out."""
    form = ChangePasswordForm(request.user, request.POST)
    if not form.is_valid():
        return _render_account(request, password_form=form)
    accounts.change_password(request, _user_of(request), form.cleaned_data["new_password1"])
    return _done(request, _("Your password has been changed. Everywhere else you are signed out."))


@require_POST
@account_required
def choose_defaults(request: HttpRequest) -> HttpResponse:
    """Store the system prompt and the parameters of conversations without their own."""
    form = DefaultsForm(request.POST)
    if not form.is_valid():
        return _render_account(request, defaults_form=form)
    accounts.choose_defaults(_user_of(request), form.cleaned_data["system_prompt"], form.parameters())
    return _done(request, _("Saved. It holds from the next message on."))


@login_not_required
@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Store the language: with the account, and in a cookie for whoever has none."""
    form = LanguageForm(request.POST)
    response = redirect(_destination_of(request))
    if not form.is_valid():
        return response
    language = form.cleaned_data["language"]
    if isinstance(request.user, User):
        accounts.choose_language(request.user, language)
    return _speak(response, language)


def _speak(response: HttpResponse, language: str) -> HttpResponse:
    """Keep the language in a cookie: for who has no account, and for the socket, which sees no account's page."""
    if language:
        response.set_cookie(
            settings.LANGUAGE_COOKIE_NAME,
            language,
            max_age=LANGUAGE_COOKIE_SECONDS,
            secure=not settings.LOCAL_MODE,
            httponly=True,
            samesite="Lax",
        )
    return response


@require_POST
@account_required
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all sessions of the account, or all but this one."""
    if "here_too" in request.POST:
        accounts.end_all_sessions(request, _user_of(request))
        return redirect("chat:sign-in")
    accounts.end_other_sessions(request, _user_of(request))
    return _done(request, _("You are signed out everywhere but here."))


@require_POST
@account_required
@never_cache
def make_token(request: HttpRequest) -> HttpResponse:
    """Make an API token and show it, this once: the answer to the form is its only page."""
    form = TokenForm(request.POST)
    if not form.is_valid():
        return _render_account(request, token_form=form)
    _token, text = tokens.make(_user_of(request), form.cleaned_data["name"])
    return _render_account(request, new_token=text)


@require_POST
def revoke_token(request: HttpRequest, token_id: uuid.UUID) -> HttpResponse:
    """Delete a token; what uses it is cut off."""
    if not isinstance(request.user, User) or not accounts.revoke(request.user, token_id):
        raise Http404
    return _done(request, _("The token has been revoked."))


@sensitive_post_parameters()
@require_POST
@person_required
@never_cache
def delete_account(request: HttpRequest) -> HttpResponse:
    """Delete the account, or what a guest wrote, once it is certain that they want it."""
    user = find_user(request)
    form = _delete_form(request, request.POST)
    if not form.is_valid():
        return _render_account(request, delete_form=form)
    if user:
        accounts.delete(request, user)
    return render(request, "account/deleted.html")


def _user_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _delete_form(request: HttpRequest, data: Any = None) -> DeleteAccountForm | DeleteGuestForm:
    if isinstance(request.user, User):
        return DeleteAccountForm(request.user, data)
    return DeleteGuestForm(data)


def _done(request: HttpRequest, sentence: str) -> HttpResponse:
    messages.success(request, sentence)
    return redirect("chat:account")


def _render_account(request: HttpRequest, **shown: Any) -> HttpResponse:
    user = request.user if isinstance(request.user, User) else None
    context: dict[str, Any] = {
        "languages": settings.LANGUAGES,
        "is_local": settings.LOCAL_MODE,
        "can_sign_up": settings.CHAT_SIGN_UP,
        "delete_form": _delete_form(request),
    }
    if user:
        context |= {
            "password_form": ChangePasswordForm(user),
            "defaults_form": DefaultsForm.of(getattr(user, "account", None)),
            "token_form": TokenForm(),
            "tokens": user.api_tokens.order_by("-created_at"),
            "is_only_admin": accounts.is_only_admin(user),
        }
    return render(request, "account/account.html", context | shown)
