"""Cutting the beginning off the audit: what is old goes, and a signed entry says where the chain now begins."""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

from django.conf import settings
from django.utils.crypto import salted_hmac

from monitoring import sealer
from monitoring.audit import Deed, record
from monitoring.chain import write_json
from monitoring.models import AuditEntry, AuditPermit, AuditSeal, AuditText

ACTION = "audit.pruned"
# Entries of one transaction.
BATCH = 500
# Between two of them: SQLite gives its lock to whoever asks at the right moment, and servers want to write as well.
PAUSE_SECONDS = 0.02
FORM = "sasha-audit-cut-1"


@dataclass(frozen=True)
class Cut:
    """Where the chain was cut: the last number that is gone, its hash, how many rows went, and before which day."""

    through: int
    hash: str
    rows: int
    before: str
    signature: str = ""
    entry_id: int | None = None

    @classmethod
    def of(cls, entry: AuditEntry) -> Cut:
        """Return the cut that an entry records. Raises ValueError."""
        try:
            return cls(**entry.data, entry_id=entry.pk)
        except TypeError:
            raise ValueError(f"entry {entry.pk} ({entry.action}) records no cut") from None

    def sign(self, secret: str) -> str:
        """Return HMAC-SHA-256, in hex, under a key made from `secret`."""
        cut = write_json([FORM, self.through, self.hash, self.rows, self.before])
        return salted_hmac("monitoring.audit.cut", cut, secret=secret, algorithm="sha256").hexdigest()

    def is_signed(self) -> bool:
        """Return whether a secret of this site has made the signature."""
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return any(hmac.compare_digest(self.sign(secret), self.signature) for secret in secrets)


def find_cut() -> Cut | None:
    """Return the latest cut, if there was one."""
    entry = AuditEntry.objects.filter(action=ACTION).order_by("-pk").first()
    return Cut.of(entry) if entry else None


def plan(before: datetime, day: str) -> Cut | None:
    """Return the cut before the first entry of that moment or later; None where nothing is older.

    The newest seal stays, whatever its age: the chain goes on from it.
    """
    sealer.seal_all()
    head = sealer.find_head()
    young = AuditSeal.objects.filter(entry__at__gte=before).order_by("sequence").values_list("sequence", flat=True)
    first = AuditSeal.objects.order_by("sequence").first()
    if not head or not first:
        return None
    end = min(young.first() or head.sequence, head.sequence) - 1
    last = AuditSeal.objects.filter(sequence=end).first()
    return Cut(end, last.hash, end - first.sequence + 1, day) if last else None


def prune(cut: Cut) -> Iterator[int]:
    """Record the cut, then delete what is before it, in steps; yield of how many entries each was.

    Recorded first: where it is broken off, the rows that are left still lead up to the signed hash, and the next run
    takes them.
    """
    signed = {**asdict(cut), "signature": cut.sign(settings.SECRET_KEY)}
    del signed["entry_id"]
    record(Deed(ACTION, data=signed))
    sealer.seal_all()
    while deleted := _delete_some(cut.through):
        yield deleted
        time.sleep(PAUSE_SECONDS)


def _delete_some(through: int) -> int:
    seals = AuditSeal.objects.filter(sequence__lte=through).order_by("sequence")
    some = dict(seals.values_list("sequence", "entry_id")[:BATCH])
    entries = AuditEntry.objects.filter(pk__in=some.values())
    texts = list(entries.exclude(digest="").values_list("digest", flat=True))
    with AuditPermit.granted(ACTION):
        AuditSeal.objects.filter(pk__in=some).delete()
        entries.order_by().delete()
        AuditText.objects.filter(pk__in=texts).delete()
    return len(some)
