"""Who hears what: the one list of signals and their receivers. Connected once, when Django is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import signals as auth
from django.dispatch import Signal

from chat import signals as chat
from providers import signals as providers


def pairs() -> list[tuple[Signal, Callable[..., Any]]]:
    """Return every signal with what hears it. The receivers' modules are imported here, once models are there."""
    from monitoring import health_checks, metrics, sampler
    from monitoring.receivers import accounts, conversations, ledger

    return [
        (chat.reply_started, conversations.on_reply_started),
        (chat.reply_ended, conversations.on_reply_ended),
        (chat.stop_requested, conversations.on_stop_requested),
        (chat.input_rejected, conversations.on_input_rejected),
        (providers.acted, conversations.on_acted),
        (providers.attempt_ended, ledger.on_attempt_ended),
        (providers.provider_state_changed, ledger.on_provider_state_changed),
        (providers.model_state_changed, ledger.on_model_state_changed),
        (auth.user_logged_in, accounts.on_signed_in),
        (auth.user_logged_out, accounts.on_signed_out),
        (auth.user_login_failed, accounts.on_sign_in_failed),
        (chat.reply_ended, sampler.hear_reply),
        (chat.reply_ended, metrics.hear_reply),
        (providers.attempt_ended, metrics.hear_attempt),
        (providers.provider_state_changed, health_checks.record_move),
        (providers.provider_checked, health_checks.record_check),
    ]


def connect() -> None:
    """Begin to hear, unless a setting says otherwise."""
    if not settings.MONITORING:
        return
    from monitoring.receivers import rows

    for signal, receiver in pairs():
        signal.connect(receiver, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")
    rows.connect()
