"""Keeps what was seen of each provider's health: every move of its breaker, and every check."""

from __future__ import annotations

from typing import Any

from monitoring.models.samples import CheckKind, HealthCheck
from providers.models import Provider

SENTENCE_CHARACTERS = 300


def record_move(provider_id: int, state: str, reason: str, **_: Any) -> None:
    """Write down that a breaker moved, or was moved, inside the transaction that does it."""
    slug = Provider.objects.filter(pk=provider_id).values_list("slug", flat=True).first() or ""
    _record(provider_id, slug, kind=CheckKind.STATE, state=state, sentence=reason)


def record_check(provider_id: int, slug: str, ok: bool | None, sentence: str, **_: Any) -> None:
    """Write down what a check came to, inside the transaction that stores it."""
    _record(provider_id, slug, kind=CheckKind.PROBE, ok=ok, sentence=sentence)


def _record(provider_id: int, slug: str, *, sentence: str, **values: Any) -> None:
    HealthCheck.objects.create(
        provider_id=provider_id, provider=slug, sentence=sentence[:SENTENCE_CHARACTERS], **values
    )
