"""What an admin may type about alerts, and a sentence beside the field for what not."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from monitoring.alerts import webhook
from monitoring.alerts.kinds import KINDS
from monitoring.alerts.sending import can_mail
from monitoring.models import AlertReceiver, AlertRule
from monitoring.models.alerts import ReceiverKind, RuleKind
from providers.addresses import BadAddress

# A month: what takes longer to notice is a report, not an alert.
MOST_SECONDS = 31 * 86_400


class AlertRuleForm(forms.ModelForm):
    """The levels of a rule, with the unit of its kind."""

    class Meta:
        model = AlertRule
        fields = ["enabled", "threshold", "clear_below", "for_seconds", "clear_seconds"]
        labels = {"for_seconds": "Has lasted for (s)", "clear_seconds": "Has been over for (s)"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.info = KINDS[RuleKind(self.instance.kind)]
        for name, words in (("threshold", "Begins at"), ("clear_below", "Is over below")):
            if name in self.fields:
                self.fields[name].label = f"{words} ({self.info.unit})"

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        for name in ("for_seconds", "clear_seconds"):
            if (values.get(name) or 0) > MOST_SECONDS:
                self.add_error(name, f"At most {MOST_SECONDS:,} seconds, which is a month.")
        if {"threshold", "clear_below"} <= values.keys():
            self._check_levels(values["threshold"], values["clear_below"])
        return values

    def _check_levels(self, threshold: float, clear_below: float) -> None:
        if clear_below <= 0:
            self.add_error("clear_below", "Nothing is below 0, so it would never be over: give a number above 0.")
        elif clear_below > threshold:
            words = f"It begins at {threshold:g}, so it must be over below that or less: give at most {threshold:g}."
            self.add_error("clear_below", words)
        if self.info.most is not None and threshold > self.info.most:
            self.add_error("threshold", f"It is never above {self.info.most:g} {self.info.unit}.")


class AlertReceiverForm(forms.ModelForm):
    """Whom to tell: an address that fits its kind."""

    class Meta:
        model = AlertReceiver
        fields = ["kind", "address", "enabled"]

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if {"kind", "address"} <= values.keys():
            try:
                CHECKS[ReceiverKind(values["kind"])](values["address"])
            except (BadAddress, ValidationError) as problem:
                self.add_error("address", getattr(problem, "message", str(problem)))
        return values


def _check_mail(address: str) -> None:
    if not can_mail():
        raise ValidationError("This site cannot send mail yet: set EMAIL_URL first.")
    validate_email(address)


CHECKS = {ReceiverKind.EMAIL: _check_mail, ReceiverKind.WEBHOOK: webhook.check}
