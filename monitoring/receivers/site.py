"""The beginning and the end of a server, with the settings that matter."""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from monitoring.audit import Deed, Target, record

# What decides who may do what, what is kept, and how much of everything there may be. No secret is among them.
THAT_MATTER = (
    "LOCAL_MODE",
    "DEBUG",
    "ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS",
    "ALLOW_PRIVATE_ADDRESSES",
    "AUDIT_TEXTS",
    "CHAT_SIGN_UP",
    "CHAT_SHARING",
    "CHAT_ON_CLOSE",
    "CHAT_MESSAGE_LENGTH",
    "CHAT_PLACES",
    "CHAT_SOCKETS_PER_USER",
    "BUDGET_ANSWER_TOKENS",
    "KEEP_ATTEMPTS_DAYS",
    "KEEP_GUESTS_DAYS",
    "PROVIDER_LIVE_CHECK_DAILY_USD",
    "PROVIDER_MEMORY_SECONDS",
    "PROXIES",
)


def record_start(replica: str) -> None:
    """Write down that a server has started, and how it is set up."""
    chosen = {name: _plain(getattr(settings, name)) for name in THAT_MATTER}
    keys = sorted(settings.PROVIDER_KEYS)
    data = {"database": connection.vendor, "keys_in_environment": keys, **chosen}
    record(Deed("site.started", target=Target("replica", replica), data=data))


def record_stop(replica: str) -> None:
    """Write down that a server stops as it was asked to."""
    record(Deed("site.stopped", target=Target("replica", replica)))


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | str | list) else str(value)
