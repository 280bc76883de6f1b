"""The texts that prove the input policy, in two halves: one that it was tuned with, one that nobody looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from monitoring.security.disguises import OF_CLASS, Disguise

TEXTS = Path(__file__).parent / "corpora"
# Another one makes other halves, where the rules were changed for a text that had not been looked at.
SALT = "7"
# Texts of one class from which on not each is sent in every disguise: that would be tens of thousands.
MANY = 1000
TUNING, HELD_OUT = "tuning", "held_out"
# Characters that the founding plan wants refused; NUL is already refused by the protocol, as `bad_text`.
CONTROLS = [*range(0x01, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0x85), *range(0x86, 0xA0)]
# Around the most characters that a message may have, which is a setting.
OVER_LONG = (1, 2, 10, 100, 1000, 10_000, 68_000)
FILLINGS = ("A", "a b ", "What is this? ", "../", "' OR 1=1 ", "<b>", "é", "漢", "🙂", "\n", " \u200b", "%41")


@dataclass(frozen=True)
class Sample:
    """One text. `kind` is the rule that must refuse it, or the folder's file where none does; `half` by its `base`."""

    text: str
    kind: str
    base: str
    disguise: str = ""

    @property
    def half(self) -> str:
        """By the parity of a digest of what it was made from, so that no disguise of it is in the other half."""
        return TUNING if hashlib.sha256((SALT + self.base).encode()).digest()[0] % 2 == 0 else HELD_OUT


def hostile(longest: int) -> Iterator[Sample]:
    """Yield everything that must be refused, as it is and in disguise. A message may have `longest` characters."""
    for kind, disguises in OF_CLASS.items():
        bases = read("hostile", kind)
        yield from (Sample(base, kind, base) for base in bases)
        for at, base in enumerate(bases):
            for disguise in _some(disguises, at, len(bases)):
                if (text := disguise(base)) != base:
                    yield Sample(text, kind, base, disguise.__name__)
    yield from _control_characters()
    yield from _over_long(longest)


def benign() -> Iterator[Sample]:
    """Yield everything that must pass: what people write."""
    for kind in kinds("benign"):
        yield from (Sample(text, kind, text) for text in read("benign", kind))


def exempt() -> Iterator[Sample]:
    """Yield what no shape can tell from honest text, and what is harmless here for other reasons."""
    for kind in kinds("exempt"):
        yield from (Sample(text, kind, text) for text in read("exempt", kind))


def kinds(folder: str) -> list[str]:
    """Return the names of the collections in `folder`."""
    return sorted(path.stem for path in (TEXTS / folder).glob("*.json"))


def read(folder: str, kind: str) -> list[str]:
    """Return the texts of one collection."""
    texts: list[str] = json.loads((TEXTS / folder / f"{kind}.json").read_text())
    return texts


def _some(disguises: Sequence[Disguise], at: int, count: int) -> Iterable[Disguise]:
    """Return all disguises; of a class that has very many texts, two for each, in turn."""
    if count <= MANY:
        return disguises
    return (disguises[at % len(disguises)], disguises[(at + 1) % len(disguises)])


def _control_characters() -> Iterator[Sample]:
    for base in read("hostile", "control_characters"):
        for code in CONTROLS:
            yield Sample(base.replace("{}", chr(code)), "control_characters", f"{base} {code}")


def _over_long(longest: int) -> Iterator[Sample]:
    for filling in FILLINGS:
        for more in OVER_LONG:
            # At its end a letter: white space there does not count.
            text = (filling * longest)[: longest + more - 1] + "."
            yield Sample(text, "too_long", f"{filling} {more}")
