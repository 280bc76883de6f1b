"""What the admin shows beside its lists: what was spent, and who would be asked."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, ValidationError
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from providers import charts, routing, spending
from providers.cells import Echo, guard
from providers.models import Model
from providers.signals import tell
from providers.spending import CHECK_USER, GROUPS, Group, Span, Sums

# Rows of one table on the page; the rest is one line, and whole in the CSV file.
ROWS = 50
# A request must not be able to ask for a million empty days.
LONGEST_DAYS = 3 * 366
# Near the ends of the calendar, time zones overflow.
EARLIEST, LATEST = date(2020, 1, 1), date(2100, 12, 31)

may_see_money = permission_required("providers.view_attempt", raise_exception=True)
may_see_providers = permission_required("providers.view_provider", raise_exception=True)


class SpanForm(forms.Form):
    """Which days: a usual span, or from one day to another."""

    period = forms.ChoiceField(
        choices=[
            ("7", "last 7 days"),
            ("30", "last 30 days"),
            ("90", "last 90 days"),
            ("month", "this month"),
            ("last-month", "last month"),
            ("days", "from … to …"),
        ],
        required=False,
    )
    first = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}))
    last = forms.DateField(label="To", required=False, widget=forms.DateInput({"type": "date"}))

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("period") == "days" and not self.errors:
            self._check(values.get("first"), values.get("last"))
        return values

    def _check(self, first: date | None, last: date | None) -> None:
        if not first or not last:
            raise ValidationError("Name the first and the last day.")
        if last < first:
            raise ValidationError("The last day is before the first.")
        if (last - first).days >= LONGEST_DAYS:
            raise ValidationError("That is more than three years.")
        if first < EARLIEST or last > LATEST:
            raise ValidationError(f"Name days from {EARLIEST.year} to {LATEST.year}.")

    def get_span(self, today: date) -> Span:
        """Return the days asked for, of a form that is valid; without a choice, this month up to today."""
        values = self.cleaned_data
        period = values["period"] or "month"
        if period == "days":
            return Span(values["first"], values["last"])
        if period == "month":
            return Span(today.replace(day=1), today)
        if period == "last-month":
            last = today.replace(day=1) - timedelta(days=1)
            return Span(last.replace(day=1), last)
        return Span(today - timedelta(days=int(period) - 1), today)


@dataclass(frozen=True)
class Table:
    """The groups of one kind as the page shows them, each with the length of its bar from 0 to 100."""

    by: str
    heading: str
    rows: list[tuple[Group, float]]
    others: Group | None


HEADINGS = {"provider": "By provider", "model": "By model", "user": "By user"}


@require_safe
@may_see_money
def money(request: HttpRequest) -> HttpResponse:
    """Show what a span of days has cost, by day, provider, model and user."""
    form = SpanForm(_with_period(request))
    context = admin.site.each_context(request) | {"title": "Money", "form": form}
    if not form.is_valid():
        return TemplateResponse(request, "admin/providers/money.html", context)
    now = timezone.now()
    span = form.get_span(timezone.localdate(now))
    return TemplateResponse(request, "admin/providers/money.html", context | _figures(span, now))


@require_safe
@may_see_money
def money_csv(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """Send one grouping of a span of days as CSV."""
    form = SpanForm(_with_period(request))
    by = request.GET.get("by", "day")
    if by not in GROUPS or not form.is_valid():
        raise BadRequest("No such table.")
    span = form.get_span(timezone.localdate())
    if request.method == "GET":
        tell("money.exported", request.user, "money", by, first=str(span.first), last=str(span.last))
    response = StreamingHttpResponse(write_csv(by, spending.group(span, by)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="money-by-{by}-{span.first}-{span.last}.csv"'
    return response


class ExplainForm(forms.Form):
    """A message that might be sent."""

    model = forms.ChoiceField(required=False, help_text="Auto: whoever is first by priority.")
    only = forms.BooleanField(label="Only this model", required=False)
    user = forms.CharField(max_length=150, required=False, help_text="The user's name. Empty: nobody in particular.")
    prompt_characters = forms.IntegerField(
        min_value=0, required=False, label="Length", help_text="Characters of everything that is sent."
    )
    needs_vision = forms.BooleanField(label="With an image", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [str(model) for model in Model.objects.select_related("provider")]
        self.fields["model"].choices = [("", "Auto"), *((name, name) for name in names)]  # type: ignore[attr-defined]

    def clean_user(self) -> User | None:
        name = self.cleaned_data["user"]
        user = User.objects.filter(username=name).first()
        if name and not user:
            raise ValidationError("There is no user of this name.")
        return user

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("only") and not values.get("model"):
            self.add_error("model", "Choose the model that is the only one.")
        return values


@require_safe
@may_see_providers
def explain(request: HttpRequest) -> HttpResponse:
    """Show who would be asked with a message, in which order, and who would not, and why."""
    form = ExplainForm(request.GET)
    context = admin.site.each_context(request) | {"title": "Who would answer?", "form": form}
    if not form.is_valid():
        return TemplateResponse(request, "admin/providers/explain.html", context)
    return TemplateResponse(request, "admin/providers/explain.html", context | {"route": _route(form.cleaned_data)})


def write_csv(by: str, groups: Iterable[Group]) -> Iterator[str]:
    """Yield the lines of a CSV file; an unknown cost is empty, never 0."""
    writer = csv.writer(Echo())
    yield writer.writerow([by, *CSV_COLUMNS])
    for group in groups:
        yield writer.writerow([guard(group.name), *_cells(group.sums)])


CSV_COLUMNS = [
    "attempts",
    "cost_usd",
    "estimated_usd",
    "attempts_of_unknown_cost",
    "attempts_running",
    "input_tokens",
    "output_tokens",
]


def _cells(sums: Sums) -> list[str]:
    cost = "" if sums.cost_usd is None else f"{sums.cost_usd:f}"
    counts = (sums.unknown, sums.running, sums.input_tokens, sums.output_tokens)
    return [str(sums.attempts), cost, f"{sums.estimated_usd:f}", *map(str, counts)]


def _with_period(request: HttpRequest) -> dict[str, str]:
    """Return the question's values, with the usual period where none is named, so that the form shows it."""
    values = request.GET.dict()
    return {**values, "period": values.get("period") or ("days" if values.get("first") else "month")}


def _figures(span: Span, now: datetime) -> dict[str, Any]:
    days = spending.group_by_day(span)
    details = spending.read_details(span)
    sums = spending.add(days)
    return {
        "span": span,
        "sums": sums,
        "total": Group("Total", sums),
        "checks": sum((detail.sums for detail in details if detail.user == CHECK_USER), Sums()),
        "projection": spending.project_month(span, sums, now),
        "days": days,
        "columns": charts.columns(days),
        "dearest": max(days, key=lambda day: day.sums.known_usd),
        "tables": [_table(by, spending.collect(details, by)) for by in HEADINGS],
        "zone": timezone.get_current_timezone_name(),
    }


def _table(by: str, groups: list[Group]) -> Table:
    shown, rest = groups[:ROWS], groups[ROWS:]
    others = Group(f"{len(rest)} others", spending.add(rest)) if rest else None
    return Table(by, HEADINGS[by], list(zip(shown, charts.lengths(shown), strict=True)), others)


def _route(asked: dict[str, Any]) -> routing.Route:
    return routing.route(
        asked["model"],
        only=asked["only"],
        user_id=asked["user"].pk if asked["user"] else None,
        prompt_characters=asked["prompt_characters"] or 0,
        needs_vision=asked["needs_vision"],
    )
