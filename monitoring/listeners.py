"""Who hears what: the one list of signals and their receivers. Connected once, when Django is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.dispatch import Signal


def pairs() -> list[tuple[Signal, Callable[..., Any]]]:
    """Return every signal with what hears it. The receivers' modules are imported here, once models are there."""
    from chat.signals import reply_ended
    from monitoring.reply_log import log_reply

    heard: list[tuple[Signal, Callable[..., Any]]] = [(reply_ended, log_reply)]
    if settings.OTLP_ENDPOINT:
        from monitoring.traces import trace_reply

        heard.append((reply_ended, trace_reply))
    return heard


def connect() -> None:
    """Begin to hear, unless a setting says otherwise."""
    if settings.MONITORING:
        for signal, receiver in pairs():
            signal.connect(receiver, dispatch_uid=f"{receiver.__module__}.{receiver.__qualname__}")
