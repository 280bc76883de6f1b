"""One answer, from click to last byte: what happened to it, and not a word of what it says."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from chat.models import Message, Role
from monitoring.pages.answer import describe
from monitoring.pages.timeline import KINDS, draw
from monitoring.views.access import may_see_replies
from providers.models import Attempt

# What people wrote and were answered is theirs.
UNREAD = ("text", "reasoning", "notices", "parameters")


@require_safe
@may_see_replies
def reply(request: HttpRequest, reply_id: uuid.UUID) -> HttpResponse:
    """Show the time line of an answer, and of each attempt at it."""
    rows = Message.objects.filter(pk=reply_id, role=Role.ASSISTANT).select_related("conversation__owner").defer(*UNREAD)
    message = rows.first()
    attempts = list(Attempt.objects.filter(reply_id=reply_id).order_by("number").defer("stderr"))
    if message is None and not attempts:
        raise Http404
    context: dict[str, Any] = {
        "title": "What happened to an answer",
        "reply_id": reply_id,
        "answer": describe(message, attempts),
        "kinds": KINDS,
        "timeline": draw(message, attempts, timezone.now()),
    }
    return TemplateResponse(request, "admin/monitoring/reply.html", admin.site.each_context(request) | context)


@require_safe
@may_see_replies
def find_reply(request: HttpRequest) -> HttpResponse:
    """Lead to the answer whose id was typed, or that of one of its attempts."""
    try:
        asked = uuid.UUID(request.GET.get("id", "").strip())
    except ValueError:
        return _not_found(request)
    if (
        Message.objects.filter(pk=asked, role=Role.ASSISTANT).exists()
        or Attempt.objects.filter(reply_id=asked).exists()
    ):
        return redirect("monitor-reply", asked)
    found = Attempt.objects.filter(pk=asked).values_list("reply_id", flat=True).first()
    return redirect("monitor-reply", found) if found else _not_found(request)


def _not_found(request: HttpRequest) -> HttpResponse:
    messages.warning(request, "There is no answer of this id. An id looks like 0b7e6a52-…, and stands in the ledger.")
    return redirect("monitor")
