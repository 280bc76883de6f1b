"""How replies ended on this server: their times, and how many of them failed. For any thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TypedDict

from monitoring.figures import Summary, summarize

# The plan's number.
KEPT_TIMES = 1000
RECENT_SECONDS = 300.0


@dataclass(frozen=True)
class Outcome:
    """The end of a reply. Milliseconds are None where there were none: no text, or a server that vanished."""

    failed: bool
    duration_ms: int | None
    first_token_ms: int | None


class Errors(TypedDict):
    """Replies that failed of those that ended, in the last five minutes and since the start; None of none."""

    ended: int
    failed: int
    rate: float | None
    ended_since_start: int
    failed_since_start: int
    rate_since_start: float | None


@dataclass
class Minute:
    """What ended in one minute."""

    replies: int = 0
    failed: int = 0
    durations_ms: list[int] = field(default_factory=list)
    first_tokens_ms: list[int] = field(default_factory=list)


class Outcomes:
    """What has ended so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations: deque[int] = deque(maxlen=KEPT_TIMES)
        self._first_tokens: deque[int] = deque(maxlen=KEPT_TIMES)
        self._recent: deque[tuple[float, bool]] = deque()
        self._ended = self._failed = 0
        self._minute = Minute()

    def add(self, outcome: Outcome) -> None:
        """Count a reply that has ended."""
        with self._lock:
            self._ended += 1
            self._failed += outcome.failed
            self._recent.append((time.monotonic(), outcome.failed))
            self._forget_old()
            self._minute.replies += 1
            self._minute.failed += outcome.failed
            if outcome.duration_ms is not None:
                self._durations.append(outcome.duration_ms)
                self._minute.durations_ms.append(outcome.duration_ms)
            if outcome.first_token_ms is not None:
                self._first_tokens.append(outcome.first_token_ms)
                self._minute.first_tokens_ms.append(outcome.first_token_ms)

    def responses(self) -> Summary:
        """Return how long the last replies took."""
        with self._lock:
            return summarize(self._durations)

    def first_tokens(self) -> Summary:
        """Return how long the last replies took to their first token."""
        with self._lock:
            return summarize(self._first_tokens)

    def errors(self) -> Errors:
        """Return how many failed."""
        with self._lock:
            self._forget_old()
            ended, failed = len(self._recent), sum(failed for _, failed in self._recent)
            return Errors(
                ended=ended,
                failed=failed,
                rate=_share(failed, ended),
                ended_since_start=self._ended,
                failed_since_start=self._failed,
                rate_since_start=_share(self._failed, self._ended),
            )

    def take_minute(self) -> Minute:
        """Return what has ended since this was asked last."""
        with self._lock:
            minute, self._minute = self._minute, Minute()
            return minute

    def _forget_old(self) -> None:
        oldest = time.monotonic() - RECENT_SECONDS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()


def _share(failed: int, ended: int) -> float | None:
    return round(failed / ended, 4) if ended else None
