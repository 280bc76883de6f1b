"""The one place that writes audit entries, inside the transaction that does the thing."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.utils import timezone

from monitoring.models import AuditEntry, AuditText


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
    """One thing that happened. `data` is plain JSON without secrets; `text` is somebody's words, None for none."""

    action: str
    actor: Actor = SITE
    target: Target = Target()
    data: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    at: datetime | None = None


def record(*deeds: Deed) -> None:
    """Write an entry for each deed, in this order."""
    entries, texts = [], []
    for deed in deeds:
        digest = ""
        if deed.text is not None:
            salt = secrets.token_hex(16)
            digest = digest_of(salt, deed.text)
            texts.append(AuditText(digest=digest, salt=salt, text=deed.text if settings.AUDIT_TEXTS else ""))
        entries.append(
            AuditEntry(
                at=deed.at or timezone.now(),
                actor=deed.actor.name,
                actor_id=deed.actor.user_id,
                action=deed.action,
                target_kind=deed.target.kind,
                target_id=str(deed.target.id),
                data=deed.data,
                digest=digest,
            )
        )
    AuditEntry.objects.bulk_create(entries)
    if texts:
        AuditText.objects.bulk_create(texts)


def digest_of(salt: str, text: str) -> str:
    """Return what an entry keeps of its text: SHA-256 over the salt and the text, in hex."""
    return hashlib.sha256(salt.encode() + text.encode(errors="surrogatepass")).hexdigest()
