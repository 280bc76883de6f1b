"""The WebSocket: who is there, what they ask, one sender task for each reply they watch. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qs
from uuid import UUID

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import translation
from django.utils.translation import gettext as _
from structlog.contextvars import bound_contextvars, get_contextvars

from chat import attachments, branches, groups, input_policy, protocol, rates, runner, viewing
from chat.admission import CHANGED, Dismissal, Dismissed, admit
from chat.database import db
from chat.identity import Visitor, find_language
from chat.models import Conversation, Message, Role, State
from chat.posting import PostingFrame, find_conversation
from chat.protocol import BadFrame, CloseCode
from chat.rates import TooMany
from chat.runner import Draining
from chat.signals import input_rejected, stop_requested, tell
from chat.sockets import open_sockets

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class ChatConsumer(AsyncConsumer):
    """One socket on one conversation of one visitor."""

    def __init__(self) -> None:
        self.runner = runner.current()
        self.session = ""
        self.visitor: Visitor | None = None
        self.senders: dict[UUID, asyncio.Task[None]] = {}
        self.turn = asyncio.Lock()
        # The replies that this socket asked for.
        self.asked: set[UUID] = set()
        self.has_left = False
        self.is_dismissed = False
        self.language = translation.get_language()
        self.group = ""
        self.frames = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket to its end, and leave nothing behind: also where the server cancels this in the middle."""
        self.language = find_language(scope)
        translation.activate(self.language)
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self.visitor:
                self._leave(self.visitor)
            if self.group:
                await self.channel_layer.group_discard(self.group, self.channel_name)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler, without the trip to another thread that Channels makes before each to close connections."""
        await getattr(self, get_handler_name(message))(message)

    # --- Connection ---------------------------------------------------------------------------------------------------

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        # Accepted first: a refusal before it reaches a browser as a bare HTTP 403.
        await self.send({"type": "websocket.accept"})
        query = parse_qs(self.scope["query_string"].decode("latin1"))
        names = query.get("session", [])
        visitor = self.scope["visitor"]
        if len(names) != 1 or not protocol.SESSION_NAME.match(names[0]):
            await self._close(CloseCode.BAD_SESSION, "Name the session: /ws?session= and 1 to 64 of A-Z a-z 0-9 . _ -")
        elif query.get("from") == ["page"] and not any(name == b"origin" for name, _ in self.scope["headers"]):
            # A browser always names it. Without it the page's reader would be taken for a script.
            await self._close(CloseCode.FORBIDDEN, _("Something on the way removes the header Origin."))
        elif visitor is None:
            await self._close(CloseCode.SIGN_IN, _("Sign in first."))
        elif open_sockets.is_called_back(visitor.key):
            await self.dismiss(CHANGED)
        elif open_sockets.count(visitor.key) >= settings.CHAT_SOCKETS_PER_USER:
            await self._close(
                CloseCode.TOO_MANY,
                _("You have %(count)s connections open; no more are allowed.")
                % {"count": settings.CHAT_SOCKETS_PER_USER},
            )
        elif rates.is_too_many("RATE_SOCKETS_PER_USER", visitor.key):
            await self._close(CloseCode.TOO_MANY, _("You connect too often. Try again in a minute."))
        else:
            self.session, self.visitor = names[0], visitor
            open_sockets.add(visitor.key, self)

    async def _close(self, code: int, reason: str) -> None:
        await self._send(protocol.Closing(code, reason))
        await self.send({"type": "websocket.close", "code": code})

    async def dismiss(self, dismissal: Dismissal) -> None:
        """Close the socket of somebody who may not be here any longer: nothing more goes in or out."""
        if self.is_dismissed:
            return
        self.is_dismissed = True
        self._end_senders()
        # Whoever found out speaks no language, or that of another.
        with translation.override(self.language):
            await self._close(dismissal.code, str(dismissal.reason))

    def _end_senders(self) -> None:
        for sender in self.senders.values():
            sender.cancel()

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    def _leave(self, visitor: Visitor) -> None:
        open_sockets.remove(visitor.key, self)
        self._end_senders()
        self.has_left = True
        self._stop_asked()

    def _stop_asked(self) -> None:
        """Stop what this socket asked for, where nobody can come back for it, or where a setting says so."""
        assert self.visitor is not None
        if not self.visitor.can_return or settings.CHAT_ON_CLOSE == "stop":
            for reply_id in self.asked:
                self.runner.stop(reply_id)

    # --- What comes in ------------------------------------------------------------------------------------------------

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self.visitor is None or self.is_dismissed:
            return
        self.frames += 1
        # A frame is a request, and so is whatever comes of it.
        with bound_contextvars(request_id=f"{get_contextvars().get('connection_id', '')}-{self.frames}"):
            await self._handle(self.visitor, message.get("text"))

    async def _handle(self, visitor: Visitor, text: str | None) -> None:
        client_id = None
        try:
            rates.hit("RATE_FRAMES_PER_USER", visitor.key)
            frame = protocol.parse(text)
            client_id = getattr(frame, "client_id", None)
            await self._join()
            await HANDLERS[type(frame)](self, frame)
        except BadFrame as refused:
            await self._refuse(visitor, refused, text or "", client_id or refused.client_id)
        except TooMany as refused:
            await self._hold_off(refused, client_id)
        except Dismissed as dismissed:
            await self.dismiss(dismissed.dismissal)
        except Draining:
            sorry = _("The server is restarting. Send the message again in a moment.")
            await self._error(sorry, "restarting", client_id)
        except Exception:
            logger.exception("a frame failed")
            # The page comes back with a `hello`, and its messages with their client ids.
            await self._close(CloseCode.FAILED, _("Something went wrong here."))

    async def _refuse(self, visitor: Visitor, refused: BadFrame, text: str, client_id: str | None) -> None:
        """Say what is wrong with a frame and have it written down; a flood of them would fill the disk."""
        try:
            rates.hit("RATE_REFUSALS_PER_USER", visitor.key)
        except TooMany as too_many:
            await self._hold_off(too_many, client_id)
        else:
            await db(_tell_rejected, visitor, refused, text)
            await self._error(refused.sentence, refused.code, client_id, rule=refused.rule)

    async def _hold_off(self, refused: TooMany, client_id: str | None) -> None:
        sorry = _("You send too much at once. Wait a moment.")
        await self._error(sorry, "too_many", client_id, retry_after_ms=refused.retry_after_ms)

    async def _join(self) -> None:
        """Hear of what other tabs and devices do in this conversation, from the first frame on."""
        if not self.group:
            assert self.visitor is not None
            self.group = groups.name_of(self.visitor.key, self.session)
            await self.channel_layer.group_add(self.group, self.channel_name)

    async def _ask(self, function: Callable[Concatenate[User | None, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function(user, …)` with the visitor's row as it is now, None for a guest without one. Raises Dismissed.

        Every frame comes through here, or through `posting.post`: what held at the handshake may hold no longer.
        """
        visitor = self.visitor
        assert visitor is not None

        def ask() -> tuple[User | None, R]:
            user = admit(visitor)
            return user, function(user, *args, **kwargs)

        user, answer = await db(ask)
        self._know(user.pk if user else None)
        return answer

    def _know(self, user_id: int | None) -> None:
        """Remember the guest's row, so that it is known when it becomes an account."""
        if self.visitor and self.visitor.user_id is None and user_id is not None:
            self.visitor = replace(self.visitor, user_id=user_id)

    async def on_post(self, frame: PostingFrame) -> None:
        assert self.visitor is not None
        rates.hit_message(self.visitor.key, self.visitor.token_id, self.visitor.address)
        if isinstance(frame, protocol.Start | protocol.Edit):
            frame = replace(frame, flags=input_policy.check(frame.message, has_files=bool(frame.attachments)))
        posted = await self.runner.accept(self.visitor, self.session, frame, self._on_stored)
        self._know(posted.owner_id)
        for reply_id in posted.abandoned:
            self.runner.stop(reply_id)
        reply = posted.reply
        await self._send(started_of(reply, posted.user_message_id, frame.client_id))
        if posted.title:
            await self._send(protocol.Title(self.session, posted.title))
        self._follow(reply.id, 0)
        if not posted.repeated:
            await self._tell_others(reply, posted.user_message_id, posted.title)

    def _on_stored(self, reply_id: UUID) -> None:
        self.asked.add(reply_id)
        if self.has_left:
            self._stop_asked()

    async def _tell_others(self, reply: Message, user_message_id: UUID | None, title: str) -> None:
        event = {
            "type": "conversation.posted",
            "sender": self.channel_name,
            "reply_id": str(reply.id),
            "user_message_id": str(user_message_id) if user_message_id else "",
            "title": title,
        }
        await self.channel_layer.group_send(self.group, event)

    async def on_stop(self, frame: protocol.Stop) -> None:
        # The row is how the replica that owns the reply hears of it, where that is another.
        await self._ask(_request_stop, frame.reply_id)
        self.runner.stop(frame.reply_id)

    async def on_cancel(self, frame: protocol.Cancel) -> None:
        await self._ask(_cancel, self.session, frame.reply_id)
        self.runner.stop(frame.reply_id)
        await self.channel_layer.group_send(self.group, groups.changed("cancelled"))

    async def on_hello(self, frame: protocol.Hello) -> None:
        last, unfinished, known = await self._ask(_find_for_hello, self.session, frame.after)
        running = unfinished[0] if unfinished else None
        await self._send(protocol.HelloAnswer(self.session, running, unfinished, last))
        for reply_id in [*unfinished, *(known - set(unfinished))]:
            self._follow(reply_id, frame.after.get(reply_id, 0))

    async def on_attach(self, frame: protocol.Attach) -> None:
        await self._ask(_get_own, frame.reply_id)
        self._follow(frame.reply_id, frame.after)

    async def on_ping(self, frame: protocol.Ping) -> None:
        await self._ask(_nothing)
        await self._send(protocol.Pong(frame.t))

    # --- What goes out ------------------------------------------------------------------------------------------------

    def _follow(self, reply_id: UUID, after: int) -> None:
        """Send the reply from behind `after` on, in a task of its own: a consumer never awaits a generation."""
        if self.is_dismissed:
            return
        if old := self.senders.pop(reply_id, None):
            old.cancel()
        sender = asyncio.create_task(self._send_all(reply_id, after), name=f"sender {reply_id}")
        self.senders[reply_id] = sender

    async def _send_all(self, reply_id: UUID, after: int) -> None:
        try:
            shown = viewing.frames(self.runner, reply_id, self.session, after, turn=self.turn)
            async with aclosing(shown) as frames:
                async for frame in frames:
                    await self._send(frame)
        except Exception:
            logger.exception("sending reply %s failed", reply_id)
            await self._close(CloseCode.FAILED, _("Something went wrong here."))
        finally:
            if self.senders.get(reply_id) is asyncio.current_task():
                del self.senders[reply_id]

    async def conversation_posted(self, event: dict[str, Any]) -> None:
        """Another socket of this conversation has asked for a reply: show the message, and the reply as it comes."""
        if event["sender"] == self.channel_name:
            return
        if self.is_dismissed:
            return
        try:
            reply = await self._ask(_find_posted, event["reply_id"])
        except Dismissed as dismissed:
            await self.dismiss(dismissed.dismissal)
            return
        if reply is None:
            return
        if event["title"]:
            await self._send(protocol.Title(self.session, event["title"]))
        said = reply.parent if event["user_message_id"] else None
        if said:
            files = await db(attachments.frames_of, said)
            await self._send(protocol.Posted(said.id, said.role, said.text, said.parent_id, said.client_id, files))
        await self._send(started_of(reply, said.id if said else None, reply.client_id))
        self._follow(reply.id, 0)

    async def conversation_title(self, event: dict[str, Any]) -> None:
        """The conversation was renamed, by hand or after its first answer."""
        await self._send(protocol.Title(self.session, event["title"]))

    async def conversation_changed(self, event: dict[str, Any]) -> None:
        """Say that something else than a new message has changed the conversation."""
        await self._send(protocol.Changed(self.session, event["reason"]))

    async def _error(self, sentence: str, code: str, client_id: str | None, **more: Any) -> None:
        await self._send(protocol.Error(sentence, code, self.session, client_id, **more))

    async def _send(self, frame: protocol.ServerFrame) -> None:
        if self.is_dismissed and not isinstance(frame, protocol.Closing):
            return
        await self.send({"type": "websocket.send", "text": protocol.encode(frame)})


