"""Seals what was written to the audit: each entry gets its place in the chain, within a second of its commit.

The oldest living replica does it. Two that take themselves for the oldest do no harm: one seals at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from django.db import connection, transaction

from chat import replicas, runner
from chat.database import db
from monitoring.chain import GENESIS, hash_of
from monitoring.models import AuditEntry, AuditPending, AuditSeal

SEAL_SECONDS = 0.5
# Entries of one transaction: a few milliseconds, in which nothing else is written on SQLite.
BATCH = 200
# Any number that no other lock of the site's database has.
POSTGRES_LOCK = 7_301_988_411


async def seal() -> None:
    """Seal what is pending, if that is this replica's to do; where nothing is, one look at an empty table."""
    if await db(_is_due):
        while await db(seal_some):
            pass


def seal_all() -> None:
    """Seal everything that is pending, for a command; another process may do it at the same time."""
    while AuditPending.objects.exists():
        if not seal_some():
            # Another holds the lock.
            time.sleep(0.01)


@transaction.atomic
def seal_some() -> int:
    """Seal the oldest of what is pending and return how many that was; 0 also where another process is at it."""
    if not _lock():
        return 0
    pending = list(AuditPending.objects.order_by("pk").values_list("pk", flat=True)[:BATCH])
    seals = _chain(AuditEntry.objects.filter(pk__in=pending).order_by("pk")) if pending else []
    AuditSeal.objects.bulk_create(seals)
    AuditPending.objects.filter(pk__in=pending).delete()
    return len(pending)


def find_head() -> AuditSeal | None:
    """Return the newest seal."""
    return AuditSeal.objects.order_by("-sequence").first()


def _is_due() -> bool:
    return AuditPending.objects.exists() and replicas.is_oldest(runner.current().replica)


def _lock() -> bool:
    # SQLite has one writer, and this transaction is it from its first statement on.
    if connection.vendor == "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [POSTGRES_LOCK])
        return bool(cursor.fetchone()[0])


def _chain(entries: Iterable[AuditEntry]) -> list[AuditSeal]:
    head = find_head()
    sequence, previous = (head.sequence, head.hash) if head else (0, GENESIS)
    seals = []
    for entry in entries:
        sequence += 1
        seal = AuditSeal(sequence=sequence, entry=entry, previous=previous)
        seal.hash = previous = hash_of(seal, entry)
        seals.append(seal)
    return seals
