"""The story of a reply: plan, ask, stream, end, store. Plumbing is below it (aichat) and above (runner, consumers)."""

from __future__ import annotations

import time
import uuid
from asyncio import TimerHandle, get_running_loop, sleep
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from math import ceil
from typing import Any, ParamSpec, TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import UUIDField
from django.utils import timezone
from structlog.contextvars import get_contextvars

from chat.attachments import load_images
from chat.database import db
from chat.failover import OverlapTrimmer, Tried, as_clause, list_tried, who_is_next
from chat.fairness import FairSemaphore
from chat.history import IMAGE_CHARACTERS, Branch
from chat.models import Failover, Message, State
from chat.plans import Plan, find_continue_prompt, find_policy
from chat.signals import reply_ended
from chat.streamlog import Asked, Event, ReplyTooLong, StreamLog
from chat.trimming import fit, room_of
from providers import aichat, ledger
from providers.addresses import BadAddress, check_resolved, needs_lookup
from providers.endings import Ending, Evidence, Verdict, decide
from providers.output import Reasoning, Text
from providers.prepared import Given, Prepared, build
from providers.routing import TAKES_NO_IMAGES, Candidate

P = ParamSpec("P")
R = TypeVar("R")

logger = structlog.stdlib.get_logger(__name__)

# A message that takes longer from its socket to its provider is slow for a reason that no other shares.
LONGEST_START_SECONDS = 1.0
STORE_AGAIN_SECONDS = 0.5
# A resolver that hangs holds up those alone that wait for it.
_lookups = ThreadPoolExecutor(max_workers=8, thread_name_prefix="lookup")
# Why nobody can be asked: more than a few reasons nobody reads.
MOST_REASONS = 3
UNSTORABLE = "ending that the database refuses"


