"""The pages of accounts: in, out, and what they do to the person's rows."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection
from django.test import Client
from django.urls import reverse

from chat import accounts, identity
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Account, ApiToken, Attachment, Conversation, Message, Role
from providers.models import Attempt

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
WRONG = "The name or the password is wrong."


@pytest.fixture(autouse=True)
def _quick(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def guest_client(token: str) -> Client:
    """Return the browser of a guest, who has a row where the test makes one."""
    client = Client()
    client.cookies[GUEST_COOKIE] = signing.dumps(token, salt=SALT)
    return client


def make_guest(token: str, name: str = "talk") -> User:
    guest = User.objects.create(username=f"guest-{token}")
    conversation = Conversation.objects.create(owner=guest, name=name, title="As a guest")
    Message.objects.create(conversation=conversation, role=Role.USER, text="Hello")
    return guest


def sign_up(client: Client, name: str, password: str = PASSWORD, **more: str):
    data = {"username": name, "password1": password, "password2": password} | more
    return client.post(reverse("chat:sign-up"), data)


def sign_in(client: Client, name: str, password: str = PASSWORD, **more: str):
    return client.post(reverse("chat:sign-in"), {"username": name, "password": password} | more)


def who(client: Client) -> str:
    user_id = client.session.get("_auth_user_id")
    return User.objects.get(pk=user_id).username if user_id else ""


# --- Signing up -------------------------------------------------------------------------------------------------------


def test_the_first_account_of_local_mode_is_the_admin_and_no_other(client):
    # Neither guests nor the local script are accounts.
    User.objects.create(username="local")
    make_guest("else")
    told = "The first account is the admin of this site"
    assert told in client.get(reverse("chat:sign-up")).content.decode()
    assert sign_up(client, "alice").status_code == 302
    assert told not in Client().get(reverse("chat:sign-up")).content.decode()
    assert sign_up(Client(), "bob").status_code == 302
    assert list(User.objects.filter(is_superuser=True, is_staff=True).values_list("username", flat=True)) == ["alice"]
    assert not User.objects.get(username="bob").is_staff
    assert who(client) == "alice"


def test_in_production_the_first_account_is_no_admin(client, settings):
    settings.LOCAL_MODE, settings.CHAT_SIGN_UP = False, True
    sign_up(client, "alice")
    assert not User.objects.get(username="alice").is_staff


@pytest.mark.django_db(transaction=True)
def test_of_those_who_sign_up_at_once_exactly_one_is_the_admin():
    start = threading.Barrier(4)

    def run(number: int) -> None:
        client = Client()
        start.wait()
        try:
            # Two of them want the same name, in other letters.
            sign_up(client, ["anna", "Anna", "ben", "carl"][number])
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name.lower() for name in User.objects.values_list("username", flat=True)]
    assert sorted(names) == ["anna", "ben", "carl"]
    assert User.objects.filter(is_superuser=True).count() == 1


def test_a_guest_becomes_the_account_with_everything_they_wrote(provider_free_attempt):
    guest = make_guest("abc")
    provider_free_attempt(guest)
    client = guest_client("abc")
    assert "becomes the account" in client.get(reverse("chat:sign-up")).content.decode()
    response = sign_up(client, "alice")
    user = User.objects.get(username="alice")
    assert user.pk == guest.pk
    assert user.check_password(PASSWORD)
    assert user.conversations.get().title == "As a guest"
    assert Attempt.objects.get().username == "alice"
    # The browser is another guest from now on.
    assert signing.loads(response.cookies[GUEST_COOKIE].value, salt=SALT) != "abc"


@pytest.fixture
def provider_free_attempt():
    """Write a row of the ledger for a user."""
    from django.utils import timezone

    def write(user: User) -> Attempt:
        ids = {"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4(), "started_at": timezone.now(), "number": 1}
        return Attempt.objects.create(user=user, username=user.username, **ids)

    return write


@pytest.mark.parametrize("name", ["guest-1", "Guest-x", "LOCAL", "local", "check"])
def test_names_with_a_meaning_of_their_own_cannot_be_chosen(client, name):
    page = sign_up(client, name)
    assert "kept for the site itself" in page.content.decode()
    assert not User.objects.exists()


def test_a_taken_name_is_said_in_any_case_of_letters(client, alice):
    page = sign_up(client, "ALICE").content.decode()
    assert "already exists" in page
    assert 'value="ALICE"' in page
    assert User.objects.count() == 1


def test_a_weak_password_keeps_what_was_typed_but_not_the_password(client):
    page = sign_up(client, "alice", "12345678").content.decode()
    assert 'value="alice"' in page
    assert "12345678" not in page
    assert "too common" in page
    assert not User.objects.exists()


def test_where_sign_up_is_off_a_page_says_so(client, settings):
    settings.CHAT_SIGN_UP = False
    assert "made by an admin" in client.get(reverse("chat:sign-up")).content.decode()
    assert sign_up(client, "alice").status_code == 403
    assert not User.objects.exists()
    assert reverse("chat:sign-up") not in client.get(reverse("chat:sign-in")).content.decode()


# --- Signing in and out -----------------------------------------------------------------------------------------------


def test_a_wrong_password_and_a_wrong_name_get_the_same_sentence(client, alice):
    off = User.objects.create_user("off", password=PASSWORD, is_active=False)
    pages = [sign_in(client, name, word) for name, word in [("alice", "x"), ("nobody", "x"), (off.username, PASSWORD)]]
    for page in pages:
        assert page.status_code == 200
        assert WRONG in page.content.decode()
    assert who(client) == ""


def test_the_name_counts_in_any_case_of_letters(client, alice):
    assert sign_in(client, "Alice").status_code == 302
    assert who(client) == "alice"


def test_signing_in_gives_the_session_another_key(client, alice):
    session = client.session
    session["planted"] = True
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = before
    sign_in(client, "alice")
    assert client.session.session_key != before
    assert not client.session.exists(before)


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
        "\\\\evil.example",
        # No address at all, and a name that Django would look up.
        "é",
        "chat:sign-out",
    ],
)
def test_after_signing_in_nobody_is_sent_to_another_site(client, alice, next):
    assert sign_in(client, "alice", next=next)["Location"] == reverse("chat:new")


def test_choosing_a_language_leads_nowhere_else_either(client, db):
    answer = client.post(reverse("chat:choose-language"), {"language": "de", "next": "é"})
    assert answer["Location"] == reverse("chat:new")


def test_after_signing_in_people_are_where_they_wanted_to_be(client, alice):
    assert sign_in(client, "alice", next="/account/")["Location"] == "/account/"


def test_who_came_from_a_conversation_goes_back_to_it(client, alice):
    door = reverse("chat:sign-in")
    for page, wanted in {
        "http://testserver/c/1/": "/c/1/",
        "http://testserver/account/sign-up": "",
        "http://evil.example/c/1/": "",
    }.items():
        assert f'name="next" value="{wanted}"' in client.get(door, headers={"Referer": page}).content.decode()


def test_a_device_speaks_the_account_s_language_from_the_sign_in_on(client, alice):
    accounts.choose_language(alice, "de")
    assert sign_in(client, "alice").cookies["django_language"].value == "de"


def test_an_old_page_is_told_so_in_words(alice):
    client = Client(enforce_csrf_checks=True)
    page = client.post(reverse("chat:sign-in"), {"username": "alice", "password": PASSWORD})
    assert page.status_code == 403
    assert "Nothing was changed" in page.content.decode()


def test_what_a_guest_wrote_goes_with_them_when_they_sign_in(alice, provider_free_attempt):
    theirs = Conversation.objects.create(owner=alice, name="talk", title="Mine")
    guest = make_guest("abc")
    make_guest_file = Attachment.objects.create(owner=guest, kind="text", name="a", media_type="text/plain", data=b"")
    provider_free_attempt(guest)
    client = guest_client("abc")
    assert "goes with you" in client.get(reverse("chat:sign-in")).content.decode()
    sign_in(client, "alice")
    names = dict(alice.conversations.values_list("title", "name"))
    assert names["Mine"] == theirs.name == "talk"
    assert names["As a guest"].startswith("talk-")
    make_guest_file.refresh_from_db()
    assert make_guest_file.owner == alice
    assert Attempt.objects.get().username == "alice"
    # The row stays for what still runs, under a name that nobody has in a cookie.
    guest.refresh_from_db()
    assert guest.username != "guest-abc"


def test_every_row_that_a_person_owns_is_thought_of():
    related = [relation.related_model for relation in User._meta.related_objects]
    owned = {model for model in related if model.__module__ == "chat.models"}
    # What `_adopt` moves, and what belongs to accounts alone: a new one must be added to either.
    assert owned == {Conversation, Attachment} | {Account, ApiToken}


def test_signing_out_is_a_post_with_a_csrf_token(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    url = reverse("chat:sign-out")
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 403
    assert who(client) == "alice"
    token = client.get(reverse("chat:account")).cookies["csrftoken"].value
    assert client.post(url, {"csrfmiddlewaretoken": token}).status_code == 302
    assert who(client) == ""


@pytest.mark.parametrize(
    "name",
    ["sign-in", "sign-up", "sign-out", "change-password", "choose-defaults", "choose-language", "sign-out-everywhere",
     "make-token", "delete-account"],
)  # fmt: skip
def test_nothing_is_done_without_a_csrf_token(alice, name):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(reverse(f"chat:{name}")).status_code == 403


# --- Password and sessions --------------------------------------------------------------------------------------------


def test_a_new_password_ends_every_session_but_the_one_that_chose_it(client, alice):
    other = Client()
    client.force_login(alice)
    other.force_login(alice)
    new = "a better horse battery"
    data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    page = client.post(reverse("chat:change-password"), data, follow=True).content.decode()
    assert "has been changed" in page
    assert "alice" in page
    assert "You are a guest" in other.get(reverse("chat:account")).content.decode()
    assert sign_in(Client(), "alice", new).status_code == 302


def test_without_the_old_password_nothing_changes(client, alice):
    client.force_login(alice)
    data = {"old_password": "no", "new_password1": "a better horse", "new_password2": "a better horse"}
    page = client.post(reverse("chat:change-password"), data).content.decode()
    assert "old password was entered incorrectly" in page
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)


def test_signing_out_everywhere_can_leave_this_session(client, alice):
    other, third = Client(), Client()
    for browser in (client, other):
        browser.force_login(alice)
    client.post(reverse("chat:sign-out-everywhere"))
    assert "alice" in client.get(reverse("chat:account")).content.decode()
    assert "You are a guest" in other.get(reverse("chat:account")).content.decode()
    sign_in(third, "alice")
    client.post(reverse("chat:sign-out-everywhere"), {"here_too": "yes"})
    for browser in (client, third):
        assert "You are a guest" in browser.get(reverse("chat:account")).content.decode()
    sign_in(client, "alice")
    assert "You are a guest" not in client.get(reverse("chat:account")).content.decode()


# --- Choices ----------------------------------------------------------------------------------------------------------


def test_defaults_are_stored_and_shown_again(client, alice):
    client.force_login(alice)
    data = {"system_prompt": "Be brief.", "temperature": "0.3", "max_tokens": ""}
    page = client.post(reverse("chat:choose-defaults"), data, follow=True).content.decode()
    stored = Account.objects.get(user=alice)
    assert (stored.system_prompt, stored.parameters) == ("Be brief.", {"temperature": 0.3})
    assert "Be brief." in page
    assert 'value="0.3"' in page


def test_a_bad_default_is_told_and_loses_nothing(client, alice):
    client.force_login(alice)
    data = {"system_prompt": "Be brief.", "temperature": "3", "max_tokens": "0"}
    page = client.post(reverse("chat:choose-defaults"), data).content.decode()
    assert "less than or equal to 2" in page
    assert "Be brief." in page
    assert not Account.objects.exists()


def test_a_language_is_kept_with_the_account_and_in_a_cookie(client, alice):
    choose = reverse("chat:choose-language")
    guest = Client()
    response = guest.post(choose, {"language": "de", "next": "/account/"})
    assert response["Location"] == "/account/"
    assert '<html lang="de">' in guest.get("/account/").content.decode()
    client.force_login(alice)
    client.post(choose, {"language": "he"})
    another_device = Client()
    another_device.force_login(alice)
    assert '<html lang="he" dir="rtl">' in another_device.get("/account/").content.decode()
    guest.post(choose, {"language": "tlh"})
    assert guest.cookies["django_language"].value == "de"


# --- Leaving for good -------------------------------------------------------------------------------------------------


def test_an_account_goes_with_everything_but_the_sums(client, alice, provider_free_attempt):
    client.force_login(alice)
    conversation = Conversation.objects.create(owner=alice, name="talk")
    message = Message.objects.create(conversation=conversation, role=Role.USER, text="Hello")
    Attachment.objects.create(
        owner=alice, message=message, kind="text", name="a.txt", media_type="text/plain", data=b"x"
    )
    provider_free_attempt(alice)
    delete = reverse("chat:delete-account")
    assert "Nothing was deleted" in client.post(delete, {"password": "wrong"}).content.decode()
    assert User.objects.filter(username="alice").exists()
    assert "Everything is deleted" in client.post(delete, {"password": PASSWORD}).content.decode()
    for model in (User, Conversation, Message, Attachment):
        assert not model.objects.exists()
    row = Attempt.objects.get()
    assert (row.user, row.username) == (None, accounts.DELETED)
    assert who(client) == ""


def test_a_guest_can_delete_what_they_wrote():
    make_guest("abc")
    client = guest_client("abc")
    delete = reverse("chat:delete-account")
    assert "Tick the box" in client.post(delete).content.decode()
    client.post(delete, {"sure": "on"})
    assert not User.objects.exists()
    # Nobody who signs in later gets it, and nothing more is to be deleted.
    assert client.post(delete, {"sure": "on"}).status_code == 200


def test_the_only_admin_is_warned(client, alice):
    client.force_login(alice)
    sentence = "You are the only admin"
    assert sentence not in client.get("/account/").content.decode()
    User.objects.filter(pk=alice.pk).update(is_superuser=True)
    assert sentence in client.get("/account/").content.decode()


# --- The first admin --------------------------------------------------------------------------------------------------


def test_the_settings_can_name_the_first_admin(settings):
    settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD = "root", PASSWORD
    accounts.ensure_admin()
    admin = User.objects.get()
    assert (admin.username, admin.is_superuser, admin.check_password(PASSWORD)) == ("root", True, True)
    settings.ADMIN_PASSWORD = "another"
    accounts.ensure_admin()
    admin.refresh_from_db()
    assert admin.check_password(PASSWORD)


def test_an_admin_without_a_password_stops_the_server(settings):
    settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD = "root", ""
    with pytest.raises(Exception, match="SASHA_ADMIN_PASSWORD"):
        accounts.ensure_admin()


def test_signed_in_people_are_named_beside_the_page(client, alice):
    page = client.get("/").content.decode()
    assert ">Guest</a>" in page
    assert reverse("chat:sign-up") in page
    client.force_login(alice)
    page = client.get("/").content.decode()
    assert ">alice</a>" in page
    assert reverse("chat:sign-up") not in page


def test_two_people_see_only_their_own_tokens(client, alice):
    from chat import tokens

    token, _ = tokens.make(User.objects.create_user("bob"), "Bob's script")
    client.force_login(alice)
    assert "Bob's" not in client.get("/account/").content.decode()
    assert client.post(reverse("chat:revoke-token", args=[token.pk])).status_code == 404
    assert ApiToken.objects.exists()
    assert identity.epoch_of(alice) == 0
