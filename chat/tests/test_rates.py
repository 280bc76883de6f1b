from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from limits import parse
from limits.strategies import FixedWindowRateLimiter

from chat import rates, tokens
from chat.database import db
from chat.models import Message
from chat.rates import CounterStorage
from chat.tests.test_identity import ORIGIN, guest_cookie
from sasha.testing import Socket

pytestmark = pytest.mark.usefixtures("rate_limits")


# --- Counting ---------------------------------------------------------------------------------------------------------


def test_counters_end_with_their_time(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("chat.rates.time.time", lambda: now[0])
    storage = CounterStorage()
    assert [storage.incr("a", 60) for _ in range(3)] == [1, 2, 3]
    now[0] += 59
    assert storage.get("a") == 3
    now[0] += 1
    assert storage.get("a") == 0
    assert storage.incr("a", 60) == 1


def test_however_many_come_the_counters_stay_few():
    limiter = FixedWindowRateLimiter(CounterStorage(most=100))
    for number in range(10_000):
        assert limiter.hit(parse("1/hour"), f"address {number}")
    assert len(limiter.storage) == 100
    # The latest are still known.
    assert not limiter.hit(parse("1/hour"), "address 9999")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_all_of_a_slash_64_is_one_address(one, other, same):
    assert (rates.network_of(one) == rates.network_of(other)) is same


@pytest.mark.parametrize("address", [None, "", "unix:", "nonsense"])
def test_what_is_no_address_is_not_limited(settings, address):
    settings.RATE_REQUESTS_PER_ADDRESS = parse("1/hour")
    for _ in range(3):
        rates.hit("RATE_REQUESTS_PER_ADDRESS", rates.network_of(address))


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_too_many_requests_are_refused_to_scripts_and_people_in_their_words(settings, client, db):
    settings.RATE_REQUESTS_PER_ADDRESS = parse("2/hour")
    for _ in range(2):
        assert client.get("/help/connection").status_code == 200
    script = client.get("/help/connection")
    assert script.status_code == 429
    error = script.json()
    assert (error["type"], error["code"]) == ("error", "too_many")
    assert 0 < error["retryAfterMs"] <= 3_600_000
    assert int(script["Retry-After"]) == -(-error["retryAfterMs"] // 1000)
    page = client.get("/help/connection", headers={"Accept": "text/html", "Accept-Language": "de"})
    assert page.status_code == 429
    assert "Das kommt zu oft." in page.text
    assert client.get("/help/connection", REMOTE_ADDR="192.0.2.7").status_code == 200


def test_a_person_s_requests_are_counted_wherever_they_come_from(settings, client, db):
    settings.RATE_REQUESTS_PER_USER = parse("2/hour")
    client.force_login(User.objects.create_user("alice"))
    codes = [client.get("/account/", REMOTE_ADDR=f"192.0.2.{number}").status_code for number in range(3)]
    assert codes == [200, 200, 429]
    other = Client()
    other.force_login(User.objects.create_user("bob"))
    assert other.get("/account/").status_code == 200


def test_a_token_s_requests_are_its_person_s(settings, db):
    settings.RATE_REQUESTS_PER_USER = parse("2/hour")
    _, text = tokens.make(User.objects.create_user("alice"), "script")
    script = Client(headers={"Authorization": f"Bearer {text}"})
    assert [script.get("/").status_code for _ in range(3)] == [200, 200, 429]


def test_who_guesses_tokens_is_refused_and_nobody_else_at_that_address(settings, db):
    settings.RATE_BAD_TOKENS_PER_ADDRESS = parse("3/hour")
    _, text = tokens.make(User.objects.create_user("alice"), "script")
    guess = Client(headers={"Authorization": "Bearer sasha_guessed"})
    assert [guess.get("/api/connection").status_code for _ in range(4)] == [200, 200, 200, 429]
    script = Client(headers={"Authorization": f"Bearer {text}"})
    assert script.get("/").status_code == 200


# --- Sockets ----------------------------------------------------------------------------------------------------------


def browser(name: str = "abc", session: str = "s") -> Socket:
    return Socket(session, {"Origin": ORIGIN, "Cookie": guest_cookie(name)})


@pytest.mark.django_db(transaction=True)
async def test_too_many_messages_are_refused_with_the_time_to_wait(site, settings):
    settings.RATE_MESSAGES_PER_USER = parse("1/hour")
    async with browser() as socket, browser("other") as other:
        await socket.say("Hi", model="sim:sim-n5")
        await socket.send(message="Hi", clientId="c2")
        # The conversation may get its name meanwhile.
        refused = (await socket.until("error"))[-1]
        assert (refused["type"], refused["code"], refused["clientId"]) == ("error", "too_many", "c2")
        assert 0 < refused["retryAfterMs"] <= 3_600_000
        await socket.send(type="ping", t=1)
        await socket.until("pong")
        await other.say("Hi", model="sim:sim-n5")
    assert await Message.objects.acount() == 4


@pytest.mark.django_db(transaction=True)
async def test_a_token_may_send_less_than_its_person(site, settings):
    settings.RATE_MESSAGES_PER_TOKEN = parse("1/hour")
    alice = await db(User.objects.create_user, "alice")
    texts = [(await db(tokens.make, alice, "script"))[1] for _ in range(2)]
    async with Socket("a", {"Authorization": f"Bearer {texts[0]}"}) as socket:
        await socket.say("Hi", model="sim:sim-n5")
        await socket.send(message="Hi")
        assert (await socket.until("error"))[-1]["code"] == "too_many"
    async with Socket("b", {"Authorization": f"Bearer {texts[1]}"}) as socket:
        await socket.say("Hi", model="sim:sim-n5")


@pytest.mark.django_db(transaction=True)
async def test_messages_from_one_address_are_counted_together_over_http_too(site, settings):
    settings.RATE_MESSAGES_PER_ADDRESS = parse("1/hour")
    body = json.dumps({"message": "Hi", "model": "sim:sim-n5"})
    path = "/api/conversations/s/messages"
    first, second = [
        await AsyncClient().generic("POST", path, body, content_type="application/json", REMOTE_ADDR="192.0.2.7")
        for _ in range(2)
    ]
    assert (first.status_code, second.status_code) == (202, 429)
    assert second.json()["retryAfterMs"] > 0


@pytest.mark.django_db(transaction=True)
async def test_a_flood_of_frames_is_refused_unread(site, settings):
    settings.RATE_FRAMES_PER_USER = parse("2/hour")
    async with browser() as socket:
        for _ in range(3):
            await socket.send(type="ping", t=1)
        assert [(await socket.receive())["type"] for _ in range(3)] == ["pong", "pong", "error"]


@pytest.mark.django_db(transaction=True)
async def test_who_connects_again_and_again_is_told_to_wait(site, settings):
    settings.RATE_SOCKETS_PER_USER = parse("1/hour")
    async with browser():
        pass
    async with browser() as socket:
        assert (await socket.receive())["code"] == 4429
        assert await socket.receive_close() == 4429
    async with browser("other") as socket:
        await socket.send(type="ping", t=1)
        await socket.until("pong")


@pytest.mark.django_db(transaction=True)
async def test_a_guessed_token_is_refused_before_the_handshake(site, settings):
    settings.RATE_BAD_TOKENS_PER_ADDRESS = parse("1/hour")
    headers = {"Authorization": "Bearer sasha_guessed"}
    async with Socket("s", headers, client=("192.0.2.7", 1)) as socket:
        assert (await socket.receive())["code"] == 4401
        await socket.receive_close()
    async with Socket("s", headers, client=("192.0.2.7", 1)) as socket:
        assert not socket.accepted
    async with Socket("s", headers, client=("192.0.2.8", 1)) as socket:
        assert socket.accepted
