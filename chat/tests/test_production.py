"""In production nobody gets anywhere without an account, but to the doors; and with a token, to the chat alone."""

from __future__ import annotations

import re
import uuid

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from chat import tokens
from chat.identity import GUEST_COOKIE
from chat.models import Conversation
from chat.routes import find_routes

pytestmark = pytest.mark.django_db

# What a stranger may ask for. Every address that is not here leads to the sign-in.
PUBLIC = {
    "/account/sign-in",
    "/account/sign-up",
    "/account/sign-out",
    "/account/language",
    # How the page finds out, and tells, what is wrong with its connection.
    "/api/connection",
    "/api/connection/events",
    "/help/connection",
    "/manifest.webmanifest",
    # What machines ask; two of them answer strangers as if they were not there.
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/s/1",
    "/words/1.js",
    "/admin/login/",
}


@pytest.fixture(autouse=True)
def _production(settings, tmp_path):
    settings.LOCAL_MODE = False
    settings.CHAT_SIGN_UP = False
    settings.STATIC_ROOT = tmp_path


def addresses() -> list[str]:
    """Return every address, with something in the place of its parameters."""
    # With "^": the admin's patterns for what has no address of its own.
    templates = {route.template for route in find_routes() if "^" not in route.template}
    filled = (re.sub(r"<uuid:\w+>", str(uuid.UUID(int=1)), template) for template in templates)
    return sorted(re.sub(r"<[^>]+>", "1", template) for template in filled)


@pytest.mark.parametrize("address", addresses())
def test_a_stranger_is_sent_to_the_sign_in_from_everywhere_but_the_doors(client, address):
    for method in ("get", "post"):
        response = getattr(client, method)(address)
        sent_away = response.status_code == 302 and "/account/sign-in" in response["Location"]
        if address in PUBLIC - {"/account/sign-out"}:
            assert not sent_away
        elif address.startswith("/api/") or address == "/attachments":
            # A script wants a status, not a page.
            assert response.status_code in (401, 405)
        elif address not in PUBLIC:
            assert sent_away or "/admin/login/" in response.get("Location", ""), (method, response.status_code)
    assert GUEST_COOKIE not in client.cookies


def test_after_signing_in_people_are_where_they_were_going(client):
    assert client.get("/account/")["Location"] == "/account/sign-in?next=/account/"
    # What was posted cannot be shown.
    assert client.post("/account/password")["Location"] == "/account/sign-in"


def test_the_sign_in_page_offers_no_guests_and_no_sign_up(client):
    page = client.get("/account/sign-in").content.decode()
    assert "without an account" not in page
    assert "Sign up" not in page


def test_with_an_account_the_chat_is_open(client):
    client.force_login(User.objects.create_user("alice"))
    assert client.get("/").status_code == 200


@pytest.fixture
def script():
    """A client that sends a token, and no cookies, with CSRF checked as everywhere."""
    alice = User.objects.create_user("alice", is_staff=True, is_superuser=True)
    Conversation.objects.create(owner=alice, name="mine", title="Of alice")
    _, text = tokens.make(alice, "script")
    return Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {text}"})


def test_a_token_opens_the_chat_and_needs_no_csrf_token(script):
    conversation = Conversation.objects.get()
    assert "Of alice" in script.get(reverse("chat:conversation", args=[conversation.pk])).content.decode()
    choose = reverse("chat:settings", args=[conversation.pk])
    assert script.post(choose, {"failover": "off"}).status_code == 302
    conversation.refresh_from_db()
    assert conversation.failover == "off"


def test_a_token_opens_neither_the_account_nor_the_admin(script):
    for name in ("change-password", "make-token", "sign-out-everywhere", "choose-defaults", "delete-account"):
        assert script.post(reverse(f"chat:{name}"), {"sure": "on"})["Location"] == "/account/sign-in"
    assert script.get("/account/")["Location"] == "/account/sign-in"
    assert User.objects.exists()
    assert "/admin/login/" in script.get("/admin/")["Location"]


def test_with_a_cookie_beside_the_token_the_csrf_token_is_asked_for(script):
    script.cookies["sessionid"] = "anything"
    conversation = Conversation.objects.get()
    assert script.post(reverse("chat:settings", args=[conversation.pk]), {"failover": "off"}).status_code == 403


@pytest.mark.parametrize("change", ["revoke", "switch off"])
def test_a_token_that_counts_no_longer_opens_nothing(script, change):
    if change == "revoke":
        User.objects.get().api_tokens.all().delete()
    else:
        User.objects.update(is_active=False)
    assert script.get("/")["Location"].startswith("/account/sign-in")


def test_a_bad_token_is_not_made_good_by_a_cookie(client):
    alice = User.objects.create_user("alice")
    conversation = Conversation.objects.create(owner=alice, name="mine")
    client.force_login(alice)
    url = reverse("chat:conversation", args=[conversation.pk])
    assert client.get(url).status_code == 200
    assert client.get(url, headers={"Authorization": "Bearer sasha_bad"}).status_code == 404


def test_a_password_that_a_proxy_asks_for_is_no_token(client):
    client.force_login(User.objects.create_user("alice"))
    assert client.get("/account/", headers={"Authorization": "Basic YTpi"}).status_code == 200
    assert client.get("/", headers={"Authorization": "Basic YTpi"}).status_code == 200


def test_when_a_token_was_used_is_noted_once_a_minute(script):
    script.get("/words/en.js")
    token = User.objects.get().api_tokens.get()
    first = token.last_used_at
    assert first
    script.get("/words/en.js")
    token.refresh_from_db()
    assert token.last_used_at == first


def test_a_token_is_stored_as_its_digest_alone(client):
    alice = User.objects.create_user("alice")
    client.force_login(alice)
    page = client.post(reverse("chat:make-token"), {"name": "My script"})
    text = re.search(r"sasha_[A-Za-z0-9]{40}", page.content.decode()).group()
    token = alice.api_tokens.get()
    assert (token.digest, token.ending) == (tokens.digest_of(text), text[-4:])
    assert "no-store" in page["Cache-Control"]
    page = client.get("/account/").content.decode()
    assert text not in page
    assert f"…{text[-4:]}" in page
    assert "My script" in page
    assert "Never used" in page
