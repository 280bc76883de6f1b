"""ChatGPT's export: conversations.json, or conversations-000.json and so on. OpenAI documents it nowhere.

As seen in exports of 2023 to 2026: `mapping` is a tree of nodes by id, each with `parent` and a `message` or null, of
which many are not shown: system messages, tool calls (to a `recipient` that is not "all") and what tools returned.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from chat.imports.drafts import (
    Draft,
    DraftMessage,
    dict_of,
    limit_messages,
    limit_text,
    list_of,
    need,
    need_text,
    order,
    read_label,
    read_time,
)
from chat.models import Role
from providers.endings import Ending

SOURCE = "chatgpt"
# References to sources that are not part of the export, between private signs: U+E200 … U+E201.
CITATION = re.compile("\ue200[^\ue200\ue201]{0,2000}\ue201")
SHOWN = ("text", "multimodal_text", "code")
FINISH = {"max_tokens": Ending.LENGTH, "interrupted": Ending.STOPPED, "content_filter": Ending.FILTERED}


def recognises(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("mapping"), dict)


@dataclass(frozen=True)
class Place:
    """What stands above a node: the message kept last, thoughts since then, and whether no branch began since."""

    message: str | None = None
    thoughts: str = ""
    is_straight: bool = True


def read(document: dict[str, Any]) -> Draft:
    """Return the conversation without what ChatGPT does not show. Raises Refused.

    An answer with tool calls in the middle is several nodes: they become one again, unless a branch begins between.
    """
    nodes = {key: need(node, dict, _("A message")) for key, node in document["mapping"].items()}
    limit_messages(len(nodes))
    parents = {key: _parent_of(node) for key, node in nodes.items()}
    children = Counter(parents.values())
    kept: dict[str, DraftMessage] = {}
    places: dict[str | None, Place] = {None: Place()}
    for key in order(parents):
        above = places[parents[key]]
        straight = above.is_straight and children[parents[key]] == 1
        places[key] = _visit(key, nodes[key], replace(above, is_straight=straight), kept)
    current = document.get("current_node")
    place = places.get(current) if isinstance(current, str) else None
    return Draft(
        SOURCE,
        read_label(document.get("conversation_id") or document.get("id"), 64),
        read_label(document.get("title"), 200),
        list(kept.values()),
        current=place.message if place else None,
        created_at=read_time(document.get("create_time")),
        updated_at=read_time(document.get("update_time")),
        columns={"archived": document.get("is_archived") is True},
    )


def _parent_of(node: dict[str, Any]) -> str | None:
    parent = node.get("parent")
    return need(parent, str, _("The parent of a message")) if parent else None


def _visit(key: str, node: dict[str, Any], above: Place, kept: dict[str, DraftMessage]) -> Place:
    """Keep the node's message, if it is shown, and return what stands above the nodes under it."""
    message = dict_of(node.get("message"))
    role: Any = dict_of(message.get("author")).get("role")
    content = dict_of(message.get("content"))
    if role == Role.ASSISTANT and content.get("content_type") == "thoughts":
        return replace(above, thoughts="\n\n".join(filter(None, [above.thoughts, _thoughts_of(content)])))
    text = _text_of(message, content) if _is_shown(message, role, content) else ""
    if not text:
        return above
    last = kept.get(above.message) if above.message else None
    if role == Role.ASSISTANT and last and last.role == role and above.is_straight:
        reasoning = "\n\n".join(filter(None, [last.columns["reasoning"], above.thoughts]))
        columns = {**last.columns, "reasoning": reasoning, "ending": _ending_of(message)}
        limit_text(len(last.text) + len(text))
        kept[last.id] = replace(last, text=f"{last.text}\n\n{text}", columns=columns)
        return Place(last.id)
    columns = {}
    if role == Role.ASSISTANT:
        model = read_label(dict_of(message.get("metadata")).get("model_slug"), 120)
        continues = last is not None and last.role == role
        columns = {"model": model, "reasoning": above.thoughts, "ending": _ending_of(message), "continues": continues}
    kept[key] = DraftMessage(key, above.message, role, text, read_time(message.get("create_time")), columns)
    return Place(key)


def _is_shown(message: dict[str, Any], role: Any, content: dict[str, Any]) -> bool:
    if role not in (Role.USER, Role.ASSISTANT) or content.get("content_type") not in SHOWN:
        return False
    if dict_of(message.get("metadata")).get("is_visually_hidden_from_conversation"):
        return False
    return message.get("recipient") in (None, "all")


def _text_of(message: dict[str, Any], content: dict[str, Any]) -> str:
    """Return the words, with a placeholder for each picture and file: those are elsewhere, if anywhere."""
    parts = list_of(content.get("parts"))
    texts = [_part_text(part) for part in parts] if parts else [content.get("text")]
    names = [
        read_label(dict_of(file).get("name"), 120)
        for file in list_of(dict_of(message.get("metadata")).get("attachments"))
    ]
    placeholders = [_("[Attached: %(name)s]") % {"name": name} for name in names if name]
    found = "\n".join(text for text in [*placeholders, *texts] if isinstance(text, str) and text)
    return need_text(CITATION.sub("", found), _("A text")) if found.strip() else ""


def _part_text(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = dict_of(part).get("content_type")
    if kind == "audio_transcription":
        spoken = part.get("text")
        return spoken if isinstance(spoken, str) else ""
    return _("[An image that was not imported]") if kind == "image_asset_pointer" else ""


def _thoughts_of(content: dict[str, Any]) -> str:
    texts = [
        dict_of(thought).get(name) for thought in list_of(content.get("thoughts")) for name in ("summary", "content")
    ]
    return need_text("\n\n".join(text for text in texts if isinstance(text, str) and text), _("A text"))


def _ending_of(message: dict[str, Any]) -> Ending:
    if message.get("status") == "in_progress":
        return Ending.INTERRUPTED
    finish = dict_of(dict_of(message.get("metadata")).get("finish_details")).get("type")
    return FINISH.get(finish, Ending.COMPLETE) if isinstance(finish, str) else Ending.COMPLETE
