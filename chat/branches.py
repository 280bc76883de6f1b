"""The tree of a conversation without its texts: branches, versions of a message, and what a page shows of a branch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from chat.models import Conversation, Message, Role, State
from chat.signals import tell

# Messages that a page shows at first, and as many more with each step towards the beginning.
WINDOW = 60
# Of those, how many stand above the one that was asked for.
ABOVE = 20


class Node(NamedTuple):
    """A message as far as the tree needs it."""

    id: UUID
    parent_id: UUID | None
    role: str
    state: str
    created_at: datetime


@dataclass(frozen=True)
class Versions:
    """Where a message stands among those that could stand in its place; `number` counts from 1."""

    number: int
    count: int
    previous: UUID | None
    next: UUID | None


class Tree:
    """The messages of one conversation by their places."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self._children: dict[UUID | None, list[Node]] = defaultdict(list)
        for node in sorted(self.nodes.values(), key=_age):
            self._children[node.parent_id].append(node)

    def children(self, message_id: UUID | None) -> Sequence[Node]:
        """Return what follows a message, the oldest first; for None, what the conversation can begin with."""
        return self._children.get(message_id, [])

    def path_to(self, leaf_id: UUID | None) -> list[UUID]:
        """Return the messages from the first one down to `leaf_id`."""
        path = []
        while leaf_id in self.nodes:
            path.append(leaf_id)
            leaf_id = self.nodes[leaf_id].parent_id
        return path[::-1]

    def below(self, message_id: UUID) -> Iterator[Node]:
        """Yield everything that follows a message, in all branches."""
        waiting = [message_id]
        while waiting:
            for child in self.children(waiting.pop()):
                yield child
                waiting.append(child.id)

    def newest_leaf(self, message_id: UUID | None) -> UUID | None:
        """Return the newest end of a branch that holds the message; for None, that of the conversation."""
        candidates = self.below(message_id) if message_id else self.nodes.values()
        leaves = [node for node in candidates if not self.children(node.id)]
        return max(leaves, key=_age).id if leaves else message_id

    def versions(self, message_id: UUID) -> Versions:
        """Return the place of a message among its versions."""
        ids = [node.id for node in self.children(self.nodes[message_id].parent_id)]
        at = ids.index(message_id)
        following = ids[at + 1] if at + 1 < len(ids) else None
        return Versions(at + 1, len(ids), ids[at - 1] if at else None, following)

    def leaf_after_removal(self, message_id: UUID, leaf_id: UUID | None) -> UUID | None:
        """Return which end is shown once a message is gone with all that follows it; `leaf_id`: the one before."""
        if message_id not in self.path_to(leaf_id):
            return leaf_id
        gone = {message_id, *(node.id for node in self.below(message_id))}
        left = Tree(node for node in self.nodes.values() if node.id not in gone)
        return left.newest_leaf(self.nodes[message_id].parent_id)


def _age(node: Node) -> tuple[datetime, UUID]:
    # Imported messages may have the same time.
    return node.created_at, node.id


def tree_of(conversation_id: UUID) -> Tree:
    """Return the tree of a conversation: one query, no texts."""
    rows = Message.objects.filter(conversation_id=conversation_id).order_by().values_list(*Node._fields)
    return Tree(Node(*row) for row in rows)


@dataclass(frozen=True)
class Window:
    """The part of a branch that a page shows.

    `start`: how many messages of the branch stand above it; `at_end`: nothing stands below; `is_current`: the branch
    is the one that goes on.
    """

    ids: Sequence[UUID]
    branch: Sequence[UUID]
    start: int
    is_current: bool = True

    @property
    def at_end(self) -> bool:
        return self.start + len(self.ids) == len(self.branch)


def window_at_end(tree: Tree, leaf_id: UUID | None) -> Window:
    """Return the last messages of the branch that goes on. Without a leaf, the newest one is taken."""
    branch = tree.path_to(leaf_id or tree.newest_leaf(None))
    start = max(0, len(branch) - WINDOW)
    return Window(branch[start:], branch, start)


def window_before(tree: Tree, leaf_id: UUID | None, message_id: UUID) -> Window:
    """Return the messages right above one, in the branch that holds it."""
    branch, is_current = _branch_through(tree, leaf_id, message_id)
    end = branch.index(message_id)
    start = max(0, end - WINDOW)
    return Window(branch[start:end], branch, start, is_current)


