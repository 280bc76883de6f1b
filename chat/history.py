"""The branch of a conversation as a model should see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from chat.models import Message, Role
from providers.aichat import Turn

CONTINUE_PROMPT = (
    "Your last answer was cut off. Continue it exactly where it stopped, in the same language and format. "
    "Do not repeat anything and do not comment on the interruption."
)


@dataclass(frozen=True)
class Branch:
    """What is sent: the turns before, and the prompt."""

    turns: tuple[Turn, ...]
    prompt: str


def branch_before(reply: Message) -> Branch:
    """Return everything above `reply`.

    Failed answers without text are left out, so neighbours may have the same role, which some providers refuse:
    they are joined.
    """
    said = [(role, text) for role, text in _path_to(reply) if text]
    if reply.continues:
        said.append((Role.USER.value, CONTINUE_PROMPT))
    turns = list(_joined(said))
    return Branch(tuple(turns[:-1]), turns[-1].text)


def _path_to(reply: Message) -> list[tuple[str, str]]:
    rows = Message.objects.filter(conversation_id=reply.conversation_id).values_list("id", "parent_id", "role", "text")
    by_id: dict[UUID, tuple[UUID | None, str, str]] = {pk: (parent, role, text) for pk, parent, role, text in rows}
    path, at = [], reply.parent_id
    while at is not None:
        at, role, text = by_id[at]
        path.append((role, text))
    return path[::-1]


def _joined(said: Iterable[tuple[str, str]]) -> Iterable[Turn]:
    last: Turn | None = None
    for role, text in said:
        if last and last.role == role:
            last = Turn(role, f"{last.text}\n\n{text}")
        else:
            if last:
                yield last
            last = Turn(role, text)
    if last:
        yield last
