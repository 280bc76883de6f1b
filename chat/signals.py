"""What the conversation tells whoever listens, inside the transaction that does the thing."""

from __future__ import annotations

from django.dispatch import Signal

# What a person did else than chat.
from providers.signals import acted as acted
from providers.signals import tell as tell

# A message and its empty reply were stored: reply (Message), question (Message, None where an old one is asked again),
# owner (User), files (Attachment rows of the question). `question.flags` names the rules of the input policy that
# flagged it.
reply_started = Signal()
# A reply ended: reply (Message).
reply_ended = Signal()
# Somebody asked for the end of an answer that had not ended: reply_id, user (User).
stop_requested = Signal()
# A frame was refused: visitor (identity.Visitor), code, text (what was sent), rule (of the input policy, None where it
# was something else). On a thread of the database.
input_rejected = Signal()