def window_around(tree: Tree, leaf_id: UUID | None, message_id: UUID) -> Window:
    """Return the messages around one, in the branch that holds it."""
    branch, is_current = _branch_through(tree, leaf_id, message_id)
    start = max(0, min(branch.index(message_id) - ABOVE, len(branch) - WINDOW))
    return Window(branch[start : start + WINDOW], branch, start, is_current)


def _branch_through(tree: Tree, leaf_id: UUID | None, message_id: UUID) -> tuple[list[UUID], bool]:
    current = tree.path_to(leaf_id or tree.newest_leaf(None))
    if message_id in current:
        return current, True
    return tree.path_to(tree.newest_leaf(message_id)), False


# --- What changes the tree --------------------------------------------------------------------------------------------


@transaction.atomic
def switch(conversation_id: UUID, message_id: UUID) -> None:
    """Make the newest branch through a message the one that goes on. Raises Message.DoesNotExist.

    What is being written elsewhere in the conversation is written to its end.
    """
    conversation = _lock(conversation_id)
    tree = tree_of(conversation_id)
    _get(tree, message_id)
    if message_id not in tree.path_to(conversation.current_leaf_id):
        _set_leaf(conversation_id, tree.newest_leaf(message_id))


def find_unfinished(tree: Tree, message_id: UUID) -> list[UUID]:
    """Return the replies that have not ended, of a message and what follows it."""
    return [node.id for node in [tree.nodes[message_id], *tree.below(message_id)] if node.state != State.ENDED]


@transaction.atomic
def delete(conversation_id: UUID, message_id: UUID) -> None:
    """Delete a message with all that follows it. Raises Message.DoesNotExist."""
    conversation = _lock(conversation_id)
    tree = tree_of(conversation_id)
    gone = [_get(tree, message_id), *tree.below(message_id)]
    tell("chat.message.deleted", conversation.owner, "message", message_id, messages=len(gone))
    _set_leaf(conversation_id, tree.leaf_after_removal(message_id, conversation.current_leaf_id))
    _remove([node.id for node in gone])


@transaction.atomic
def cancel(conversation_id: UUID, reply_id: UUID) -> bool:
    """Take a reply that waits its turn out of the queue, and its question where nobody else has answered that.

    What follows moves up. Returns False where the reply no longer waits. Raises Message.DoesNotExist.
    """
    conversation = _lock(conversation_id)
    tree = tree_of(conversation_id)
    reply = _get(tree, reply_id)
    if not Message.objects.filter(pk=reply_id, state=State.QUEUED).update(state=State.ENDED):
        return False
    others = [node for node in tree.children(reply.parent_id) if node.id != reply_id]
    question = tree.nodes[reply.parent_id] if reply.parent_id else reply
    gone = reply if others or question.role != Role.USER else question
    answers = [node.id for node in others if node.role == Role.ASSISTANT]
    Message.objects.filter(parent_id=reply_id).update(parent_id=answers[-1] if answers else gone.parent_id)
    if conversation.current_leaf_id == reply_id:
        _set_leaf(conversation_id, tree.leaf_after_removal(gone.id, reply_id))
    _remove([gone.id, reply_id])
    return True


def _get(tree: Tree, message_id: UUID) -> Node:
    if message_id not in tree.nodes:
        raise Message.DoesNotExist
    return tree.nodes[message_id]


def _remove(message_ids: list[UUID]) -> None:
    """Delete exactly these rows, and what belongs to them."""
    rows = Message.objects.filter(pk__in=message_ids)
    # Django would follow a long branch message by message, each with a query of its own.
    rows.update(parent=None)
    rows.delete()


def _lock(conversation_id: UUID) -> Conversation:
    """Return the conversation, in which nobody else posts, switches or deletes until this transaction ends."""
    return Conversation.objects.select_for_update(of=("self",)).get(pk=conversation_id)


def _set_leaf(conversation_id: UUID, leaf_id: UUID | None) -> None:
    Conversation.objects.filter(pk=conversation_id).update(current_leaf_id=leaf_id)
