"""What can go wrong with a message."""

from __future__ import annotations


class NotSent(Exception):
    """A receiver was not reached; the text is a sentence for an admin, without the address or any key."""
