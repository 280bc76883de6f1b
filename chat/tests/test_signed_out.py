"""Sockets end with what let them in, whoever ends it and however; and what a guest writes ends in the account."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.db import connection
from django.test import AsyncClient, Client
from django.urls import reverse

from chat import runner, tokens
from chat.database import db
from chat.identity import GUEST_COOKIE, SALT
from chat.models import ApiToken, Conversation, Message, State
from chat.sockets import open_sockets
from chat.tests.test_identity import ORIGIN, guest_cookie
from sasha.testing import Socket, eventually, text_of

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery"
SLOW = "sim:sim-n400-gap10"
SOME_ID = uuid.UUID(int=1)


@pytest.fixture(autouse=True)
def _quick(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice(transactional_db) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def guest_browser(token: str) -> Client:
    client = Client()
    client.cookies[GUEST_COOKIE] = signing.dumps(token, salt=SALT)
    return client


@asynccontextmanager
async def open_socket(client: Client, session: str = "s"):
    """Open a socket as the page of this browser does, with its greeting answered."""
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    async with Socket(session, {"Origin": ORIGIN, "Cookie": cookie}) as socket:
        await socket.send(type="hello")
        socket.running = (await socket.until("hello"))[-1].get("running")
        yield socket


async def expect_closed(socket: Socket, code: int, words: str) -> None:
    """The socket says why, and closes, within a second."""
    began = time.monotonic()
    closing = (await socket.until("closing"))[-1]
    assert (closing["code"], await socket.receive_close()) == (code, code)
    assert words in closing["reason"]
    assert time.monotonic() - began < 1


async def expect_open(socket: Socket) -> None:
    await socket.send(type="ping", t=1)
    assert (await socket.until("pong"))[-1]["t"] == 1


async def test_signing_out_closes_the_sockets_of_that_session_only(site, alice):
    here, there = await db(browser_of, alice), await db(browser_of, alice)
    async with open_socket(here) as first, open_socket(here, "t") as second, open_socket(there) as other:
        await db(here.post, reverse("chat:sign-out"))
        await expect_closed(first, 4401, "signed out")
        await expect_closed(second, 4401, "signed out")
        await expect_open(other)


async def test_a_new_password_closes_the_others_and_lets_its_own_come_back(site, alice):
    here, there = await db(browser_of, alice), await db(browser_of, alice)
    new = "a better horse battery"
    data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    async with open_socket(here) as own, open_socket(there) as other:
        await db(here.post, reverse("chat:change-password"), data)
        await expect_closed(own, 4410, "differently")
        await expect_closed(other, 4401, "password was changed")
    async with open_socket(here) as own:
        await expect_open(own)


@pytest.mark.parametrize(("data", "code"), [({}, 4410), ({"here_too": "yes"}, 4401)])
async def test_signing_out_everywhere_closes_every_socket(site, alice, data, code):
    here, there = await db(browser_of, alice), await db(browser_of, alice)
    async with open_socket(here) as own, open_socket(there) as other:
        await db(here.post, reverse("chat:sign-out-everywhere"), data)
        await expect_closed(other, 4401, "everywhere")
        closing = (await own.until("closing"))[-1]
        assert closing["code"] in {code, 4410}
    if code == 4410:
        async with open_socket(here) as own:
            await expect_open(own)
    # The row of the session is still there, and counts no longer.
    cookie = f"sessionid={there.cookies['sessionid'].value}"
    async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as again:
        await expect_closed(again, 4401, "Sign in")


def switch_off(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def set_password(user: User) -> None:
    user.set_password("chosen by an admin")
    user.save()


def end_sessions_by_sql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_session")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (switch_off, "switched off"),
        (set_password, "password was changed"),
        (end_sessions_by_sql, "signed out"),
        (User.delete, "no longer exists"),
    ],
)
async def test_what_another_server_or_plain_sql_does_closes_sockets_too(site, alice, change, words):
    async with open_socket(await db(browser_of, alice)) as socket:
        await db(change, alice)
        await expect_closed(socket, 4401, words)


@pytest.mark.parametrize(
    "frame",
    [
        {"message": "Hello"},
        {"type": "regenerate", "messageId": str(SOME_ID)},
        {"type": "continue", "messageId": str(SOME_ID)},
        {"type": "stop", "replyId": str(SOME_ID)},
        {"type": "attach", "replyId": str(SOME_ID)},
        {"type": "hello"},
        {"type": "ping"},
    ],
)
async def test_a_frame_is_judged_by_the_rows_of_this_moment(site, alice, monkeypatch, frame):
    # Nobody looks: the frame itself must find out.
    monkeypatch.setattr("chat.sockets.LOOK_SECONDS", 60)
    open_sockets.look_now()
    async with open_socket(await db(browser_of, alice)) as socket:
        await db(User.objects.filter(pk=alice.pk).update, is_active=False)
        await socket.send(**frame)
        await expect_closed(socket, 4401, "switched off")
    assert not await Message.objects.aexists()


async def test_no_more_of_an_answer_reaches_whoever_signed_out_and_it_goes_on(site, alice):
    here = await db(browser_of, alice)
    async with open_socket(here) as socket:
        await socket.send(message="Hello", model=SLOW)
        await socket.until("chunk")
        await db(here.post, reverse("chat:sign-out"))
        await expect_closed(socket, 4401, "signed out")
        assert await socket.communicator.receive_nothing()
        assert await Message.objects.filter(state=State.RUNNING).aexists()


# --- Guests -----------------------------------------------------------------------------------------------------------


async def test_a_guest_who_signs_up_in_mid_answer_has_the_answer_in_the_account(site):
    guest = guest_browser("abc")
    data = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD}
    async with open_socket(guest) as socket:
        await socket.send(message="Hello", model=SLOW)
        await socket.until("chunk")
        await db(guest.post, reverse("chat:sign-up"), data)
        await expect_closed(socket, 4410, "differently")
    async with open_socket(guest) as socket:
        frames = await socket.until("complete")
        assert (frames[-1]["replyId"], frames[-1]["metadata"]["ending"]) == (socket.running, "complete")
    reply = await Message.objects.select_related("conversation__owner").aget(pk=socket.running)
    assert reply.conversation.owner.username == "alice"
    assert reply.text == text_of(frames)
    assert not await User.objects.filter(username__startswith="guest-").aexists()


async def test_a_guest_who_signs_in_in_mid_answer_takes_it_along(site, alice):
    guest = guest_browser("abc")
    async with open_socket(guest) as socket:
        await socket.send(message="Hello", model=SLOW)
        await socket.until("chunk")
        await db(guest.post, reverse("chat:sign-in"), {"username": "alice", "password": PASSWORD})
        await expect_closed(socket, 4410, "differently")
    async with open_socket(guest) as socket:
        assert socket.running
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "complete"
    assert (await Conversation.objects.select_related("owner").aget()).owner == alice


async def test_another_tab_of_a_guest_without_a_word_comes_back_as_the_account(site):
    guest = guest_browser("abc")
    old_cookie = guest_cookie("abc")
    data = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD}
    async with open_socket(guest) as silent:
        await db(guest.post, reverse("chat:sign-up"), data)
        await expect_closed(silent, 4410, "differently")
    # Faster than the answer with the new cookies: nothing may be written as a guest that nobody is any more.
    async with Socket("s", {"Origin": ORIGIN, "Cookie": old_cookie}) as early:
        await expect_closed(early, 4410, "differently")


# --- Tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_speaks_for_its_account_and_its_answers_go_on(site, alice):
    token, text = await db(tokens.make, alice, "script")
    async with Socket("s", {"Authorization": f"Bearer {text}"}) as socket:
        await socket.send(message="Hello", model=SLOW)
        await socket.until("chunk")
    reply = await Message.objects.select_related("conversation__owner").aget(state=State.RUNNING)
    assert reply.conversation.owner == alice
    assert runner.current().find(reply.pk)
    await token.arefresh_from_db()
    assert token.last_used_at


async def test_a_revoked_token_closes_its_sockets_and_no_others(site, alice):
    client = await db(browser_of, alice)
    token, text = await db(tokens.make, alice, "script")
    _, other_text = await db(tokens.make, alice, "other")
    async with (
        Socket("s", {"Authorization": f"Bearer {text}"}) as socket,
        Socket("s", {"Authorization": f"Bearer {other_text}"}) as other,
        open_socket(client) as page,
    ):
        await db(client.post, reverse("chat:revoke-token", args=[token.pk]))
        await expect_closed(socket, 4401, "revoked")
        await expect_open(other)
        await expect_open(page)


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "bearer", "Bearer {digest}", "Bearer {text}x"])
async def test_a_bad_token_is_nobody_even_where_scripts_are_let_in(site, alice, settings, header, local):
    settings.LOCAL_MODE = local
    token, text = await db(tokens.make, alice, "script")
    header = header.format(text=text, digest=token.digest)
    async with Socket("s", {"Authorization": header}) as socket:
        await expect_closed(socket, 4401, "Sign in")


async def test_what_a_proxy_sends_for_itself_is_no_token(site, alice):
    client = await db(browser_of, alice)
    _, text = await db(tokens.make, alice, "script")
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    async with Socket("s", {"Authorization": "Basic YTpi", "Origin": ORIGIN, "Cookie": cookie}) as socket:
        await expect_open(socket)
    # Without its scheme it is none, either.
    async with Socket("s", {"Authorization": text, "Origin": ORIGIN}) as socket:
        await expect_closed(socket, 4401, "Sign in")


async def test_a_token_in_the_address_counts_for_nothing(site, alice, settings):
    settings.LOCAL_MODE = False
    _, text = await db(tokens.make, alice, "script")
    for query in (f"token={text}", f"access_token={text}", f"Authorization=Bearer%20{text}"):
        async with Socket("s", query=f"/ws?session=s&{query}") as socket:
            await expect_closed(socket, 4401, "Sign in")


async def test_a_token_does_not_excuse_a_foreign_origin(site, alice):
    _, text = await db(tokens.make, alice, "script")
    async with Socket("s", {"Authorization": f"Bearer {text}", "Origin": "https://evil.example"}) as socket:
        assert not socket.accepted


async def test_the_token_of_somebody_switched_off_is_refused(site, alice):
    _, text = await db(tokens.make, alice, "script")
    await db(switch_off, alice)
    async with Socket("s", {"Authorization": f"Bearer {text}"}) as socket:
        await expect_closed(socket, 4401, "Sign in")
    assert await ApiToken.objects.aexists()


# --- Leaving for good -------------------------------------------------------------------------------------------------


async def test_deleting_an_account_in_mid_answer_ends_the_answer_s_process(site, alice, caplog):
    client = await db(browser_of, alice)
    async with open_socket(client) as socket:
        await socket.send(message="Hello", model=SLOW)
        reply_id = (await socket.until("chunk"))[-1]["replyId"]
        await db(client.post, reverse("chat:delete-account"), {"password": PASSWORD})
        await expect_closed(socket, 4401, "no longer exists")
    await eventually(lambda: runner.current().find(reply_id) is None, within=2)
    assert not await User.objects.aexists()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_nothing_is_kept_of_sockets_that_have_closed(site, alice):
    client = await db(browser_of, alice)
    async with open_socket(client), open_socket(client, "t"):
        assert open_sockets.count(f"account {alice.pk}") == 2
    assert open_sockets.count(f"account {alice.pk}") == 0


# --- Over plain HTTP --------------------------------------------------------------------------------------------------


async def test_a_token_speaks_over_plain_http_until_it_is_revoked(site, alice, settings):
    settings.LOCAL_MODE = False
    token, text = await db(tokens.make, alice, "script")
    script, headers = AsyncClient(enforce_csrf_checks=True), {"Authorization": f"Bearer {text}"}
    message = {"path": "/api/conversations/s/messages", "data": {"message": "Hello", "model": SLOW}}
    response = await script.post(**message, content_type="application/json", headers=headers)
    assert response.status_code == 202
    reply = await Message.objects.select_related("conversation__owner").aget(pk=response.json()["replyId"])
    assert reply.conversation.owner == alice
    events = await script.get(f"/api/replies/{reply.pk}/events", headers=headers)
    await db(token.delete)
    text = "".join([chunk.decode() async for chunk in events.streaming_content])
    assert '"type":"closing","code":4401' in text
    await asyncio.to_thread(events.close)
    response = await script.post(**message, content_type="application/json", headers=headers)
    assert (response.status_code, response.json()["code"]) == (401, "sign_in")
