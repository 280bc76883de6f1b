"""The story of a reply: plan, ask, stream, end, store. Plumbing is below it (aichat) and above (runner, consumers)."""

from __future__ import annotations

import logging
import time
import uuid
from asyncio import Semaphore, TimerHandle, get_running_loop, sleep
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import DataError, Error, IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from chat.database import db
from chat.history import Branch, Line, branch_before, lines_of
from chat.models import Message, State
from chat.signals import reply_ended
from chat.streamlog import Event, ReplyTooLong, StreamLog
from providers import aichat
from providers.endings import Ending, Evidence, Verdict, decide
from providers.output import Reasoning, Text
from providers.routing import Candidate, candidates
from providers.signals import attempt_ended

logger = logging.getLogger(__name__)

# A message that takes longer from its socket to its provider is slow for a reason that no other shares.
LONGEST_START_SECONDS = 1.0
STORE_AGAIN_SECONDS = 0.5
UNSTORABLE = "ending that the database refuses"


@dataclass(frozen=True)
class Plan:
    """What a reply needs to begin: what is said, and who can be asked, in order."""

    branch: Branch
    candidates: Sequence[Candidate]
    requested_model: str
    temperature: float | None = None
    max_tokens: int | None = None

    def name_first(self, reply: Message) -> None:
        """Write on the row who is asked first, so that it is known even where the answer is interrupted."""
        if self.candidates:
            reply.provider, reply.model = self.candidates[0].provider, self.candidates[0].model


class Slot:
    """One of the few places for a message on its way from the socket to the provider; freed as early as possible.

    More of them at once would only hold each other up: all of that way is processor time.
    """

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore = semaphore
        self._timer: TimerHandle | None = None

    async def acquire(self) -> None:
        """Wait for a place, unless this one has it already. It is lost after LONGEST_START_SECONDS."""
        if self._timer is None:
            await self._semaphore.acquire()
            self._timer = get_running_loop().call_later(LONGEST_START_SECONDS, self.free)

    def free(self) -> None:
        """Give the place to the next."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._semaphore.release()


@dataclass(eq=False)
class Reply:
    """A reply on its way, in its owner's memory; the row follows by checkpoints."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    slot: Slot
    plan: Plan | None = None
    epoch: int = 1
    received_at: float = field(default_factory=time.monotonic)
    stop: aichat.Stop = field(default_factory=aichat.Stop)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    notices: list[dict[str, str | int]] = field(default_factory=list)
    last_seq: int = 0
    saved_seq: int = 0
    chunks: int = 0
    attempts: int = 0
    first_token_ms: int | None = None
    candidate: Candidate | None = None
    # Since when only a place is missing; None while its turn has not come.
    ready_at: float | None = None

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the message arrived."""
        return round((time.monotonic() - self.received_at) * 1000)


async def answer(reply: Reply, log: StreamLog) -> None:
    """Answer a message, from the plan to the stored ending. The caller has opened the log, and finishes it."""
    finished = await _ask(reply, log)
    verdict = decide(finished.evidence)
    _log_failure(reply, verdict, finished)
    await store(reply, verdict, finished)


async def store(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> None:
    """Store the ending, however long the database is away: without it the conversation could never go on."""
    while True:
        try:
            return await db(store_ending, reply, verdict, finished)
        except (DataError, IntegrityError):
            if verdict.evidence == UNSTORABLE:
                raise
            logger.exception("the ending of reply %s cannot be stored as it is", reply.id)
            verdict, finished = Verdict(Ending.CRASHED, UNSTORABLE), aichat.Finished(Evidence())
        except Error:
            logger.exception("the ending of reply %s is not stored yet", reply.id)
            await sleep(STORE_AGAIN_SECONDS)


async def _ask(reply: Reply, log: StreamLog) -> aichat.Finished:
    plan = reply.plan
    if plan is None or reply.stop.reason:
        return aichat.Finished(_not_begun(reply.stop.reason))
    if not plan.candidates:
        return aichat.Finished(Evidence(spawn_error="no provider is set up"))
    candidate = plan.candidates[0]
    if plan.requested_model and str(candidate) != plan.requested_model:
        _notice_fallback(reply, log, plan.requested_model, candidate)
    return await _attempt(reply, log, candidate)


def _not_begun(reason: aichat.Reason | None) -> Evidence:
    if reason == "no_place":
        return Evidence(spawn_error="the server is too busy; try again later")
    return Evidence(stopped=reason == "stopped", interrupted=reason != "stopped")


async def _attempt(reply: Reply, log: StreamLog, candidate: Candidate) -> aichat.Finished:
    """Run one process to its end, its text into the log."""
    assert reply.plan is not None
    await reply.slot.acquire()
    if reply.stop.reason:
        return aichat.Finished(_not_begun(reply.stop.reason))
    reply.candidate = candidate
    reply.attempts += 1
    async with aclosing(aichat.stream(_request(reply.plan, candidate), reply.stop)) as events:
        async for event in events:
            match event:
                case Text(text):
                    _append(reply, log, Event("text", text.replace("\0", "\ufffd")))
                case Reasoning(text):
                    _append(reply, log, Event("reasoning", text.replace("\0", "\ufffd")))
                case aichat.Finished():
                    return event
            # Whatever came first: start-up is over, the next may begin.
            reply.slot.free()
    raise AssertionError("a stream ends with Finished")


def _request(plan: Plan, candidate: Candidate) -> aichat.Request:
    return aichat.Request(
        target=candidate.target,
        prompt=plan.branch.prompt,
        clocks=candidate.clocks,
        key=candidate.key,
        history=plan.branch.turns,
        temperature=plan.temperature,
        max_tokens=plan.max_tokens,
        needs_finish_reason=candidate.needs_finish_reason,
    )


def _append(reply: Reply, log: StreamLog, event: Event) -> None:
    try:
        reply.last_seq = log.append(reply.id, event)
    except ReplyTooLong:
        reply.stop.request("too_long")
        return
    if event.kind == "text":
        reply.text.append(event.text)
        reply.chunks += 1
        if reply.first_token_ms is None:
            reply.first_token_ms = reply.elapsed_ms()
    elif event.kind == "reasoning":
        reply.reasoning.append(event.text)
    else:
        reply.notices.append({**event.data, "seq": reply.last_seq, "at": sum(map(len, reply.text))})


def _notice_fallback(reply: Reply, log: StreamLog, wanted: str, candidate: Candidate) -> None:
    notice = {
        "kind": "fallback",
        "reason": f"{wanted} is not available here; {candidate} answers instead.",
        "old_model": wanted,
        "new_model": str(candidate),
    }
    _append(reply, log, Event("notice", data=notice))


def _log_failure(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> None:
    """Tell the operator what the reader is spared: the provider's own words."""
    if verdict.ending.failed:
        seen = finished.evidence
        logger.warning(
            "reply %s by %s ended %s (%s): %r",
            reply.id,
            reply.candidate,
            verdict.ending,
            verdict.evidence,
            (seen.error_text or seen.stderr)[:500],
        )


