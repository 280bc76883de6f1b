"""What is written of the unfinished replies a few times a second, and read of what others want of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from chat.models import Message, State
from chat.replies import Reply


@dataclass(frozen=True)
class Snapshot:
    """A running reply at one moment, taken on the loop's thread so that text and number belong together."""

    id: uuid.UUID
    epoch: int
    last_seq: int
    changed: bool
    text: str = ""
    reasoning: str = ""
    notices: Sequence[dict[str, str | int]] = ()
    chunks: int = 0
    attempts: int = 0
    first_token_ms: int | None = None


def snapshot(reply: Reply) -> Snapshot:
    """Return what a checkpoint writes of `reply`, with its text only where there is new text."""
    if reply.last_seq == reply.saved_seq:
        return Snapshot(reply.id, reply.epoch, reply.last_seq, changed=False)
    return Snapshot(
        reply.id,
        reply.epoch,
        reply.last_seq,
        changed=True,
        text="".join(reply.text),
        reasoning="".join(reply.reasoning),
        notices=tuple(reply.notices),
        chunks=reply.chunks,
        attempts=reply.attempts,
        first_token_ms=reply.first_token_ms,
    )


@dataclass(frozen=True)
class Checkpoint:
    """What became of a checkpoint: the replies that are no longer ours, and those that somebody wants stopped."""

    lost: set[uuid.UUID]
    stop_requested: set[uuid.UUID]


CHECKPOINT = f"""
    UPDATE {Message._meta.db_table}
    SET text = %s, reasoning = %s, notices = %s, last_seq = %s, chunks = %s, attempts = %s, first_token_ms = %s
    WHERE id = %s AND epoch = %s AND state = '{State.RUNNING.value}'
"""  # noqa: S608 (names from our own model)


@transaction.atomic
def checkpoint(snapshots: Sequence[Snapshot]) -> Checkpoint:
    """Write what has changed of the unfinished replies, in one go, and read what others want of them."""
    if changed := [_checkpoint_row(taken) for taken in snapshots if taken.changed]:
        with connection.cursor() as cursor:
            cursor.executemany(CHECKPOINT, changed)
    rows = Message.objects.filter(pk__in=[taken.id for taken in snapshots]).exclude(state=State.ENDED)
    seen = {pk: (epoch, stop) for pk, epoch, stop in rows.values_list("id", "epoch", "stop_requested")}
    ours = {taken.id for taken in snapshots if taken.id in seen and seen[taken.id][0] == taken.epoch}
    return Checkpoint(
        lost={taken.id for taken in snapshots} - ours,
        stop_requested={pk for pk in ours if seen[pk][1]},
    )


def _checkpoint_row(taken: Snapshot) -> tuple[Any, ...]:
    def prepared(name: str, value: object) -> Any:
        column: Any = Message._meta.get_field(name)
        return column.get_db_prep_save(value, connection)

    numbers = (taken.last_seq, taken.chunks, taken.attempts, taken.first_token_ms)
    notices = prepared("notices", list(taken.notices))
    return taken.text, taken.reasoning, notices, *numbers, prepared("id", taken.id), taken.epoch
