"""The files of messages: kept with their owner, sent once, quoted or shown to the model, swept where never sent."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet, Sum, UUIDField
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import protocol
from chat.models import Attachment, AttachmentKind, Message
from chat.protocol import BadFrame
from chat.uploads import BadUpload, Upload
from providers.aichat import Image
from providers.prepared import Given, Prepared

# A draft may wait a night.
UNSENT_KEPT = timedelta(days=1)
# Rows are cheap but not free: a user's files that no message has yet.
UNSENT_MOST = 100
# What goes along with one request, the newest first. Google takes 20 MB and Anthropic 32 MB of base64, which adds a
# third; of more than twenty, Anthropic takes smaller ones only.
IMAGES_SENT = 20
IMAGE_BYTES_SENT = 12 * 1024 * 1024
BACKTICKS = re.compile("`{3,}")


@dataclass(frozen=True)
class File:
    """A file of a message as a branch needs it; `text` is that of a text file, `size` the bytes of an image."""

    id: str
    name: str
    kind: str
    size: int
    text: str = ""

    @property
    def is_image(self) -> bool:
        return self.kind == AttachmentKind.IMAGE


# The files of each message that has any, in their order.
Files = Mapping[uuid.UUID, Sequence[File]]


def of_user(user: User) -> QuerySet[Attachment]:
    """Return the user's files, without their contents: those of messages that can be seen, and those not sent yet."""
    visible = Q(message=None) | Q(message__conversation__deleted_at=None)
    return Attachment.objects.filter(visible, owner=user).defer("data")


@transaction.atomic
def keep(user: User, upload: Upload) -> Attachment:
    """Store a file for its user's next message. Raises BadUpload where there is no room for it."""
    # Locked: files that come at once are counted one by one.
    User.objects.select_for_update().get(pk=user.pk)
    own = Attachment.objects.filter(owner=user)
    if not _has_room(user.pk, len(upload.data)):
        raise BadUpload(_no_room_for(upload.name))
    if own.filter(message=None).count() >= UNSENT_MOST:
        raise BadUpload(_("You have attached %(most)s files without sending them.") % {"most": UNSENT_MOST})
    return Attachment.objects.create(
        owner=user,
        kind=upload.kind,
        name=upload.name,
        media_type=upload.media_type,
        width=upload.width,
        height=upload.height,
        data=upload.data,
    )


def _has_room(owner_id: int, size: int) -> bool:
    """Return whether the user may keep so many more bytes."""
    used = Attachment.objects.filter(owner=owner_id).aggregate(size=Sum("size"))["size"] or 0
    return used + size <= settings.CHAT_FILE_BYTES_PER_USER


