"""The rules by name, and which of them a text breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings

from chat.policy import command, paths, prose, script, sql
from chat.policy.reading import Reading

# Longer texts are searched only where nobody speaks in them: they are documents.
LONG = 2000
# Most of what people say has none of the marks and words that an attack is made of, and is known at once.
PLAIN_TALK = re.compile(r"[a-zA-Z0-9 ,.!?-]*+")
SUSPECT = re.compile(r"\.\.|--|like|union|order|group|having|is not|between", re.IGNORECASE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")


@dataclass(frozen=True)
class Hit:
    """A rule that a text breaks; `found` is what broke it, as it was read."""

    rule: str
    found: str


@dataclass(frozen=True)
class Kind:
    """An attack with a shape: where it stands in a text, and what is written around it."""

    find: Callable[[Reading], Iterator[re.Match[str]]]
    rest_of: Callable[[Reading], str]
    vocabulary: frozenset[str]


KINDS = {
    "command_injection": Kind(command.find, command.rest_of, command.VOCABULARY),
    "script_injection": Kind(script.find, script.rest_of, script.VOCABULARY),
    "path_traversal": Kind(paths.find, paths.rest_of, paths.VOCABULARY),
    "sql_injection": Kind(sql.find, sql.rest_of, sql.VOCABULARY),
}
RULES = ("too_long", "control_characters", *KINDS)


def judge(text: str) -> Iterator[Hit]:
    """Yield the rules that `text` breaks. Pure, but for the length that a setting allows."""
    if len(text) > settings.CHAT_MESSAGE_LENGTH:
        yield Hit("too_long", "")
    if control := CONTROL.search(text):
        yield Hit("control_characters", f"U+{ord(control[0]):04X}")
    if PLAIN_TALK.fullmatch(text) and not SUSPECT.search(text):
        return
    reading = Reading.of(text)
    if len(reading.text) > LONG and prose.is_about_it(reading.text):
        return
    for name, kind in KINDS.items():
        if found := _find_bare(kind, reading):
            yield Hit(name, found)


def _find_bare(kind: Kind, reading: Reading) -> str | None:
    """Return what an attack was recognised by, None where there is none or the text is about it."""
    hits = list(kind.find(reading))
    if not hits:
        return None
    first = hits[0]
    if kind.find is command.find and any(command.is_appended(hit) for hit in hits):
        return first[0]
    if prose.is_document(reading.text, (hit.start() for hit in hits)):
        return None
    return None if prose.is_about_it(kind.rest_of(reading), kind.vocabulary) else first[0]
