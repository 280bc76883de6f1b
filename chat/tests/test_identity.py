from __future__ import annotations

import uuid

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client

from chat.database import db
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Conversation
from sasha.testing import Socket

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "http://127.0.0.1:8000"


def guest_cookie(token: str) -> str:
    return f"{GUEST_COOKIE}={signing.dumps(token, salt=SALT)}"


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        (ORIGIN, True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://127.0.0.1:8000", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:8001", False),
        ("http://127.0.0.1:8000.evil.example", False),
        ("http://user@127.0.0.1:8000", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
async def test_only_our_own_origins_are_accepted(site, origin, accepted):
    async with Socket("s", {"Origin": origin, "Cookie": guest_cookie("a")}) as socket:
        assert socket.accepted is accepted


async def test_cookies_count_only_with_an_origin(site):
    async with Socket("s", {"Cookie": guest_cookie("a")}) as socket:
        await socket.say("Hi", model="sim:sim-n5")
    assert [user.username async for user in User.objects.all()] == ["local"]


async def test_a_guest_gets_a_row_with_the_first_message(site):
    headers = {"Origin": ORIGIN, "Cookie": guest_cookie("abc")}
    async with Socket("s", headers) as socket:
        await socket.send(type="hello")
        await socket.receive()
        assert not await User.objects.aexists()
        await socket.say("Hi", model="sim:sim-n5")
    user = await User.objects.aget()
    assert user.username == "guest-abc"
    assert not user.has_usable_password()


async def test_a_signed_in_user_is_themselves(site):
    alice = await db(User.objects.create_user, "alice", password="secret")
    client = Client()
    await db(client.force_login, alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}; {guest_cookie('abc')}"
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        await socket.say("Hi", model="sim:sim-n5")
    assert (await Conversation.objects.select_related("owner").aget()).owner == alice


@pytest.mark.parametrize("cookie", ["", "sasha_guest=forged", "sasha_guest=abc:def:ghi", "sessionid=nonsense"])
async def test_a_browser_without_a_valid_cookie_is_asked_to_sign_in(site, cookie):
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        closing = await socket.receive()
        assert (closing["type"], closing["code"]) == ("closing", 4401)
        assert await socket.receive_close() == 4401


async def test_in_production_a_script_must_sign_in(site, settings):
    settings.LOCAL_MODE = False
    for headers in ({}, {"Origin": ORIGIN, "Cookie": guest_cookie("a")}):
        async with Socket("s", headers) as socket:
            assert (await socket.receive())["code"] == 4401
            await socket.receive_close()


@pytest.mark.parametrize("query", ["/ws", "/ws?session=", "/ws?session=a%20b", "/ws?session=" + "a" * 65,
                                   "/ws?session=../x", "/ws?session=a&session=b", "/ws?session=a%0A"])  # fmt: skip
async def test_a_bad_session_name_is_told_and_closed(site, query):
    async with Socket("", query=query) as socket:
        closing = await socket.receive()
        assert (closing["type"], closing["code"]) == ("closing", 4400)
        assert await socket.receive_close() == 4400


async def test_nothing_is_sent_before_the_first_frame(site):
    async with Socket("s") as socket:
        assert await socket.communicator.receive_nothing()


async def test_sockets_per_user_are_capped(site, settings):
    settings.CHAT_SOCKETS_PER_USER = 2
    async with Socket("a"), Socket("b"):
        async with Socket("c") as third:
            assert (await third.receive())["code"] == 4429
            assert await third.receive_close() == 4429
        async with Socket("d", {"Origin": ORIGIN, "Cookie": guest_cookie(uuid.uuid4().hex)}) as other:
            await other.send(type="ping", t=1)
            assert (await other.receive())["type"] == "pong"
    async with Socket("e") as again:
        await again.send(type="ping", t=1)
        assert (await again.receive())["type"] == "pong"


async def test_an_unknown_socket_path_is_refused(site):
    async with Socket("", query="/elsewhere") as socket:
        assert not socket.accepted


def test_a_visitor_of_local_mode_stays_the_same_guest(client):
    first = client.get("/").cookies[GUEST_COOKIE]
    assert (first["httponly"], first["samesite"]) == (True, "Lax")
    again = client.get("/").cookies[GUEST_COOKIE]
    assert signing.loads(first.value, salt=SALT) == signing.loads(again.value, salt=SALT)


async def test_another_program_s_cookies_do_no_harm(site):
    cookie = f'prefs={{"a": 1}}; {guest_cookie("abc")}; broken'
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        await socket.say("Hi", model="sim:sim-n5")
    assert await User.objects.filter(username="guest-abc").aexists()