def _no_room_for(name: str) -> str:
    words = _("There is no room for %(name)s: your files may take %(most)s MB. Delete conversations that have some.")
    return words % {"name": name, "most": settings.CHAT_FILE_BYTES_PER_USER // 1_000_000}


def find_sendable(owner_id: int, conversation_id: uuid.UUID, ids: Sequence[uuid.UUID] | None) -> list[Attachment]:
    """Return the files of these ids in this order: the owner's, not sent yet or sent in this conversation before.

    Raises BadFrame for any other, and where there is no room for copies of the latter.
    """
    if not ids:
        return []
    if len(ids) > settings.CHAT_FILES_PER_MESSAGE:
        most = settings.CHAT_FILES_PER_MESSAGE
        words = ngettext("A message has at most %(most)s file.", "A message has at most %(most)s files.", most)
        raise BadFrame("too_many_files", words % {"most": most})
    here = Q(message=None) | Q(message__conversation=conversation_id)
    found = {row.pk: row for row in Attachment.objects.filter(here, owner_id=owner_id, pk__in=ids)}
    if len(found) != len(set(ids)):
        raise BadFrame("no_such_file", _("A file of this message is no longer there. Attach it again."))
    copied = [row for row in found.values() if row.message_id is not None]
    if copied and not _has_room(owner_id, sum(row.size for row in copied)):
        raise BadFrame("no_room", _no_room_for(copied[0].name))
    return [found[pk] for pk in dict.fromkeys(ids)]


def give_to(message: Message, rows: Iterable[Attachment]) -> None:
    """Make the files those of `message`, which is stored by now; what another message has is copied.

    Raises BadFrame where another message was faster.
    """
    now = timezone.now()
    for number, row in enumerate(rows):
        # In the order in which they were named.
        moment = now + timedelta(microseconds=number)
        if row.message_id is not None:
            row.pk, row.message_id, row.created_at = uuid.uuid4(), message.pk, moment
            row.save(force_insert=True)
            Attachment.objects.filter(pk=row.pk).update(created_at=moment)
        elif not Attachment.objects.filter(pk=row.pk, message=None).update(message=message, created_at=moment):
            raise BadFrame("no_such_file", _("A file of this message is no longer there. Attach it again."))


def frames_of(message: Message) -> list[protocol.Attachment] | None:
    """Return the files of a message as a `posted` frame has them; None where there are none."""
    rows = message.attachments.defer("data")
    return [
        protocol.Attachment(row.pk, row.kind, row.name, row.get_absolute_url(), row.width, row.height) for row in rows
    ] or None


def shown_with(message_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, list[Attachment]]:
    """Return the files of these messages, without their contents."""
    rows: dict[uuid.UUID, list[Attachment]] = defaultdict(list)
    for row in Attachment.objects.filter(message__in=list(message_ids)).defer("data"):
        assert row.message_id is not None
        rows[row.message_id].append(row)
    return rows


def delete_unsent(user: User, attachment_id: uuid.UUID) -> bool:
    """Delete a file that no message has; return whether it was there."""
    return bool(Attachment.objects.filter(owner=user, pk=attachment_id, message=None).delete()[0])


def sweep_unsent() -> int:
    """Delete the files that were never sent; return how many there were."""
    old = Attachment.objects.filter(message=None, created_at__lt=timezone.now() - UNSENT_KEPT)
    return old.delete()[0]


# --- For the model ----------------------------------------------------------------------------------------------------


def files_of(conversation_id: uuid.UUID) -> dict[uuid.UUID, list[File]]:
    """Return the files of a conversation's messages, texts with their text, images without their bytes."""
    plain = _find_plain(conversation_id=conversation_id)
    texts = [pk for _message, pk, _name, kind, _size in plain if kind == AttachmentKind.TEXT]
    contents = dict(Attachment.objects.filter(pk__in=texts).values_list("pk", "data")) if texts else {}
    files: dict[uuid.UUID, list[File]] = defaultdict(list)
    for message_id, pk, name, kind, size in plain:
        assert message_id is not None
        files[message_id].append(File(str(pk), name, kind, size, bytes(contents.get(pk, b"")).decode()))
    return files


_find_plain = Prepared(
    lambda: (
        Attachment.objects.filter(message__conversation=Given("conversation_id", UUIDField()))
        .order_by("created_at")
        .values_list("message_id", "id", "name", "kind", "size")
    )
)


def as_file(row: Attachment) -> File:
    """Return the file as a branch needs it."""
    text = bytes(row.data).decode() if row.kind == AttachmentKind.TEXT else ""
    return File(str(row.pk), row.name, row.kind, row.size, text)


def with_quotes(text: str, files: Sequence[File], sent: Container[str]) -> str:
    """Return a message as the model reads it: its text files first, each in a fence that nothing in it can close.

    Images that are not `sent` are named; a message that is nothing but images says their names, since no provider takes
    a message without words.
    """
    quoted = [_quote(file) for file in files if not file.is_image]
    quoted += [
        f"[{file.name}: an image that is no longer sent]" for file in files if file.is_image and file.id not in sent
    ]
    if said := "\n\n".join([*quoted, text] if text.strip() else quoted):
        return said
    return ", ".join(file.name for file in files)


def _quote(file: File) -> str:
    fence = "`" * max([3, *(len(found) + 1 for found in BACKTICKS.findall(file.text))])
    return f"{file.name}:\n{fence}\n{file.text.rstrip(chr(10))}\n{fence}"


def choose_images(files: Iterable[Sequence[File]]) -> set[str]:
    """Return the ids of the images that are sent, of the messages' files oldest first: the newest that fit."""
    chosen: set[str] = set()
    room = IMAGE_BYTES_SENT
    for file in reversed([file for of_message in files for file in of_message if file.is_image]):
        room -= file.size
        if room < 0 or len(chosen) == IMAGES_SENT:
            break
        chosen.add(file.id)
    return chosen


def load_images(ids: Iterable[str]) -> dict[str, Image]:
    """Return the images as they are sent; what has been deleted meanwhile is missing."""
    rows = Attachment.objects.filter(pk__in=list(ids), kind=AttachmentKind.IMAGE)
    return {
        str(pk): Image(media_type, bytes(data)) for pk, media_type, data in rows.values_list("pk", "media_type", "data")
    }
