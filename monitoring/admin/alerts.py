"""Alerts in the admin: the rules, who is told, and what there is to tell."""

from __future__ import annotations

from datetime import datetime

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring.alerts import outbox, webhook
from monitoring.alerts.errors import NotSent
from monitoring.alerts.forms import AlertReceiverForm, AlertRuleForm
from monitoring.alerts.kinds import KINDS
from monitoring.models import Alert, AlertReceiver, AlertRule
from monitoring.models.alerts import ReceiverKind, RuleKind
from providers.admin import NamedList, SavesWhatItShows, minute


@admin.register(AlertRule)
class AlertRuleAdmin(SavesWhatItShows):
    """One rule of each kind, made by itself: it is switched off, not deleted."""

    form = AlertRuleForm
    list_display = ["__str__", "enabled", "begins", "over", "meaning"]
    list_editable = ["enabled"]
    fields = ["meaning", "enabled", "threshold", "for_seconds", "clear_below", "clear_seconds"]
    readonly_fields = ["meaning"]
    ordering = ["pk"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertRule]:
        # After a step back to an earlier version there are rules that nobody knows.
        return super().get_queryset(request).filter(kind__in=KINDS)

    @admin.display(description="begins at")
    def begins(self, rule: AlertRule) -> str:
        return _level(rule, rule.threshold) + _wait(rule.for_seconds)

    @admin.display(description="is over below")
    def over(self, rule: AlertRule) -> str:
        return _level(rule, rule.clear_below) + _wait(rule.clear_seconds)

    @admin.display(description="what is measured")
    def meaning(self, rule: AlertRule) -> str:
        return KINDS[RuleKind(rule.kind)].meaning


@admin.register(AlertReceiver)
class AlertReceiverAdmin(SavesWhatItShows):
    form = AlertReceiverForm
    list_display = ["__str__", "kind", "enabled", "last_sent", "last_error"]
    list_editable = ["enabled"]
    fields = ["kind", "address", "enabled", "last_sent", "last_error", "secret"]
    readonly_fields = ["last_sent", "last_error", "secret"]
    actions = ["send_a_test"]

    @admin.display(description="last told", ordering="last_sent_at")
    def last_sent(self, receiver: AlertReceiver) -> str:
        return minute(receiver.last_sent_at) if receiver.last_sent_at else "never"

    @admin.display(description="secret of its signatures")
    def secret(self, receiver: AlertReceiver) -> str:
        if receiver.kind != ReceiverKind.WEBHOOK or not receiver.pk:
            return "–"
        return webhook.secret_of(receiver)

    @admin.action(description="Send a test", permissions=["change"])
    def send_a_test(self, request: HttpRequest, queryset: QuerySet[AlertReceiver]) -> None:
        for receiver in queryset:
            try:
                outbox.send_test(receiver)
            except NotSent as problem:
                self.message_user(request, f"{receiver}: {problem}", messages.ERROR)
            else:
                self.message_user(request, f"{receiver}: the test was sent.", messages.SUCCESS)
            self.log_change(request, receiver, "Sent a test.")


@admin.register(Alert)
class AlertAdmin(NamedList):
    """What there was and is to tell: history, which nobody changes."""

    list_display = ["sentence", "standing", "rule", "since", "fired", "over"]
    list_filter = ["state", "rule"]
    list_select_related = ["rule"]
    actions = None
    fields = ["sentence", "standing", "rule", "subject", "level", "since", "fired", "over"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        return False

    @admin.display(description="state", ordering="state")
    def standing(self, alert: Alert) -> str:
        return alert.get_state_display()

    @admin.display(description="value")
    def level(self, alert: Alert) -> str:
        return _level(alert.rule, round(alert.value, 1))

    @admin.display(description="since", ordering="began_at")
    def since(self, alert: Alert) -> str:
        return _moment(alert.began_at)

    @admin.display(description="told", ordering="fired_at")
    def fired(self, alert: Alert) -> str:
        return _moment(alert.fired_at)

    @admin.display(description="over", ordering="cleared_at")
    def over(self, alert: Alert) -> str:
        return _moment(alert.cleared_at)


def _level(rule: AlertRule, value: float) -> str:
    return f"{value:g} {KINDS[RuleKind(rule.kind)].unit}"


def _wait(seconds: int) -> str:
    return f" for {seconds:,} s" if seconds else ""


def _moment(at: datetime | None) -> str:
    return minute(at) if at else "–"
