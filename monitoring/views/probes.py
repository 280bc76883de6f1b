"""What machines ask: whether the server lives, whether it is ready, what it measures."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from chat.database import db
from chat.identity import find_user
from monitoring import metrics, readiness, sampler

SCHEME = "Bearer "


@require_safe
@never_cache
async def livez(request: HttpRequest) -> HttpResponse:
    """Answer at all: the loop turns, and nothing else is looked at."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@never_cache
async def readyz(request: HttpRequest) -> HttpResponse:
    """Say whether somebody should be sent here, and which check says no; why, is for the staff."""
    seen = await readiness.check_all()
    return _as_json(seen, checks={check.name: "ok" if check.ok else "failed" for check in seen})


@login_not_required
@require_safe
@never_cache
async def healthz(request: HttpRequest) -> HttpResponse:
    """Say the same to the staff, and why, and what was measured. To others there is no such page."""
    if not await db(_is_staff, request):
        raise Http404
    seen = await readiness.check_all()
    measured = sampler.current().state() if settings.MONITORING else None
    return _as_json(seen, checks=[asdict(check) for check in seen], server=measured)


def _is_staff(request: HttpRequest) -> bool:
    user = find_user(request)
    return user is not None and user.is_staff


def _as_json(seen: list[readiness.Check], **answer: Any) -> JsonResponse:
    ready = all(check.ok for check in seen)
    response = JsonResponse({"ready": ready, **answer}, status=200 if ready else 503, json_dumps_params={"indent": 1})
    # Django would log an error each time that a load balancer asks.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


@require_safe
@never_cache
async def show_metrics(request: HttpRequest) -> HttpResponse:
    """Show the series to whoever has the token; without one set, on this machine alone."""
    if not settings.MONITORING or not (settings.METRICS_TOKEN or settings.LOCAL_MODE):
        raise Http404
    if settings.METRICS_TOKEN:
        if not _has_token(request):
            return HttpResponse("Unauthorized\n", status=401, headers={"WWW-Authenticate": "Bearer"})
    else:
        # A page of another site must not read it under a name of its own that leads to this machine.
        request.get_host()
    return HttpResponse(metrics.render(), content_type=metrics.CONTENT_TYPE)


def _has_token(request: HttpRequest) -> bool:
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"{SCHEME}{settings.METRICS_TOKEN}".encode())
