"""The alerts that pages show."""

from __future__ import annotations

from monitoring.models.alerts import Alert, AlertState

RECENT = 20


def current() -> list[Alert]:
    """Return what is an alert now or about to be one: those that fire first, each kind the newest first."""
    unfinished = Alert.objects.exclude(state=AlertState.CLEARED).select_related("rule")
    # By name, "firing" stands before "pending".
    return list(unfinished.order_by("state", "-began_at"))


def recent(most: int = RECENT) -> list[Alert]:
    """Return the alerts that are over, the last first."""
    return list(Alert.objects.filter(state=AlertState.CLEARED).select_related("rule").order_by("-cleared_at")[:most])
