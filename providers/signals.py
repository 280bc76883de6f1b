"""What providers tell whoever listens."""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

# After every attempt, whatever its fate: attempt (models.Attempt). Sent inside the transaction that stores its end.
attempt_ended = Signal()
# Somebody did something that no row of ours shows: action (dotted, in the past tense), user (User, or None for nobody
# known), target_kind, target_id, data (plain JSON without secrets).
acted = Signal()
# A provider's breaker moved, or was moved: provider_id, was and state (models.Breaker or Forced values), reason. Sent
# inside the transaction that moves it.
provider_state_changed = Signal()
# A model was taken out until a moment, or put back (None): model_id, until, reason. Inside the transaction of it.
model_state_changed = Signal()
# A provider was checked, by its list of models or by a small question: provider_id, slug, ok (None: nothing could be
# told), sentence. Sent inside the transaction that stores the result.
provider_checked = Signal()
# Past attempts have another cost now: reply_ids (set of UUID). Sent inside the transaction that writes them.
attempts_repriced = Signal()


def tell(action: str, user: Any, kind: str, pk: object, **data: Any) -> None:
    """Send `acted`."""
    acted.send(None, action=action, user=user, target_kind=kind, target_id=pk, data=data)
