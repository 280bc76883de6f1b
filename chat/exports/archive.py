"""Everything of a person as one ZIP archive, written while it is sent: only one conversation is in memory at a time."""

from __future__ import annotations

import csv
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import IO, Any, cast

from django.contrib.auth.models import User
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from chat.exports.attached import read_pieces
from chat.exports.files import name_file
from chat.exports.rows import Rows, fetch
from chat.exports.texts import title_of, write_markdown
from chat.exports.tree import write_json
from chat.models import Account, ApiToken, Attachment, AttachmentKind, Conversation, Share
from providers.cells import Echo, guard
from providers.models import Attempt

# Sent in pieces of about this size.
PIECE = 65_536
ROWS = 500
ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif"}
COST_COLUMNS = (
    "started_at",
    "ended_at",
    "conversation_id",
    "reply_id",
    "number",
    "provider_slug",
    "model_name",
    "reason",
    "ending",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "count_source",
    "cost_usd",
)


class Sink:
    """What a ZipFile writes to: a file that cannot be sought, emptied by `take`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def write(self, data: bytes) -> int:
        # zipfile may use a buffer again.
        self._pieces.append(bytes(data))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nowhere to flush to."""

    def take(self) -> bytes:
        """Return what has been written since the last time."""
        taken, self._pieces, self.size = b"".join(self._pieces), [], 0
        return taken


def write_archive(user: User, language: str) -> Iterator[bytes]:
    """Yield the archive in pieces, with the words in that language."""
    sink = Sink()
    with translation.override(language), zipfile.ZipFile(cast(IO[bytes], sink), "w", zipfile.ZIP_DEFLATED) as archive:
        for _member in _write_members(archive, user):
            if sink.size >= PIECE:
                yield sink.take()
    yield sink.take()


def _write_members(archive: zipfile.ZipFile, user: User) -> Iterator[None]:
    """Write everything; yield whenever some of it could be sent."""
    archive.writestr("README.txt", _explain())
    archive.writestr("account.json", _as_json(_describe_account(user)))
    yield from _write_costs(archive, user)
    # Ids alone, so that no query stays open while the reader is slow.
    for key in list(Conversation.objects.of(user).order_by("created_at").values_list("pk", flat=True)):
        # It may have been deleted meanwhile.
        if conversation := Conversation.objects.of(user).filter(pk=key).first():
            yield from _write_conversation(archive, fetch(conversation))


def _write_conversation(archive: zipfile.ZipFile, rows: Rows) -> Iterator[None]:
    conversation = rows.conversation
    # The id makes it unique; the date makes folders sort.
    stem = f"{conversation.created_at:%Y-%m-%d} {title_of(conversation)}"
    name = name_file(stem, "").rstrip(".")
    for extension, text in (
        ("json", write_json(rows, _name_member)),
        ("md", write_markdown(rows.as_reading(reasoning=True))),
    ):
        archive.writestr(f"conversations/{name} {str(conversation.pk)[:8]}.{extension}", text.encode(errors="replace"))
        yield
    for attachment in rows.attachments:
        member_info = zipfile.ZipInfo(_member_of(attachment), time.localtime()[:6])
        member_info.compress_type = archive.compression
        with archive.open(member_info, "w") as member:
            for piece in read_pieces(attachment.pk):
                member.write(piece)
                yield


def _member_of(attachment: Attachment) -> str:
    is_text = attachment.kind == AttachmentKind.TEXT
    return f"attachments/{attachment.pk}.{'txt' if is_text else ENDINGS.get(attachment.media_type, 'bin')}"


def _name_member(attachment: Attachment) -> dict[str, str]:
    return {"file": _member_of(attachment)}


def _write_costs(archive: zipfile.ZipFile, user: User) -> Iterator[None]:
    """Write what each process cost that was asked for this user; an unknown cost is empty, never 0."""
    writer = csv.writer(Echo())
    keys = list(Attempt.objects.filter(user=user).order_by("started_at", "pk").values_list("pk", flat=True))
    with archive.open("costs.csv", "w") as member:
        member.write(writer.writerow(COST_COLUMNS).encode())
        for start in range(0, len(keys), ROWS):
            rows = Attempt.objects.filter(pk__in=keys[start : start + ROWS]).order_by("started_at", "pk")
            for row in rows.values_list(*COST_COLUMNS):
                member.write(writer.writerow([_as_cell(value) for value in row]).encode(errors="replace"))
            yield


def _as_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    # Never with an exponent.
    return f"{value:f}" if isinstance(value, Decimal) else guard(str(value))


def _describe_account(user: User) -> dict[str, Any]:
    """Return what is known about a person; nothing that anybody could sign in with."""
    account = Account.objects.filter(user=user).first() or Account(user=user)
    tokens = ApiToken.objects.filter(user=user).order_by("created_at")
    shares = Share.objects.filter(conversation__owner=user)
    return {
        "username": user.username,
        "email": user.email,
        "joined_at": user.date_joined.isoformat(),
        "last_signed_in_at": user.last_login.isoformat() if user.last_login else None,
        "exported_at": timezone.now().isoformat(),
        "system_prompt": account.system_prompt,
        "parameters": account.parameters,
        "language": account.language,
        "api_tokens": [
            {
                "name": token.name,
                "ends_in": token.ending,
                "created_at": token.created_at.isoformat(),
                "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
            }
            for token in tokens
        ],
        "shares": [
            {"conversation": str(share.conversation_id), "created_at": share.created_at.isoformat()} for share in shares
        ],
    }


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _explain() -> str:
    return (
        _(
            "Everything that Sasha Studio has of you.\n\n"
            "conversations/*.json  Each conversation with all its branches. This archive, or any of these files, can be"
            " imported again.\n"
            "conversations/*.md    The same to read: the branch that was shown.\n"
            "attachments/          The files that you attached, as they were kept.\n"
            "costs.csv             What each model that was asked for you cost, in US dollars. Empty is unknown.\n"
            "account.json          Your name, your settings, your API tokens without their secrets, what you share.\n"
        )
        + "\n"
    )
