"""The page with what was measured minute by minute."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from monitoring.models import Sample
from monitoring.pages import series
from monitoring.pages.series import MEASURES, SPANS
from monitoring.pages.words import server_name
from monitoring.views.access import may_see_servers

# Of those that are offered: one that was restarted every minute must not make a list without end.
SERVERS = 50


class HistoryForm(forms.Form):
    """What to look at; whatever is missing is as usual."""

    measure = forms.ChoiceField(choices=[(name, measure.label) for name, measure in MEASURES.items()], required=False)
    span = forms.ChoiceField(
        label="Last", choices=[(name, words) for name, (words, _) in SPANS.items()], required=False
    )
    server = forms.ChoiceField(required=False)

    def __init__(self, asked: dict[str, Any], servers: list[str]) -> None:
        super().__init__({"measure": "memory", "span": "6h", "server": "", **asked})
        choices = [("", "all"), *((name, server_name(name)) for name in servers)]
        self.fields["server"].choices = choices  # type: ignore[attr-defined]


@require_safe
@may_see_servers
def history(request: HttpRequest) -> HttpResponse:
    """Show one measure over hours or days, for each server."""
    now = timezone.now()
    form = HistoryForm(request.GET.dict(), _find_servers(now))
    context = admin.site.each_context(request) | {"title": "History", "form": form}
    if form.is_valid():
        asked = form.cleaned_data
        measure, (words, span) = MEASURES[asked["measure"] or "memory"], SPANS[asked["span"] or "6h"]
        rows = series.read(measure, now - span, asked["server"])
        context |= {"series": series.build(rows, measure, now, span), "span": words}
    return TemplateResponse(request, "admin/monitoring/history.html", context)


def _find_servers(now: datetime) -> list[str]:
    """Return those that can be in a chart, the newest first."""
    seen = Sample.objects.filter(at__gte=now - max(span for _, span in SPANS.values()))
    return list(seen.values_list("replica", flat=True).annotate(last=Max("at")).order_by("-last")[:SERVERS])
