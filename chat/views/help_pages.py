"""What a reader can do about something that the chat page cannot mend by itself."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@login_not_required
@require_safe
def connection(request: HttpRequest) -> HttpResponse:
    """Explain what the page says about its connection: a section for each state of static/js/diagnosis.js."""
    return render(request, "chat/help_connection.html", {"origin": f"{request.scheme}://{request.get_host()}"})
