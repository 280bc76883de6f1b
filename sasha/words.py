"""What the scripts say, in the reader's language: Django's catalogue, at an address that changes with its content."""

from __future__ import annotations

import hashlib
from functools import cache

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.views.i18n import JavaScriptCatalog

YEAR_SECONDS = 365 * 24 * 3600


@login_not_required
def words(request: HttpRequest, language: str) -> HttpResponse:
    """Send the catalogue of a language. Under the address that pages name, a browser may keep it."""
    if language not in dict(settings.LANGUAGES):
        raise Http404
    response = HttpResponse(_catalogue(language), content_type="text/javascript; charset=utf-8")
    if request.GET.get("v") == _version(language):
        response["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response


def words_address() -> str:
    """Return where the catalogue of the active language is."""
    language = translation.get_language()
    if language not in dict(settings.LANGUAGES):
        language = settings.LANGUAGE_CODE
    return f"{reverse('words', args=[language])}?v={_version(language)}"


# Catalogues change with the program only.
@cache
def _catalogue(language: str) -> bytes:
    with translation.override(language):
        response = JavaScriptCatalog(packages=["chat"]).get(HttpRequest())
    return response.content


@cache
def _version(language: str) -> str:
    return hashlib.sha256(_catalogue(language)).hexdigest()[:12]
