"""Which servers live, and what becomes of the replies of one that does not."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from chat.models import Message, Replica, State
from chat.signals import reply_ended
from providers.endings import Ending

# Seconds between two heartbeats; a replica is dead after four of them without one, so that its replies end
# `interrupted` within five seconds.
HEARTBEAT_SECONDS = 1.0
DEAD_AFTER = timedelta(seconds=4)


def new_name() -> str:
    """Return a name for this process that no other has ever had."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(4)}"


def register(name: str) -> None:
    """Begin to live."""
    now = timezone.now()
    Replica.objects.create(name=name, started_at=now, heartbeat_at=now)


def beat(name: str) -> int:
    """Say that this replica lives, end the replies of those that do not, and return how many that were."""
    Replica.objects.filter(pk=name).update(heartbeat_at=timezone.now())
    return interrupt_orphans()


def start_draining(name: str) -> None:
    """Say that this replica takes no new replies."""
    Replica.objects.filter(pk=name).update(draining=True)


def leave(name: str) -> None:
    """Stop living: everything that this replica owned has ended."""
    Replica.objects.filter(pk=name).delete()


@transaction.atomic
def interrupt_orphans() -> int:
    """End every unfinished reply whose owner is dead or gone, with what it had. Safe to do twice, from anywhere."""
    Replica.objects.filter(heartbeat_at__lt=timezone.now() - DEAD_AFTER).delete()
    unfinished = Message.objects.exclude(state=State.ENDED)
    orphans = unfinished.exclude(owner__in=Replica.objects.values("pk")).values_list("id", "epoch", "created_at")
    return sum(_interrupt(*orphan) for orphan in orphans)


def _interrupt(pk: UUID, epoch: int, created_at: datetime) -> int:
    now = timezone.now()
    # The epoch decides who wins where two replicas, or a late owner, come to the same row.
    taken = Message.objects.filter(pk=pk, epoch=epoch).exclude(state=State.ENDED).update(
        state=State.ENDED,
        ending=Ending.INTERRUPTED,
        evidence="owner gone",
        error=Ending.INTERRUPTED.sentence,
        epoch=epoch + 1,
        ended_at=now,
        duration_ms=round((now - created_at).total_seconds() * 1000),
    )  # fmt: skip
    if taken:
        reply_ended.send(Message, reply=Message.objects.get(pk=pk))
    return taken
