# ruff: noqa: S608
from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from monitoring import append_only, cutting, sealer
from monitoring.audit import Deed, record
from monitoring.models import AuditEntry, AuditSeal, AuditText
from monitoring.tests.audits import ALICE, as_owner, run, verdict

pytestmark = pytest.mark.django_db

TODAY = timezone.localdate()
TOMORROW = str(TODAY + timedelta(days=1))


def texts():
    return set(AuditText.objects.values_list("text", flat=True))


@pytest.fixture
def old():
    """Five entries of last week, with texts, and one of today."""
    then = timezone.now() - timedelta(days=7)
    record(*[Deed("group.added", ALICE, text=f"Old {number}", at=then) for number in range(5)])
    record(Deed("token.added", ALICE, text="New"))
    sealer.seal_all()


def test_old_entries_are_cut_off_and_the_chain_begins_there(old):
    head = run("audit_head").split()[1]
    assert "Would delete 5 entries, up to number 5." in run("prune_audit", "--before", str(TODAY), "--dry-run")
    assert AuditEntry.objects.count() == 6
    assert "Deleted 5 entries, up to number 5." in run("prune_audit", "--before", str(TODAY))
    assert texts() == {"New"}
    said = run("verify_audit", "--head", head)
    assert "The audit is whole: numbers 6 to 7." in said
    assert f"It was cut at number 5, before {TODAY}; the signature of the cut is right." in said
    assert "Nothing is older" in run("prune_audit", "--before", str(TODAY))


def test_a_second_cut_takes_the_marker_of_the_first_one_too(old):
    run("prune_audit", "--before", str(TODAY))
    record(Deed("token.changed"))
    assert "Deleted 2 entries, up to number 7." in run("prune_audit", "--before", TOMORROW)
    assert "The audit is whole: numbers 8 to 9." in verdict()
    record(Deed("token.deleted"))
    sealer.seal_all()
    assert "numbers 8 to 10" in verdict()


def test_a_cut_that_was_broken_off_is_whole_and_goes_on_later(old, monkeypatch):
    monkeypatch.setattr(cutting, "BATCH", 2)
    cut = cutting.plan(timezone.now() - timedelta(days=1), "day")
    next(steps := cutting.prune(cut))
    steps.close()
    assert "The audit is whole: numbers 3 to 7." in verdict()
    assert "Deleted 3 entries" in run("prune_audit", "--before", str(TODAY))
    assert "The audit is whole: numbers 6 to 8." in verdict()


def test_what_is_left_of_a_broken_off_cut_must_lead_up_to_it(old, monkeypatch):
    monkeypatch.setattr(cutting, "BATCH", 2)
    steps = cutting.prune(cutting.plan(timezone.now() - timedelta(days=1), "day"))
    next(steps)
    with as_owner() as execute:
        execute(f"UPDATE {append_only.ENTRY} SET actor = 'bob' WHERE id = (SELECT min(id) FROM {append_only.ENTRY})")
    assert "changed after it was sealed: number 3" in verdict()


def test_more_than_was_cut_is_missing(old):
    run("prune_audit", "--before", str(TODAY))
    with as_owner() as execute:
        execute(f"DELETE FROM {append_only.SEAL} WHERE sequence = 6")
        execute(f"DELETE FROM {append_only.ENTRY} WHERE action = 'a.new'")
    assert "Numbers 6 to 6 are missing; the audit was cut at 5." in verdict()


def test_a_forged_marker_is_seen(old):
    first = AuditSeal.objects.get(sequence=5)
    with as_owner() as execute:
        execute(f"DELETE FROM {append_only.SEAL} WHERE sequence <= 5")
        execute(f"DELETE FROM {append_only.ENTRY} WHERE action = 'group.added'")
    data = {"through": 5, "hash": first.hash, "rows": 5, "before": "2026-01-01", "signature": "0" * 64}
    record(Deed("audit.pruned", data=data))
    sealer.seal_all()
    assert "or the marker is forged" in verdict()


def test_a_marker_under_a_former_secret_says_so_until_that_is_named(old, settings):
    run("prune_audit", "--before", str(TODAY))
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert "Either the secret has changed since, then name the old one in SECRET_KEY_FALLBACKS" in verdict()
    settings.SECRET_KEY_FALLBACKS = [former]
    assert "the signature of the cut is right" in verdict()


def test_a_broken_chain_is_not_cut(old):
    with as_owner() as execute:
        execute(f"UPDATE {append_only.ENTRY} SET actor = 'bob' WHERE action = 'group.added'")
    with pytest.raises(CommandError, match=r"Nothing was deleted, since the audit is broken\. .* number 1, "):
        call_command("prune_audit", before=TODAY)
    assert AuditEntry.objects.filter(action="group.added").count() == 5


def test_erased_texts_of_what_was_cut_off_are_no_trouble(old):
    run("erase_audit_texts", "--user", "alice")
    run("prune_audit", "--before", str(TODAY))
    assert "1 texts were erased" in verdict()
