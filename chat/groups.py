"""What all sockets of one conversation hear together, whoever opened them: the group of the channel layer."""

from __future__ import annotations

import hashlib
from typing import Literal

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from chat.identity import account_key
from chat.models import Conversation

Reason = Literal["branch", "deleted", "cancelled", "settings", "gone", "restored"]


def name_of(visitor_key: str, session: str) -> str:
    """Return the group of the sockets on that visitor's conversation of that name."""
    return f"conversation.{hashlib.sha256(f'{visitor_key}/{session}'.encode()).hexdigest()[:32]}"


def changed(reason: Reason) -> dict[str, str]:
    """Return the event that has every page of a conversation fetch it again."""
    return {"type": "conversation.changed", "reason": reason}


async def tell_title(owner: User, conversation: Conversation) -> None:
    """Tell every tab of its owner's conversation the new title; to be called on the loop."""
    await _tell(owner, conversation, {"type": "conversation.title", "title": conversation.title})


def tell_title_from_view(conversation: Conversation) -> None:
    """As `tell_title`, from a view, whose thread the loop waits for."""
    async_to_sync(tell_title)(conversation.owner, conversation)


def tell_changed_from_view(conversation: Conversation, reason: Reason) -> None:
    """Have every tab fetch the conversation again; from a view, as above."""
    async_to_sync(_tell)(conversation.owner, conversation, changed(reason))


async def _tell(owner: User, conversation: Conversation, event: dict[str, str]) -> None:
    # Guests and accounts go by different keys, and a guest's tab stays open as the guest becomes an account.
    for key in (owner.username, account_key(owner.pk)):
        await get_channel_layer().group_send(name_of(key, conversation.name), event)
