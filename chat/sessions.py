"""How long a session lasts: so many hours since its sign-in, and so many since it was last used.

Both limits are in the date of its row, so that sockets, and Django itself, know when it ends: that of disuse begins
anew with each note of its use, and never reaches beyond the other.
"""

from __future__ import annotations

import time

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

# Where a session keeps when its sign-in and its last noted use were, in seconds.
BEGAN = "sasha_began"
USED = "sasha_used"
# A session that is in use is written this often.
NOTED_SECONDS = 300


def begin(session: SessionBase) -> None:
    """Note that somebody has signed in."""
    session[BEGAN] = time.time()
    _note_use(session)


def is_alive(session: SessionBase) -> bool:
    """Return whether the session has not become too old; note, now and then, that it is in use."""
    now = time.time()
    if now >= session.get(BEGAN, now) + settings.SESSION_HOURS * 3600:
        return False
    if now - session.get(USED, 0) > NOTED_SECONDS:
        _note_use(session)
    return True


def _note_use(session: SessionBase) -> None:
    session[USED] = now = time.time()
    left = session.setdefault(BEGAN, now) + settings.SESSION_HOURS * 3600 - now
    # Django reads 0 as its own longest age.
    session.set_expiry(max(1, int(min(left, settings.SESSION_IDLE_HOURS * 3600))))
