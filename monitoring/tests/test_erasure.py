# ruff: noqa: S608
from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.utils import timezone

from monitoring import append_only, erasure, sealer
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AuditEntry, AuditText
from monitoring.tests.audits import ALICE, BOB, as_owner, fill, run, say, verdict

pytestmark = pytest.mark.django_db

TODAY = timezone.localdate()


def texts():
    return set(AuditText.objects.values_list("text", flat=True))


def test_a_persons_words_and_the_answers_to_them_are_erased_and_nobody_elses():
    fill()
    assert "Would erase 2 texts of alice." in run("erase_audit_texts", "--user", "alice", "--dry-run")
    assert len(texts()) == 4
    assert "Erased 2 texts of alice." in run("erase_audit_texts", "--user", "alice")
    assert texts() == {"Nowhere.", "You said: Nowhere."}
    entry = AuditEntry.objects.get(action="audit.texts_erased")
    assert (entry.data["names"], entry.data["texts"]) == (["alice"], 2)
    said = verdict()
    assert "Texts: 2 as they were" in said
    assert "2 texts were erased on request, as recorded." in said


def test_erasing_takes_every_name_that_a_person_has_had():
    user = User.objects.create_user("carol")
    say(Actor("guest-1", user.pk), "As a guest")
    say(Actor("carol", user.pk), "As carol")
    say(BOB, "As bob")
    assert "Erased 4 texts of carol, guest-1." in run("erase_audit_texts", "--user", "carol")
    assert texts() == {"As bob", "You said: As bob"}
    assert "whole" in verdict()


def test_erasing_takes_what_they_wrote_as_a_guest_before_they_signed_in():
    user, guest = User.objects.create_user("carol"), User.objects.create_user("guest-2")
    say(Actor("guest-1", guest.pk), "As a guest")
    record(Deed("account.guest_adopted", Actor.of(user), Target("user", guest.pk)))
    say(Actor("bob", guest.pk + 1), "As bob")
    assert "Erased 2 texts of carol, guest-1." in run("erase_audit_texts", "--user", "carol")
    assert texts() == {"As bob", "You said: As bob"}


def test_erasing_takes_the_earlier_names_of_an_account_that_has_gone():
    say(Actor("guest-1", 7), "As a guest")
    say(Actor("carol", 7), "As carol")
    assert "Erased 4 texts of carol, guest-1." in run("erase_audit_texts", "--user", "carol")
    assert texts() == set()


def test_a_name_that_nobody_has_or_had_is_refused():
    fill()
    with pytest.raises(CommandError, match="Nobody is called alcie"):
        run("erase_audit_texts", "--user", "alcie")
    run("erase_audit_texts", "--user", "alice")
    # Whose words are gone already is still somebody.
    assert "Erased 0 texts of alice" in run("erase_audit_texts", "--user", "alice")


def test_erasing_leaves_what_is_not_older_than_the_day():
    record(Deed("chat.message.posted", ALICE, text="Old", at=timezone.now() - timedelta(days=3)))
    say(ALICE, "New")
    assert "Erased 1 texts" in run("erase_audit_texts", "--user", "alice", "--before", str(TODAY))
    assert texts() == {"New", "You said: New"}
    assert "1 texts were erased" in verdict()


def test_an_erasure_explains_no_text_that_it_did_not_take():
    fill()
    run("erase_audit_texts", "--user", "alice")
    say(ALICE, "Said later")
    sealer.seal_all()
    later = AuditEntry.objects.filter(actor="alice").first()
    with as_owner() as execute:
        execute(f"DELETE FROM {append_only.TEXT} WHERE digest = '{later.digest}'")
    assert f"no recorded erasure took it: number 8, entry {later.pk}" in verdict()


def test_an_erasure_of_so_many_texts_does_not_explain_one_more(monkeypatch):
    fill()
    whole = AuditText.objects.get(text="Where is my umbrella?")
    run("erase_audit_texts", "--user", "alice", "--before", "2020-01-01")
    assert texts() >= {whole.text}
    # As if another had been erased than was recorded.
    monkeypatch.setattr(erasure.Erasure, "find_texts", lambda self: AuditText.objects.exclude(pk=whole.pk)[:1])
    erasure.erase(erasure.plan("alice", None))
    with as_owner() as execute:
        execute(f"DELETE FROM {append_only.TEXT}")
    assert "no recorded erasure took it" in verdict()


def test_an_erasure_goes_step_by_step(monkeypatch):
    monkeypatch.setattr(erasure, "BATCH", 2)
    for number in range(3):
        say(ALICE, str(number))
    assert "Erased 6 texts" in run("erase_audit_texts", "--user", "alice")
    assert AuditEntry.objects.filter(action="audit.texts_erased").count() == 3
    assert "6 texts were erased" in verdict()
    assert "Erased 0 texts" in run("erase_audit_texts", "--user", "alice")
