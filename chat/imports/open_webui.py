"""Open WebUI's export: a list of rows with a `chat`; older ones are lists of the chats themselves.

`chat.history.messages` is a tree by id (`parentId`), `history.currentId` its end; before 2024 there was only the list
`chat.messages`. Reasoning stands in the text, folded into <details type="reasoning">.
"""

from __future__ import annotations

import html
import re
from typing import Any

from django.utils.translation import gettext as _

from chat.imports.drafts import (
    Draft,
    DraftMessage,
    Refused,
    clean,
    dict_of,
    limit_messages,
    list_of,
    need,
    need_text,
    order,
    read_label,
    read_parameters,
    read_time,
)
from chat.models import Role
from providers.endings import Ending

SOURCE = "open-webui"
OPENING = re.compile(r'\s*<details type="reasoning"([^>]{0,400})>')
SUMMARY = re.compile(r"\s*<summary>[^<]{0,400}</summary>")
CLOSING = "</details>"
DURATION = re.compile(r'duration="(\d{1,6})"')
QUOTED = re.compile(r"^> ?", re.MULTILINE)


def recognises(document: Any) -> bool:
    chat = _chat_of(document)
    return isinstance(dict_of(chat.get("history")).get("messages"), dict) or isinstance(chat.get("messages"), list)


def _chat_of(document: Any) -> dict[str, Any]:
    return dict_of(dict_of(document).get("chat")) or dict_of(document)


def read(document: dict[str, Any]) -> Draft:
    """Return the conversation. Raises Refused. Messages of other roles are left out, and what follows moves up."""
    chat = _chat_of(document)
    history = dict_of(chat.get("history"))
    nodes = _nodes_of(chat, history)
    parents = {key: _parent_of(node) for key, node in nodes.items()}
    kept: dict[str, DraftMessage] = {}
    above: dict[str | None, str | None] = {None: None}
    for key in order(parents):
        message = _read_message(key, above[parents[key]], nodes[key])
        above[key] = key if message else above[parents[key]]
        if message:
            kept[key] = message
    current = history.get("currentId")
    params = dict_of(chat.get("params"))
    prompt = next((text for text in (params.get("system"), chat.get("system")) if isinstance(text, str) and text), "")
    return Draft(
        SOURCE,
        read_label(document.get("id") or chat.get("id"), 64),
        read_label(document.get("title") or chat.get("title"), 200),
        list(kept.values()),
        current=above.get(current) if isinstance(current, str) else None,
        created_at=read_time(document.get("created_at") or chat.get("timestamp")),
        updated_at=read_time(document.get("updated_at")),
        columns={
            "system_prompt": clean(prompt)[:8000],
            "parameters": read_parameters(params),
            "archived": document.get("archived") is True,
            "pinned": document.get("pinned") is True,
        },
    )


def _nodes_of(chat: dict[str, Any], history: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the messages by id; in a plain list, each follows the one before."""
    if isinstance(history.get("messages"), dict):
        limit_messages(len(history["messages"]))
        return {key: need(node, dict, _("A message")) for key, node in history["messages"].items()}
    limit_messages(len(chat["messages"]))
    nodes: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(chat["messages"]):
        key = need(node, dict, _("A message")).get("id", str(number))
        if need(key, str, _("The id of a message")) in nodes:
            raise Refused(_("Two messages have the same id."))
        before = next(reversed(nodes), None)
        nodes[key] = node if "parentId" in node else {**node, "parentId": before}
    return nodes


def _parent_of(node: dict[str, Any]) -> str | None:
    parent = node.get("parentId")
    return need(parent, str, _("The parent of a message")) if parent else None


def _read_message(key: str, parent: str | None, node: dict[str, Any]) -> DraftMessage | None:
    role = node.get("role")
    if role not in (Role.USER, Role.ASSISTANT):
        return None
    text = _text_of(node)
    created_at = read_time(node.get("timestamp"))
    if role == Role.USER:
        return DraftMessage(key, parent, role, text, created_at)
    columns, text = _take_reasoning(text)
    failure = dict_of(node.get("error")).get("content") or node.get("error")
    if isinstance(failure, str) and failure:
        columns |= {"ending": Ending.PROVIDER_ERROR, "error": read_label(failure, 500)}
    else:
        columns["ending"] = Ending.INTERRUPTED if node.get("done") is False else Ending.COMPLETE
    columns["model"] = read_label(node.get("model"), 120)
    return DraftMessage(key, parent, role, text, created_at, columns)


def _text_of(node: dict[str, Any]) -> str:
    """Return the words, with a placeholder for each picture and file."""
    content = node.get("content")
    parts = [content] if isinstance(content, str) else [dict_of(part).get("text") for part in list_of(content)]
    names = [read_label(dict_of(file).get("name"), 120) for file in list_of(node.get("files"))]
    placeholders = [
        _("[Attached: %(name)s]") % {"name": name} if name else _("[An image that was not imported]") for name in names
    ]
    return need_text("\n".join([*placeholders, *(part for part in parts if isinstance(part, str))]), _("A text"))


def _take_reasoning(text: str) -> tuple[dict[str, Any], str]:
    """Return the columns of the reasoning folded in front of an answer, and the answer without it."""
    opening = OPENING.match(text)
    end = text.find(CLOSING, opening.end()) if opening else -1
    if not opening or end < 0:
        return {"reasoning": ""}, text
    folded = text[opening.end() : end]
    summary = SUMMARY.match(folded)
    reasoning = QUOTED.sub("", html.unescape(folded[summary.end() if summary else 0 :])).strip()
    seconds = DURATION.search(opening[1])
    return (
        {"reasoning": reasoning, "reasoning_ms": int(seconds[1]) * 1000 if seconds else None},
        text[end + len(CLOSING) :].lstrip("\n"),
    )
