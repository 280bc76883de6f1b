"""What all sockets of one conversation hear together, whoever opened them: the group of the channel layer."""

from __future__ import annotations

import hashlib

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User

from chat.identity import account_key
from chat.models import Conversation


def name_of(visitor_key: str, session: str) -> str:
    """Return the group of the sockets on that visitor's conversation of that name."""
    return f"conversation.{hashlib.sha256(f'{visitor_key}/{session}'.encode()).hexdigest()[:32]}"


async def tell_title(owner: User, conversation: Conversation) -> None:
    """Tell every tab of its owner's conversation the new title; to be called on the loop."""
    # Guests and accounts go by different keys, and a guest's tab stays open as the guest becomes an account.
    for key in (owner.username, account_key(owner.pk)):
        event = {"type": "conversation.title", "title": conversation.title}
        await get_channel_layer().group_send(name_of(key, conversation.name), event)


def tell_title_from_view(conversation: Conversation) -> None:
    """As `tell_title`, from a view, whose thread the loop waits for."""
    async_to_sync(tell_title)(conversation.owner, conversation)
