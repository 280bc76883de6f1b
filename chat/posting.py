"""What a person sends becomes rows, in one transaction: message, empty reply, and on first use the conversation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from chat import protocol
from chat.identity import Visitor
from chat.models import Conversation, Message, Role, State
from chat.protocol import BadFrame
from chat.replies import Plan, plan_for
from chat.signals import reply_started

TITLE_LENGTH = 60
CLIENT_ID_LENGTH = 64
MODEL_LENGTH = 160


@dataclass(frozen=True)
class Posted:
    """What is stored now. `plan` is None for a reply that must wait its turn, or that was there before (`repeated`)."""

    reply: Message
    user_message_id: uuid.UUID | None
    title: str = ""
    plan: Plan | None = None
    repeated: bool = False


PostingFrame = protocol.Start | protocol.Regenerate | protocol.Continue


@transaction.atomic
def post(visitor: Visitor, session: str, frame: PostingFrame, replica: str) -> Posted:
    """Store `frame` and return it with its reply. Raises BadFrame for what cannot be stored.

    A `client_id` seen before returns the reply of the first time.
    """
    _check_lengths(frame)
    conversation = _get_conversation(visitor, session)
    if repeated := _find_repeated(conversation, frame.client_id):
        return repeated
    if isinstance(frame, protocol.Start):
        return _post_start(conversation, frame, replica)
    return _post_again(conversation, frame, replica)


def find_conversation(visitor: Visitor, session: str) -> Conversation | None:
    """Return the visitor's conversation of that name, if there is one yet."""
    return Conversation.objects.filter(owner__username=visitor.username, name=session).first()


def _check_lengths(frame: PostingFrame) -> None:
    if frame.client_id is not None and not 0 < len(frame.client_id) <= CLIENT_ID_LENGTH:
        raise BadFrame("bad_frame", f"The field 'clientId' has 1 to {CLIENT_ID_LENGTH} characters.")
    if frame.model is not None and len(frame.model) > MODEL_LENGTH:
        raise BadFrame("bad_frame", f"The field 'model' has at most {MODEL_LENGTH} characters.")
    if isinstance(frame, protocol.Start) and frame.attachments:
        raise BadFrame("unsupported", "Attachments cannot be sent yet.")


def _get_conversation(visitor: Visitor, session: str) -> Conversation:
    """Return the conversation, locked: what is posted to it is posted one by one."""
    locked = Conversation.objects.select_for_update().filter(owner__username=visitor.username, name=session)
    if conversation := locked.first():
        return conversation
    conversation, _ = Conversation.objects.get_or_create(
        owner=visitor.get_user(), name=session, defaults={"id": _id_for(session)}
    )
    return conversation


def _id_for(session: str) -> uuid.UUID:
    """Return the id that the page chose as the name, unless the name is no UUID or the id is taken."""
    try:
        wanted = uuid.UUID(session)
    except ValueError:
        return uuid.uuid4()
    free = str(wanted) == session and not Conversation.objects.filter(pk=wanted).exists()
    return wanted if free else uuid.uuid4()


def _find_repeated(conversation: Conversation, client_id: str | None) -> Posted | None:
    if client_id is None:
        return None
    message = conversation.messages.filter(client_id=client_id).first()
    if message is None:
        return None
    if message.role == Role.ASSISTANT:
        return Posted(message, None, repeated=True)
    return Posted(message.children.earliest("created_at"), message.id, repeated=True)


def _post_start(conversation: Conversation, frame: protocol.Start, replica: str) -> Posted:
    parent_id = conversation.current_leaf_id
    if frame.parent_id:
        parent_id = _get_message(conversation, frame.parent_id, Role.ASSISTANT).id
    title = "" if conversation.title else title_from(frame.message)
    message = Message.objects.create(
        conversation=conversation, parent_id=parent_id, client_id=frame.client_id, role=Role.USER, text=frame.message
    )
    reply = Message(parent=message, requested_model=frame.model or conversation.model)
    if frame.parameters:
        given = {"temperature": frame.parameters.temperature, "max_tokens": frame.parameters.max_tokens}
        reply.parameters = {name: value for name, value in given.items() if value is not None}
    return Posted(reply, message.id, title, _store_reply(conversation, reply, replica, title))


def _post_again(conversation: Conversation, frame: protocol.Regenerate | protocol.Continue, replica: str) -> Posted:
    old = _get_message(conversation, frame.message_id, Role.ASSISTANT)
    if old.state != State.ENDED:
        raise BadFrame("still_running", "This answer is still being written.")
    reply = Message(
        client_id=frame.client_id, requested_model=frame.model or old.requested_model, parameters=old.parameters
    )
    if isinstance(frame, protocol.Continue):
        reply.parent, reply.continues = old, True
    else:
        # The same question again: beside the old answer, or, where that continued another, in its place.
        reply.parent, reply.continues = old.parent, old.continues
    return Posted(reply, None, "", _store_reply(conversation, reply, replica, ""))


def _get_message(conversation: Conversation, message_id: uuid.UUID, role: Role) -> Message:
    message = conversation.messages.filter(pk=message_id, role=role).first()
    if message is None:
        raise BadFrame("not_found", "There is no such message in this conversation.")
    return message


def _store_reply(conversation: Conversation, reply: Message, replica: str, title: str) -> Plan | None:
    """Store the empty reply as the new end of the branch; return the plan where it may begin at once."""
    waits = conversation.messages.exclude(state=State.ENDED).exists()
    reply.conversation = conversation
    reply.role = Role.ASSISTANT
    reply.state = State.QUEUED if waits else State.RUNNING
    reply.owner, reply.epoch = replica, 1
    reply.started_at = None if waits else timezone.now()
    reply.save(force_insert=True)
    changes = {"title": title} if title else {}
    Conversation.objects.filter(pk=conversation.pk).update(current_leaf=reply, updated_at=timezone.now(), **changes)
    reply_started.send(Message, reply=reply)
    return None if waits else plan_for(reply)


def title_from(message: str) -> str:
    """Return the first line with text, cut at a word."""
    line = next(line for line in message.splitlines() if line.strip()).strip()
    if len(line) <= TITLE_LENGTH:
        return line
    return line[:TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"
