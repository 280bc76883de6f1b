"""What receivers are still to be told: rows that survive a restart, taken by one sender at a time.

A message is tried again with growing pauses and given up after a day or eight tries. A server that dies between the
sending and the note of it sends once more; the header X-Sasha-Message is the same then.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from monitoring.alerts.errors import NotSent
from monitoring.alerts.messages import notice_of, trial_notice
from monitoring.alerts.sending import send
from monitoring.models.alerts import AlertEvent, AlertMessage, AlertReceiver

logger = logging.getLogger(__name__)

# Longer than a sending takes, but for a mail server that is slow at every step, so that nobody takes a message that is
# being sent; then twice as long each time.
FIRST_PAUSE = timedelta(minutes=1)
MOST_TRIES = 8
# Of a receiver that was switched off meanwhile: older news are none.
KEPT = timedelta(days=1)
ERROR_CHARACTERS = 300


def put(alert_id: int, event: AlertEvent, now: datetime) -> None:
    """Note that every receiver is to be told; in the transaction that moves the alert."""
    receivers = AlertReceiver.objects.filter(enabled=True).values_list("pk", flat=True)
    AlertMessage.objects.bulk_create(
        AlertMessage(alert_id=alert_id, receiver_id=receiver, event=event, created_at=now, due_at=now)
        for receiver in receivers
    )


def take(now: datetime) -> list[AlertMessage]:
    """Return what is to be sent now, at most one message for each receiver, and keep others from sending it."""
    due = _waiting(now).filter(due_at__lte=now, receiver__enabled=True)
    # That it is over is not told before that it began.
    earlier = _waiting(now).filter(alert=OuterRef("alert"), receiver=OuterRef("receiver"), pk__lt=OuterRef("pk"))
    first: dict[int, AlertMessage] = {}
    for message in due.filter(~Exists(earlier)).select_related("alert__rule", "receiver").order_by("pk"):
        first.setdefault(message.receiver_id, message)
    return [message for message in first.values() if claim(message, now)]


def claim(message: AlertMessage, now: datetime) -> bool:
    """Take a message, which moves on when it is due; return whether nobody else has taken it since it was read."""
    pause = FIRST_PAUSE * 2**message.tries
    unclaimed = AlertMessage.objects.filter(pk=message.pk, tries=message.tries, sent_at=None)
    taken = unclaimed.update(tries=F("tries") + 1, due_at=now + pause)
    message.tries += 1
    return bool(taken)


def deliver(message: AlertMessage) -> None:
    """Send a message that was taken, and note what came of it. Blocks."""
    receiver = AlertReceiver.objects.filter(pk=message.receiver_id)
    try:
        send(message.receiver, notice_of(message))
    except NotSent as problem:
        receiver.update(last_error=str(problem)[:ERROR_CHARACTERS])
        if message.tries >= MOST_TRIES:
            logger.error("alert_not_told: receiver %d was not told of alert %d", message.receiver_id, message.alert_id)
        return
    now = timezone.now()
    AlertMessage.objects.filter(pk=message.pk).update(sent_at=now)
    receiver.update(last_sent_at=now, last_error="")


def send_test(receiver: AlertReceiver) -> None:
    """Send a test at once and note what came of it. Blocks. Raises NotSent."""
    row = AlertReceiver.objects.filter(pk=receiver.pk)
    try:
        send(receiver, trial_notice(timezone.now()))
    except NotSent as problem:
        row.update(last_error=str(problem)[:ERROR_CHARACTERS])
        raise
    row.update(last_sent_at=timezone.now(), last_error="")


def _waiting(now: datetime) -> QuerySet[AlertMessage]:
    return AlertMessage.objects.filter(sent_at=None, tries__lt=MOST_TRIES, created_at__gt=now - KEPT)
