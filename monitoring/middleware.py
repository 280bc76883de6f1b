"""Answers the probes before anything looks at the host's name, https, cookies or the database."""

from __future__ import annotations

from collections.abc import Callable

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse

from monitoring.urls import early_probes


class ProbeMiddleware:
    """Answer what a load balancer, an orchestrator or Prometheus asks, by address and over plain HTTP as they do."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._views = {f"/{probe.pattern}": probe.callback for probe in early_probes}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        view = self._views.get(request.path_info)
        return async_to_sync(view)(request) if view else self.get_response(request)
