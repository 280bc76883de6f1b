"""Conversations that anybody can read who has the link: one branch, up to the message that was its last one then.

A link lets its holder read, and nothing else: what it shows has no id that could be sent anywhere. The owner's name,
costs and reasoning are not shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet

from chat.answered import find_names
from chat.exports.texts import title_of
from chat.models import Attachment, Conversation, Message, Role, Share, State
from chat.turns import Names, Part, describe_ending, split_at_notices


@dataclass(frozen=True)
class SharedTurn:
    """A message as strangers see it."""

    role: str
    parts: list[Part]
    model: str
    ending: str
    files: Sequence[str]
    continues: bool

    @property
    def is_reply(self) -> bool:
        return self.role == Role.ASSISTANT


@dataclass(frozen=True)
class Shared:
    """What a link shows."""

    title: str
    created_at: datetime
    turns: list[SharedTurn]


def share(conversation: Conversation) -> Share | None:
    """Return a link to the branch that is shown, up to its last message that is whole; None where there is none.

    The same branch has one link: sharing it again shows that.
    """
    lines = list(
        Message.objects.filter(conversation=conversation).order_by("created_at").values_list("pk", "parent_id", "state")
    )
    states = {key: state for key, _, state in lines}
    leaf = conversation.current_leaf_id or (lines[-1][0] if lines else None)
    path = [key for key in _path_to(leaf, {key: parent for key, parent, _ in lines}) if states[key] == State.ENDED]
    if not path:
        return None
    # From the end backwards, as the path is.
    return Share.objects.get_or_create(conversation=conversation, leaf_id=path[0])[0]


def shares_of(user: User) -> QuerySet[Share]:
    """Return the user's links, the newest first."""
    return Share.objects.filter(conversation__in=Conversation.objects.of(user)).select_related("conversation")


def find_shared(key: str) -> Shared | None:
    """Return what the link shows; None where there is no such link, or nobody may follow it any more. Four queries."""
    if not settings.CHAT_SHARING:
        return None
    visible = Share.objects.filter(conversation__deleted_at=None, conversation__owner__is_active=True)
    found = visible.filter(key=key).select_related("conversation").first()
    if found is None:
        return None
    parents = dict(Message.objects.filter(conversation=found.conversation_id).values_list("pk", "parent_id"))
    path = list(_path_to(found.leaf_id, parents))
    rows = Message.objects.defer("reasoning").in_bulk(path)
    branch = [rows[key] for key in reversed(path) if rows[key].state == State.ENDED]
    files = _names_of_files(path)
    names = find_names(f"{message.provider}:{message.model}" for message in branch if message.provider)
    turns = [_make_turn(message, names, files.get(message.pk, ())) for message in branch]
    return Shared(title_of(found.conversation), found.created_at, turns)


def _path_to(leaf: uuid.UUID | None, parents: Mapping[uuid.UUID, uuid.UUID | None]) -> list[uuid.UUID]:
    path = []
    while leaf is not None:
        path.append(leaf)
        leaf = parents[leaf]
    return path


def _names_of_files(path: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[str]]:
    found: dict[uuid.UUID, list[str]] = {}
    for message, name in Attachment.objects.filter(message__in=path).values_list("message_id", "name"):
        assert message is not None
        found.setdefault(message, []).append(name)
    return found


def _make_turn(message: Message, names: Names, files: Sequence[str]) -> SharedTurn:
    return SharedTurn(
        message.role,
        split_at_notices(message.text, message.notices),
        names.of_model(message.provider, message.model) if message.model else "",
        describe_ending(message.ending, message.error),
        files,
        message.continues,
    )
