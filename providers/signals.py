"""What providers tell whoever listens."""

from __future__ import annotations

from django.dispatch import Signal

# After every attempt, whatever its fate: attempt (models.Attempt). Sent inside the transaction that stores its end.
attempt_ended = Signal()
# A provider's breaker moved, or was moved: provider_id, state (models.Breaker or Forced value), reason. Sent inside the
# transaction that moves it.
provider_state_changed = Signal()
# A provider was checked, by its list of models or by a small question: provider_id, slug, ok (None: nothing could be
# told), sentence. Sent inside the transaction that stores the result.
provider_checked = Signal()
# Past attempts have another cost now: reply_ids (set of UUID). Sent inside the transaction that writes them.
attempts_repriced = Signal()
