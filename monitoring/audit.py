"""The one place that writes audit entries, inside the transaction that does the thing."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from monitoring.models import AuditEntry, AuditText
from providers.prepared import Insertion

# Everything that is recorded; docs/audit.md has the same list, and a test that compares them.
ACTIONS = {
    "chat.message.posted": "A person sent a message. With its text, and the ids, types and sizes of its files.",
    "chat.answer.requested": "A person asked for another answer, or for an answer to go on.",
    "chat.reply.ended": "An answer ended. With its text, ending, provider, model, tokens and cost.",
    "chat.reply.stop_requested": "A person pressed stop.",
    "chat.message.cancelled": "A person took back a message that waited for its turn.",
    "chat.message.deleted": "A person deleted a message and what followed it.",
    "chat.input.refused": "What somebody sent was refused, under the rule named. With what was sent.",
    "chat.conversation.deleted": "A person deleted a conversation; it can be had back for an hour.",
    "chat.conversation.restored": "A person took a deleted conversation back.",
    "chat.conversation.purged": "A conversation went for good: an hour after its deletion, or with its account.",
    "chat.conversation.exported": "A person downloaded a conversation.",
    "chat.conversation.imported": "A person brought in a conversation from a file.",
    "chat.archive.exported": "A person downloaded everything they have here.",
    "provider.attempt.ended": "A process that was asked for an answer ended. With its tokens, price and cost.",
    "provider.state.changed": "A provider's breaker moved, or an admin moved it.",
    "model.state.changed": "A model was taken out for a while, or put back.",
    "process.stopped": "An admin stopped somebody's answer.",
    "account.signed_in": "Somebody signed in.",
    "account.guest_adopted": "Somebody signed in who had written as a guest; that became the account's.",
    "account.sign_in_failed": "A name and a password that do not belong together.",
    "account.signed_out": "Somebody signed out.",
    "account.signed_out_everywhere": "Somebody ended all of their sessions.",
    "money.exported": "An admin downloaded what was spent.",
    "money.repriced": "The costs of past attempts were computed anew.",
    "audit.exported": "Somebody took a copy of the audit.",
    "audit.texts_erased": "A person's words were erased from the audit.",
    "audit.pruned": "Old entries were cut off. With a signed marker of the cut.",
    "site.started": "A server started. With the settings that matter.",
    "site.stopped": "A server stopped by itself; one that was killed says nothing.",
} | {
    f"{kind}.{deed}": f"A row was {deed}: {what}. With what it was and what it is now."
    for kind, what in {
        "provider": "a provider, its key as set or removed only",
        "model": "a model",
        "price": "a price",
        "budget": "a budget",
        "site_settings": "the site's settings",
        "policy_rule": "a rule of the input policy",
        "user": "an account, its password as changed only",
        "group": "a group of accounts",
        "token": "an API token, without itself",
        "share": "a link to a conversation, without its key",
        "alert_rule": "a rule of the alerts",
        "alert_receiver": "who is told of alerts, without the address's path",
    }.items()
    for deed in ("added", "changed", "deleted")
}


@dataclass(frozen=True)
class Actor:
    """Who did it: the name at that time, and the id of the row. The site itself has neither."""

    name: str = ""
    user_id: int | None = None

    @classmethod
    def of(cls, user: Any) -> Actor:
        """Return the actor behind a user row; anybody else is the site."""
        return cls(user.get_username(), user.pk) if isinstance(user, AbstractBaseUser) else SITE


SITE = Actor()


@dataclass(frozen=True)
class Target:
    """What it was done to: a kind such as `conversation`, and the id of the row."""

    kind: str = ""
    id: object = ""


@dataclass(frozen=True)
class Deed:
    """One thing that happened, of those in ACTIONS.

    `data` is plain JSON without secrets; `text` is somebody's words, None for none.
    """

    action: str
    actor: Actor = SITE
    target: Target = Target()
    data: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    at: datetime | None = None

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"Nobody knows what {self.action} means; it is missing in ACTIONS.")


@transaction.atomic(savepoint=False)
def record(*deeds: Deed) -> None:
    """Write an entry for each deed, in this order."""
    texts = [None if deed.text is None else _salted(deed.text) for deed in deeds]
    _insert_entries([_entry(deed, text) for deed, text in zip(deeds, texts, strict=True)])
    _insert_texts([text for text in texts if text])


def digest_of(salt: str, text: str) -> str:
    """Return what an entry keeps of its text: SHA-256 over the salt and the text, in hex."""
    return hashlib.sha256(f"{salt}{text}".encode()).hexdigest()


_insert_entries, _insert_texts = Insertion(AuditEntry), Insertion(AuditText)


def _salted(words: str) -> AuditText:
    # PostgreSQL takes no NUL, and nobody takes half a character.
    text = words.replace("\0", "\ufffd").encode(errors="replace").decode()
    salt = secrets.token_hex(16)
    return AuditText(digest=digest_of(salt, text), salt=salt, text=text if settings.AUDIT_TEXTS else "")


def _entry(deed: Deed, text: AuditText | None) -> AuditEntry:
    return AuditEntry(
        at=deed.at or timezone.now(),
        actor=deed.actor.name,
        actor_id=deed.actor.user_id,
        action=deed.action,
        target_kind=deed.target.kind,
        target_id=str(deed.target.id),
        data=deed.data,
        digest=text.digest if text else "",
    )
