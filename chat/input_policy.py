"""What may be sent. Whatever passes is still only text: no shell, argument, path or query ever sees it."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from chat.figures import format_count
from chat.protocol import BadFrame


def check(text: str, *, has_files: bool = False) -> None:
    """Raise BadFrame where `text` may not be sent; with a file it may be empty."""
    if not text.strip() and not has_files:
        raise BadFrame("empty_message", _("The message is empty."))
    if len(text) > settings.CHAT_MESSAGE_LENGTH:
        words = _("The message has %(count)s characters; %(most)s are allowed.")
        counts = {"count": format_count(len(text)), "most": format_count(settings.CHAT_MESSAGE_LENGTH)}
        raise BadFrame("too_long", words % counts)
