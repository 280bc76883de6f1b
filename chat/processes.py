"""What runs on this server right now: every unfinished reply, with its process, as operators look at it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from uuid import UUID

from chat.replies import Reply
from chat.runner import Runner
from providers import aichat


class Phase(StrEnum):
    """How far a reply has come."""

    WAITING = "waiting"  # for its turn, a place, or the start of its process
    ASKING = "asking"
    THINKING = "thinking"
    STREAMING = "streaming"
    ENDING = "ending"


@dataclass(frozen=True)
class Process:
    """An unfinished reply. `pid` None: no process of it lives; `user` and `model` are empty until it has begun."""

    reply_id: UUID
    conversation_id: UUID
    attempt: int
    pid: int | None
    user: str
    provider: str
    model: str
    phase: Phase
    age_ms: int
    characters: int
    events: int


def list_processes(runner: Runner, most: int) -> list[Process]:
    """Return the oldest unfinished replies, at most so many. On the loop's thread."""
    pids = aichat.living_pids()
    oldest = sorted(runner.unfinished, key=attrgetter("received_at"))[:most]
    return [_describe(reply, pids.get(reply.stop)) for reply in oldest]


def _describe(reply: Reply, pid: int | None) -> Process:
    return Process(
        reply_id=reply.id,
        conversation_id=reply.conversation_id,
        attempt=reply.attempts,
        pid=pid,
        user=reply.plan.account.username if reply.plan else "",
        provider=reply.candidate.provider if reply.candidate else "",
        model=reply.candidate.model if reply.candidate else "",
        phase=_phase_of(reply, pid),
        age_ms=reply.elapsed_ms(),
        characters=reply.characters,
        events=reply.last_seq,
    )


def _phase_of(reply: Reply, pid: int | None) -> Phase:
    if reply.stop.reason or reply.outcome:
        return Phase.ENDING
    if reply.text:
        return Phase.STREAMING
    if reply.reasoning:
        return Phase.THINKING
    return Phase.ASKING if pid else Phase.WAITING
