"""Is it well, and since when?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitoring.pages.facts import Facts
from monitoring.pages.reasons import Level, Reason, find_reasons

WORDS = {Level.WELL: "Well", Level.ATTENTION: "Needs attention", Level.TROUBLE: "In trouble"}


@dataclass(frozen=True)
class Verdict:
    """What to say first; `since` is None where nobody can know."""

    level: Level
    reasons: tuple[Reason, ...]
    since: datetime | None

    @property
    def words(self) -> str:
        return WORDS[self.level]

    @property
    def name(self) -> str:
        """Return the level as stylesheets name it."""
        return self.level.name.lower()


def judge(facts: Facts) -> Verdict:
    """Return how the site is, the worst reasons first."""
    found: dict[tuple[str, str], Reason] = {}
    for reason in find_reasons(facts):
        found.setdefault(reason.key, reason)
    reasons = tuple(sorted(found.values(), key=lambda reason: -reason.level))
    if not reasons:
        return Verdict(Level.WELL, (), _calm_since(facts))
    worst = [reason.since for reason in reasons if reason.level == reasons[0].level and reason.since]
    return Verdict(reasons[0].level, reasons, min(worst, default=None))


def _calm_since(facts: Facts) -> datetime | None:
    """Return the end of the last thing that was not well, or else the start of the oldest server."""
    starts = [server.started_at for server in facts.servers if server.is_alive and server.started_at]
    changed_at = facts.changes[0].at if facts.changes else None
    ends = (facts.failed_at, facts.alert_ended_at, changed_at, min(starts, default=None))
    return max((end for end in ends if end), default=None)
