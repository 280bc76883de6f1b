"""What the audit says of accounts that come, go and are given rights, and of what goes with them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core import signing
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from chat import accounts, guests, tokens
from chat.identity import GUEST_COOKIE, GUEST_PREFIX, SALT, Visitor
from chat.models import ApiToken, Conversation, Share
from chat.tests.talks import make_talk, say
from monitoring.models import AuditEntry
from monitoring.tests.audits import run, verdict

pytestmark = pytest.mark.django_db

PASSPHRASE = "another long passphrase"


def entries(*prefixes: str) -> list[AuditEntry]:
    return [entry for entry in AuditEntry.objects.order_by("pk") if entry.action.startswith(prefixes)]


@pytest.fixture(autouse=True)
def _static_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password="a long enough passphrase")


def leave(user: User) -> None:
    client = Client()
    client.force_login(user)
    response = client.post(reverse("chat:delete-account"), {"password": "a long enough passphrase"})
    assert response.status_code == 200
    assert not User.objects.filter(pk=user.pk).exists()


def test_whoever_leaves_is_named_as_who_took_their_conversations_along(alice):
    talk, other = make_talk(alice), make_talk(alice, "other")
    Share.objects.create(conversation=talk, leaf=say(talk, "Why?"))
    ApiToken.objects.create(user=alice, name="laptop", digest="d", ending="abcd")
    leave(alice)
    gone = entries("chat.conversation.purged")
    assert {(entry.target_id, entry.data["owner"]) for entry in gone} == {
        (str(talk.pk), "alice"),
        (str(other.pk), "alice"),
    }
    deleted = [*gone, *entries("share.deleted"), *entries("token.deleted"), *entries("user.deleted")]
    assert len(deleted) == 5
    assert {entry.actor for entry in deleted} == {"alice"}


def test_an_admin_who_deletes_an_account_deletes_its_conversations(alice):
    talk = make_talk(alice)
    root = User.objects.create_superuser("root", password="x")
    client = Client()
    client.force_login(root)
    client.post(reverse("admin:auth_user_delete", args=[alice.pk]), {"post": "yes"})
    assert not Conversation.objects.exists()
    assert [(entry.target_id, entry.actor) for entry in entries("chat.conversation.purged")] == [(str(talk.pk), "root")]


def test_an_account_that_is_only_called_like_a_guest_is_kept_in_the_audit(alice):
    User.objects.create_user(f"{GUEST_PREFIX}x", password="a long enough passphrase", is_superuser=True)
    assert [entry.action for entry in entries("user")] == ["user.added", "user.added"]


def test_of_a_guest_only_what_an_admin_makes_of_it_is_kept(alice):
    guest = Visitor(f"{GUEST_PREFIX}x").make_user()
    guest.username = f"{GUEST_PREFIX}y"
    guest.save(update_fields=["username"])
    assert not entries("user")[1:]
    guest.is_staff = True
    guest.save()
    assert entries("user.changed")[0].data == {"name": f"{GUEST_PREFIX}y", "is_staff": [False, True]}


def test_a_guest_who_signs_in_is_named_with_the_account(alice):
    client = Client()
    guest = Visitor(f"{GUEST_PREFIX}x").make_user()
    client.cookies[GUEST_COOKIE] = signing.dumps("x", salt=SALT)
    client.post(reverse("chat:sign-in"), {"username": "alice", "password": "a long enough passphrase"})
    assert [(entry.actor, entry.target_id) for entry in entries("account.guest")] == [("alice", str(guest.pk))]


def test_guests_who_are_pruned_leave_no_entry(alice):
    guest = Visitor(f"{GUEST_PREFIX}x").make_user()
    before = guest.date_joined.replace(year=guest.date_joined.year + 1)
    assert guests.remove_gone(before) == 1
    assert len(entries("user")) == 1


def set_anothers_password(alice, client):
    new = {"password1": PASSPHRASE, "password2": PASSPHRASE, "usable_password": "true"}
    client.post(reverse("admin:auth_user_password_change", args=[alice.pk]), new)


def make_a_token(alice, client):
    tokens.make(alice, "laptop")


def make_the_first_admin(alice, client):
    accounts.ensure_admin()


def are_done(alice):
    has_password = User.objects.get(pk=alice.pk).check_password(PASSPHRASE)
    return [has_password, ApiToken.objects.exists(), User.objects.filter(username="ada").exists()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("deed", [set_anothers_password, make_a_token, make_the_first_admin])
def test_what_cannot_be_written_down_is_not_done(alice, settings, monkeypatch, admin_client, deed):
    settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD = "ada", PASSPHRASE

    def fail(*_):
        raise OperationalError

    with monkeypatch.context() as patch:
        patch.setattr("monitoring.receivers.rows.record", fail)
        with pytest.raises(OperationalError):
            deed(alice, admin_client)
    assert are_done(alice) == [False, False, False]
    deed(alice, admin_client)
    assert sum(are_done(alice)) == 1


def test_the_title_of_a_shared_conversation_is_nowhere_in_the_audit(alice):
    talk = make_talk(alice)
    Conversation.objects.filter(pk=talk.pk).update(title="My secret umbrella")
    talk.refresh_from_db()
    Share.objects.create(conversation=talk, leaf=say(talk, "Why?")).delete()
    told = json.dumps([entry.data for entry in entries("share")])
    assert str(talk.pk) in told
    assert "umbrella" not in told
    run("erase_audit_texts", "--user", "alice")
    assert "umbrella" not in run("export_audit", "--texts")
    assert "whole" in verdict()


def test_rights_that_are_given_from_their_own_side_are_the_persons(alice):
    group = Group.objects.create(name="helpers")
    group.user_set.add(alice)
    permission = Permission.objects.get(codename="view_auditentry")
    permission.user_set.add(alice)
    permission.group_set.add(group)
    group.user_set.clear()
    changed = [(entry.action, entry.target_id, entry.data) for entry in entries("user.changed", "group.changed")]
    assert changed == [
        ("user.changed", str(alice.pk), {"name": "alice", "groups": {"add": ["helpers"]}}),
        ("user.changed", str(alice.pk), {"name": "alice", "permissions": {"add": [str(permission)]}}),
        ("group.changed", str(group.pk), {"name": "helpers", "permissions": {"add": [str(permission)]}}),
        ("user.changed", str(alice.pk), {"name": "alice", "groups": {"remove": ["helpers"]}}),
    ]


def test_a_column_that_is_written_by_its_own_name_is_kept(alice):
    token = ApiToken.objects.create(user=alice, name="laptop", digest="d", ending="abcd")
    bob = User.objects.create_user("bob")
    token.user = bob
    token.save(update_fields=["user_id"])
    assert entries("token.changed")[0].data["user_id"] == [alice.pk, bob.pk]
