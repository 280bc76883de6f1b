"""What the conversation tells whoever listens. The first two are sent inside the transaction that does the thing."""

from __future__ import annotations

from django.dispatch import Signal

# A message and its empty reply were stored: reply (Message).
reply_started = Signal()
# A reply ended: reply (Message).
reply_ended = Signal()
# A frame was refused: visitor (identity.Visitor), code, text. Sent on the event loop, where no query may be made.
input_rejected = Signal()
