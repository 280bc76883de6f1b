"""The rows of a window of a branch, fetched and made ready to be shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from chat import attachments
from chat.answered import find_names
from chat.branches import Node, Tree, Window
from chat.models import Message, Role, State
from chat.turns import Turn, make_turn


def list_turns(tree: Tree, window: Window) -> list[Turn]:
    """Return the messages of the window as turns, in their order. Three queries, four where something was left out."""
    rows = Message.objects.in_bulk(list(window.ids))
    # Deleted since the tree was read.
    messages = [rows[message_id] for message_id in window.ids if message_id in rows]
    names = find_names(exact for message in messages for exact in _named(message))
    first_sent = _find_first_sent(tree, window, rows)
    files = attachments.shown_with(window.ids)
    return [
        dataclasses.replace(
            make_turn(message, names, files.get(message.pk, ())),
            versions=tree.versions(message.pk),
            after_left_out=message.pk == first_sent,
        )
        for message in messages
    ]


def _named(message: Message) -> Iterator[str]:
    """Yield the models that are named with a message: its author, and who could continue it."""
    if message.model:
        yield f"{message.provider}:{message.model}"
    for notice in message.notices:
        if notice["kind"] == "ask":
            yield notice["new_model"]


def _find_first_sent(tree: Tree, window: Window, rows: dict[object, Message]) -> object:
    """Return the first message that the latest answer's model was sent, where there was not room for all."""
    ended = (pk for pk in reversed(window.branch) if _is_ended_reply(tree.nodes[pk]))
    latest = next(ended, None)
    if latest is None:
        return None
    row = rows.get(latest) or Message.objects.only("left_out").filter(pk=latest).first()
    return window.branch[row.left_out] if row and 0 < row.left_out < len(window.branch) else None


def _is_ended_reply(node: Node) -> bool:
    return node.role == Role.ASSISTANT and node.state == State.ENDED
