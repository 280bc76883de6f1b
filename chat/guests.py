"""Guests whom nobody has seen for a long time, and their conversations: gone after a while, a few at a time."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from chat.accounts import DELETED
from chat.deletion import KEPT
from chat.identity import GUEST_PREFIX
from chat.models import Conversation, Message, State
from providers.models import Attempt

# Rows a step: on SQLite nothing else is written meanwhile.
STEP = 100


def find_left(before: datetime) -> QuerySet[Conversation]:
    """Return guests' conversations in which nothing was said since `before`, and nothing is being answered."""
    unfinished = Message.objects.filter(conversation=OuterRef("pk")).exclude(state=State.ENDED)
    of_guests = Conversation.objects.filter(owner__in=_guests(), deleted_at=None, updated_at__lt=before)
    return of_guests.filter(~Exists(unfinished))


def delete_left(before: datetime) -> int:
    """Delete some of them without a way back, so that the next purge removes them; return how many."""
    some = list(find_left(before).order_by("updated_at").values_list("pk", flat=True)[:STEP])
    # Where somebody writes again at this moment, the row has a new time, and stays.
    still = Conversation.objects.filter(pk__in=some, updated_at__lt=before, deleted_at=None)
    return still.update(deleted_at=timezone.now() - KEPT)


def find_gone(before: datetime) -> QuerySet[User]:
    """Return the guests from before `before` who have no conversation."""
    return _guests().filter(date_joined__lt=before).filter(~_owning())


@transaction.atomic
def remove_gone(before: datetime) -> int:
    """Remove some of them; return how many. The ledger keeps their sums, without saying whose they were."""
    locked = find_gone(before).select_for_update().order_by("pk").values_list("pk", flat=True)[:STEP]
    # Looked at again behind the lock, which keeps a conversation that is just being made from losing its owner.
    gone = list(User.objects.filter(pk__in=list(locked)).filter(~_owning()).values_list("pk", flat=True))
    Attempt.objects.filter(user__in=gone).update(user=None, username=DELETED)
    User.objects.filter(pk__in=gone).delete()
    return len(gone)


def _guests() -> QuerySet[User]:
    # Nobody can choose such a name but an admin, who gives a password with it.
    return User.objects.filter(username__startswith=GUEST_PREFIX, password__startswith=UNUSABLE_PASSWORD_PREFIX)


def _owning() -> Exists:
    return Exists(Conversation.objects.filter(owner=OuterRef("pk")))
