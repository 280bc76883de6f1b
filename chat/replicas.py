"""Which servers live, and what becomes of the replies of one that does not."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from chat.models import Message, Replica, State
from chat.signals import reply_ended
from providers import ledger
from providers.endings import Ending

# Seconds between two heartbeats; a replica is dead after three and a half of them, so that its replies end
# `interrupted` within five seconds: the others look once a second.
HEARTBEAT_SECONDS = 1.0
DEAD_AFTER = timedelta(seconds=3.5)


def new_name() -> str:
    """Return a name for this process that no other has ever had."""
    return f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(4)}"


def register(name: str) -> None:
    """Begin to live."""
    Replica.objects.create(name=name, started_at=Now(), heartbeat_at=Now())


def beat(name: str) -> int:
    """Say that this replica lives, end the replies of those that do not, and return how many that were."""
    if not Replica.objects.filter(pk=name).update(heartbeat_at=Now()):
        # Paused for so long that another replica has taken it for dead; its replies are gone, its life goes on.
        register(name)
    return interrupt_orphans()


def is_oldest(name: str) -> bool:
    """Return whether this replica does what only one must do."""
    return Replica.objects.order_by("started_at", "pk").values_list("pk", flat=True).first() == name


def is_any_alive() -> bool:
    """Return whether a server of this site runs."""
    return Replica.objects.filter(heartbeat_at__gte=Now() - DEAD_AFTER).exists()


def leave(name: str) -> None:
    """Stop living: everything that this replica owned has ended."""
    Replica.objects.filter(pk=name).delete()


def interrupt_orphans() -> int:
    """End every unfinished reply whose owner is dead or gone, with what it had. Safe to do twice, from anywhere."""
    # By the database's clock: those of several machines never agree.
    Replica.objects.filter(heartbeat_at__lt=Now() - DEAD_AFTER).delete()
    unfinished = Message.objects.exclude(state=State.ENDED)
    orphans = unfinished.exclude(owner__in=Replica.objects.values("pk")).values_list("id", "epoch")
    return sum(_interrupt(*orphan) for orphan in orphans)


@transaction.atomic
def _interrupt(pk: UUID, epoch: int) -> int:
    # The epoch decides who wins where two replicas, or a late owner, come to the same row.
    taken = Message.objects.filter(pk=pk, epoch=epoch).exclude(state=State.ENDED).update(
        state=State.ENDED,
        ending=Ending.INTERRUPTED,
        evidence="owner gone",
        error=Ending.INTERRUPTED.sentence,
        epoch=epoch + 1,
        ended_at=timezone.now(),
    )  # fmt: skip
    if taken:
        left = Message.objects.filter(pk=pk).values_list("text", "reasoning").get()
        ledger.interrupt(pk, *map(len, left))
        totals = ledger.find_totals(pk)
        Message.objects.filter(pk=pk).update(cost_usd=totals.cost_usd, cost_source=totals.source, **totals.tokens)
        reply_ended.send(Message, reply=Message.objects.get(pk=pk))
    return taken
