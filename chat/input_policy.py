"""What may be sent. Whatever passes is still only text: no shell, argument, path or query ever sees it."""

from __future__ import annotations

from django.conf import settings

from chat.protocol import BadFrame


def check(text: str) -> None:
    """Raise BadFrame where `text` may not be sent."""
    if not text.strip():
        raise BadFrame("empty_message", "The message is empty.")
    if len(text) > settings.CHAT_MESSAGE_LENGTH:
        raise BadFrame(
            "too_long",
            f"The message has {len(text):,} characters; {settings.CHAT_MESSAGE_LENGTH:,} are allowed.",
        )
