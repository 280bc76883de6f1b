"""Owns the replies of this replica: who waits, who has a place, the checkpoints, and the end of all of them.

A consumer hands a reply in and forgets it; a reply never knows a socket. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils.translation import gettext as _
from structlog.contextvars import bind_contextvars

from chat import checkpoints, groups, plans, replicas, replies, titles
from chat.database import aside, db
from chat.fairness import FairSemaphore, Turns
from chat.housekeeping import do_round as tidy_conversations
from chat.housekeeping import purge_some
from chat.identity import Visitor
from chat.models import Message
from chat.policy import modes as policy_modes
from chat.posting import Posted, PostingFrame, post
from chat.protocol import BadFrame
from chat.replies import Reply, Slot
from chat.streamlog import MemoryStreamLog, StreamLog
from providers import checkup, housekeeping
from providers.aichat import Reason
from providers.endings import Ending, Verdict

logger = logging.getLogger(__name__)

# What a killed server may lose of a running answer's text.
CHECKPOINT_SECONDS = 0.25
# How often a reply looks whether another replica's reply before it has ended.
CLAIM_SECONDS = 0.5
# Time for the last endings when the server stops; a database that is away longer finds them interrupted later.
LONGEST_ENDING_SECONDS = 10.0


class Draining(Exception):
    """The server is about to stop and takes no new replies."""


class Runner:
    """The replies of one replica, from `submit` to their end."""

    def __init__(self) -> None:
        self.replica = replicas.new_name()
        self.log: StreamLog = MemoryStreamLog()
        # Nobody new should be sent here; from `draining` on, nothing new is taken either.
        self.leaving = self.draining = False
        self._waiting: list[Reply] = []
        self._begun: dict[UUID, Reply] = {}
        self._turns = Turns()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._starting = FairSemaphore(settings.CHAT_STARTS_IN_FLIGHT)
        self._positions: dict[UUID, int] = {}
        # Of what waits and is looked at: what wakes its viewers, and the place that they know.
        self._watched: dict[UUID, tuple[asyncio.Event, int]] = {}

    async def start(self) -> None:
        """Register this replica and begin to watch: over its own replies, and over those of dead ones."""
        await db(replicas.register, self.replica)
        await db(replicas.interrupt_orphans)
        await policy_modes.keep_up()
        self._loops = [
            asyncio.create_task(self._repeat(self._save, CHECKPOINT_SECONDS)),
            asyncio.create_task(self._repeat(self._beat, replicas.HEARTBEAT_SECONDS)),
            asyncio.create_task(self._repeat(policy_modes.keep_up, policy_modes.SECONDS, later=True)),
            asyncio.create_task(self._repeat(self._tend, housekeeping.ROUND_SECONDS, later=True)),
        ]

    # --- Coming in ----------------------------------------------------------------------------------------------------

    async def accept(
        self, visitor: Visitor, session: str, frame: PostingFrame, on_stored: Callable[[UUID], None]
    ) -> Posted:
        """Store what a person sent and take on its reply. Raises BadFrame and Draining.

        Shielded: a socket that closes in between must not leave a stored reply that nobody answers. `on_stored` is
        called with the id of a new reply even then.
        """
        if len(self._waiting) >= settings.CHAT_WAITING:
            raise BadFrame("too_many", _("Too many messages wait for their answers already. Try again later."))
        own = sum(reply.owner_key == visitor.key for reply in self._waiting)
        if own >= settings.CHAT_WAITING_PER_USER:
            words = _("%(count)s of your messages wait for their answers already. Try again later.")
            raise BadFrame("too_many", words % {"count": own})
        task = asyncio.create_task(self._accept(visitor, session, frame, on_stored))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _accept(
        self, visitor: Visitor, session: str, frame: PostingFrame, on_stored: Callable[[UUID], None]
    ) -> Posted:
        received_at = time.monotonic()
        slot = Slot(self._starting, visitor.key)
        await slot.acquire()
        try:
            if self.draining:
                raise Draining
            posted = await db(post, visitor, session, frame, self.replica)
            if not posted.repeated:
                row = posted.reply
                reply = Reply(row.id, row.conversation_id, slot, visitor.key, posted.plan, row.epoch, received_at)
                reply.stored_ms = reply.elapsed_ms()
                self.submit(reply)
                on_stored(row.id)
        finally:
            if not any(reply.slot is slot for reply in self._begun.values()):
                slot.free()
        return posted

    def submit(self, reply: Reply) -> None:
        """Take a stored reply; it begins as soon as its conversation and a place are free."""
        self.log.open(reply.id)
        if self.draining:
            # Stored while the server was asked to stop.
            reply.stop.request("interrupted")
        self._waiting.append(reply)
        self._advance()

    @property
    def unfinished(self) -> list[Reply]:
        """The replies of this replica: those that have begun, and those that wait."""
        return [*self._begun.values(), *self._waiting]

    @property
    def queued(self) -> int:
        """How many replies wait for their turn or a place."""
        return len(self._waiting)

    def find(self, reply_id: UUID) -> Reply | None:
        """Return the unfinished reply of that id, if it is one of ours."""
        return self._begun.get(reply_id) or next((r for r in self._waiting if r.id == reply_id), None)

    def stop(self, reply_id: UUID, reason: Reason = "stopped") -> bool:
        """End a reply of ours; return False where there is none."""
        reply = self.find(reply_id)
        if reply is None:
            return False
        reply.stop.request(reason)
        self._advance()
        return True

    async def end(self, reply_ids: Iterable[UUID], within: float) -> None:
        """Stop those of these replies that are ours, and wait `within` seconds for their endings to be stored."""
        wanted = {f"reply {reply_id}" for reply_id in reply_ids if self.stop(reply_id)}
        if tasks := [task for task in self._tasks if task.get_name() in wanted]:
            await asyncio.wait(tasks, timeout=within)

    async def positions(self, reply_id: UUID) -> AsyncIterator[int]:
        """Yield the reply's place in line, from 1, at first and as it changes, until it begins.

        Far back it is told by the tenth part of it: everybody at each step would be all that the server does.
        """
        told = 0
        while position := self._positions.get(reply_id):
            if position != told:
                told = position
                yield position
                # It may have moved meanwhile.
                continue
            self._watched.setdefault(reply_id, (asyncio.Event(), told))
            await self._watched[reply_id][0].wait()

    def _count_positions(self) -> dict[UUID, int]:
        """Return each waiting reply's place: in its conversation's line where that is busy, else in that of all."""
        busy = Counter(reply.conversation_id for reply in self._begun.values())
        positions = {}
        for at, reply in enumerate(self._turns.order(self._waiting, self._begun.values()), start=1):
            positions[reply.id] = busy[reply.conversation_id] or at
            busy[reply.conversation_id] += 1
        return positions

    def _advance(self) -> None:
        """Begin what can begin: one per conversation, each user in their turn."""
        held: set[UUID] = {reply.conversation_id for reply in self._begun.values()}
        places = Counter(reply.owner_key for reply in self._begun.values())
        for reply in self._turns.order(self._waiting, self._begun.values()):
            free = len(self._begun) < settings.CHAT_PLACES and places[reply.owner_key] < settings.CHAT_PLACES_PER_USER
            # A stopped one needs no place: it only stores its ending.
            if (free and reply.conversation_id not in held) or reply.stop.reason:
                self._begin(reply)
                places[reply.owner_key] += 1
            held.add(reply.conversation_id)
        self._turns.forget_all_but({reply.owner_key for reply in [*self._waiting, *self._begun.values()]})
        self._positions = self._count_positions()
        for reply_id, (moved, told) in list(self._watched.items()):
            if is_news(self._positions.get(reply_id), told):
                del self._watched[reply_id]
                moved.set()

    def _begin(self, reply: Reply) -> None:
        self._waiting.remove(reply)
        reply.has_queued = reply.id in self._positions
        self._begun[reply.id] = reply
        self._turns.note(reply.owner_key)
        # In no context of anybody's: what is stored is in one language, whoever asked. Its lines in the log say who.
        context = contextvars.Context()
        context.run(bind_contextvars, **reply.asked_by, reply_id=str(reply.id))
        task = asyncio.create_task(self._run(reply), name=f"reply {reply.id}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- Running ------------------------------------------------------------------------------------------------------

    async def _run(self, reply: Reply) -> None:
        try:
            if reply.plan is None and not reply.stop.reason:
                reply.plan = await self._claim(reply)
            if reply.plan:
                reply.begun_ms = reply.elapsed_ms()
            await replies.answer(reply, self.log)
        except Message.DoesNotExist:
            logger.warning("reply %s was taken over, or deleted, before its turn", reply.id)
        except Exception:
            logger.exception("reply %s failed in the server itself", reply.id)
            await replies.store(reply, Verdict(Ending.CRASHED, "error in the server"), replies.as_far_as_known(reply))
        finally:
            reply.slot.free()
            self.log.finish(reply.id)
            del self._begun[reply.id]
            self._advance()
        await self._retitle(reply)

    async def _retitle(self, reply: Reply) -> None:
        """Name a conversation after its first answer where the question did not say what it is about."""
        # Hardly ever: no query for it after every reply.
        if reply.plan is None or titles.from_question(reply.plan.branch.prompt):
            return
        try:
            if named := await db(titles.retitle, reply.id):
                await groups.tell_title(named.owner, named)
        except Exception:
            logger.exception("the conversation of reply %s could not be named", reply.id)

    async def _claim(self, reply: Reply) -> plans.Plan | None:
        """Wait until nothing before the reply is unfinished, on any replica; None where it was stopped meanwhile."""
        while not reply.stop.reason:
            if plan := await replies.patiently(plans.claim, reply.id, reply.epoch):
                return plan
            await asyncio.sleep(CLAIM_SECONDS)
        return None

    # --- Watching -----------------------------------------------------------------------------------------------------

    async def _repeat(self, step: Callable[[], Awaitable[None]], seconds: float, *, later: bool = False) -> None:
        """Do `step` for ever; a failure is logged and tried again, since a database may come back."""
        await asyncio.sleep(seconds if later else 0)
        while True:
            try:
                await step()
            except Exception:
                logger.exception("%s failed", step)
            await asyncio.sleep(seconds)

    async def _beat(self) -> None:
        if orphans := await db(replicas.beat, self.replica):
            logger.warning("%d replies of a dead server ended as interrupted", orphans)

    async def _tend(self) -> None:
        """Do what one server of a site must do about its conversations and the providers."""
        if await db(replicas.is_oldest, self.replica):
            await db(tidy_conversations)
            # Step by step: on SQLite nothing else is written meanwhile.
            while await db(purge_some):
                pass
            await db(housekeeping.do_round)
            await aside(housekeeping.check_quiet)
            for model in await db(housekeeping.find_live_due):
                if begun := await db(housekeeping.begin_live, model):
                    await db(checkup.end_live, begun, await checkup.ask_live(begun))

    async def _save(self) -> None:
        """Checkpoint what runs; it is also how a stop from another replica, and the loss of a reply, is seen."""
        self._refuse_stale()
        taken = [checkpoints.snapshot(reply) for reply in self.unfinished]
        if not taken:
            return
        seen = await db(checkpoints.checkpoint, taken)
        for snapshot in taken:
            reply = self.find(snapshot.id)
            if reply is None:
                continue
            reply.saved_seq = snapshot.last_seq
            if snapshot.id in seen.lost:
                self.stop(reply.id, "interrupted")
            elif snapshot.id in seen.stop_requested:
                self.stop(reply.id)

    def _refuse_stale(self) -> None:
        """End what has waited too long for a place; a turn in one's own conversation may take as long as it takes."""
        now = time.monotonic()
        busy = {reply.conversation_id for reply in self._begun.values()}
        for reply in list(self._waiting):
            reply.ready_at = None if reply.conversation_id in busy else reply.ready_at or now
            busy.add(reply.conversation_id)
            if reply.ready_at and now - reply.ready_at > settings.CHAT_QUEUE_SECONDS:
                reply.stop.request("no_place")
        self._advance()

    # --- Leaving ------------------------------------------------------------------------------------------------------

    async def drain(self, grace: float) -> None:
        """Take nothing new, give what runs `grace` seconds, end the rest as interrupted, and leave."""
        self.leaving = self.draining = True
        for reply in list(self._waiting):
            self.stop(reply.id, "interrupted")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for reply in list(self._begun.values()):
            self.stop(reply.id, "interrupted")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LONGEST_ENDING_SECONDS)
        left = [*self._loops, *self._tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await policy_modes.keep_up()
        await db(replicas.leave, self.replica)


def is_news(position: int | None, told: int) -> bool:
    """Return whether who knows the place `told` should know of `position`; None: it has begun."""
    return position is None or position > told or told - position >= max(1, told // 10)


_runner: Runner | None = None


def current() -> Runner:
    """Return this process's runner, made on first use: `sasha.lifespan` starts and drains it."""
    global _runner
    if _runner is None:
        _runner = Runner()
    return _runner


def forget() -> None:
    """Forget a drained runner, so that the next use makes another."""
    global _runner
    _runner = None
    policy_modes.forget()
