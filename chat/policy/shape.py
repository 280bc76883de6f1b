"""One shape that an attack has: a pattern, the literals without which it cannot match, and what makes it harmless."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

# Whoever repeats an attack so often has made the point; what is harmless may be in between more often.
MOST_HITS = 64
MOST_MATCHES = 1024

Check = Callable[[re.Match[str]], bool]


@dataclass(frozen=True)
class Shape:
    """`pattern` is searched only in a text that has one of `literals`: looking for those costs next to nothing.

    A match that one of `unless` says yes to is none: it takes more than a pattern to see that it is harmless.
    """

    pattern: re.Pattern[str]
    literals: tuple[str, ...]
    unless: tuple[Check, ...] = ()

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the matches in `text`."""
        if any(literal in text for literal in self.literals):
            matches = islice(self.pattern.finditer(text), MOST_MATCHES)
            hits = (match for match in matches if not any(harmless(match) for harmless in self.unless))
            yield from islice(hits, MOST_HITS)


def shape(pattern: str, *literals: str, unless: tuple[Check, ...] = ()) -> Shape:
    """Return the shape of `pattern`. It must not be able to backtrack far: bounded or possessive quantifiers only."""
    return Shape(re.compile(pattern), literals, unless)


def find_all(shapes: Iterable[Shape], text: str) -> Iterator[re.Match[str]]:
    """Return what matches the first of `shapes` that matches at all."""
    for each in shapes:
        if hits := list(each.find(text)):
            return iter(hits)
    return iter(())
