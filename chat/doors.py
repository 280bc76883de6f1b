"""What is answered to who comes too often, over HTTP: a page in the reader's language, or an `error` to a script."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import protocol, rates
from chat.rates import TooMany

# Django's own limit of a name, and less than axes has room for.
LONGEST_NAME = 150
TRIES = "RATE_SIGN_INS_PER_ADDRESS"


def refuse(request: HttpRequest, refused: TooMany) -> HttpResponse:
    """Answer with 429 and the time after which it may be tried again."""
    return _answer(request, _("This comes too often."), refused.retry_after_ms)


def refuse_sign_in(request: HttpRequest, *_args: Any) -> HttpResponse:
    """Answer who may not try another password; axes calls this instead of showing what the view has said."""
    refused: TooMany | None = getattr(request, "too_many", None)
    cool_off_ms = round(settings.AXES_COOLOFF_TIME.total_seconds() * 1000)
    sentence = _("Too many wrong passwords came from your address.")
    return _answer(request, sentence, refused.retry_after_ms if refused else cool_off_ms)


def _answer(request: HttpRequest, sentence: str, retry_after_ms: int) -> HttpResponse:
    sentence = f"{sentence} {say_when(retry_after_ms)}"
    response: HttpResponse
    if "text/html" in request.headers.get("Accept", ""):
        response = render(request, "429.html", {"sentence": sentence}, status=429)
    else:
        error = {"type": protocol.Error.type, "error": sentence, "code": "too_many", "retryAfterMs": retry_after_ms}
        response = JsonResponse(error, status=429)
    response["Retry-After"] = str(math.ceil(retry_after_ms / 1000))
    return response


def say_when(retry_after_ms: int) -> str:
    """Return the sentence that says when to try again."""
    seconds = math.ceil(retry_after_ms / 1000)
    if seconds < 60:
        words = ngettext("Try again in %(count)s second.", "Try again in %(count)s seconds.", seconds)
        return words % {"count": seconds}
    minutes = math.ceil(seconds / 60)
    words = ngettext("Try again in %(count)s minute.", "Try again in %(count)s minutes.", minutes)
    return words % {"count": minutes}


def mark_untried(request: HttpRequest, refused: Exception) -> None:
    """Note that this password is not looked at; axes then answers, and counts and keeps nothing."""
    request.axes_locked_out = request.is_untried = True  # type: ignore[attr-defined]
    request.too_many = refused if isinstance(refused, TooMany) else None  # type: ignore[attr-defined]


def is_untried(request: HttpRequest | None) -> bool:
    """Return whether a sign-in failed without a look at its password: that counts for nobody, and is no news."""
    return getattr(request, "is_untried", False)


def count_try(request: HttpRequest) -> None:
    """Count a password from this address, before a look at it, as many may come at once. Raises TooMany."""
    rates.hit(TRIES, rates.network_of_request(request))
    request.is_counted = True  # type: ignore[attr-defined]


@receiver(user_logged_in, dispatch_uid="chat.doors")
def forget_try(request: HttpRequest | None, **_: Any) -> None:
    """Take a right password out of the count: many people may share an address."""
    if request and getattr(request, "is_counted", False):
        rates.give_back(TRIES, rates.network_of_request(request))


def is_password_of(user: User, password: str) -> bool:
    """Return whether somebody who is signed in has typed their password. Raises TooMany after too many wrong ones."""
    # Before the look, which takes a while: many may come at once.
    rates.hit("RATE_FAILURES_PER_USER", user.pk)
    is_right = user.check_password(password)
    if is_right:
        rates.give_back("RATE_FAILURES_PER_USER", user.pk)
    return is_right


@receiver(user_login_failed, dispatch_uid="chat.doors")
def note_failure(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Count a wrong password for its name."""
    if not is_untried(request):
        with contextlib.suppress(TooMany):
            rates.hit("RATE_FAILURES_PER_NAME", name_tried(request, credentials))


def name_tried(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str:
    """Return the name that a password was tried for, as failures are counted for it; axes calls this, too.

    In any case of letters, and no longer than names are: what is longer is nobody's, and would be kept.
    """
    given = credentials if credentials is not None else request.POST if request else {}
    return str(given.get("username") or "").casefold()[:LONGEST_NAME]
