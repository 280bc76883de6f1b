"""Deleting a conversation: out of sight at once, undone on request, gone for good an hour later."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from chat.models import Conversation, Message, State
from chat.signals import tell

# As long as somebody may still want it back.
KEPT = timedelta(hours=1)


@transaction.atomic
def delete(conversation: Conversation) -> None:
    """Delete the conversation, and have its unfinished replies stopped.

    Their owners, on whichever replica, see the request with their next checkpoint.
    """
    if Conversation.objects.filter(pk=conversation.pk, deleted_at=None).update(deleted_at=timezone.now()):
        tell("chat.conversation.deleted", conversation.owner, "conversation", conversation.pk)
    Message.objects.filter(conversation=conversation).exclude(state=State.ENDED).update(stop_requested=True)


def find_deleted(user: User | None, conversation_id: uuid.UUID) -> Conversation | None:
    """Return the user's deleted conversation of that id, while it can still be had back."""
    since = timezone.now() - KEPT
    return Conversation.objects.filter(owner=user, pk=conversation_id, deleted_at__gt=since).first() if user else None


@transaction.atomic
def restore(conversation: Conversation) -> None:
    """Bring a deleted conversation back."""
    if Conversation.objects.filter(pk=conversation.pk).exclude(deleted_at=None).update(deleted_at=None):
        tell("chat.conversation.restored", conversation.owner, "conversation", conversation.pk)
    conversation.deleted_at = None