# --- Rows -------------------------------------------------------------------------------------------------------------


def plan_for(reply: Message, lines: Iterable[Line]) -> Plan:
    """Return the plan of a reply that is about to begin: its branch, and the providers as they are now."""
    return Plan(
        branch=branch_before(reply, lines),
        candidates=candidates(reply.requested_model),
        requested_model=reply.requested_model,
        temperature=reply.parameters.get("temperature"),
        max_tokens=reply.parameters.get("max_tokens"),
    )


@transaction.atomic
def claim(reply_id: uuid.UUID, epoch: int) -> Plan | None:
    """Move a queued reply to running and return its plan, or None while it is not its turn.

    Raises Message.DoesNotExist where the reply is no longer ours, or gone.
    """
    reply = Message.objects.select_for_update().get(pk=reply_id, epoch=epoch, state=State.QUEUED)
    others = Message.objects.filter(conversation=reply.conversation_id).exclude(pk=reply_id)
    earlier = Q(state=State.QUEUED, created_at__lt=reply.created_at)
    if others.filter(earlier | Q(state=State.RUNNING)).exists():
        return None
    plan = plan_for(reply, lines_of(reply.conversation_id))
    reply.state, reply.started_at = State.RUNNING, timezone.now()
    plan.name_first(reply)
    reply.save(update_fields=["state", "started_at", "provider", "model"])
    return plan


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


@transaction.atomic
def store_ending(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> None:
    """Store how the reply ended and tell the listeners, unless somebody else has taken it over."""
    usage = asdict(finished.usage) if finished.usage else {}
    ending = verdict.ending
    written = Message.objects.filter(pk=reply.id, epoch=reply.epoch).exclude(state=State.ENDED).update(
        state=State.ENDED,
        ending=ending,
        evidence=verdict.evidence[:80],
        error=sentence_for(verdict) if ending.failed else "",
        text="".join(reply.text),
        reasoning="".join(reply.reasoning),
        notices=reply.notices,
        last_seq=reply.last_seq,
        provider=reply.candidate.provider if reply.candidate else "",
        model=reply.candidate.model if reply.candidate else "",
        attempts=reply.attempts,
        ended_at=timezone.now(),
        duration_ms=reply.elapsed_ms(),
        first_token_ms=reply.first_token_ms,
        chunks=reply.chunks,
        exit_code=finished.evidence.exit_code,
        **{f"{name}_tokens": count for name, count in usage.items()},
    )  # fmt: skip
    if reply.candidate:
        attempt_ended.send(Reply, reply_id=reply.id, candidate=reply.candidate, verdict=verdict, finished=finished)
    if written and reply_ended.has_listeners(Message):
        reply_ended.send(Message, reply=Message.objects.get(pk=reply.id))


def sentence_for(verdict: Verdict) -> str:
    """Return the sentence that the person reads."""
    if verdict.ending is Ending.NOT_STARTED:
        return f"{verdict.ending.sentence[:-1]}: {verdict.evidence}."
    return verdict.ending.sentence
