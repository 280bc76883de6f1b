"""Who may try passwords, and how often: at the site's own door and at the admin's."""

from __future__ import annotations

import pytest
from axes.models import AccessAttempt
from django.conf import settings as site
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from limits import parse

from chat import backend, rates

PASSWORD = "correct horse battery staple"
ATTACKER, VICTIM = "192.0.2.66", "198.51.100.7"
DOORS = {"site": "chat:sign-in", "admin": "admin:login"}

SPELLINGS = "ALICE", "Alice"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("rate_limits")]


@pytest.fixture(autouse=True)
def alice():
    return User.objects.create_superuser("alice", password=PASSWORD)


@pytest.fixture(params=DOORS)
def door(request) -> str:
    return reverse(DOORS[request.param])


def knock(door: str, address: str, password: str = "wrong", name: str = "alice", **headers: str):
    """Try a password, as a browser that has not been here before."""
    given = {"Accept": "text/html"} | headers
    return Client(headers=given).post(door, {"username": name, "password": password}, REMOTE_ADDR=address)


def test_who_guesses_is_refused_also_with_the_right_password_and_its_owner_is_not(door):
    answers = [knock(door, ATTACKER).status_code for _ in range(site.AXES_FAILURE_LIMIT + 2)]
    assert answers == [200] * (site.AXES_FAILURE_LIMIT - 1) + [429] * 3
    assert knock(door, ATTACKER, PASSWORD).status_code == 429
    assert knock(door, VICTIM, PASSWORD).status_code == 302


def test_a_forwarded_address_of_the_attacker_s_own_making_changes_nothing(door):
    for number in range(site.AXES_FAILURE_LIMIT):
        knock(door, ATTACKER, **{"X-Forwarded-For": f"203.0.113.{number}"})
    assert knock(door, ATTACKER, PASSWORD, **{"X-Forwarded-For": VICTIM}).status_code == 429
    assert set(AccessAttempt.objects.values_list("ip_address", flat=True)) == {ATTACKER}


def test_the_other_names_of_that_address_are_open():
    User.objects.create_user("bob", password=PASSWORD)
    door = reverse("chat:sign-in")
    for _ in range(site.AXES_FAILURE_LIMIT):
        knock(door, ATTACKER)
    assert knock(door, ATTACKER, PASSWORD, "bob").status_code == 302


def test_a_whole_slash_64_is_one_attacker(door):
    for number in range(site.AXES_FAILURE_LIMIT):
        knock(door, f"2001:db8::{number:x}")
    assert knock(door, "2001:db8::ffff", PASSWORD).status_code == 429
    assert knock(door, "2001:db8:0:1::1", PASSWORD).status_code == 302


def test_one_password_on_many_names_is_refused(settings, door):
    settings.RATE_SIGN_INS_PER_ADDRESS = parse("5/hour")
    answers = [knock(door, ATTACKER, name=f"name{number}").status_code for number in range(6)]
    assert answers == [200] * 5 + [429]
    assert knock(door, ATTACKER, PASSWORD).status_code == 429
    assert knock(door, VICTIM, PASSWORD).status_code == 302


def test_right_passwords_of_many_people_lock_nobody_out(settings, door):
    settings.RATE_SIGN_INS_PER_ADDRESS = parse("3/hour")
    assert [knock(door, VICTIM, PASSWORD).status_code for _ in range(5)] == [302] * 5
    assert [knock(door, VICTIM, name=f"name{number}").status_code for number in range(4)] == [200, 200, 200, 429]


def test_the_refusal_says_how_long_it_lasts(settings):
    settings.RATE_SIGN_INS_PER_ADDRESS = parse("1/hour")
    door = reverse("chat:sign-in")
    knock(door, ATTACKER)
    assert 3590 < int(knock(door, ATTACKER)["Retry-After"]) <= 3600


@pytest.mark.parametrize("page", ["change-password", "delete-account"])
def test_the_password_of_an_open_session_is_not_found_by_trying(settings, alice, page):
    settings.RATE_FAILURES_PER_USER = parse("2/hour")
    client = Client()
    client.force_login(alice)

    def guess(password: str) -> str:
        new = {"new_password1": "another long passphrase", "new_password2": "another long passphrase"}
        return client.post(reverse(f"chat:{page}"), {"old_password": password, "password": password} | new).text

    assert "Too many wrong passwords." not in guess("one") + guess("two")
    assert "Too many wrong passwords. Try again in 60 minutes." in guess(PASSWORD)
    assert User.objects.get(pk=alice.pk).check_password(PASSWORD)
    # Its owner signs in all the same.
    assert knock(reverse("chat:sign-in"), VICTIM, PASSWORD).status_code == 302


def test_nobody_makes_accounts_without_end(settings):
    settings.RATE_SIGN_UPS_PER_ADDRESS = parse("2/hour")
    settings.CHAT_SIGN_UP = True

    def sign_up(name: str, address: str) -> int:
        data = {"username": name, "password1": PASSWORD, "password2": PASSWORD}
        return Client().post(reverse("chat:sign-up"), data, REMOTE_ADDR=address).status_code

    assert [sign_up(f"name{number}", ATTACKER) for number in range(3)] == [302, 302, 429]
    assert sign_up("bob", VICTIM) == 302


def test_guesses_from_everywhere_take_longer_and_lock_nobody_out(settings, monkeypatch, door):
    settings.RATE_FAILURES_PER_NAME = parse("3/hour")
    pauses = []
    monkeypatch.setattr(backend, "sleep", pauses.append)
    for number in range(5):
        assert knock(door, f"203.0.113.{number}").status_code == 200
    assert pauses == [backend.SLOW_SECONDS] * 2
    assert knock(door, VICTIM, PASSWORD).status_code == 302
    assert pauses == [backend.SLOW_SECONDS] * 3


def test_the_refusal_is_in_the_reader_s_language_and_in_json_for_scripts():
    door = reverse("chat:sign-in")
    for _ in range(site.AXES_FAILURE_LIMIT):
        knock(door, ATTACKER)
    page = knock(door, ATTACKER, **{"Accept-Language": "de"})
    assert "Von dieser Adresse kamen zu viele falsche Passwörter." in page.text
    script = knock(door, ATTACKER, Accept="*/*")
    assert (script.status_code, script.json()["code"], script["Retry-After"]) == (429, "too_many", "900")


def test_no_password_is_kept_of_what_was_tried(door):
    knock(door, ATTACKER, "a-secret-guess")
    row = AccessAttempt.objects.get()
    assert "a-secret-guess" not in " ".join(map(str, row.__dict__.values()))


def test_a_right_password_forgives_the_wrong_ones(door):
    for _ in range(site.AXES_FAILURE_LIMIT - 1):
        knock(door, ATTACKER)
    assert knock(door, ATTACKER, PASSWORD).status_code == 302
    assert not AccessAttempt.objects.exists()


def test_a_name_is_one_name_in_any_case_of_letters(door):
    for number in range(site.AXES_FAILURE_LIMIT):
        knock(door, ATTACKER, name=SPELLINGS[number % 2])
    assert knock(door, ATTACKER, PASSWORD).status_code == 429


def test_a_name_longer_than_any_is_refused_and_not_kept(door):
    assert knock(door, ATTACKER, name="x" * 300_000).status_code == 200
    assert all(len(name) <= 150 for name in AccessAttempt.objects.values_list("username", flat=True))
    assert all(len(key) < 300 for key in rates.counters._counters)