class Slot:
    """One of the few places for a message on its way from the socket to the provider; freed as early as possible.

    More of them at once would only hold each other up: all of that way is processor time.
    """

    def __init__(self, semaphore: FairSemaphore, owner_key: str) -> None:
        self._semaphore = semaphore
        self._owner_key = owner_key
        self._timer: TimerHandle | None = None

    async def acquire(self) -> None:
        """Wait for a place, unless this one has it already. It is lost after LONGEST_START_SECONDS."""
        if self._timer is None:
            await self._semaphore.acquire(self._owner_key)
            self._timer = get_running_loop().call_later(LONGEST_START_SECONDS, self.free)

    def free(self) -> None:
        """Give the place to the next."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
            self._semaphore.release(self._owner_key)


# How an attempt ended, and what is known about it.
Outcome = tuple[Verdict, aichat.Finished]


@dataclass(eq=False)
class Reply:
    """A reply on its way, in its owner's memory; the row follows by checkpoints."""

    id: uuid.UUID
    conversation_id: uuid.UUID
    slot: Slot
    # `Visitor.key` of who asked.
    owner_key: str = ""
    plan: Plan | None = None
    epoch: int = 1
    received_at: float = field(default_factory=time.monotonic)
    # The ids of the request that asked for it, for the log.
    asked_by: dict[str, Any] = field(default_factory=get_contextvars)
    stop: aichat.Stop = field(default_factory=aichat.Stop)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    notices: list[dict[str, str | int]] = field(default_factory=list)
    text_characters: int = 0
    reasoning_characters: int = 0
    last_seq: int = 0
    saved_seq: int = 0
    chunks: int = 0
    attempts: int = 0
    # Milliseconds since the message arrived: until it was stored, until it had its turn and a place.
    stored_ms: int | None = None
    begun_ms: int | None = None
    first_token_ms: int | None = None
    # When the first word of reasoning came, if no text was before it.
    reasoning_began_ms: int | None = None
    # Who is asked, or was last.
    candidate: Candidate | None = None
    # The attempt whose row in the ledger is still open, and how it ended once it has.
    asked_at: float | None = None
    attempt_id: uuid.UUID | None = None
    # Which attempt the reader has been told of.
    introduced: int = 0
    max_tokens: int | None = None
    # Messages that the latest one asked had no room for.
    left_out: int = 0
    outcome: Outcome | None = None
    tried: list[Tried] = field(default_factory=list)
    # It has waited for its turn or a place, and its reader does not know yet who is asked.
    has_queued: bool = False
    # Since when only a place is missing; None while its turn has not come.
    ready_at: float | None = None

    @property
    def author(self) -> Tried | None:
        """Who wrote the latest text, or was asked last where there is none."""
        writers = [tried for tried in self.tried if tried.wrote] or [tried for tried in self.tried if tried.ending]
        return writers[-1] if writers else None

    def skipped(self) -> list[list[str]]:
        """Return who was not asked, and why: by the plan, or at the ledger's gate."""
        refused = [[str(tried.candidate), tried.reason] for tried in self.tried if tried.ending is None]
        return (self.plan.skipped() if self.plan else []) + refused

    @property
    def characters(self) -> int:
        """Everything that has come, reasoning included."""
        return self.text_characters + self.reasoning_characters

    def reasoning_ms(self) -> int | None:
        """Return how long the model thought: up to its first text, or until now. None: it did not."""
        if self.reasoning_began_ms is None:
            return None
        until = self.elapsed_ms() if self.first_token_ms is None else self.first_token_ms
        return until - self.reasoning_began_ms

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the message arrived."""
        return round((time.monotonic() - self.received_at) * 1000)


async def answer(reply: Reply, log: StreamLog) -> None:
    """Answer a message, from the plan to the stored ending. The caller has opened the log, and finishes it."""
    verdict, finished = await _ask(reply, log)
    await store(reply, verdict, finished)


async def store(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> None:
    """Store the ending, however long the database is away: without it the conversation could never go on."""
    try:
        await patiently(store_ending, reply, verdict, finished)
    except Exception:
        logger.exception("the ending of a reply cannot be stored as it is")
        # Without what may be in the way; the ledger's row is closed by the housekeeping.
        reply.attempt_id = None
        await patiently(store_ending, reply, Verdict(Ending.CRASHED, UNSTORABLE), aichat.Finished(Evidence()))


def as_far_as_known(reply: Reply) -> aichat.Finished:
    """Return the end of an attempt that nobody watched to it: a provider may have billed what had come by then."""
    return aichat.Finished(Evidence(request_sent=True), None, aichat.Times(characters=reply.characters))


async def _ask(reply: Reply, log: StreamLog) -> Outcome:
    """Ask one provider after the other until one has answered, or the next would help nobody."""
    left = list(reply.plan.route.candidates) if reply.plan else []
    best: Outcome | None = None
    while left and not reply.stop.reason and (best is None or _has_time(reply)):
        candidate = left.pop(0)
        if reply.outcome:
            await patiently(close_attempt, reply)
            reply.attempt_id = reply.outcome = None
        branch = await _branch(reply, candidate)
        if refusal := await _open(reply, log, candidate, branch):
            reply.tried.append(Tried(candidate, None, refusal))
            continue
        before = len(reply.text)
        verdict, finished = reply.outcome = await _attempt(reply, log, candidate, branch, last=not left)
        reply.tried.append(Tried(candidate, verdict.ending, wrote=len(reply.text) > before))
        best = _better(best, reply.outcome)
        left = who_is_next(left, candidate, verdict, finished.evidence)
        if left and reply.text and not await _may_continue(reply, log, left[0]):
            break
    # A stop between two attempts.
    return _unasked(reply) if best is None or (left and reply.stop.reason) else best


def _has_time(reply: Reply) -> bool:
    """Return whether the next one may still be asked: a reader who has text already does not wait for nothing."""
    waited = time.monotonic() - (reply.asked_at or reply.received_at)
    return bool(reply.text) or waited < settings.CHAT_FAILOVER_SECONDS


def _better(before: Outcome | None, latest: Outcome) -> Outcome:
    """Return which outcome is the reply's: the latest, unless it added nothing to what was cut before."""
    added = latest[1].evidence.has_text or latest[0].ending in (Ending.STOPPED, Ending.INTERRUPTED)
    return latest if before is None or not before[1].evidence.has_text or added else before


async def _may_continue(reply: Reply, log: StreamLog, candidate: Candidate) -> bool:
    """Return whether `candidate` goes on by itself with what another has begun; where not, leave it to the reader."""
    policy = await patiently(find_policy, reply.conversation_id)
    if policy == Failover.ASK and reply.author:
        reason = f"{reply.author}. {candidate.full_name} could continue."
        _notice(reply, log, "ask", reason, str(reply.author.candidate), str(candidate))
    return policy == Failover.CONTINUE


