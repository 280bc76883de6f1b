"""A line in the log for every reply that has ended, without a word of it."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import transaction

from chat.models import Message

logger = structlog.stdlib.get_logger(__name__)


def log_reply(reply: Message, **_: Any) -> None:
    """Log the reply once its end is stored."""
    transaction.on_commit(lambda: _log(reply), robust=True)


def _log(reply: Message) -> None:
    logger.info(
        "reply ended",
        reply_id=str(reply.pk),
        ending=reply.ending,
        provider=reply.provider,
        model=reply.model,
        attempts=reply.attempts,
        first_token_ms=reply.first_token_ms,
        ms=reply.duration_ms,
    )
