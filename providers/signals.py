"""What providers tell whoever listens."""

from __future__ import annotations

from django.dispatch import Signal

# After every attempt, whatever its fate: reply_id, candidate (routing.Candidate), verdict (endings.Verdict),
# finished (aichat.Finished). Sent inside the transaction that stores the reply.
attempt_ended = Signal()