async def patiently(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `function` on the database, again and again while that is away: no process starts without its row."""
    while True:
        try:
            return await db(function, *args, **kwargs)
        except (OperationalError, InterfaceError):
            logger.exception("the database is away")
            await sleep(STORE_AGAIN_SECONDS)


def _unasked(reply: Reply) -> Outcome:
    """Return how a reply ended for which no process was started."""
    evidence = _not_begun(reply.stop.reason) if reply.stop.reason else Evidence(spawn_error=_why_nobody(reply))
    return decide(evidence), aichat.Finished(evidence)


def _not_begun(reason: aichat.Reason | None) -> Evidence:
    if reason == "no_place":
        return Evidence(spawn_error="the server is too busy; try again later")
    return Evidence(stopped=reason == "stopped", interrupted=reason != "stopped")


def _why_nobody(reply: Reply) -> str:
    assert reply.plan is not None
    if reply.tried:
        return reply.tried[0].why if len(reply.tried) == 1 else "; ".join(map(str, reply.tried))
    if wanted := reply.plan.requested_model:
        return f"{reply.plan.route.name_of(wanted)} cannot be asked: {_why_not(reply, wanted)}"
    if too_dear := reply.plan.route.too_dear:
        return as_clause(too_dear.reason)
    reasons = dict.fromkeys(as_clause(reason) for _, reason in reply.plan.skipped())
    if reply.plan.branch.all_images and reasons.keys() <= {TAKES_NO_IMAGES}:
        return "there are images in this conversation, and nobody who can be asked takes any"
    return "; ".join(list(reasons)[:MOST_REASONS]) or "no provider is set up"


async def _branch(reply: Reply, candidate: Candidate) -> Branch:
    """Return what is sent to the next one: the plan's branch, or, behind text, what asks to continue it.

    Without what it has no room for, which its reader is told.
    """
    assert reply.plan is not None
    if not reply.text:
        branch = reply.plan.branch
    else:
        branch = reply.plan.branch.continued("".join(reply.text), await patiently(find_continue_prompt))
    branch = fit(branch, room_of(candidate, reply.plan.max_tokens))
    reply.left_out = branch.left_out
    return branch


async def _open(reply: Reply, log: StreamLog, candidate: Candidate, branch: Branch) -> str:
    """Take a place and the ledger's leave for an attempt; return "", or why there is none."""
    plan = reply.plan
    assert plan is not None
    await reply.slot.acquire()
    reply.asked_at = reply.asked_at or time.monotonic()
    try:
        await _check_address(candidate.row.api_base)
    except BadAddress as trouble:
        return str(trouble)
    number, size = reply.attempts + 1, _size(plan, branch)
    opened = await patiently(ledger.open_attempt, plan.account, number, candidate, size, reply.text_characters)
    if isinstance(opened, ledger.Refused):
        return opened.reason
    reply.attempt_id, reply.max_tokens = opened.attempt_id, opened.max_tokens
    reply.attempts, reply.candidate = number, candidate
    if not reply.last_seq and (reply.tried or reply.has_queued):
        await patiently(store_asked, reply, candidate)
        log.tell(reply.id, Asked(candidate.provider, candidate.model))
    if number == 1:
        _tell_of_budgets(reply, log, candidate, opened.warning)
    return ""


async def _check_address(url: str) -> None:
    """Raise BadAddress where a provider's name leads astray by now; a look-up takes as long as it takes, elsewhere."""
    if needs_lookup(url):
        await get_running_loop().run_in_executor(_lookups, check_resolved, url)
    else:
        check_resolved(url)


def _size(plan: Plan, branch: Branch) -> ledger.Size:
    of_images = len(branch.all_images) * IMAGE_CHARACTERS
    of_texts = sum(len(text.encode(errors="replace")) for text in branch.texts)
    return ledger.Size(branch.characters, of_texts + of_images, plan.max_tokens)


async def _attempt(reply: Reply, log: StreamLog, candidate: Candidate, branch: Branch, *, last: bool) -> Outcome:
    """Run one process to its end, its text into the log. `last`: nobody else could be asked instead."""
    finished = await _run(reply, log, candidate, branch, last)
    verdict = decide(finished.evidence)
    _log_failure(candidate, verdict, finished.evidence)
    return verdict, finished


async def _run(reply: Reply, log: StreamLog, candidate: Candidate, branch: Branch, last: bool) -> aichat.Finished:
    assert reply.plan is not None
    if reply.stop.reason:
        return aichat.Finished(_not_begun(reply.stop.reason))
    trimmer = OverlapTrimmer(branch.unfinished)
    files = await patiently(load_images, images) if (images := branch.all_images) else {}
    request = _request(reply, reply.plan, branch, files, candidate, last)
    async with aclosing(aichat.stream(request, reply.stop)) as events:
        async for event in events:
            # Whatever came first: start-up is over, the next may begin.
            reply.slot.free()
            match event:
                case Text(text):
                    _append_text(reply, log, candidate, trimmer.feed(text))
                case Reasoning(text):
                    # A seam stands in the text: it waits for the text behind it.
                    if not reply.text:
                        _introduce(reply, log, candidate)
                    _append(reply, log, Event("reasoning", _storable(text)))
                case aichat.Finished():
                    _append_text(reply, log, candidate, trimmer.finish())
                    return event
    raise AssertionError("a stream ends with Finished")


def _request(
    reply: Reply, plan: Plan, branch: Branch, files: Mapping[str, aichat.Image], candidate: Candidate, last: bool
) -> aichat.Request:
    return aichat.Request(
        target=candidate.target,
        prompt=branch.prompt,
        clocks=candidate.clocks(last=last),
        key=candidate.key,
        history=branch.history,
        images=branch.images,
        files=files,
        temperature=plan.temperature,
        max_tokens=reply.max_tokens,
        needs_finish_reason=candidate.needs_finish_reason,
    )


def _append_text(reply: Reply, log: StreamLog, candidate: Candidate, text: str) -> None:
    if text:
        _introduce(reply, log, candidate)
        _append(reply, log, Event("text", _storable(text)))


def _storable(text: str) -> str:
    # PostgreSQL takes no NUL.
    return text.replace("\0", "\ufffd")


def _append(reply: Reply, log: StreamLog, event: Event) -> None:
    try:
        reply.last_seq = log.append(reply.id, event)
    except ReplyTooLong:
        reply.stop.request("too_long")
        return
    if event.kind == "text":
        reply.text.append(event.text)
        reply.text_characters += len(event.text)
        reply.chunks += 1
        if reply.first_token_ms is None:
            reply.first_token_ms = reply.elapsed_ms()
    elif event.kind == "reasoning":
        reply.reasoning.append(event.text)
        reply.reasoning_characters += len(event.text)
        if reply.reasoning_began_ms is None and not reply.text:
            reply.reasoning_began_ms = reply.elapsed_ms()
    else:
        reply.notices.append({**event.data, "seq": reply.last_seq, "at": reply.text_characters})


# --- Notices ----------------------------------------------------------------------------------------------------------


def _introduce(reply: Reply, log: StreamLog, candidate: Candidate) -> None:
    """Say who answers, right before its first word, where that is not what the reader expects."""
    assert reply.plan is not None
    if reply.introduced == reply.attempts:
        return
    reply.introduced = reply.attempts
    new, name, wanted, author = str(candidate), candidate.full_name, reply.plan.requested_model, reply.author
    if reply.text and author:
        _notice(reply, log, "seam", f"{author}. {name} continues.", str(author.candidate), new)
    elif wanted and new != wanted:
        reason = f"{reply.plan.route.name_of(wanted)}: {_why_not(reply, wanted)}. {name} answers."
        _notice(reply, log, "fallback", reason, wanted, new)
    elif reply.reasoning and author:
        _notice(reply, log, "fallback", f"{author}. {name} answers.", str(author.candidate), new)
    if candidate.early:
        _notice(reply, log, "last_resort", f"{name} was asked all the same: it is {candidate.reason}.", new_model=new)


def _tell_of_budgets(reply: Reply, log: StreamLog, candidate: Candidate, warning: str) -> None:
    """Say that a budget has decided who answers, unless the reader is told so anyhow; or that one is nearly used up."""
    assert reply.plan is not None
    too_dear = reply.plan.route.too_dear
    if too_dear and too_dear.name != reply.plan.requested_model:
        reason = f"{too_dear.full_name}: {as_clause(too_dear.reason)}. {candidate.full_name} answers."
        _notice(reply, log, "budget", reason, too_dear.name, str(candidate))
    elif warning:
        _notice(reply, log, "budget", warning)


def _why_not(reply: Reply, wanted: str) -> str:
    """Return why the wanted model does not answer."""
    assert reply.plan is not None
    tried = next((tried.why for tried in reply.tried if str(tried.candidate) == wanted), "")
    return tried or as_clause(reply.plan.route.why_not(wanted)) or "there is no such model"


def _notice(reply: Reply, log: StreamLog, kind: str, reason: str, old_model: str = "", new_model: str = "") -> None:
    models = {name: model for name, model in (("old_model", old_model), ("new_model", new_model)) if model}
    _append(reply, log, Event("notice", data={"kind": kind, "reason": reason, **models}))


def _log_failure(candidate: Candidate, verdict: Verdict, seen: Evidence) -> None:
    """Tell the operator what the reader is spared; never the provider's words, which may quote the reader's.

    Those stand in the ledger.
    """
    if verdict.ending.failed:
        logger.warning(
            "attempt failed",
            provider=candidate.provider,
            model=candidate.model,
            ending=verdict.ending,
            evidence=verdict.evidence,
            http_status=seen.http_status,
            exit_code=seen.exit_code,
        )


# --- Rows -------------------------------------------------------------------------------------------------------------


def store_asked(reply: Reply, candidate: Candidate) -> None:
    """Store who is being asked in place of another, for a page that is loaded before the first word."""
    mine = Message.objects.filter(pk=reply.id, epoch=reply.epoch).exclude(state=State.ENDED)
    mine.update(provider=candidate.provider, model=candidate.model)


@transaction.atomic
def store_ending(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> None:
    """Store how the reply ended, close its last attempt, and tell the listeners.

    The row is left alone where somebody else has taken the reply over; what the attempt cost is written all the same.
    """
    reply.outcome = reply.outcome or (verdict, finished)
    close_attempt(reply)
    values = _ending_values(reply, verdict, finished)
    if Message.objects.filter(pk=reply.id, epoch=reply.epoch).exclude(state=State.ENDED).update(**values):
        _tell_ended(lambda: build(Message, _find_row(pk=reply.id)[0]))
    elif reply.attempts and not _find_row(pk=reply.id):
        # Deleted while it was written, with its conversation or its account: what it said is told all the same.
        _tell_ended(lambda: Message(id=reply.id, conversation_id=reply.conversation_id, **values))


def _tell_ended(row: Callable[[], Message]) -> None:
    if reply_ended.has_listeners(Message):
        reply_ended.send(Message, reply=row())


def _ending_values(reply: Reply, verdict: Verdict, finished: aichat.Finished) -> dict[str, Any]:
    """Return what the row of an ended reply says."""
    totals = ledger.find_totals(reply.id)
    ending = verdict.ending
    return {
        "state": State.ENDED,
        "ending": ending,
        "evidence": verdict.evidence[:80],
        "error": sentence_for(verdict, reply, finished.evidence)[:500] if ending.failed else "",
        "text": "".join(reply.text),
        "reasoning": "".join(reply.reasoning),
        "reasoning_ms": reply.reasoning_ms(),
        "notices": reply.notices,
        "last_seq": reply.last_seq,
        "provider": reply.author.candidate.provider if reply.author else "",
        "model": reply.author.candidate.model if reply.author else "",
        "attempts": reply.attempts,
        "skipped": reply.skipped(),
        "left_out": reply.left_out,
        "ended_at": timezone.now(),
        "stored_ms": reply.stored_ms,
        "begun_ms": reply.begun_ms,
        "duration_ms": reply.elapsed_ms(),
        "first_token_ms": reply.first_token_ms,
        "chunks": reply.chunks,
        "exit_code": finished.evidence.exit_code,
        "cost_usd": totals.cost_usd,
        "cost_source": totals.source,
        **totals.tokens,
    }


_find_row = Prepared(lambda: Message.objects.order_by().filter(pk=Given("pk", UUIDField())))


def close_attempt(reply: Reply) -> None:
    """Close the reply's attempt in the ledger, if one is open."""
    if reply.attempt_id and reply.outcome and reply.plan:
        personal = reply.plan.temperature is not None or reply.plan.max_tokens is not None
        ledger.close_attempt(reply.attempt_id, *reply.outcome, personal=personal)


def refresh_totals(reply_ids: Iterable[uuid.UUID], **_: object) -> None:
    """Write on these replies what their attempts cost by now."""
    for reply_id in reply_ids:
        totals = ledger.find_totals(reply_id)
        Message.objects.filter(pk=reply_id).update(cost_usd=totals.cost_usd, cost_source=totals.source)


def sentence_for(verdict: Verdict, reply: Reply, seen: Evidence) -> str:
    """Return the sentence that the person reads."""
    if verdict.ending is Ending.NOT_STARTED:
        return f"{verdict.ending.sentence[:-1]}: {verdict.evidence.removesuffix('.')}."
    if len(reply.tried) > 1 and not reply.text:
        return list_tried(reply.tried)
    if verdict.ending is Ending.RATE_LIMITED and seen.retry_seconds:
        return f"{verdict.ending.sentence} It may be asked again in {ceil(seen.retry_seconds)} s."
    return verdict.ending.sentence
