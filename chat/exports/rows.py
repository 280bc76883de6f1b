"""What an export reads of a conversation, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from chat.answered import find_names
from chat.exports.document import Carrier, make_document
from chat.exports.texts import Reading
from chat.models import Attachment, Conversation, Message
from chat.turns import find_branch


class Rows(NamedTuple):
    """A conversation with all of its messages, oldest first, and their attachments."""

    conversation: Conversation
    messages: Sequence[Message]
    attachments: Sequence[Attachment]

    def as_reading(self, *, reasoning: bool = False) -> Reading:
        """Return the branch that is shown; one query for the names of its models."""
        branch = find_branch(self.messages, self.conversation.current_leaf_id)
        by_message: dict[object, list[Attachment]] = defaultdict(list)
        for attachment in self.attachments:
            by_message[attachment.message_id].append(attachment)
        names = find_names(f"{message.provider}:{message.model}" for message in branch if message.provider)
        return Reading(self.conversation, branch, by_message, names, reasoning)

    def as_document(self, carry: Carrier) -> dict[str, object]:
        """Return the whole tree for JSON."""
        return make_document(self.conversation, self.messages, self.attachments, carry)


def fetch(conversation: Conversation) -> Rows:
    """Return what an export needs, but for the bytes of attachments: two queries."""
    messages = list(Message.objects.filter(conversation=conversation).order_by("created_at", "pk"))
    attachments = Attachment.objects.filter(message__conversation=conversation).order_by("created_at", "pk")
    return Rows(conversation, messages, list(attachments.defer("data")))
