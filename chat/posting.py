"""What a person sends becomes rows, in one transaction: message, empty reply, and on first use the conversation."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat import attachments, protocol, titles
from chat.admission import admit_or_make
from chat.history import Line, below, has_words_before, lines_of
from chat.identity import Visitor
from chat.models import Attachment, Conversation, Message, Role, State
from chat.plans import Plan, plan_for
from chat.protocol import BadFrame
from chat.signals import reply_started
from providers.prepared import Given, Prepared, build

CLIENT_ID_LENGTH = 64
MODEL_LENGTH = 160


@dataclass(frozen=True)
class Posted:
    """What is stored now. `plan` is None for a reply that must wait its turn, or that was there before (`repeated`).

    `owner_id` is whose it is: a guest's row may be as new as the message.
    """

    reply: Message
    user_message_id: uuid.UUID | None
    title: str = ""
    plan: Plan | None = None
    repeated: bool = False
    owner_id: int | None = None
    # Unfinished answers to what was said before in other words: nobody waits for them any more.
    abandoned: tuple[uuid.UUID, ...] = ()


PostingFrame = protocol.Start | protocol.Edit | protocol.Regenerate | protocol.Continue


def post(visitor: Visitor, session: str, frame: PostingFrame, replica: str) -> Posted:
    """Store `frame` and return it with its reply. Raises BadFrame for what cannot be stored, Dismissed for strangers.

    A `client_id` seen before returns the reply of the first time.
    """
    _check_lengths(frame)
    try:
        return _post(visitor, session, frame, replica)
    except IntegrityError:
        # Another replica made the same conversation a moment ago; now it is there.
        return _post(visitor, session, frame, replica)


@transaction.atomic
def _post(visitor: Visitor, session: str, frame: PostingFrame, replica: str) -> Posted:
    owner = admit_or_make(visitor)
    # Locked: what is posted to a conversation is posted one by one.
    row = _find_locked.first(owner=owner.pk, name=session)
    conversation = build(Conversation, row) if row else Conversation(pk=_id_for(session), owner=owner, name=session)
    # With the account, whose defaults the plan needs.
    conversation.owner = owner
    if conversation.deleted_at:
        raise BadFrame("not_found", _("This conversation has been deleted."))
    draft = Draft(
        conversation, owner.username, replica, [] if conversation._state.adding else lines_of(conversation.pk)
    )
    if repeated := draft.find_repeated(frame.client_id):
        return replace(repeated, owner_id=owner.pk)
    return replace(draft.post(frame), owner_id=owner.pk)


_find_locked = Prepared(
    lambda: Conversation.objects.select_for_update().filter(owner=Given("owner"), name=Given("name"))
)


def find_conversation(user: User | None, session: str) -> Conversation | None:
    """Return the user's conversation of that name, if there is one yet."""
    return Conversation.objects.of(user).filter(name=session).first()


def _check_lengths(frame: PostingFrame) -> None:
    if frame.client_id is not None and not 0 < len(frame.client_id) <= CLIENT_ID_LENGTH:
        raise BadFrame("bad_frame", f"The field 'clientId' has 1 to {CLIENT_ID_LENGTH} characters.")
    if frame.model is not None and len(frame.model) > MODEL_LENGTH:
        raise BadFrame("bad_frame", f"The field 'model' has at most {MODEL_LENGTH} characters.")


def _id_for(session: str) -> uuid.UUID:
    """Return the id that the page chose as the name, unless the name is no UUID or the id is taken."""
    try:
        wanted = uuid.UUID(session)
    except ValueError:
        return uuid.uuid4()
    free = str(wanted) == session and not Conversation.objects.filter(pk=wanted).exists()
    return wanted if free else uuid.uuid4()


