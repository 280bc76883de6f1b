"""Attempts, and the states of providers and models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from monitoring import acting
from monitoring.audit import Deed, Target, record
from providers.ledger import TOKENS
from providers.models import Attempt, Forced, Model, Provider


def on_attempt_ended(attempt: Attempt, **_: Any) -> None:
    """Write down what was asked of whom, and what it cost at which price."""
    data = {
        "reply": str(attempt.reply_id),
        "number": attempt.number,
        "owner": attempt.username,
        "provider": attempt.provider_slug,
        "model": attempt.model_name,
        "reason": attempt.reason,
        "ending": str(attempt.ending),
        "evidence": attempt.evidence,
        "exit_code": attempt.exit_code,
        "http_status": attempt.http_status,
        **{name: getattr(attempt, name) for name in TOKENS},
        "count_source": str(attempt.count_source),
        "price": attempt.price,
        "cost_usd": None if attempt.cost_usd is None else str(attempt.cost_usd),
    }
    record(Deed("provider.attempt.ended", target=Target("attempt", attempt.pk), data=data))


def on_provider_state_changed(provider_id: int, was: str, state: str, reason: str, **_: Any) -> None:
    """Write down from what to what a breaker moved, and why; an admin's word is theirs."""
    provider = Provider.objects.get(pk=provider_id)
    data = {
        "provider": provider.slug,
        "was": str(was),
        "state": str(state),
        "forced": state in (Forced.OPEN, Forced.CLOSED) and state == provider.forced,
        "reason": reason,
        "until": provider.open_until.isoformat() if provider.open_until else None,
    }
    record(Deed("provider.state.changed", acting.current(), Target("provider", provider_id), data))


def on_model_state_changed(model_id: int, until: datetime | None, reason: str, **_: Any) -> None:
    """Write down for how long a model is not asked, and why."""
    data = {
        "model": str(Model.objects.select_related("provider").get(pk=model_id)),
        "out_until": until.isoformat() if until else None,
        "reason": reason,
    }
    record(Deed("model.state.changed", acting.current(), Target("model", model_id), data))
