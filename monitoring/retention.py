"""How long history is kept, and how it is removed: a few rows at a time, so that nobody waits and memory stays flat."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.utils import timezone

from chat import guests, replicas, runner
from chat.database import db
from chat.housekeeping import purge_some
from chat.models import Conversation
from monitoring.models import Alert, HealthCheck, Sample
from monitoring.models.alerts import AlertState
from providers.models import Attempt

# Rows of one statement: some ten milliseconds, in which SQLite writes nothing else; the ledger has the most indexes.
BATCH = 50


class History(NamedTuple):
    """A kind of rows that get old. `setting` is the number of days; the rest takes the moment before which is too old.

    `remove_some` returns how many it has removed, 0 where nothing is left; then `tidy` is called as long as it finds
    something.
    """

    name: str
    setting: str
    count: Callable[[datetime], int]
    remove_some: Callable[[datetime], int]
    tidy: Callable[[], int] = int

    def before(self, now: datetime) -> datetime | None:
        """Return the moment before which a row is too old; None: all are kept."""
        days = getattr(settings, self.setting)
        return now - timedelta(days=days) if days > 0 else None


def _table(name: str, setting: str, find_old: Callable[[datetime], QuerySet[Any]]) -> History:
    def count(before: datetime) -> int:
        return find_old(before).count()

    def remove_some(before: datetime) -> int:
        return _remove_some(find_old(before))

    return History(name, setting, count, remove_some)


def _remove_some(old: QuerySet[Model]) -> int:
    some = list(old.order_by().values_list("pk", flat=True)[:BATCH])
    old.model._default_manager.filter(pk__in=some).delete()
    return len(some)


def _ended_alerts(before: datetime) -> QuerySet[Alert]:
    return Alert.objects.filter(state=AlertState.CLEARED, cleared_at__lt=before)


def _old_attempts(before: datetime) -> QuerySet[Attempt]:
    # Those of a conversation go together, so that what it has cost is never the sum of a part.
    going_on = Conversation.objects.filter(pk=OuterRef("conversation_id"), updated_at__gte=before)
    return Attempt.objects.filter(~Exists(going_on), started_at__lt=before)


# The audit is not among them: monitoring/cutting.py has its own way, which leaves a mark.
HISTORIES = (
    _table("samples", "KEEP_SAMPLES_DAYS", lambda before: Sample.objects.filter(at__lt=before)),
    _table("health checks", "KEEP_HEALTH_CHECKS_DAYS", lambda before: HealthCheck.objects.filter(at__lt=before)),
    _table("ended alerts", "KEEP_ALERTS_DAYS", _ended_alerts),
    _table("attempts", "KEEP_ATTEMPTS_DAYS", _old_attempts),
    History(
        "conversations of guests",
        "KEEP_GUESTS_DAYS",
        lambda before: guests.find_left(before).count(),
        guests.delete_left,
        purge_some,
    ),
    History(
        "guests without conversations",
        "KEEP_GUESTS_DAYS",
        lambda before: guests.find_gone(before).count(),
        guests.remove_gone,
    ),
)


def prune(history: History, before: datetime) -> int:
    """Remove everything of this kind that is older; return how many rows. Blocks; safe to run twice at once."""
    removed = 0
    while some := history.remove_some(before):
        removed += some
    while history.tidy():
        pass
    return removed


async def prune_some() -> None:
    """Remove what is too old, on the oldest server, in steps between which everybody else has their turn."""
    if not await db(replicas.is_oldest, runner.current().replica):
        return
    now = timezone.now()
    for history in HISTORIES:
        if before := history.before(now):
            while await db(history.remove_some, before):
                pass
            while await db(history.tidy):
                pass
