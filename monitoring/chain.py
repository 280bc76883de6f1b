"""What a seal is the hash of: docs/audit.md has the same in words, for a program of somebody else's."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

from monitoring.models import AuditEntry, AuditSeal

# First in every link, so that another form later cannot be taken for this one.
FORM = "sasha-audit-1"
# The hash before the first.
GENESIS = "0" * 64


def hash_of(seal: AuditSeal, entry: AuditEntry) -> str:
    """Return SHA-256, in hex, over the seal's place, the hash before it, and every column of the entry."""
    return hashlib.sha256(serialise(seal, entry).encode()).hexdigest()


def serialise(seal: AuditSeal, entry: AuditEntry) -> str:
    """Return a JSON list without spaces: keys in order, all but ASCII escaped, times in UTC with six places."""
    link = [
        FORM,
        seal.sequence,
        seal.previous,
        write_moment(seal.sealed_at),
        entry.pk,
        write_moment(entry.at),
        entry.actor,
        entry.actor_id,
        entry.action,
        entry.target_kind,
        entry.target_id,
        entry.data,
        entry.digest,
        entry.keeps_text,
    ]
    return write_json(link)


def write_json(value: object) -> str:
    """Return the one way in which a value is written: as JSON, the same from either database."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_moment(at: datetime) -> str:
    """Return a moment as 2026-11-29T13:05:00.000000+00:00."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
