"""What a conversation is between its file and the database, and reading it out of JSON that nobody has checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from chat.figures import format_count

# Characters of one message, as a running reply is capped (design, section 4).
TEXT_LENGTH = 1_048_576
MOST_MESSAGES = 20_000
# Before it nobody chatted with a model; a date in front of it is a mistake.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
# Dates in milliseconds are larger than any in seconds.
MILLISECONDS = 10**11
LARGEST_COUNT = 2**31 - 1


class Refused(Exception):
    """A file or a conversation that cannot be imported; the text is for the person who sent it."""


@dataclass(frozen=True)
class DraftFile:
    """An attached file, not read before it is wanted: many together could fill the memory. None: it did not come."""

    name: str
    read: Callable[[], bytes | None]


@dataclass(frozen=True)
class DraftMessage:
    """A message; `columns` are those of an answer."""

    id: str
    parent: str | None
    role: str
    text: str
    created_at: datetime | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    files: tuple[DraftFile, ...] = ()


@dataclass(frozen=True)
class Draft:
    """A conversation, its messages with parents before children. `source_id` is its id where it comes from, if any."""

    source: str
    source_id: str
    title: str
    messages: list[DraftMessage]
    current: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What is the same where the same conversation comes again, and another once it has other words."""
        told = [(message.id, message.parent, message.role, message.text) for message in self.messages]
        digest = hashlib.sha256(json.dumps([self.source_id, told]).encode())
        return f"{self.source}:{digest.hexdigest()}"


def order(parents: Mapping[str, str | None]) -> list[str]:
    """Return the ids with parents before children, else as they come. Raises Refused where that is not possible."""
    ordered: dict[str, None] = {}
    for start in parents:
        path: dict[str, None] = {}
        at: str | None = start
        while at is not None and at not in ordered:
            if at not in parents:
                raise Refused(_("A message follows one that is not in the file."))
            if at in path:
                raise Refused(_("Its messages follow each other in a circle."))
            path[at] = None
            at = parents[at]
        ordered |= dict.fromkeys(reversed(path))
    return list(ordered)


def need(value: Any, kind: type, what: str) -> Any:
    """Return the value, which must be of that kind. Raises Refused, naming `what` it is."""
    if not isinstance(value, kind):
        raise Refused(_("%(what)s is missing or not what it should be.") % {"what": what})
    return value


def need_text(value: Any, what: str) -> str:
    """Return a text as it can be stored. Raises Refused where it is none, or longer than a message may be."""
    text = clean(need(value, str, what))
    limit_text(len(text))
    return text


def limit_text(length: int) -> None:
    """Raise Refused for a message that is longer than any may be."""
    if length > TEXT_LENGTH:
        raise Refused(_("A message is longer than %(most)s characters.") % {"most": format_count(TEXT_LENGTH)})


def clean(text: str) -> str:
    """Return the text without what no database or page takes: NUL, and halves of characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "")


def read_label(value: Any, length: int) -> str:
    """Return one line of at most `length` characters, "" for what is no text."""
    return " ".join(clean(value[: 8 * length]).split())[:length] if isinstance(value, str) else ""


def read_time(value: Any) -> datetime | None:
    """Return a moment from an ISO 8601 text or a Unix time in seconds or milliseconds; None for any other value.

    Nothing was said in the future: that would stay on top of every list.
    """
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = datetime.fromtimestamp(value / 1000 if value > MILLISECONDS else value, UTC)
        else:
            return None
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return min(moment, timezone.now()) if moment >= EARLIEST else None


def read_count(value: Any) -> int | None:
    """Return a whole number that a column takes, or None."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT
    return value if is_count else None


def read_parameters(value: Any) -> dict[str, int | float]:
    """Return what a conversation may set, of what is there and makes sense."""
    values = value if isinstance(value, dict) else {}
    temperature, most = values.get("temperature"), read_count(values.get("max_tokens"))
    found: dict[str, int | float] = {}
    if isinstance(temperature, int | float) and not isinstance(temperature, bool) and math.isfinite(temperature):
        found["temperature"] = min(max(temperature, 0), 2)
    return found | ({"max_tokens": most} if most else {})


def list_of(value: Any) -> Iterable[Any]:
    """Return the value where it is a list, else nothing."""
    return value if isinstance(value, list) else []


def dict_of(value: Any) -> dict[str, Any]:
    """Return the value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def limit_messages(count: int) -> None:
    """Raise Refused for a conversation that no page could show."""
    if count > MOST_MESSAGES:
        raise Refused(_("It has more than %(most)s messages.") % {"most": format_count(MOST_MESSAGES)})
