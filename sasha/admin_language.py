"""The admin speaks English whatever its reader's browser asks for: half of its words are ours, and not translated."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation


class EnglishAdminMiddleware:
    """Switch to English below the address of the admin. Stands behind whatever else decides on the language."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(reverse("admin:index")):
            translation.activate("en")
            request.LANGUAGE_CODE = "en"
        return self.get_response(request)
