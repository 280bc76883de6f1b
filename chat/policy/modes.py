"""What each rule does, and how often: kept in memory, exchanged with the database every few seconds."""

from __future__ import annotations

from collections import Counter

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from chat.database import db
from chat.models import PolicyMode, PolicyRule
from chat.policy.judging import RULES

# For so long another replica goes on with the mode of before, and a killed one loses its hits.
SECONDS = 3.0

_modes: dict[str, str] = {}
# (rule, column) → hits since the last exchange. Touched on the loop's thread only.
_hits: Counter[tuple[str, str]] = Counter()


def mode_of(rule: str) -> str:
    """Return what the rule does; until the database was read, what it does by default."""
    return _modes.get(rule, PolicyMode.REFUSE)


def count(rule: str, column: str) -> None:
    """Count a hit as `refused` or `flagged`."""
    _hits[rule, column] += 1


async def keep_up() -> None:
    """Store the hits, and learn the modes."""
    hits = dict(_hits)
    _hits.clear()
    try:
        _modes.update(await db(_exchange, hits))
    except BaseException:
        _hits.update(hits)
        raise


def forget() -> None:
    """Forget what was learned and counted, with the runner."""
    _modes.clear()
    _hits.clear()


def ensure_rows() -> None:
    """Make the rows of rules that have none yet."""
    PolicyRule.objects.bulk_create([PolicyRule(name=name) for name in RULES], ignore_conflicts=True)


def _exchange(hits: dict[tuple[str, str], int]) -> dict[str, str]:
    if hits:
        with transaction.atomic():
            ensure_rows()
            for (rule, column), count in hits.items():
                PolicyRule.objects.filter(pk=rule).update(**{column: F(column) + count}, last_hit_at=timezone.now())
    known = dict(PolicyRule.objects.values_list("name", "mode"))
    return {rule: known.get(rule, PolicyMode.REFUSE) for rule in RULES}
