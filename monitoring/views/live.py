"""Pages that refresh themselves: the whole of one, or the part that changes, from the same address."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse


def respond(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """Return the page `name`; asked with `live`, its part `name`_live alone, which static/js/monitor/live.js swaps."""
    if "live" in request.GET:
        return TemplateResponse(request, f"admin/monitoring/{name}_live.html", context)
    return TemplateResponse(request, f"admin/monitoring/{name}.html", admin.site.each_context(request) | context)
