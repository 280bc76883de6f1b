"""What a site must do now and then about its conversations. It blocks; one server of a site does it."""

from __future__ import annotations

from chat import attachments


def do_round() -> None:
    """Delete what nobody can come back for."""
    attachments.sweep_unsent()
