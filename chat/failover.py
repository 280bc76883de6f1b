"""What happens when a provider fails: who is asked next, and how two halves of an answer become one.

Pure. The table of endings is providers.endings.RULES.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from providers.endings import RULES, Ending, Evidence, Verdict, is_too_long
from providers.routing import Candidate, next_candidates, with_more_context

# A model that continues often begins with its own last words again. Shorter repetitions may be meant.
LONGEST_OVERLAP = 400
SHORTEST_OVERLAP = 12
# A line of dashes, or zeros, goes on as it began: that is no repetition.
LEAST_CHARACTERS = 4


def who_is_next(left: Sequence[Candidate], failed: Candidate, verdict: Verdict, seen: Evidence) -> list[Candidate]:
    """Return who can take over from `failed`, in order; nobody where its ending is the reply's.

    Before or after the first token is meant of `failed` itself: one that should continue an answer may fail before it.
    """
    has_text = seen.has_text
    if verdict.ending is Ending.REJECTED and not has_text and is_too_long(seen):
        return with_more_context(left, failed)
    rule = RULES[verdict.ending]
    return next_candidates(left, failed, verdict.ending) if (rule.next_after if has_text else rule.next_before) else []


@dataclass(frozen=True)
class Tried:
    """A provider that was asked, or could not be, and what came of it. `wrote`: it has added to the answer."""

    candidate: Candidate
    ending: Ending | None
    reason: str = ""
    wrote: bool = False

    def __str__(self) -> str:
        return f"{self.candidate.full_name}: {self.why}"

    @property
    def why(self) -> str:
        """Why it did not answer, to be put behind a colon."""
        return as_clause(self.ending.sentence if self.ending else self.reason)


# How our own sentences begin.
BEGINNINGS = {"The", "This", "You", "Your", "It", "Paused,"}


def as_clause(sentence: str) -> str:
    """Return a sentence as it stands behind a colon; a name at its beginning stays as it is."""
    first, space, rest = sentence.partition(" ")
    return f"{first.lower() if first in BEGINNINGS else first}{space}{rest}".rstrip(".")


def list_tried(tried: Sequence[Tried]) -> str:
    """Return who was tried and why nobody answered, as one sentence for the reader."""
    return f"Nobody could answer. {'; '.join(map(str, tried))}."


class OverlapTrimmer:
    """Drops from the beginning of a continuation what repeats the end of the text before it.

    Text is held back only as long as it may still be part of the repetition.
    """

    def __init__(self, before: str) -> None:
        self._before = before[-LONGEST_OVERLAP:]
        self._held = ""
        self._done = not before

    def feed(self, text: str) -> str:
        """Return what of the text so far can be shown now."""
        if self._done:
            return text
        self._held += text
        if self._may_grow():
            return ""
        return self.finish()

    def finish(self) -> str:
        """Return what is still held back, without the repetition."""
        self._done = True
        held, self._held = self._held, ""
        for length in range(min(len(held), len(self._before)), SHORTEST_OVERLAP - 1, -1):
            if self._before.endswith(held[:length]) and len(set(held[:length])) >= LEAST_CHARACTERS:
                return held[length:]
        return held

    def _may_grow(self) -> bool:
        """Return whether what is held is a piece of the text before: its repetition may go on up to that text's end."""
        return len(self._held) < len(self._before) and self._held in self._before
