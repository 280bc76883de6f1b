"""A conversation as JSON: the whole tree, which can be imported again.

docs/export.md describes it, docs/conversation.schema.json checks it.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from chat.models import Attachment, Conversation, Message, Role, State

SCHEMA = "sasha-studio/conversation/1"
# Columns that mean in the file what they mean in the table.
USAGE = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
REPLY = (
    "continues",
    "reasoning",
    "reasoning_ms",
    "left_out",
    "ending",
    "evidence",
    "error",
    "requested_model",
    "provider",
    "model",
    "parameters",
    "attempts",
    "exit_code",
    "duration_ms",
    "first_token_ms",
    "chunks",
    "cost_source",
)
NOTICE = ("kind", "reason", "old_model", "new_model", "at")
SETTINGS = ("title", "has_own_title", "pinned", "archived", "system_prompt", "parameters", "model", "failover")

# Turns an attachment into the fields that say where its bytes are: `data` or `file`; none where they are left out.
Carrier = Callable[[Attachment], dict[str, str]]


def left_out(attachment: Attachment) -> dict[str, str]:
    """Name an attachment only."""
    return {}


def make_document(
    conversation: Conversation, messages: Iterable[Message], attachments: Iterable[Attachment], carry: Carrier
) -> dict[str, Any]:
    """Return the conversation and its messages, oldest first, as docs/conversation.schema.json has it."""
    by_message: dict[uuid.UUID | None, list[Attachment]] = defaultdict(list)
    for attachment in attachments:
        by_message[attachment.message_id].append(attachment)
    return {
        "schema": SCHEMA,
        "id": str(conversation.pk),
        **{name: getattr(conversation, name) for name in SETTINGS},
        "created_at": _time(conversation.created_at),
        "updated_at": _time(conversation.updated_at),
        "current": _text(conversation.current_leaf_id),
        "messages": [_make_message(message, by_message[message.pk], carry) for message in messages],
    }


def _make_message(message: Message, attachments: list[Attachment], carry: Carrier) -> dict[str, Any]:
    return {
        "id": str(message.pk),
        "parent": _text(message.parent_id),
        "role": message.role,
        "text": message.text,
        "created_at": _time(message.created_at),
        "attachments": [_make_attachment(attachment, carry) for attachment in attachments],
        **(_make_reply(message) if message.role == Role.ASSISTANT else {}),
    }


def _make_reply(message: Message) -> dict[str, Any]:
    return {
        # A reply that is being written has no ending yet.
        "ended": message.state == State.ENDED,
        **{name: getattr(message, name) for name in REPLY},
        "notices": [{name: notice[name] for name in NOTICE if name in notice} for notice in message.notices],
        "started_at": _time(message.started_at),
        "ended_at": _time(message.ended_at),
        "usage": {name: getattr(message, name) for name in USAGE},
        "cost_usd": None if message.cost_usd is None else f"{message.cost_usd:f}",
    }


def _make_attachment(attachment: Attachment, carry: Carrier) -> dict[str, Any]:
    return {
        "name": attachment.name,
        "kind": attachment.kind,
        "media_type": attachment.media_type,
        "width": attachment.width,
        "height": attachment.height,
        **carry(attachment),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _text(key: uuid.UUID | None) -> str | None:
    return str(key) if key else None
