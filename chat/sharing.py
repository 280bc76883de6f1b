"""Conversations that anybody can read who has the link: one branch, up to the message that was its last one then.

A link lets its holder read, and nothing else: what it shows has no id that could be sent anywhere. The owner's name,
costs and reasoning are not shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from chat.answered import find_names
from chat.branches import tree_of
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


@transaction.atomic
def share(conversation: Conversation) -> Share | None:
    """Return a link to the branch that is shown, up to its last message that is whole; None where there is none.

    The same branch has one link: sharing it again shows that.
    """
    # Locked: a form that is sent twice makes one link, and the branch stays while it is read.
    locked = Conversation.objects.select_for_update(of=("self",)).get(pk=conversation.pk)
    tree = tree_of(locked.pk)
    path = tree.path_to(locked.current_leaf_id or tree.newest_leaf(None))
    whole = [key for key in path if tree.nodes[key].state == State.ENDED]
    if not whole:
        return None
    return Share.objects.get_or_create(conversation=locked, leaf_id=whole[-1])[0]


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
    path = tree_of(found.conversation_id).path_to(found.leaf_id)
    rows = Message.objects.defer("reasoning").in_bulk(path)
    # Some may have been deleted since the tree was read.
    branch = [rows[key] for key in path if key in rows and rows[key].state == State.ENDED]
    files = _names_of_files(path)
    names = find_names(f"{message.provider}:{message.model}" for message in branch if message.provider)
    turns = [_make_turn(message, names, files.get(message.pk, ())) for message in branch]
    return Shared(title_of(found.conversation), found.created_at, turns)


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
