from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat import sessions
from chat.database import db
from chat.tests.test_identity import ORIGIN
from sasha.testing import Socket

HOUR = 3600


@pytest.fixture
def browser(settings) -> Client:
    """A browser of alice, whose sessions last 10 hours, or 2 without use."""
    settings.SESSION_HOURS, settings.SESSION_IDLE_HOURS = 10, 2
    settings.LOCAL_MODE = False
    client = Client()
    client.force_login(User.objects.create_user("alice"))
    return client


def is_signed_in(browser: Client) -> bool:
    return browser.get(reverse("chat:account")).status_code == 200


def hours_left() -> float:
    return (Session.objects.get().expire_date - timezone.now()).total_seconds() / HOUR


def move(monkeypatch, hours: float) -> None:
    """Let it be so many hours later for what decides about sessions; the rows' dates are left alone."""
    real = time.time
    monkeypatch.setattr(sessions.time, "time", lambda: real() + hours * HOUR)


@pytest.mark.django_db
def test_a_session_ends_so_long_after_its_last_use(browser):
    assert hours_left() == pytest.approx(2, abs=0.1)
    assert is_signed_in(browser)
    Session.objects.update(expire_date=timezone.now())
    assert not is_signed_in(browser)


@pytest.mark.django_db
def test_use_prolongs_it_but_never_beyond_its_whole_life(browser, monkeypatch):
    move(monkeypatch, 1.5)
    assert is_signed_in(browser)
    assert hours_left() == pytest.approx(2, abs=0.1)
    monkeypatch.undo()
    move(monkeypatch, 9.5)
    assert is_signed_in(browser)
    assert hours_left() == pytest.approx(0.5, abs=0.1)
    monkeypatch.undo()
    move(monkeypatch, 10)
    assert not is_signed_in(browser)


@pytest.mark.django_db
def test_a_session_in_use_is_not_written_with_each_request(browser, django_assert_num_queries):
    is_signed_in(browser)
    before = Session.objects.get().session_data
    is_signed_in(browser)
    assert Session.objects.get().session_data == before


@pytest.mark.django_db(transaction=True)
async def test_the_sockets_of_a_session_end_with_it(site, settings):
    alice = await db(User.objects.create_user, "alice")
    client = Client()
    await db(client.force_login, alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        await socket.send(type="ping", t=1)
        await socket.receive()
        await db(lambda: Session.objects.update(expire_date=timezone.now()))
        assert (await socket.receive())["code"] == 4401
        assert await socket.receive_close() == 4401
