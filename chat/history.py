"""The branch of a conversation as a model should see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from chat.models import Message, Role, SiteSettings
from providers.aichat import Turn
from providers.endings import Ending


@dataclass(frozen=True)
class Branch:
    """What is sent: the turns before, and the prompt. `unfinished`: the answer that the prompt asks to continue."""

    turns: tuple[Turn, ...]
    prompt: str
    unfinished: str = ""

    def continued(self, text: str, prompt: str) -> Branch:
        """Return what asks a model to go on behind `text`, the beginning of an answer to this branch.

        As a user's turn: newer models refuse a request that ends in words of their own.
        """
        before = self.turns[:-1] if self.unfinished else (*self.turns, Turn(Role.USER.value, self.prompt))
        whole = self.unfinished + text
        return Branch((*before, Turn(Role.ASSISTANT.value, whole)), prompt, whole)

    @property
    def texts(self) -> list[str]:
        """Everything that is sent."""
        return [*(turn.text for turn in self.turns), self.prompt]


class Line(NamedTuple):
    """A message as far as a branch needs it."""

    id: UUID
    parent_id: UUID | None
    role: str
    text: str
    state: str
    continues: bool
    ending: str


def lines_of(conversation_id: UUID) -> list[Line]:
    """Return every message of the conversation, in one query that builds no models."""
    rows = Message.objects.filter(conversation_id=conversation_id).order_by().values_list(*Line._fields)
    return [Line(*row) for row in rows]


def branch_before(reply: Message, lines: Iterable[Line]) -> Branch:
    """Return everything above `reply`, of the conversation's `lines`; one query where it continues an answer.

    Failed answers without text are left out, and so is a message that the provider refused: sent again, it would only
    be refused again, with everything after it. Neighbours may then have the same role, which some providers refuse:
    they are joined; an answer and its continuation without a seam.
    """
    path = _path_to(reply, lines)
    questions = [line.id for line in path if line.role == Role.USER]
    # The last question is what is asked, even where it was refused before.
    refused = {line.parent_id for line in path if line.ending == Ending.REJECTED and not line.text}
    refused = refused & set(questions[:-1])
    turns: list[Turn] = []
    for line in path:
        if not line.text or line.id in refused:
            continue
        if turns and turns[-1].role == line.role:
            seam = "" if line.continues else "\n\n"
            turns[-1] = Turn(line.role, f"{turns[-1].text}{seam}{line.text}")
        else:
            turns.append(Turn(line.role, line.text))
    if turns[-1].role == Role.ASSISTANT:
        # Only a continued answer comes right after another, and only where that has said something.
        return Branch(tuple(turns), site_settings().continue_prompt, turns[-1].text)
    return Branch(tuple(turns[:-1]), turns[-1].text)


def site_settings() -> SiteSettings:
    """Return the site's settings, with their defaults where an admin has not saved any yet."""
    return SiteSettings.objects.first() or SiteSettings()


def _path_to(reply: Message, lines: Iterable[Line]) -> list[Line]:
    by_id = {line.id: line for line in lines}
    path, at = [], reply.parent_id
    while at is not None:
        path.append(by_id[at])
        at = path[-1].parent_id
    return path[::-1]
