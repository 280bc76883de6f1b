"""A conversation as its page shows it: which messages, in which order, and what stands under each.

Pure: works on rows that have been fetched. static/js/facts.js says the same words about an answer that has just ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.branches import Versions
from chat.figures import format_count, format_tenths
from chat.models import Attachment, Message, Role, State
from chat.money import describe_cost
from chat.next_steps import Step, find_step
from providers.endings import SENTENCES, Ending

# In place of the id that a reply will have: static/js/thread.js puts it into the address.
NO_ID = uuid.UUID(int=0)
# What stands under an answer that is not there yet.
WAITING_FOR_TURN = gettext_lazy("Waiting for its turn")
WRITING = gettext_lazy("Writing")


@dataclass(frozen=True)
class Names:
    """As people read them: providers by slug, models by `provider:model`. What is in neither goes by its own name."""

    providers: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)

    def of_provider(self, slug: str) -> str:
        return self.providers.get(slug, slug)

    def of_model(self, provider: str, model: str) -> str:
        # Only a model of an imported answer has no provider.
        return self.of_exact(f"{provider}:{model}" if provider else model)

    def of_exact(self, name: str) -> str:
        """Return the name of `provider:model`."""
        return self.models.get(name, name)


NAMELESS = Names()


@dataclass(frozen=True)
class Notice:
    """What the reader should see at one place of an answer; the kinds are those of docs/protocol.md.

    `new_model`: who could continue, where the reader is asked; `new_name`: what people call it.
    """

    kind: str
    reason: str = ""
    new_model: str = ""
    new_name: str = ""

    @property
    def asks(self) -> bool:
        return self.kind == "ask"


@dataclass(frozen=True)
class Part:
    """A stretch of an answer's text, and the notice that follows it, if any."""

    text: str
    notice: Notice | None = None


@dataclass(frozen=True)
class Turn:
    """One message, ready to be shown."""

    id: uuid.UUID | None
    role: str
    state: str = State.ENDED
    ending: str = ""
    client_id: str = ""
    last_seq: int = 0
    continues: bool = False
    reasoning: str = ""
    reasoning_label: str = ""
    parts: list[Part] = field(default_factory=lambda: [Part("")])
    badge: str = ""
    step: Step | None = None
    facts: list[str] = field(default_factory=list)
    waiting: str = ""
    files: Sequence[Attachment] = ()
    versions: Versions | None = None
    # The messages above were not sent to the model that answered last.
    after_left_out: bool = False

    @property
    def is_reply(self) -> bool:
        return self.role == Role.ASSISTANT

    @property
    def address(self) -> uuid.UUID:
        """The id as addresses have it."""
        return self.id or NO_ID

    @property
    def attempts_url(self) -> str:
        return reverse("chat:attempts", args=[self.address])


def find_branch(messages: Iterable[Message], leaf_id: uuid.UUID | None) -> list[Message]:
    """Return the messages from the first one down to the leaf. Without a leaf, the newest message is taken for it."""
    by_id = {message.pk: message for message in messages}
    if leaf_id is None and by_id:
        leaf_id = max(by_id.values(), key=lambda message: message.created_at).pk
    branch = []
    while leaf_id in by_id:
        branch.append(by_id[leaf_id])
        leaf_id = branch[-1].parent_id
    return branch[::-1]


def make_turn(message: Message, names: Names, files: Sequence[Attachment] = ()) -> Turn:
    """Return `message` as the page shows it."""
    return Turn(
        id=message.pk,
        role=message.role,
        state=message.state,
        ending=message.ending,
        client_id=message.client_id or "",
        last_seq=message.last_seq,
        continues=message.continues,
        reasoning=message.reasoning,
        reasoning_label=describe_reasoning(message),
        parts=split_at_notices(message.text, message.notices, names),
        badge=describe_ending(message.ending, message.error),
        step=find_step(message.ending, has_text=bool(message.text)),
        facts=list_facts(message, names) if message.ending else [],
        waiting=describe_waiting(message, names),
        files=files,
    )


def describe_reasoning(message: Message) -> str:
    """Return what to call a reply's reasoning, which is folded away."""
    if message.reasoning_ms is not None:
        return _("Thought for %(time)s") % {"time": format_duration(message.reasoning_ms)}
    return _("Thinking") if message.state == State.RUNNING and not message.text else _("Reasoning")


def describe_waiting(message: Message, names: Names) -> str:
    """Return what a reply waits for before it has text, or ""."""
    if message.state == State.QUEUED:
        return str(WAITING_FOR_TURN)
    if message.state != State.RUNNING:
        return ""
    if message.text:
        return str(WRITING)
    if not message.provider:
        return _("Waiting for an answer")
    return _("Waiting for %(provider)s") % {"provider": names.of_provider(message.provider)}


def split_at_notices(text: str, notices: list[dict[str, Any]], names: Names = NAMELESS) -> list[Part]:
    """Return the text in parts, each up to the next notice; the last part has none."""
    parts, start = [], 0
    for stored in notices:
        new = stored.get("new_model", "")
        notice = Notice(stored["kind"], stored["reason"], new, names.of_exact(new))
        parts.append(Part(text[start : stored["at"]], notice))
        start = stored["at"]
    return [*parts, Part(text[start:])]


def describe_ending(ending: str, error: str) -> str:
    """Return what to say about an answer that is not whole, or "". Errors are stored in English, most of them usual."""
    if ending in ("", Ending.COMPLETE):
        return ""
    return error if error and error != SENTENCES[Ending(ending)] else Ending(ending).sentence


def list_facts(reply: Message, names: Names) -> list[str]:
    """Return what is known about how a reply was made; what is unknown is left out."""
    facts = [names.of_model(reply.provider, reply.model)] if reply.model else []
    if reply.duration_ms is not None:
        facts.append(format_duration(reply.duration_ms))
    if reply.first_token_ms is not None:
        facts.append(_("first token %(time)s") % {"time": format_duration(reply.first_token_ms)})
    if reply.input_tokens is not None:
        # Cached ones are read as well; the column holds the fresh ones alone.
        count = reply.input_tokens + (reply.cache_read_tokens or 0) + (reply.cache_write_tokens or 0)
        facts.append(ngettext("%(count)s token in", "%(count)s tokens in", count) % {"count": format_count(count)})
    if reply.output_tokens is not None:
        words = ngettext("%(count)s token out", "%(count)s tokens out", reply.output_tokens)
        facts.append(words % {"count": format_count(reply.output_tokens)})
    if cost := describe_cost(reply.cost_usd, reply.cost_source, reply.attempts):
        facts.append(cost)
    if reply.attempts > 1:
        facts.append(ngettext("%(count)s attempt", "%(count)s attempts", reply.attempts) % {"count": reply.attempts})
    return facts


def format_duration(milliseconds: int) -> str:
    """Return `420 ms`, `3.2 s`, `42 s` or `1 min 12 s`, always rounded down."""
    if milliseconds < 1000:
        return _("%(count)s ms") % {"count": milliseconds}
    seconds = milliseconds // 1000
    if seconds < 10:
        return _("%(count)s s") % {"count": format_tenths(milliseconds // 100)}
    if seconds < 60:
        return _("%(count)s s") % {"count": seconds}
    return _("%(minutes)s min %(seconds)s s") % {"minutes": seconds // 60, "seconds": seconds % 60}
