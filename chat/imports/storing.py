"""Drafts as rows: each conversation whole or not at all."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.attachments import keep
from chat.imports.drafts import Draft, DraftMessage
from chat.models import IMPORTED, Attachment, Conversation, Message, Role, State
from chat.signals import tell
from chat.uploads import BadUpload, Upload, read_upload

BATCH = 500


def find_stored(owner: User, draft: Draft) -> Conversation | None:
    """Return the owner's conversation that the draft was exported from, or that was imported from the same."""
    own = Conversation.objects.of(owner)
    if draft.source_id and (found := own.filter(name=draft.source_id).first()):
        return found
    return own.filter(origin=draft.origin).first()


def store(owner: User, draft: Draft, until: float) -> tuple[Conversation, list[str]]:
    """Store the draft as a conversation of the owner, with the dates it had; return it and what was left out.

    Files that could not be read before `until`, a time of the monotonic clock, are left out.
    """
    remarks: list[str] = []
    # Pictures take long to decode: before the transaction, which holds up everybody else's.
    uploads = {message.id: list(_read_files(message, remarks, until)) for message in draft.messages if message.files}
    conversation = _store(owner, draft, uploads, remarks)
    return conversation, list(dict.fromkeys(remarks))


def _read_files(message: DraftMessage, remarks: list[str], until: float) -> Iterator[Upload]:
    """Yield the files as those are that people attach: images encoded anew."""
    for file in message.files:
        try:
            if time.monotonic() > until:
                raise BadUpload(_("Some files were left out: there are too many for one request."))
            content = file.read()
            if content is None:
                raise BadUpload(_("%(name)s is not part of the file.") % {"name": file.name})
            yield read_upload(file.name, content)
        except BadUpload as bad:
            remarks.append(bad.sentence)


@transaction.atomic
def _store(owner: User, draft: Draft, uploads: dict[str, list[Upload]], remarks: list[str]) -> Conversation:
    now = timezone.now()
    key = uuid.uuid4()
    conversation = Conversation.objects.create(
        id=key, owner=owner, name=str(key), title=draft.title, origin=draft.origin, **draft.columns
    )
    ids = {message.id: uuid.uuid4() for message in draft.messages}
    dates = _date(draft, now)
    rows = [_make_row(message, conversation, ids, dates) for message in draft.messages]
    Message.objects.bulk_create(rows, BATCH)
    for name, files in uploads.items():
        _store_files(owner, ids[name], files, remarks)
    last = max(dates.values(), default=draft.created_at or now)
    Conversation.objects.filter(pk=key).update(
        current_leaf=ids[draft.current] if draft.current else None,
        created_at=draft.created_at or min(dates.values(), default=now),
        updated_at=draft.updated_at or last,
    )
    tell("chat.conversation.imported", owner, "conversation", key, messages=len(rows), origin=draft.origin)
    return conversation


def _store_files(owner: User, key: uuid.UUID, files: Sequence[Upload], remarks: list[str]) -> None:
    for number, file in enumerate(files):
        try:
            kept = keep(owner, file)
        except BadUpload as bad:
            remarks.append(bad.sentence)
            continue
        # In their order, which is that of these dates.
        moment = kept.created_at + timedelta(microseconds=number)
        Attachment.objects.filter(pk=kept.pk).update(message=key, created_at=moment)


def _date(draft: Draft, now: datetime) -> dict[str, datetime]:
    """Return a date for each message: its own, or a moment after the one before it."""
    dates: dict[str, datetime] = {}
    before = draft.created_at or draft.updated_at or now
    for message in draft.messages:
        after = dates[message.parent] if message.parent else before
        dates[message.id] = message.created_at or after + timedelta(milliseconds=1)
    return dates


def _make_row(
    message: DraftMessage, conversation: Conversation, ids: dict[str, uuid.UUID], dates: dict[str, datetime]
) -> Message:
    row = Message(
        id=ids[message.id],
        conversation=conversation,
        parent_id=ids[message.parent] if message.parent else None,
        role=message.role,
        text=message.text,
        created_at=dates[message.id],
        state=State.ENDED,
        **message.columns,
    )
    if message.role == Role.ASSISTANT:
        row.evidence = IMPORTED
        # As many numbers as its text, its reasoning and its notices would take.
        row.last_seq = 2 + 2 * len(row.notices)
    return row
