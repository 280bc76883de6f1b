"""What a site must do now and then about its conversations. It blocks; one server of a site does it."""

from __future__ import annotations

from django.utils import timezone

from chat import attachments
from chat.deletion import KEPT
from chat.models import Conversation

# Conversations a step: on SQLite nothing else is written meanwhile.
BATCH = 5


def do_round() -> None:
    """Delete what nobody can come back for."""
    attachments.sweep_unsent()


def purge_some() -> int:
    """Remove a few of the conversations whose deletion can no longer be undone; return how many."""
    due = Conversation.objects.filter(deleted_at__lte=timezone.now() - KEPT).order_by("deleted_at")
    ids = list(due.values_list("pk", flat=True)[:BATCH])
    if ids:
        # Asked again: one may have been restored this moment.
        due.filter(pk__in=ids).delete()
    return len(ids)
