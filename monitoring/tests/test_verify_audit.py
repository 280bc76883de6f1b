# ruff: noqa: S608
from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from monitoring import append_only, sealer
from monitoring.audit import Deed, record
from monitoring.models import AuditEntry, AuditPending, AuditSeal, AuditText
from monitoring.tests.audits import ALICE, as_owner, fill, run, say, verdict
from monitoring.verify import verify

pytestmark = pytest.mark.django_db
# Rows are left there that foreign keys do not allow.
committed = pytest.mark.django_db(transaction=True)

ENTRY, SEAL, TEXT = append_only.ENTRY, append_only.SEAL, append_only.TEXT
# Each column with what the owner of the database makes of it, in an entry that has all of them.
ENTRY_COLUMNS = {
    "at": "at = '2020-01-01 00:00:00+00:00'",
    "actor": "actor = 'alicf'",
    "actor_id": "actor_id = 3",
    "actor_id to nothing": "actor_id = NULL",
    "action": "action = 'chat.message.storee'",
    "target_kind": "target_kind = 'conversatioo'",
    "target_id": "target_id = 'c2'",
    "data": """data = '{"length": 99}'""",
    "data's type": """data = '{"length": "20"}'""",
    "digest": "digest = 'f' || substr(digest, 2)",
    "keeps_text": "keeps_text = NOT keeps_text",
}
SEAL_COLUMNS = {
    "previous": "previous = substr(previous, 1, 63) || 'x'",
    "hash": "hash = substr(hash, 1, 63) || 'x'",
    "sealed_at": "sealed_at = '2020-01-01 00:00:00+00:00'",
}
TEXT_COLUMNS = {
    "text": "text = text || '.'",
    "text to nothing": "text = ''",
    "salt": "salt = substr(salt, 1, 31) || 'x'",
    "digest": "digest = substr(digest, 1, 63) || 'x'",
}


@pytest.fixture
def ids():
    return fill()


def change(statement):
    with as_owner() as execute:
        execute(statement)


def first_digest(ids):
    """Return the digest of the text of the first entry, which the tests change."""
    return AuditEntry.objects.get(pk=ids[0]).digest


def test_a_whole_chain_passes_and_says_what_it_holds(ids):
    said = verdict()
    assert "The audit is whole: numbers 1 to 6." in said
    assert "Texts: 4 as they were, 0 of which only the digest is kept." in said
    assert AuditSeal.objects.get(sequence=6).hash in said


def test_an_empty_audit_is_said_to_be_empty():
    assert verdict() == "The audit is empty.\n"


@pytest.mark.parametrize("column", ENTRY_COLUMNS)
def test_a_changed_column_of_an_entry_is_named(ids, column):
    change(f"UPDATE {ENTRY} SET {ENTRY_COLUMNS[column]} WHERE id = {ids[0]}")
    assert f"changed after it was sealed: number 1, entry {ids[0]} (chat.message" in verdict()


@committed
def test_a_changed_number_of_an_entry_is_a_missing_entry(ids):
    change(f"UPDATE {ENTRY} SET id = 999 WHERE id = {ids[2]}")
    assert f"The entry is missing: number 3, entry {ids[2]}." in verdict()


@pytest.mark.parametrize("column", SEAL_COLUMNS)
def test_a_changed_column_of_a_seal_is_named(ids, column):
    change(f"UPDATE {SEAL} SET {SEAL_COLUMNS[column]} WHERE sequence = 3")
    said = verdict()
    assert f"number 3, entry {ids[2]}" in said
    assert ("The seal's hash was changed; the entry is as it was" in said) == (column == "hash")


def test_a_changed_number_of_a_seal_is_a_gap(ids):
    change(f"UPDATE {SEAL} SET sequence = 999 WHERE sequence = 3")
    assert "The seal of number 3 is missing: the next one there is is number 4" in verdict()


@committed
def test_a_seal_that_points_elsewhere_is_named(ids):
    change(f"UPDATE {SEAL} SET entry_id = 999 WHERE sequence = 3")
    assert "The entry is missing: number 3, entry 999." in verdict()


@pytest.mark.parametrize("column", TEXT_COLUMNS)
def test_a_changed_column_of_a_text_names_the_entry(ids, column):
    change(f"UPDATE {TEXT} SET {TEXT_COLUMNS[column]} WHERE digest = '{first_digest(ids)}'")
    expected = "no recorded erasure took it" if column == "digest" else "The text does not match its digest"
    assert re.search(rf"{expected}: number 1, entry {ids[0]} ", verdict())


