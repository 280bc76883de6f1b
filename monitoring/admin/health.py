"""What was seen of the providers' health, in the admin: to read, and nothing else."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring.models import HealthCheck
from monitoring.models.samples import CheckKind
from providers import filters
from providers.admin import CappedPaginator, NamedList
from providers.breaker import clock


class ResultFilter(admin.SimpleListFilter):
    """What was seen: the rows that a result stands for, by its name in the address."""

    title = "result"
    parameter_name = "result"
    meanings: dict[str, tuple[str, dict[str, Any]]] = {
        "failed": ("failed checks", {"kind": CheckKind.PROBE, "ok": False}),
        "good": ("good checks", {"kind": CheckKind.PROBE, "ok": True}),
        "state": ("changes of state", {"kind": CheckKind.STATE}),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, label) for name, (label, _) in self.meanings.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[HealthCheck]) -> QuerySet[HealthCheck]:
        _, rows = self.meanings.get(self.value() or "", ("", {}))
        return queryset.filter(**rows)


class ProviderFilter(filters.ProviderFilter):
    column = "provider"


@admin.register(HealthCheck)
class HealthCheckAdmin(NamedList):
    list_display = ["when", "provider", "result", "sentence"]
    list_filter = [ResultFilter, ProviderFilter]
    # Everything is in the list.
    list_display_links = None
    # No whole count of a table that grows all the time.
    paginator = CappedPaginator
    show_full_result_count = False

    @admin.display(ordering="at")
    def when(self, check: HealthCheck) -> str:
        return clock(check.at)

    @admin.display(description="result")
    def result(self, check: HealthCheck) -> str:
        if check.kind == CheckKind.STATE:
            return f"is now {check.state.replace('_', '-')}"
        return {True: "answers", False: "fails", None: "cannot be told"}[check.ok]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: HealthCheck | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: HealthCheck | None = None) -> bool:
        return False
