"""How sizes, lengths of time and moments are said on the staff's pages."""

from __future__ import annotations

import re
from datetime import datetime

from providers.breaker import clock

NOTHING = "–"
# Names on these pages are other people's, and a line is short.
NAME_CHARACTERS = 60
# Control characters, and what turns the direction of the text around it: a name must not rewrite its sentence.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
# What does not show, or turns what stands around it: control characters, bidi and zero-width marks, tags.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


def size(count: float | None) -> str:
    """Return bytes as "84 MB"."""
    if count is None:
        return NOTHING
    if abs(count) < 1e6:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:,.0f} MB" if abs(count) < 1e9 else f"{count / 1e9:.1f} GB"


def milliseconds(number: float | None) -> str:
    """Return a length of time as "850 ms", "1.2 s" or "2 min 3 s"."""
    if number is None:
        return NOTHING
    if number < 1000:
        return f"{number:.0f} ms"
    return f"{number / 1000:.1f} s" if number < 60_000 else seconds(number / 1000)


def seconds(number: float) -> str:
    """Return a length of time in its two largest units: "12 s", "3 min 5 s", "2 h 10 min", "3 days 4 h"."""
    whole = max(0, round(number))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if days:
        return _two(days, "day" if days == 1 else "days", hours % 24, "h")
    if hours:
        return _two(hours, "h", minutes % 60, "min")
    return _two(minutes, "min", whole % 60, "s") if minutes else f"{whole} s"


def age(since: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    return seconds((now - since).total_seconds())


def moment(at: datetime | None) -> str:
    """Return a moment in the site's time zone, with the date where that is not today."""
    return clock(at) if at else NOTHING


def count(number: int, one: str, many: str = "") -> str:
    """Return "1 answer", "1,200 answers"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short(text: str, characters: int = NAME_CHARACTERS) -> str:
    """Return somebody's text in one line, its end cut off where it is too long for its place."""
    # Not all of a long one is looked through.
    text = UNSAFE.sub(" ", text[: 2 * characters]).strip()
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def with_marks(text: str) -> str:
    """Return a text with its hidden characters named where they stand: whoever looks at it must see that they do."""
    return HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def server_name(name: str) -> str:
    """Return the name of a server as people tell it from others: host and process."""
    host, _, rest = name.partition(":")
    return f"{short(host, 30)} {rest.partition(':')[0]}".strip()


def _two(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first} {unit} {second} {smaller}" if second else f"{first} {unit}"
