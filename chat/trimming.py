"""What of a branch goes to a model whose context has no room for all of it: the latest turns, never half of one."""

from __future__ import annotations

from dataclasses import dataclass

from chat.history import IMAGE_CHARACTERS, Branch
from providers.aichat import Turn
from providers.costs import CHARACTERS_PER_TOKEN
from providers.routing import Candidate

# What is left for an answer where nothing says how long it may become; never more than half of the window.
RESERVED_TOKENS = 1024
# What dialects put around each message: roles and separators.
TURN_TOKENS = 8
# Estimates are averages: a text may well need a twentieth more.
CAUTION = 0.95


@dataclass(frozen=True)
class Room:
    """How many tokens a model takes, None where nobody knows, and how its tokens are guessed from text.

    Without a learned rate of characters, four bytes of UTF-8 count as a token: other scripts need more tokens a letter.
    """

    tokens: float | None
    characters_per_token: float | None = None

    def count(self, turn: Turn) -> float:
        """Return about how many tokens a turn takes."""
        images = len(turn.images) * IMAGE_CHARACTERS / CHARACTERS_PER_TOKEN
        if self.characters_per_token:
            return len(turn.text) / self.characters_per_token + images + TURN_TOKENS
        return len(turn.text.encode(errors="replace")) / CHARACTERS_PER_TOKEN + images + TURN_TOKENS


def room_of(candidate: Candidate, max_tokens: int | None) -> Room:
    """Return what a model has room for beside its answer of at most `max_tokens`."""
    window = candidate.context_window
    if not window:
        return Room(None)
    reserved = max_tokens or min(candidate.max_output or RESERVED_TOKENS, window // 2)
    return Room(max(0, window - reserved) * CAUTION, candidate.row.prompt_characters_per_token)


def fit(branch: Branch, room: Room) -> Branch:
    """Return the branch without its oldest turns, as far as there is no room for them.

    A question goes with its answer. The system prompt and the last question always stay: where even they do not fit,
    the provider says so.
    """
    if room.tokens is None:
        return branch
    needed = sum(room.count(turn) for turn in branch.everything)
    first, last = 0, len(branch.turns) - (2 if branch.unfinished else 0)
    while first < last and needed > room.tokens:
        needed -= sum(room.count(turn) for turn in branch.turns[first : first + 2])
        first += 2
    return branch.since(min(first, last)) if first else branch
