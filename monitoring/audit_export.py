"""The audit as lines of CSV or JSON, for whoever keeps or examines it elsewhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery

from monitoring.chain import ENTRY_COLUMNS, write_json, write_moment
from monitoring.models import AuditEntry, AuditText
from providers.cells import Echo, guard
from providers.spending import midnight

# Rows that are held at a time; a text may have a megabyte.
ROWS, ROWS_WITH_TEXTS = 1000, 20
# All that a hash is made of, so that an export can be checked without the site.
COLUMNS = {
    "sequence": "seal__sequence",
    "hash": "seal__hash",
    "previous": "seal__previous",
    "sealed_at": "seal__sealed_at",
    **{column: column for column in ENTRY_COLUMNS},
}


@dataclass(frozen=True)
class Asked:
    """Which entries: those from the first to the last day, of an actor, of actions that begin with a prefix."""

    first: date | None = None
    last: date | None = None
    actor: str | None = None
    action: str | None = None
    texts: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return it as an audit entry keeps it."""
        days = {"from": self.first and str(self.first), "to": self.last and str(self.last)}
        return days | {"actor": self.actor, "action": self.action, "texts": self.texts}

    def find(self) -> QuerySet[AuditEntry]:
        """Return the entries, the oldest first."""
        entries = AuditEntry.objects.order_by("pk")
        if self.first:
            entries = entries.filter(at__gte=midnight(self.first))
        if self.last:
            entries = entries.filter(at__lt=midnight(self.last + timedelta(days=1)))
        if self.actor is not None:
            entries = entries.filter(actor=self.actor)
        return entries.filter(action__startswith=self.action) if self.action else entries


def write_csv(asked: Asked) -> Iterator[str]:
    """Yield a line of names, and one an entry, in which nothing is a formula to a spreadsheet."""
    writer = csv.writer(Echo())
    yield writer.writerow([*COLUMNS, *(["text"] if asked.texts else [])])
    for row in _read(asked):
        row["data"] = write_json(row["data"])
        yield writer.writerow(["" if value is None else guard(str(value)) for value in row.values()])


def write_jsonl(asked: Asked) -> Iterator[str]:
    """Yield an object an entry, in a line of plain ASCII: nothing in a text can disturb a terminal."""
    for row in _read(asked):
        yield json.dumps(row) + "\n"


def _read(asked: Asked) -> Iterator[dict[str, Any]]:
    """Yield the columns of each entry by name; a text is None where there is none any more, or never was."""
    entries, columns = asked.find(), [*COLUMNS.values()]
    if asked.texts:
        text = AuditText.objects.filter(pk=OuterRef("digest")).values("text")
        entries, columns = entries.annotate(text=Subquery(text)), [*columns, "text"]
    names = [*COLUMNS, *(["text"] if asked.texts else [])]
    rows = entries.values_list(*columns).iterator(chunk_size=ROWS_WITH_TEXTS if asked.texts else ROWS)
    for values in rows:
        row = dict(zip(names, values, strict=True))
        row["at"] = write_moment(row["at"])
        row["sealed_at"] = row["sealed_at"] and write_moment(row["sealed_at"])
        yield row
