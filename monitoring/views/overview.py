"""The page that says whether the site is well, since when, and what to do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from monitoring.pages.facts import read_facts
from monitoring.pages.overview import build
from monitoring.views.access import may_see_servers
from monitoring.views.live import respond


@require_safe
@may_see_servers
def overview(request: HttpRequest) -> HttpResponse:
    """Show how the site is."""
    page = build(read_facts(timezone.now()))
    return respond(request, "overview", {"title": "Monitor", "page": page, "as_of": page.as_of})
