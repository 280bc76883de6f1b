"""Exports of this site or another of its kind: docs/export.md."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from chat.exports.document import SCHEMA, USAGE
from chat.imports.drafts import (
    TEXT_LENGTH,
    Draft,
    DraftFile,
    DraftMessage,
    Refused,
    clean,
    dict_of,
    limit_messages,
    list_of,
    need,
    need_text,
    order,
    read_count,
    read_label,
    read_parameters,
    read_time,
)
from chat.models import Failover, Role
from providers.endings import Ending
from providers.models import CountSource

SOURCE = "sasha-studio"
FAMILY = SCHEMA.rpartition("/")[0]
# What a cost can be in its column.
COST = re.compile(r"[0-9]{1,8}(\.[0-9]{1,12})?")
MOST_NOTICES = 1000
# Finds the bytes of a file that an archive holds beside the conversation.
Find = Callable[[str], bytes | None]


def recognises(document: Any) -> bool:
    return isinstance(document, dict) and str(document.get("schema", "")).startswith(f"{FAMILY}/")


def read(document: dict[str, Any], find: Find) -> Draft:
    """Return the conversation. Raises Refused."""
    if document["schema"] != SCHEMA:
        raise Refused(_("It was exported by another version of Sasha Studio, which writes what this one cannot read."))
    rows = need(document.get("messages"), list, _("The list of messages"))
    limit_messages(len(rows))
    by_id: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = need(need(row, dict, _("A message")).get("id"), str, _("The id of a message"))
        if key in by_id:
            raise Refused(_("Two messages have the same id."))
        by_id[key] = row
    ordered = order({key: _parent_of(row) for key, row in by_id.items()})
    messages = [_read_message(key, by_id, find) for key in ordered]
    current = document.get("current")
    return Draft(
        SOURCE,
        read_label(document.get("id"), 64),
        read_label(document.get("title"), 200),
        messages,
        current=current if isinstance(current, str) and current in by_id else None,
        created_at=read_time(document.get("created_at")),
        updated_at=read_time(document.get("updated_at")),
        columns=_read_settings(document),
    )


def _parent_of(row: dict[str, Any]) -> str | None:
    parent = row.get("parent")
    return None if parent is None else need(parent, str, _("The parent of a message"))


def _read_settings(document: dict[str, Any]) -> dict[str, Any]:
    prompt, failover = document.get("system_prompt"), document.get("failover")
    return {
        **{name: document.get(name) is True for name in ("has_own_title", "pinned", "archived")},
        "system_prompt": clean(prompt)[:8000] if isinstance(prompt, str) else "",
        "parameters": read_parameters(document.get("parameters")),
        "model": read_label(document.get("model"), 160),
        "failover": failover if isinstance(failover, str) and failover in Failover.values else "",
    }


def _read_message(key: str, by_id: dict[str, dict[str, Any]], find: Find) -> DraftMessage:
    row = by_id[key]
    role, parent = row.get("role"), _parent_of(row)
    if role not in Role.values:
        raise Refused(_("A message is neither a question nor an answer."))
    text = need_text(row.get("text"), _("The text of a message"))
    follows_answer = parent is not None and by_id[parent].get("role") == Role.ASSISTANT
    columns = _read_answer(row, text, follows_answer=follows_answer) if role == Role.ASSISTANT else {}
    files = tuple(_read_files(row, find))
    return DraftMessage(key, parent, role, text, read_time(row.get("created_at")), columns, files)


def _read_answer(row: dict[str, Any], text: str, *, follows_answer: bool) -> dict[str, Any]:
    """Return the columns. What its ending was decided from, nobody here has seen; nor was anybody asked from here."""
    ending, reasoning, source = row.get("ending"), row.get("reasoning"), row.get("cost_source")
    usage, cost, code = dict_of(row.get("usage")), row.get("cost_usd"), row.get("exit_code")
    is_ending = isinstance(ending, str) and ending in set(Ending)
    return {
        "ending": ending if is_ending and row.get("ended") is not False else Ending.INTERRUPTED,
        "continues": row.get("continues") is True and follows_answer,
        "reasoning": clean(reasoning[:TEXT_LENGTH]) if isinstance(reasoning, str) else "",
        "notices": _read_notices(row.get("notices"), len(text)),
        "error": read_label(row.get("error"), 500),
        "requested_model": read_label(row.get("requested_model"), 160),
        "provider": read_label(row.get("provider"), 32),
        "model": read_label(row.get("model"), 120),
        "parameters": read_parameters(row.get("parameters")),
        **{name: read_time(row.get(name)) for name in ("started_at", "ended_at")},
        **{name: read_count(row.get(name)) for name in ("reasoning_ms", "duration_ms", "first_token_ms")},
        **{name: read_count(row.get(name)) or 0 for name in ("left_out", "chunks")},
        **{name: read_count(usage.get(name)) for name in USAGE},
        "exit_code": code if isinstance(code, int) and -256 <= code <= 256 else None,
        "cost_usd": Decimal(cost) if isinstance(cost, str) and COST.fullmatch(cost) else None,
        "cost_source": source if isinstance(source, str) and source in CountSource.values else "",
    }


def _read_notices(value: Any, length: int) -> list[dict[str, Any]]:
    """Return the notices in their order, each within the text."""
    notices: list[dict[str, Any]] = []
    least = 0
    for row in list(list_of(value))[:MOST_NOTICES]:
        at = read_count(dict_of(row).get("at"))
        if at is None or not least <= at <= length:
            continue
        least = at
        notice: dict[str, Any] = {"kind": read_label(row.get("kind"), 32), "reason": read_label(row.get("reason"), 500)}
        for name in ("old_model", "new_model"):
            if label := read_label(row.get(name), 160):
                notice[name] = label
        notices.append({**notice, "seq": 0, "at": at})
    return notices


def _read_files(row: dict[str, Any], find: Find) -> Iterator[DraftFile]:
    for attachment in map(dict_of, list_of(row.get("attachments"))):
        yield DraftFile(read_label(attachment.get("name"), 120), partial(_content_of, attachment, find))


def _content_of(attachment: dict[str, Any], find: Find) -> bytes | None:
    data, file = attachment.get("data"), attachment.get("file")
    if isinstance(data, str):
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return None
    return find(file) if isinstance(file, str) else None
