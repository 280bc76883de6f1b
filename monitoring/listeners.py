"""Who hears what: the one list of signals and their receivers. Connected once, when Django is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.dispatch import Signal


def pairs() -> list[tuple[Signal, Callable[..., Any]]]:
    """Return every signal with what hears it. The receivers' modules are imported here, once models are there."""
    from chat.signals import reply_ended
    from monitoring import health_checks, metrics, sampler
    from providers.signals import attempt_ended, provider_checked, provider_state_changed

    return [
        (reply_ended, sampler.hear_reply),
        (reply_ended, metrics.hear_reply),
        (attempt_ended, metrics.hear_attempt),
        (provider_state_changed, health_checks.record_move),
        (provider_checked, health_checks.record_check),
    ]


def connect() -> None:
    """Begin to hear, unless a setting says otherwise."""
    if settings.MONITORING:
        for signal, receiver in pairs():
            signal.connect(receiver, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")
