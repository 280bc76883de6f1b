"""The audit: who did what to which thing, as rows that nothing updates and nothing deletes, sealed into a chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

from monitoring.append_only import SENTENCE

M = TypeVar("M", bound=models.Model)


class AppendOnlyError(IntegrityError):
    """Somebody tried to change or delete a row of the audit. The triggers' own refusals are IntegrityError too."""

    def __init__(self) -> None:
        super().__init__(SENTENCE)


class AppendOnlyQuerySet(models.QuerySet[M]):
    """Rows that are never updated, and deleted under an AuditPermit alone."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> tuple[int, dict[str, int]]:
        _need_permit()
        return super().delete()


class AppendOnly(models.Model):
    """A row that is written once. What the ORM refuses here, triggers refuse everywhere: monitoring/append_only.py."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        _need_permit()
        return super().delete(*args, **kwargs)


def _texts_are_kept() -> bool:
    return settings.AUDIT_TEXTS


class AuditEntry(AppendOnly):
    """One thing that happened. Written by monitoring/audit.py alone; triggers refuse its update and its deletion."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    # As they were called then, without a foreign key: whoever is deleted has still done what they did.
    actor = models.CharField(max_length=150, blank=True, help_text="Empty: the site itself.")
    actor_id = models.BigIntegerField(null=True, blank=True)
    action = models.CharField(max_length=48, help_text="Dotted, in the past tense: chat.reply.ended.")
    target_kind = models.CharField(max_length=32, blank=True)
    # As long as a replica's name, the longest of them.
    target_id = models.CharField(max_length=120, blank=True)
    data = models.JSONField(default=dict, blank=True)
    digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256, in hex, of the text's salt and the text; empty: there is none."
    )
    # In the entry, which is sealed: otherwise a text that somebody empties would look like one that was never kept.
    keeps_text = models.BooleanField(
        default=_texts_are_kept, help_text="Whether the words themselves are kept, where there are any."
    )

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        # The admin's filters.
        indexes = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["action", "-id"], name="audit_action"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
            models.Index(fields=["target_id"], name="audit_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor or 'the site'}"


class AuditText(AppendOnly):
    """The words of an entry, apart from it: erased, they leave the chain whole and a digest that nobody can guess from.

    The salt goes with the text, since the digest of a short text alone would give it away.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    salt = models.CharField(max_length=32, help_text="16 random bytes, in hex.")
    text = models.TextField(help_text="Empty where only the digest is kept.")

    class Meta:
        verbose_name = "text of the audit"
        verbose_name_plural = "texts of the audit"

    def __str__(self) -> str:
        return self.digest


class AuditSeal(AppendOnly):
    """A link of the chain: an entry at its place, and the hash over it and the link before."""

    sequence = models.BigIntegerField(primary_key=True, help_text="From 1, without gaps.")
    entry = models.OneToOneField(AuditEntry, models.DO_NOTHING, related_name="seal")
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    sealed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "audit seal"

    def __str__(self) -> str:
        return f"{self.sequence}: {self.hash[:12]}"


class AuditPending(models.Model):
    """An entry that waits for its seal. Put here by a trigger, taken away by monitoring/sealer.py."""

    entry_id = models.BigIntegerField(primary_key=True)

    class Meta:
        verbose_name = "entry to be sealed"
        verbose_name_plural = "entries to be sealed"

    def __str__(self) -> str:
        return str(self.entry_id)


class AuditPermit(models.Model):
    """While there is a row here, the triggers let the audit's rows be deleted: inside one transaction, by a command."""

    reason = models.CharField(max_length=48)
    # The foreign key is looked at when the transaction commits, and has nothing to point to: a permit that is still
    # there makes the commit fail, so that no transaction ever sees another's.
    never = models.ForeignKey("self", models.DO_NOTHING, default=0, editable=False, related_name="+")

    class Meta:
        verbose_name = "audit permit"
        constraints = [models.CheckConstraint(condition=Q(id__gt=0, never=0), name="permit_never_committed")]

    def __str__(self) -> str:
        return self.reason

    @classmethod
    @contextmanager
    def granted(cls, reason: str) -> Iterator[None]:
        """Let rows of the audit be deleted in this block, which is one transaction."""
        with transaction.atomic():
            permit = cls.objects.create(reason=reason)
            yield
            permit.delete()


def _need_permit() -> None:
    if not AuditPermit.objects.exists():
        raise AppendOnlyError
