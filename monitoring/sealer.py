"""Seals what was written to the audit: each entry gets its place in the chain, within a second of its commit.

The oldest living replica does it. Two that take themselves for the oldest do no harm: one seals at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from chat import replicas, runner
from chat.database import db
from monitoring.chain import ENTRY_COLUMNS, GENESIS, Place, hash_of
from monitoring.models import AuditEntry, AuditPending, AuditSeal
from providers.prepared import Prepared

SEAL_SECONDS = 0.5
# Entries of one transaction, in which nothing else is written on SQLite: four milliseconds of Python, less than it lets
# one thread go on while another, such as the event loop's, waits.
BATCH = 100
# Between two of them, for whoever else wants to write; 4,000 entries a second are still sealed.
PAUSE_SECONDS = 0.02
# For the rest, when a server stops.
LAST_SECONDS = 5.0
# Any number that no other lock of the site's database has.
POSTGRES_LOCK = 7_301_988_411

# In order, also where one will do: PostgreSQL then reads the index, and not every page that was ever full.
_pending = Prepared(lambda: AuditPending.objects.order_by("pk").values_list("pk")[:BATCH])
_one_pending = Prepared(lambda: AuditPending.objects.order_by("pk").values_list("pk")[:1])
_head = Prepared(lambda: AuditSeal.objects.order_by("-sequence").values_list("sequence", "hash")[:1])
# Written without the ORM, which takes longer for a row than its hash does.
INSERT = (
    f"INSERT INTO {AuditSeal._meta.db_table} (sequence, entry_id, previous, hash, sealed_at)"  # noqa: S608
    " VALUES (%s, %s, %s, %s, %s)"
)


async def seal() -> None:
    """Seal what is pending, if that is this replica's to do; where nothing is, one look at an empty table."""
    more = await db(_is_due)
    while more:
        more = await db(seal_some) == BATCH
        await asyncio.sleep(PAUSE_SECONDS)


async def seal_the_rest() -> None:
    """Seal what is pending, whoever's that is to do: this server stops, and may be the last.

    Another one that is at it, and may have begun before the last entry came, is waited for, but not for ever.
    """
    until = time.monotonic() + LAST_SECONDS
    while await db(_one_pending) and time.monotonic() < until:
        if not await db(seal_some):
            await asyncio.sleep(PAUSE_SECONDS)


def seal_all() -> None:
    """Seal everything that is pending, for a command; another process may do it at the same time."""
    while _one_pending():
        if not seal_some():
            # Another holds the lock.
            time.sleep(0.01)


@transaction.atomic
def seal_some() -> int:
    """Seal the oldest of what is pending and return how many that was; 0 also where another process is at it."""
    if not _lock():
        return 0
    pending = [pk for (pk,) in _pending()]
    if pending:
        entries = AuditEntry.objects.filter(pk__in=pending).order_by("pk").values_list(*ENTRY_COLUMNS)
        with connection.cursor() as cursor:
            cursor.executemany(INSERT, list(_chain(entries)))
        AuditPending.objects.filter(pk__in=pending).delete()
    return len(pending)


def find_head() -> AuditSeal | None:
    """Return the newest seal."""
    return AuditSeal.objects.order_by("-sequence").first()


def _is_due() -> bool:
    return bool(_one_pending()) and replicas.is_oldest(runner.current().replica)


def _lock() -> bool:
    # SQLite has one writer, and this transaction is it from its first statement on.
    if connection.vendor == "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [POSTGRES_LOCK])
        return bool(cursor.fetchone()[0])


def _chain(entries: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield a seal for each entry, as its columns stand in INSERT."""
    last, previous = _head.first() or (0, GENESIS)
    sealed_at = timezone.now()
    stored_at = connection.ops.adapt_datetimefield_value(sealed_at)
    for sequence, entry in enumerate(entries, last + 1):
        hashed = hash_of(Place(sequence, previous, sealed_at), entry)
        yield sequence, entry[0], previous, hashed, stored_at
        previous = hashed