def _own_replies(user: User | None) -> QuerySet[Message]:
    owned = Conversation.objects.of(user)
    return Message.objects.filter(conversation__in=owned, role=Role.ASSISTANT)


def _get_own(user: User | None, reply_id: UUID) -> QuerySet[Message]:
    own = _own_replies(user).filter(pk=reply_id)
    if not own.exists():
        raise BadFrame("not_found", _("There is no such answer."))
    return own


def _tell_rejected(visitor: Visitor, refused: BadFrame, text: str) -> None:
    input_rejected.send(ChatConsumer, visitor=visitor, code=refused.code, text=text, rule=refused.rule)


@transaction.atomic
def _request_stop(user: User | None, reply_id: UUID) -> None:
    running = _get_own(user, reply_id).exclude(state=State.ENDED)
    if running.filter(stop_requested=False).update(stop_requested=True):
        stop_requested.send(ChatConsumer, reply_id=reply_id, user=user)


@transaction.atomic
def _cancel(user: User | None, session: str, reply_id: UUID) -> None:
    here = _get_own(user, reply_id).filter(conversation__name=session).values_list("conversation_id", flat=True)
    try:
        cancelled = branches.cancel(here.get(), reply_id)
    except Message.DoesNotExist:
        raise BadFrame("not_found", _("There is no such answer.")) from None
    if not cancelled:
        raise BadFrame("not_waiting", _("This answer no longer waits for its turn. Stop it instead."))
    tell("chat.message.cancelled", user, "reply", reply_id)