@dataclass(frozen=True)
class Draft:
    """A conversation that is about to grow: its row, perhaps not stored yet, and what was said in it."""

    conversation: Conversation
    username: str
    replica: str
    lines: list[Line]

    def find_repeated(self, client_id: str | None) -> Posted | None:
        """Return what was posted under this `client_id` before."""
        if client_id is None or not self.lines:
            return None
        message = self.conversation.messages.filter(client_id=client_id).first()
        if message is None:
            return None
        if message.role == Role.ASSISTANT:
            return Posted(message, None, repeated=True)
        first = message.children.filter(role=Role.ASSISTANT).order_by("created_at").first()
        if first is None:
            # Sent again by a page that has not heard of it.
            raise BadFrame("not_found", _("The answer to this message has been deleted."))
        return Posted(first, message.id, repeated=True)

    def post(self, frame: PostingFrame) -> Posted:
        """Store what the frame asks for."""
        if isinstance(frame, protocol.Start):
            return self.post_start(frame)
        return self.post_edit(frame) if isinstance(frame, protocol.Edit) else self.post_again(frame)

    def post_start(self, frame: protocol.Start) -> Posted:
        """Store a person's message and its empty reply."""
        if frame.settings and self.conversation._state.adding:
            self.conversation.system_prompt = frame.settings.system_prompt or ""
            self.conversation.failover = frame.settings.failover or ""
            self.conversation.parameters = frame.settings.parameters
        parent_id = self._get(frame.parent_id, Role.ASSISTANT).id if frame.parent_id else None
        return self._post_question(frame, parent_id or self.conversation.current_leaf_id)

    def post_edit(self, frame: protocol.Edit) -> Posted:
        """Store a message in other words beside the old one, and ask for the end of what the old one waits for."""
        old = self._get(frame.message_id, Role.USER)
        abandoned = tuple(line.id for line in below(old, self.lines) if line.state != State.ENDED)
        Message.objects.filter(pk__in=abandoned).update(stop_requested=True)
        if frame.attachments is None:
            frame = replace(frame, attachments=[uuid.UUID(file.id) for file in old.files])
        return replace(self._post_question(frame, old.parent_id), abandoned=abandoned)

    def _post_question(self, frame: protocol.Start | protocol.Edit, parent_id: uuid.UUID | None) -> Posted:
        message = Message(
            conversation=self.conversation,
            parent_id=parent_id,
            client_id=frame.client_id,
            role=Role.USER,
            text=frame.message,
        )
        message.flags = frame.flags
        reply = Message(parent=message, requested_model=frame.model or self.conversation.model)
        reply.only_model = bool(frame.only_model and reply.requested_model)
        if frame.parameters:
            given = {"temperature": frame.parameters.temperature, "max_tokens": frame.parameters.max_tokens}
            reply.parameters = {name: value for name, value in given.items() if value is not None}
        files = attachments.find_sendable(self.conversation.owner_id, self.conversation.pk, frame.attachments)
        title = "" if self.conversation.title else _title_of(frame.message, files)
        self.conversation.title = self.conversation.title or title
        return Posted(reply, message.id, title, self._store(reply, message, files))

    def post_again(self, frame: protocol.Regenerate | protocol.Continue) -> Posted:
        """Store an empty reply to what was asked before."""
        if isinstance(frame, protocol.Regenerate) and (question := self._find(frame.message_id, Role.USER)):
            # Its answer was deleted, or never came.
            reply = Message(client_id=frame.client_id, requested_model=frame.model or self.conversation.model)
            reply.only_model = bool(frame.only_model and reply.requested_model)
            reply.parent_id = question.id
            return Posted(reply, None, "", self._store(reply))
        line = self._get(frame.message_id, Role.ASSISTANT)
        if line.state != State.ENDED:
            raise BadFrame("still_running", _("This answer is still being written."))
        old = Message.objects.get(pk=line.id)
        reply = Message(
            client_id=frame.client_id, requested_model=frame.model or old.requested_model, parameters=old.parameters
        )
        only = old.only_model if frame.only_model is None else frame.only_model
        reply.only_model = only and bool(reply.requested_model)
        if isinstance(frame, protocol.Continue):
            reply.parent, reply.continues = old, True
        else:
            # The same question again: beside the old answer, or, where that continued another, in its place.
            reply.parent_id, reply.continues = old.parent_id, old.continues
        if not has_words_before(reply, self.lines):
            raise BadFrame("nothing_asked", _("Nothing stands above this answer that could be asked again."))
        return Posted(reply, None, "", self._store(reply))

    def _find(self, message_id: uuid.UUID, role: Role) -> Line | None:
        return next((line for line in self.lines if line.id == message_id and line.role == role), None)

    def _get(self, message_id: uuid.UUID, role: Role) -> Line:
        found = self._find(message_id, role)
        if found is None:
            raise BadFrame("not_found", _("There is no such message in this conversation."))
        return found

    def _store(self, reply: Message, question: Message | None = None, files: Sequence[Attachment] = ()) -> Plan | None:
        """Store the question with its files, and the reply as the new end of the branch.

        Returns the reply's plan where it may begin at once.
        """
        waits = sum(line.state != State.ENDED for line in self.lines)
        if waits > settings.CHAT_WAITING_PER_CONVERSATION:
            words = _("%(count)s messages of this conversation wait for their answers already.")
            raise BadFrame("too_many", words % {"count": waits})
        reply.conversation = self.conversation
        reply.role = Role.ASSISTANT
        reply.state = State.QUEUED if waits else State.RUNNING
        reply.owner, reply.epoch = self.replica, 1
        reply.started_at = None if waits else timezone.now()
        said = [Line.of(question, [attachments.as_file(row) for row in files])] if question else []
        plan = None if waits else plan_for(reply, [*self.lines, *said], self.username)
        if plan:
            plan.describe_on(reply)
        # The branch ends in a row that is stored a line later, which deferred foreign keys allow.
        self.conversation.current_leaf_id = reply.id
        # Whoever goes on with it wants it in the list.
        self.conversation.archived = False
        self.conversation.save()
        Message.objects.bulk_create([question, reply] if question else [reply])
        if question and files:
            attachments.give_to(question, files)
        reply_started.send(Message, reply=reply, question=question, owner=self.conversation.owner, files=files)
        return plan


def _title_of(message: str, files: Sequence[Attachment]) -> str:
    """Return what a new conversation is called for now: of a message without words, its first file's name."""
    made = titles.from_question(message) or titles.provisional(message)
    return made or titles.shorten(files[0].name) if files else made
