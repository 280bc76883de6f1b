"""A look at every rule, and what follows from it: written by conditional updates, so that two may look at once."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import structlog
from django.db import transaction

from monitoring.alerts import outbox
from monitoring.alerts.hysteresis import Move, next_move
from monitoring.alerts.kinds import KINDS, Facts
from monitoring.alerts.measures import Reading
from monitoring.models.alerts import Alert, AlertEvent, AlertRule, AlertState, RuleKind

logger = structlog.stdlib.get_logger(__name__)

# What the columns hold.
SUBJECT_CHARACTERS = 160
SENTENCE_CHARACTERS = 300


def evaluate(now: datetime) -> None:
    """Measure what the rules ask for, move the alerts on, and put into the outbox what there is to tell."""
    facts = Facts(now)
    unfinished: dict[int, dict[str, Alert]] = defaultdict(dict)
    for alert in Alert.objects.exclude(state=AlertState.CLEARED).select_related("rule"):
        unfinished[alert.rule_id][alert.subject] = alert
    # After a step back to an earlier version there are rules that nobody knows.
    for rule in AlertRule.objects.filter(kind__in=KINDS):
        try:
            _apply(rule, _look(rule, facts), unfinished[rule.pk], now)
        except Exception:
            # That the audit is not sealed must be told all the same.
            logger.exception("rule_failed", rule=rule.kind)


def _look(rule: AlertRule, facts: Facts) -> dict[str, Reading]:
    readings = KINDS[RuleKind(rule.kind)].look(facts) if rule.enabled else []
    return {reading.subject[:SUBJECT_CHARACTERS]: reading for reading in readings}


def _apply(rule: AlertRule, readings: dict[str, Reading], alerts: dict[str, Alert], now: datetime) -> None:
    begun = []
    for subject in readings.keys() | alerts.keys():
        alert, reading = alerts.get(subject), readings.get(subject)
        move = next_move(rule, alert, reading.value if reading else None, now)
        if alert:
            _refresh(alert, reading)
            _move(alert, move, now)
        elif reading and move is Move.BEGIN:
            begun.append(
                Alert(rule=rule, subject=subject, began_at=now, value=reading.value, sentence=_cut(reading.sentence))
            )
    if begun:
        # Somebody else may have seen the same: the constraint one_alert_at_a_time leaves the first.
        Alert.objects.bulk_create(begun, ignore_conflicts=True)


def _refresh(alert: Alert, reading: Reading | None) -> None:
    """Keep the sentence true; the value alone changes all the time, and is not worth a write."""
    if reading is None:
        return
    alert.value, told = reading.value, alert.sentence
    alert.sentence = _cut(reading.sentence)
    if alert.sentence != told:
        row = Alert.objects.filter(pk=alert.pk).exclude(state=AlertState.CLEARED)
        row.update(value=alert.value, sentence=alert.sentence)


def _move(alert: Alert, move: Move, now: datetime) -> None:
    row = Alert.objects.filter(pk=alert.pk, state=alert.state, calm_since=alert.calm_since)
    if move is Move.DROP:
        row.delete()
    elif move is Move.CALM:
        row.update(calm_since=now)
    elif move is Move.RELAPSE:
        row.update(calm_since=None)
    elif move is Move.FIRE:
        _tell(alert, AlertEvent.FIRED, now, state=AlertState.FIRING, fired_at=now)
    elif move is Move.CLEAR:
        _tell(alert, AlertEvent.CLEARED, now, state=AlertState.CLEARED, cleared_at=now)


def _tell(alert: Alert, event: AlertEvent, now: datetime, **values: object) -> None:
    """Move the alert on and put the messages into the outbox: both or none, and only where nobody else did it."""
    with transaction.atomic():
        moved = Alert.objects.filter(pk=alert.pk, state=alert.state, calm_since=alert.calm_since).update(
            value=alert.value, **values
        )
        if moved:
            outbox.put(alert.pk, event, now)
    if moved:
        logger.warning(f"alert_{event}", rule=alert.rule.kind, subject=alert.subject, sentence=alert.sentence)


def _cut(sentence: str) -> str:
    return " ".join(sentence.split())[:SENTENCE_CHARACTERS]