def _find_for_hello(
    user: User | None, session: str, asked: Iterable[UUID]
) -> tuple[UUID | None, list[UUID], set[UUID]]:
    """Return the conversation's last message, its unfinished replies, the oldest first, and which asked for are own."""
    known = set(_own_replies(user).filter(pk__in=list(asked)).values_list("pk", flat=True)) if asked else set()
    conversation = find_conversation(user, session)
    if conversation is None:
        return None, [], known
    unfinished = conversation.messages.exclude(state=State.ENDED).order_by("created_at")
    return conversation.current_leaf_id, list(unfinished.values_list("pk", flat=True)), known


def _find_posted(user: User | None, reply_id: str) -> Message | None:
    return _own_replies(user).filter(pk=reply_id).select_related("parent").first()


def _nothing(user: User | None) -> None:
    pass


def started_of(reply: Message, user_message_id: UUID | None, client_id: str | None) -> protocol.Started:
    """Return the frame that introduces a reply."""
    model, provider = reply.model or None, reply.provider or None
    return protocol.Started(reply.id, user_message_id, client_id, model, provider, reply.continues or None)


HANDLERS: dict[type, Any] = {
    protocol.Start: ChatConsumer.on_post,
    protocol.Edit: ChatConsumer.on_post,
    protocol.Regenerate: ChatConsumer.on_post,
    protocol.Continue: ChatConsumer.on_post,
    protocol.Stop: ChatConsumer.on_stop,
    protocol.Cancel: ChatConsumer.on_cancel,
    protocol.Hello: ChatConsumer.on_hello,
    protocol.Attach: ChatConsumer.on_attach,
    protocol.Ping: ChatConsumer.on_ping,
}
