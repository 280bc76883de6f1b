"""What follows from a reading: an alert begins at one level and ends below another, each only after a while."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from monitoring.models.alerts import Alert, AlertRule, AlertState


class Move(Enum):
    """What becomes of an alert."""

    REST = "stay as it is"
    BEGIN = "wait whether it lasts"
    DROP = "it did not last"
    FIRE = "tell"
    CALM = "wait whether it is over"
    RELAPSE = "it was not over"
    CLEAR = "tell that it is over"


def next_move(rule: AlertRule, alert: Alert | None, value: float | None, now: datetime) -> Move:
    """Return what becomes of the rule's `alert` about a subject, None where there is none.

    `value` None: there is nothing to measure any more, which counts as calm. Touches no row.
    """
    if alert is None:
        return Move.BEGIN if rule.enabled and _is_high(rule, value) else Move.REST
    if alert.state == AlertState.PENDING:
        return _pending(rule, alert, value, now)
    return _firing(rule, alert, value, now)


def _pending(rule: AlertRule, alert: Alert, value: float | None, now: datetime) -> Move:
    if not rule.enabled or not _is_high(rule, value):
        return Move.DROP
    return Move.FIRE if _lasted(alert.began_at, now, rule.for_seconds) else Move.REST


def _firing(rule: AlertRule, alert: Alert, value: float | None, now: datetime) -> Move:
    if not rule.enabled:
        return Move.CLEAR
    if value is not None and value >= rule.clear_below:
        return Move.RELAPSE if alert.calm_since else Move.REST
    if alert.calm_since is None:
        return Move.CALM
    return Move.CLEAR if _lasted(alert.calm_since, now, rule.clear_seconds) else Move.REST


def _is_high(rule: AlertRule, value: float | None) -> bool:
    return value is not None and value >= rule.threshold


def _lasted(since: datetime, now: datetime, seconds: int) -> bool:
    return (now - since).total_seconds() >= seconds
