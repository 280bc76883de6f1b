"""Erasing a person's words on request. Their digests stay, sealed, and an entry says what was erased and for whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from monitoring import sealer
from monitoring.audit import Deed, Target, record
from monitoring.chain import write_moment
from monitoring.models import AuditEntry, AuditPermit, AuditText

ACTION = "audit.texts_erased"
ADOPTED = "account.guest_adopted"
# Texts of one transaction; each such step is recorded by itself.
BATCH = 1000


@dataclass
class Erasure:
    """Whose words, of which entries: those up to number `through`, of before `before`. `left` is how many it took.

    A person's words are those of the entries that they made, and of the answers to them: entries of the site's own
    whose data names them as `owner`.
    """

    names: list[str]
    user_id: int | None
    before: datetime | None
    through: int
    left: int = 0

    @classmethod
    def of(cls, entry: AuditEntry) -> Erasure:
        """Return the erasure that an entry records. Raises ValueError."""
        data: dict[str, Any] = entry.data
        try:
            before = data["before"] and datetime.fromisoformat(data["before"])
            return cls(list(data["names"]), data["user_id"], before, int(data["through"]), int(data["texts"]))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"entry {entry.pk} ({entry.action}) records no erasure") from None

    def covers(self, entry: AuditEntry, sequence: int) -> bool:
        """Return whether it takes the text of `entry`; `find_entries` asks the database the same."""
        owner = entry.data.get("owner") if isinstance(entry.data, dict) else None
        by_id = self.user_id is not None and entry.actor_id == self.user_id
        theirs = by_id or entry.actor in self.names or owner in self.names
        return theirs and sequence <= self.through and (self.before is None or entry.at < self.before)

    def find_entries(self) -> QuerySet[AuditEntry]:
        """Return the entries whose texts it takes."""
        theirs = Q(actor__in=self.names) | Q(data__owner__in=self.names)
        if self.user_id is not None:
            theirs |= Q(actor_id=self.user_id)
        entries = AuditEntry.objects.filter(theirs, seal__sequence__lte=self.through).exclude(digest="")
        return entries.filter(at__lt=self.before) if self.before else entries

    def find_texts(self) -> QuerySet[AuditText]:
        """Return those of the texts that are still there."""
        return AuditText.objects.filter(pk__in=self.find_entries().order_by().values("digest"))


def find_erasures() -> list[Erasure]:
    """Return everything that was erased, the oldest first."""
    return [Erasure.of(entry) for entry in AuditEntry.objects.filter(action=ACTION).order_by("pk")]


def plan(name: str, before: datetime | None) -> Erasure:
    """Return what is to be erased of a person, under every name that they have had. Seals it first.

    Raises LookupError where nobody has or had that name.
    """
    sealer.seal_all()
    user = User.objects.filter(username=name).first()
    head = sealer.find_head()
    everything = Erasure(sorted(_find_names(name, user)), user.pk if user else None, None, head.sequence if head else 0)
    if not user and not everything.find_entries().exists():
        raise LookupError(f"Nobody is called {name}, and no text of the audit is of somebody who was.")
    return replace(everything, before=before)


def _find_names(name: str, user: User | None) -> set[str]:
    """Return every name that a person has had: as an account, and as a guest who signed up, or in."""
    entries = AuditEntry.objects.order_by()
    ids = {user.pk} if user else set(entries.filter(actor=name).values_list("actor_id", flat=True)) - {None}
    guests = entries.filter(action=ADOPTED, actor_id__in=ids).values_list("target_id", flat=True)
    ids |= set(map(int, guests))
    return {name, *entries.filter(actor_id__in=ids).values_list("actor", flat=True).distinct()} - {""}


def erase(erasure: Erasure) -> int:
    """Erase and record it, step by step; return how many texts that were."""
    total = 0
    digests = list(erasure.find_texts().values_list("pk", flat=True))
    for first in range(0, len(digests), BATCH):
        with AuditPermit.granted(ACTION):
            count, _ = AuditText.objects.filter(pk__in=digests[first : first + BATCH]).delete()
            record(_deed(erasure, count))
        total += count
    sealer.seal_all()
    return total


def _deed(erasure: Erasure, count: int) -> Deed:
    data = {
        "names": erasure.names,
        "user_id": erasure.user_id,
        "before": write_moment(erasure.before) if erasure.before else None,
        "through": erasure.through,
        "texts": count,
    }
    target = Target("user", erasure.user_id) if erasure.user_id is not None else Target("user", erasure.names[0])
    return Deed(ACTION, target=target, data=data)