@pytest.mark.sqlite
@pytest.mark.parametrize("value", ["at = 'yesterday'", "at = 5", "at = x'ff'", "actor = CAST(x'ff' AS text)"])
def test_a_column_that_cannot_be_read_is_named(ids, value):
    # PostgreSQL's columns hold nothing but their own type.
    change(f"UPDATE {ENTRY} SET {value} WHERE id = {ids[3]}")
    assert re.search(r"cannot be read.*(number 4|after number 3)", verdict())


@pytest.mark.sqlite
def test_a_text_that_cannot_be_read_names_the_entry(ids):
    change(f"UPDATE {TEXT} SET text = CAST(x'ff' AS text) WHERE digest = '{first_digest(ids)}'")
    assert f"The text does not match its digest: number 1, entry {ids[0]}" in verdict()


@committed
def test_a_deleted_entry_is_named(ids):
    change(f"DELETE FROM {ENTRY} WHERE id = {ids[4]}")
    assert f"The entry is missing: number 5, entry {ids[4]}." in verdict()


def test_an_entry_that_was_deleted_with_its_seal_is_a_gap(ids):
    with as_owner() as execute:
        execute(f"DELETE FROM {SEAL} WHERE sequence IN (3, 4)")
        execute(f"DELETE FROM {ENTRY} WHERE id IN ({ids[2]}, {ids[3]})")
    assert "The seal of number 3 to 4 is missing" in verdict()


def test_a_beginning_that_was_deleted_without_a_marker_is_missing(ids):
    with as_owner() as execute:
        execute(f"DELETE FROM {SEAL} WHERE sequence <= 2")
        execute(f"DELETE FROM {ENTRY} WHERE id <= {ids[1]}")
    assert "Numbers 1 to 2 are missing, and no cut is recorded." in verdict()


def test_swapped_entries_are_named(ids):
    with as_owner() as execute:
        execute(f"UPDATE {ENTRY} SET id = -id WHERE id IN ({ids[1]}, {ids[4]})")
        execute(f"UPDATE {ENTRY} SET id = {ids[1]} + {ids[4]} + id WHERE id < 0")
    assert f"changed after it was sealed: number 2, entry {ids[1]}" in verdict()


def test_an_entry_that_was_put_in_between_is_named(ids):
    with as_owner() as execute:
        execute(f"UPDATE {SEAL} SET sequence = -sequence - 1 WHERE sequence > 2")
        execute(f"UPDATE {SEAL} SET sequence = -sequence WHERE sequence < 0")
    AuditSeal.objects.create(
        sequence=3, entry=AuditEntry.objects.create(action="money.exported"), previous="0", hash="1"
    )
    assert "The seal's previous hash is not that of number 2: number 3" in verdict()


def test_an_erased_text_without_a_recorded_erasure_is_named(ids):
    change(f"DELETE FROM {TEXT} WHERE digest = '{first_digest(ids)}'")
    assert f"The text is missing, and no recorded erasure took it: number 1, entry {ids[0]}" in verdict()


def test_an_entry_without_a_seal_for_a_minute_is_named(ids, monkeypatch):
    monkeypatch.setattr("monitoring.verify.LAST_CHANCE_SECONDS", 0)
    record(Deed("money.exported"))
    assert "whole" in verdict()
    record(Deed("share.added", at=timezone.now() - timedelta(seconds=61)))
    AuditPending.objects.all().delete()
    entry = AuditEntry.objects.first()
    assert f"Entry {entry.pk} has had no seal for more than a minute; in all there are 1 such." in verdict()


def test_texts_of_which_only_the_digest_is_kept_are_counted(settings):
    settings.AUDIT_TEXTS = False
    say(ALICE, "secret")
    sealer.seal_all()
    assert not AuditText.objects.exclude(text="").exists()
    assert "0 as they were, 2 of which only the digest is kept" in verdict()


def test_missing_triggers_are_named(ids):
    append_only.remove(connection)
    try:
        assert "these triggers are missing: monitoring_auditentry" in verdict()
    finally:
        append_only.install(connection)


def test_a_noted_head_is_found_again(ids):
    number, head, _ = run("audit_head").split()
    record(Deed("money.exported"))
    sealer.seal_all()
    assert f"The head noted earlier is number {number}" in run("verify_audit", "--head", head)


def test_a_chain_that_was_rewritten_or_shortened_does_not_hold_a_noted_head(ids):
    head = run("audit_head").split()[1]
    with as_owner() as execute:
        execute(f"DELETE FROM {SEAL} WHERE sequence = 6")
        execute(f"DELETE FROM {ENTRY} WHERE id = {ids[5]}")
    assert "whole" in verdict()
    with pytest.raises(CommandError, match=f"The head {head} that was noted earlier is not in the chain"):
        call_command("verify_audit", head=head)


def test_batches_meet_without_a_seam(monkeypatch):
    monkeypatch.setattr("monitoring.verify.BATCH", 2)
    fill()
    assert verify().last == 6
