"""The table of the processes that answer now, and the button that ends one."""

from __future__ import annotations

import uuid

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from chat.models import Message, Role, State
from monitoring.pages.processes import tabulate
from monitoring.pages.servers import read_servers
from monitoring.pages.stopping import Stopped, stop
from monitoring.pages.words import moment
from monitoring.views.access import may_see_servers, may_stop
from monitoring.views.live import respond

LEVELS = {Stopped.NOW: messages.SUCCESS, Stopped.BEFORE: messages.INFO, Stopped.NOT_YET: messages.WARNING}


@require_safe
@may_see_servers
def processes(request: HttpRequest) -> HttpResponse:
    """Show the processes, those of one user or one model where that is asked for."""
    now = timezone.now()
    user, model = request.GET.get("user", ""), request.GET.get("model", "")
    table = tabulate(read_servers(now), now, user, model)
    context = {"title": "Processes", "table": table, "user_asked": user, "model_asked": model, "as_of": moment(now)}
    return respond(request, "processes", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may_stop
def stop_process(request: HttpRequest, reply_id: uuid.UUID) -> HttpResponse:
    """Ask whether an answer should be ended; posted, end it and say what came of it."""
    if request.method == "POST":
        try:
            stopped = stop(reply_id, request.user)  # type: ignore[arg-type]
        except Message.DoesNotExist:
            raise Http404 from None
        messages.add_message(request, LEVELS[stopped], stopped.value)
        return redirect("monitor-processes")
    replies = Message.objects.filter(role=Role.ASSISTANT).select_related("conversation__owner")
    reply = get_object_or_404(replies, pk=reply_id)
    context = {"title": "Stop this answer?", "reply": reply, "has_ended": reply.state == State.ENDED}
    return TemplateResponse(request, "admin/monitoring/stop.html", admin.site.each_context(request) | context)
