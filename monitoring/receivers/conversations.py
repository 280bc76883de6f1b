"""Messages, answers, refusals, and what people do with their conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import UUIDField

from chat.identity import Visitor
from chat.models import Attachment, Conversation, Message
from monitoring import acting
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AuditEntry
from providers.ledger import TOKENS
from providers.prepared import Given, Prepared

PURGED = "chat.conversation.purged"


def on_reply_started(
    reply: Message, question: Message | None, owner: User, files: Sequence[Attachment] = (), **_: Any
) -> None:
    """Write down what a person asked. A file's name is not kept: those words could not be erased."""
    asked: dict[str, Any] = {
        "conversation": str(reply.conversation_id),
        "reply": str(reply.pk),
        "model": reply.requested_model,
    }
    if question:
        if files:
            asked["files"] = [{"id": str(file.pk), "type": file.media_type, "bytes": file.size} for file in files]
        if question.flags:
            asked["flags"] = ", ".join(question.flags)
        deed = Deed("chat.message.posted", Actor.of(owner), Target("message", question.pk), asked, question.text)
    else:
        again = {"of": str(reply.parent_id), "continues": reply.continues}
        deed = Deed("chat.answer.requested", Actor.of(owner), Target("reply", reply.pk), asked | again)
    record(deed)


def on_reply_ended(reply: Message, **_: Any) -> None:
    """Write down what was answered, by whom, how it ended and what it took."""
    data = {
        "conversation": str(reply.conversation_id),
        "owner": _name_owner(reply.conversation_id),
        "provider": reply.provider,
        "model": reply.model,
        "ending": reply.ending,
        "evidence": reply.evidence,
        "attempts": reply.attempts,
        "duration_ms": reply.duration_ms,
        **{name: getattr(reply, name) for name in TOKENS},
        "cost_usd": None if reply.cost_usd is None else str(reply.cost_usd),
        "cost_source": reply.cost_source,
    }
    record(Deed("chat.reply.ended", target=Target("reply", reply.pk), data=data, text=_whole(reply)))


def _name_owner(conversation_id: UUID) -> str:
    """Return whose conversation it is, or was: an answer may end after it has gone."""
    if owner := _find_owner.first(pk=conversation_id):
        return owner[0]
    gone = AuditEntry.objects.filter(action=PURGED, target_id=conversation_id).values_list("data", flat=True).first()
    return gone["owner"] if gone else ""


_find_owner = Prepared(
    lambda: Conversation.objects.order_by().filter(pk=Given("pk", UUIDField())).values_list("owner__username")
)


def _whole(reply: Message) -> str:
    # As aichat itself writes reasoning.
    return f"<think>\n{reply.reasoning}\n</think>\n\n{reply.text}" if reply.reasoning else reply.text


def on_stop_requested(reply_id: UUID, user: User | None, **_: Any) -> None:
    """Write down who wanted an answer to end."""
    record(Deed("chat.reply.stop_requested", Actor.of(user), Target("reply", reply_id)))


def on_input_rejected(visitor: Visitor | None, code: str, text: str, rule: str | None = None, **_: Any) -> None:
    """Write down what was refused, and under which rule. Of what is longer than any message, only so much is kept."""
    actor = Actor(visitor.username, visitor.user_id) if visitor else Actor()
    sent = text[: settings.CHAT_MESSAGE_LENGTH]
    record(Deed("chat.input.refused", actor, data={"rule": rule or code, "characters": len(text)}, text=sent))


def on_conversation_goes(instance: Conversation, **_: Any) -> None:
    """Write down that a conversation goes for good: by itself after a while, or with its owner's account."""
    target = Target("conversation", instance.pk)
    record(Deed(PURGED, acting.current(), target, {"owner": _name_owner(instance.pk)}))


def on_acted(
    action: str, user: User | None, target_kind: str, target_id: object, data: dict[str, Any], **_: Any
) -> None:
    """Write down what a person did that leaves no row of its own."""
    record(Deed(action, Actor.of(user), Target(target_kind, target_id), data))
