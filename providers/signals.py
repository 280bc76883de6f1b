"""What providers tell whoever listens."""

from __future__ import annotations

from django.dispatch import Signal

# After every attempt, whatever its fate: attempt (models.Attempt). Sent inside the transaction that stores its end.
attempt_ended = Signal()
# A provider's breaker moved, or was moved: provider_id, state (models.Breaker or Forced value), reason. Sent inside the
# transaction that moves it.
provider_state_changed = Signal()
# Past attempts have another cost now: reply_ids (set of UUID). Sent inside the transaction that writes them.
attempts_repriced = Signal()
