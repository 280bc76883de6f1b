"""What a site must do now and then about its conversations. It blocks; one server of a site does it."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from chat import attachments
from chat.deletion import KEPT
from chat.models import Conversation, Message

# Messages a step: on SQLite nothing else is written meanwhile, and a conversation may have thousands.
STEP = 200


def do_round() -> None:
    """Delete what nobody can come back for."""
    attachments.sweep_unsent()


@transaction.atomic
def purge_some() -> int:
    """Remove a part of a conversation whose deletion can no longer be undone; return of how many rows, 0 for none."""
    deleted = Conversation.objects.filter(deleted_at__lte=timezone.now() - KEPT)
    due = deleted.order_by("deleted_at", "pk").first()
    if due is None:
        return 0
    messages = Message.objects.filter(conversation=due)
    # Without the branches the order does not matter.
    Conversation.objects.filter(pk=due.pk).update(current_leaf=None)
    messages.exclude(parent=None).update(parent=None)
    if some := list(messages.order_by().values_list("pk", flat=True)[:STEP]):
        Message.objects.filter(pk__in=some).delete()
        return len(some)
    due.delete()
    return 1
