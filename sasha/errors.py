"""What is answered where something is wrong.

Of Django's own views some write scripts without a nonce. The others look into the request for a form's token, and so
fail, with 500, where it is the request that cannot be read.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden
from django.shortcuts import render
from django.template.loader import render_to_string

from sasha.csp import csp


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that a form came from another site, or from an old page."""
    return render(request, "403_csrf.html", status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that a request cannot be read."""
    return HttpResponseBadRequest("This request is malformed.", content_type="text/plain")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that somebody may not do this."""
    return HttpResponseForbidden("This is not allowed.", content_type="text/plain")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that there is nothing."""
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Say that it is our fault. Nothing else is asked for this page: what failed may be the database."""
    return HttpResponse(render_to_string("500.html", csp(request)), status=500)
