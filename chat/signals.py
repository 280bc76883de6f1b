"""What the conversation tells whoever listens. Each is sent inside the transaction that does the thing."""

from __future__ import annotations

from django.dispatch import Signal

# A message and its empty reply were stored: reply (Message).
reply_started = Signal()
# A reply ended: reply (Message), outcome (replies.Outcome).
reply_ended = Signal()
# A message was refused before it was stored: user, code, sentence, text.
input_rejected = Signal()
