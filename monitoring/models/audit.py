"""The audit: who did what to which thing, as rows that nothing updates and nothing deletes, sealed into a chain."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class AuditEntry(models.Model):
    """One thing that happened. Written by monitoring/audit.py alone; triggers refuse its update and its deletion."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    # As they were called then, without a foreign key: whoever is deleted has still done what they did.
    actor = models.CharField(max_length=150, blank=True, help_text="Empty: the site itself.")
    actor_id = models.BigIntegerField(null=True, blank=True)
    action = models.CharField(max_length=48, help_text="Dotted, in the past tense: chat.reply.ended.")
    target_kind = models.CharField(max_length=32, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict, blank=True)
    digest = models.CharField(
        max_length=64, blank=True, help_text="SHA-256, in hex, of the text's salt and the text; empty: there is none."
    )

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        # The admin's filters, and what the sealer looks through.
        indexes = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["action", "-id"], name="audit_action"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
            models.Index(fields=["target_id"], name="audit_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor or 'the site'}"


class AuditText(models.Model):
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


class AuditSeal(models.Model):
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


class AuditPermit(models.Model):
    """While there is a row here, the triggers let the audit's rows be deleted: inside one transaction, by a command."""

    reason = models.CharField(max_length=48)

    class Meta:
        verbose_name = "audit permit"

    def __str__(self) -> str:
        return self.reason
