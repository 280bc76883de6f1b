"""What a seal is the hash of: docs/audit.md has the same in words, for a program of somebody else's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

# First in every link, so that another form later cannot be taken for this one.
FORM = "sasha-audit-1"
# The hash before the first.
GENESIS = "0" * 64
# Every column of an entry, in the order in which they are hashed.
ENTRY_COLUMNS = (
    "id",
    "at",
    "actor",
    "actor_id",
    "action",
    "target_kind",
    "target_id",
    "data",
    "digest",
    "keeps_text",
)


class Place(NamedTuple):
    """Where in the chain an entry stands, and since when."""

    sequence: int
    previous: str
    sealed_at: datetime


def hash_of(place: Place, entry: Sequence[Any]) -> str:
    """Return SHA-256, in hex, over a place and an entry's columns, which come as ENTRY_COLUMNS has them."""
    pk, at, *columns = entry
    link = [FORM, place.sequence, place.previous, write_moment(place.sealed_at), pk, write_moment(at), *columns]
    return hashlib.sha256(write_json(link).encode()).hexdigest()


def write_json(value: object) -> str:
    """Return the one way in which a value is written: JSON in ASCII, without spaces, keys in order."""
    return _encoder.encode(value)


# Made once: json.dumps would make one a call.
_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def write_moment(at: datetime) -> str:
    """Return a moment as 2026-11-29T13:05:00.000000+00:00."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
