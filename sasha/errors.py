"""The pages of what went wrong that Django would write without the nonce of their scripts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from sasha.csp import csp


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that a form came from another site, or from an old page."""
    return render(request, "403_csrf.html", status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Say that it is our fault. Nothing else is asked for this page: what failed may be the database."""
    return HttpResponse(render_to_string("500.html", csp(request)), status=500)
