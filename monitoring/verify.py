"""Walks the audit's chain from its beginning, in constant memory, up to the first thing that is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import NamedTuple

from django.conf import settings
from django.db import DataError, OperationalError, connection
from django.utils import timezone

from chat import replicas
from monitoring import append_only
from monitoring.audit import digest_of
from monitoring.chain import ENTRY_COLUMNS, GENESIS, Place, hash_of
from monitoring.cutting import Cut, find_cut
from monitoring.erasure import Erasure, find_erasures
from monitoring.models import AuditEntry, AuditPending, AuditSeal, AuditText

BATCH = 500
# Of texts, which are up to a megabyte each.
TEXTS = 20
# After so long an entry should have its seal; one with an earlier time of its own may need a moment more.
LONGEST_UNSEALED = timedelta(minutes=1)
LAST_CHANCE_SECONDS = 2.0
# What reading a column raises whose bytes are not of its type any more.
UNREADABLE = (ValueError, TypeError, AttributeError, DataError, OperationalError)

read_columns = attrgetter(*ENTRY_COLUMNS)


class Broken(Exception):
    """The chain is not whole; the message says in plain words where and how."""


@dataclass
class Report:
    """What a walk has seen. `head` is the last hash, "" of an empty audit; `waiting` is for a server that seals."""

    cut: Cut | None = None
    first: int = 0
    last: int = 0
    head: str = ""
    texts: int = 0
    erased: int = 0
    digests_only: int = 0
    noted_at: int | None = None
    waiting: int = 0


class Link(NamedTuple):
    """A seal, and its entry if that is there."""

    seal: AuditSeal
    entry: AuditEntry | None

    def __str__(self) -> str:
        entry = f" ({self.entry.action}, {self.entry.at})" if self.entry else ""
        return f"number {self.seal.sequence}, entry {self.seal.entry_id}{entry}"


class Kept(NamedTuple):
    """What there is of a text."""

    matches: bool
    is_empty: bool


def verify(noted: str = "") -> Report:
    """Check everything, and that the chain holds the hash `noted`, if one is given. Raises Broken."""
    report = walk(noted)
    if noted and report.noted_at is None:
        raise Broken(_explain_missing_head(noted, report))
    report.waiting = _check_unsealed()
    if missing := append_only.find_missing(connection):
        raise Broken(f"Nothing keeps the rows from being changed; these triggers are missing: {', '.join(missing)}.")
    return report


def walk(noted: str = "", until: int | None = None) -> Report:
    """Check the links from the first one to number `until`, or to the last. Raises Broken."""
    try:
        report, erasures = Report(cut=find_cut()), find_erasures()
    except UNREADABLE as error:
        raise Broken(f"What an audited command has recorded cannot be read: {error}.") from None
    if report.cut and not report.cut.is_signed():
        raise Broken(_explain_bad_signature(report.cut))
    if report.cut and noted == report.cut.hash:
        report.noted_at = report.cut.through
    for batch in _read_all(until):
        if not report.first:
            _begin(report, batch[0].seal)
        texts = _read_texts([link.entry.digest for link in batch if link.entry and link.entry.digest])
        for link in batch:
            entry = _check_link(report, link)
            if entry.digest:
                _check_text(report, link, texts.get(entry.digest), erasures)
            report.last, report.head = link.seal.sequence, link.seal.hash
            if report.head == noted:
                report.noted_at = report.last
    if report.cut and report.last < report.cut.through + 1 and until is None:
        raise Broken(f"Everything after number {report.cut.through}, where the audit was cut, is missing.")
    return report


def _begin(report: Report, seal: AuditSeal) -> None:
    """Take the hash before the first link: of the cut, or of the very beginning."""
    cut, report.first = report.cut, seal.sequence
    report.last = seal.sequence - 1
    if seal.sequence == 1:
        report.head = GENESIS
    elif cut is None:
        raise Broken(f"Numbers 1 to {report.last} are missing, and no cut is recorded.")
    elif report.last > cut.through:
        raise Broken(f"Numbers {cut.through + 1} to {report.last} are missing; the audit was cut at {cut.through}.")
    else:
        # A cut that was broken off has left rows before its place; their own hashes lead up to it.
        report.head = cut.hash if report.last == cut.through else seal.previous


def _check_link(report: Report, link: Link) -> AuditEntry:
    """Return the entry, which is there and as it was sealed."""
    seal, entry, expected = link.seal, link.entry, report.last + 1
    if seal.sequence != expected:
        missing = f"{expected}" if seal.sequence == expected + 1 else f"{expected} to {seal.sequence - 1}"
        raise Broken(f"The seal of number {missing} is missing: the next one there is is {link}.")
    if entry is None:
        raise Broken(f"The entry is missing: {link}.")
    try:
        counted = hash_of(Place(seal.sequence, seal.previous, seal.sealed_at), read_columns(entry))
    except UNREADABLE as error:
        raise Broken(f"A column cannot be read: {link}: {error}.") from None
    if seal.previous != report.head:
        raise Broken(f"The seal's previous hash is not that of number {report.last}: {link}.")
    if counted != seal.hash:
        raise Broken(_explain_bad_hash(link, counted))
    if report.cut and seal.sequence == report.cut.through and seal.hash != report.cut.hash:
        raise Broken(f"The hash is not the one that was recorded when the audit was cut here: {link}.")
    return entry


def _explain_bad_hash(link: Link, counted: str) -> str:
    after = AuditSeal.objects.filter(sequence=link.seal.sequence + 1).values_list("previous", flat=True).first()
    if after == counted:
        return f"The seal's hash was changed; the entry is as it was: {link}."
    return (
        f"The entry or its seal was changed after it was sealed: {link}. Its hash is {counted}, not {link.seal.hash}."
    )


def _check_text(report: Report, link: Link, kept: Kept | None, erasures: list[Erasure]) -> None:
    assert link.entry is not None
    if kept is None:
        _check_erased(link, erasures)
        report.erased += 1
    elif kept.is_empty and not link.entry.keeps_text:
        report.digests_only += 1
    elif kept.matches:
        report.texts += 1
    else:
        raise Broken(f"The text does not match its digest: {link}.")


def _check_erased(link: Link, erasures: list[Erasure]) -> None:
    assert link.entry is not None
    for erasure in erasures:
        if erasure.left and erasure.covers(link.entry, link.seal.sequence):
            # One that took five texts does not explain a sixth.
            erasure.left -= 1
            return
    raise Broken(f"The text is missing, and no recorded erasure took it: {link}.")


def _read_texts(digests: list[str]) -> dict[str, Kept]:
    """Return what there is of the texts, by their digests."""
    texts = AuditText.objects.filter(pk__in=digests).values_list("digest", "salt", "text")
    try:
        return {
            digest: Kept(digest_of(salt, text) == digest, not text)
            for digest, salt, text in texts.iterator(chunk_size=TEXTS)
        }
    except UNREADABLE:
        if len(digests) == 1:
            return {digests[0]: Kept(matches=False, is_empty=False)}
        return {digest: kept for one in digests for digest, kept in _read_texts([one]).items()}


def _read_all(until: int | None) -> Iterator[list[Link]]:
    """Yield the links in order, in batches; one by one where a row cannot be read, to name it."""
    after, size = -(2**63), BATCH
    while True:
        try:
            batch = _read(after, size, until)
        except UNREADABLE as error:
            if size == 1:
                raise Broken(f"A column cannot be read in the first link after number {after}: {error}.") from None
            size = 1
            continue
        if not batch:
            return
        yield batch
        after = batch[-1].seal.sequence


def _read(after: int, size: int, until: int | None) -> list[Link]:
    seals = AuditSeal.objects.filter(sequence__gt=after).order_by("sequence")
    if until is not None:
        seals = seals.filter(sequence__lte=until)
    some = list(seals[:size])
    entries = AuditEntry.objects.in_bulk([seal.entry_id for seal in some])
    return [Link(seal, entries.get(seal.entry_id)) for seal in some]


def _check_unsealed() -> int:
    """Return how many entries wait for their seals where nobody is there to seal them. Raises Broken for any other."""
    waits = not (settings.MONITORING and replicas.is_any_alive())
    overdue = _find_overdue(waits)
    if overdue:
        time.sleep(LAST_CHANCE_SECONDS)
        overdue = _find_overdue(waits)
    if overdue:
        raise Broken(f"Entry {overdue[0]} has had no seal for more than a minute; in all there are {overdue[1]} such.")
    return AuditPending.objects.count() if waits else 0


def _find_overdue(waits: bool) -> tuple[int, int] | None:
    unsealed = AuditEntry.objects.filter(seal=None, at__lt=timezone.now() - LONGEST_UNSEALED).order_by("pk")
    if waits:
        # One that nobody would seal any more was tampered with, also where no server runs.
        unsealed = unsealed.exclude(pk__in=AuditPending.objects.values("pk"))
    first = unsealed.values_list("pk", flat=True).first()
    return (first, unsealed.count()) if first is not None else None


def _explain_bad_signature(cut: Cut) -> str:
    return (
        f"The marker of the cut at number {cut.through} (entry {cut.entry_id}) is signed neither with today's "
        "SECRET_KEY nor with one of SECRET_KEY_FALLBACKS. Either the secret has changed since, then name the old one "
        "in SECRET_KEY_FALLBACKS; or the marker is forged, and what came before it was not cut by prune_audit."
    )


def _explain_missing_head(noted: str, report: Report) -> str:
    cut = f" It may be from before number {report.cut.through}, where the audit was cut." if report.cut else ""
    return (
        f"The head {noted} that was noted earlier is not in the chain: rows were rewritten, or the newest deleted.{cut}"
    )
