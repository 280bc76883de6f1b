"""The wire protocol over plain HTTP: the same frames, the same rules, without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import psutil
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import signing
from django.core.handlers.asgi import ASGIRequest
from django.test import AsyncClient
from websockets.exceptions import ConnectionClosed

from chat import plain_http
from chat.database import db
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Conversation, Message
from chat.sockets import open_sockets
from chat.tests.test_identity import guest_cookie
from chat.views import api
from providers.aichat import LIVE
from sasha.testing import Frames, ServerProcess, Socket, eventually, server_process, text_of

pytestmark = pytest.mark.django_db(transaction=True)

SLOW, SHORT = "sim:sim-n400-gap10", "sim:sim-n5"


async def post(client: AsyncClient, path: str, frame: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of the answer."""
    text = frame if isinstance(frame, str) else json.dumps(frame or {})
    response = await client.post(path, text, content_type="application/json", headers=headers)
    return response.status_code, json.loads(response.content or "{}")


async def say(client: AsyncClient, message: str, session: str = "s", **fields: Any) -> dict[str, Any]:
    """Send a message and return its `started`."""
    status, started = await post(client, f"/api/conversations/{session}/messages", {"message": message, **fields})
    assert status == 202, started
    return started


class Stream(Frames):
    """An event stream as a client reads it; `ids` of its events so far."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks = chunks
        self.text = ""
        self.ids: list[str] = []

    async def receive_text(self) -> str:
        while True:
            while "\n\n" not in self.text:
                async with asyncio.timeout(20):
                    self.text += (await anext(self.chunks)).decode()
            event, self.text = self.text.split("\n\n", 1)
            fields = dict(line.split(": ", 1) for line in event.split("\n") if line[0] != ":")
            self.ids += [fields["id"]] if "id" in fields else []
            if "data" in fields:
                return fields["data"]


@asynccontextmanager
async def stream(client: AsyncClient, path: str, **headers: str) -> AsyncIterator[Stream]:
    response = await client.get(path, headers=headers)
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    chunks = response.streaming_content
    try:
        yield Stream(chunks)
    finally:
        # As a server does when its client leaves.
        await asyncio.to_thread(response.close)


@pytest.fixture
def client() -> AsyncClient:
    """A script of local mode."""
    return AsyncClient(enforce_csrf_checks=True)


@pytest.fixture
def guest() -> AsyncClient:
    """A guest's browser."""
    client = AsyncClient(enforce_csrf_checks=True)
    client.cookies[GUEST_COOKIE] = signing.dumps("a", salt=SALT)
    return client


async def test_a_message_and_its_answer_without_a_socket(site, client):
    started = await say(client, "Hi", model=SHORT)
    assert started["type"] == "started"
    async with stream(client, f"/api/replies/{started['replyId']}/events") as events:
        frames = await events.until("complete")
        with pytest.raises(StopAsyncIteration):
            await events.receive()
    row = await Message.objects.aget(pk=started["replyId"])
    assert text_of(frames) == row.text != ""
    numbers = [frame.get("to", frame.get("seq")) for frame in frames if "to" in frame or "seq" in frame]
    assert events.ids == [*map(str, numbers[:-1]), f"{numbers[-1]}.end"]


async def test_an_answer_goes_on_behind_the_last_event_seen(site, client):
    started = await say(client, "Hi", model=SLOW)
    path = f"/api/replies/{started['replyId']}/events"
    async with stream(client, path) as events:
        before = await events.until_text("word4 ")
    async with stream(client, path, **{"Last-Event-ID": events.ids[-1]}) as events:
        after = [await events.receive() for _ in range(5)]
    assert after[0]["from"] == before[-1]["to"] + 1
    await post(client, f"/api/replies/{started['replyId']}/stop")
    async with stream(client, f"{path}?after={after[-1]['to']}") as events:
        after += await events.until("complete")
    assert text_of([*before, *after]) == (await Message.objects.aget(pk=started["replyId"])).text
    assert (await client.get(path, headers={"Last-Event-ID": events.ids[-1]})).status_code == 204


async def test_odd_numbers_begin_at_the_beginning(site, client):
    started = await say(client, "Hi", model=SHORT)
    for odd in ("9" * 5000, "-1", "x", "²"):
        async with stream(client, f"/api/replies/{started['replyId']}/events?after={odd}") as events:
            frames = await events.until("complete")
        assert text_of(frames) == (await Message.objects.aget(pk=started["replyId"])).text
    response = await client.get(f"/api/conversations/s/events?seconds={'9' * 5000}")
    assert response.status_code == 200
    await asyncio.to_thread(response.close)


async def test_the_same_client_id_is_stored_once(site, client):
    first = await say(client, "Hi", clientId="c", model=SHORT)
    assert (await say(client, "Hi", clientId="c"))["replyId"] == first["replyId"]
    assert await Message.objects.filter(role="user").acount() == 1


async def test_every_frame_that_asks_for_an_answer_is_taken(site, client):
    first = await say(client, "Hi", model=SHORT)
    path = f"/api/replies/{first['replyId']}/events"
    async with stream(client, path) as events:
        await events.until("complete")
    for name in ("regenerate", "continue"):
        status, started = await post(
            client, "/api/conversations/s/messages", {"type": name, "messageId": first["replyId"]}
        )
        assert (status, started["type"]) == (202, "started")
        async with stream(client, f"/api/replies/{started['replyId']}/events") as events:
            await events.until("complete")


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        ("{", 400, "bad_json"),
        ("[]", 400, "bad_frame"),
        ({"type": "dance"}, 400, "unknown_type"),
        ({"message": ""}, 400, "empty_message"),
        ({"message": "a\0"}, 400, "bad_text"),
        ({"message": "x" * 32_001}, 400, "too_long"),
        ({"type": "regenerate", "messageId": str(uuid.uuid4())}, 404, "not_found"),
        ({"message": "x" * 600_000}, 413, "too_large"),
    ],
)
async def test_what_cannot_be_taken_is_refused_as_on_the_socket(site, client, frame, status, code):
    answer = await post(client, "/api/conversations/s/messages", frame)
    assert (answer[0], answer[1]["type"], answer[1]["code"]) == (status, "error", code)
    assert answer[1]["error"].endswith(".")
    assert not await Message.objects.aexists()


async def test_a_frame_in_chunks_is_no_longer_than_others(site):
    # Without a length beforehand.
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    request = ASGIRequest(scope, io.BytesIO(json.dumps({"message": "Hi", "more": "x" * 600_000}).encode()))
    request.user = AnonymousUser()
    response = await api.messages(request, name="s")
    assert (response.status_code, json.loads(response.content)["code"]) == (413, "too_large")
    assert not await Message.objects.aexists()


async def test_stop_ends_the_answer_and_its_process(site, client):
    started = await say(client, "Hi", model=SLOW)
    async with stream(client, f"/api/replies/{started['replyId']}/events") as events:
        await events.until("chunk")
        assert await post(client, f"/api/replies/{started['replyId']}/stop") == (204, {})
        assert (await events.until("complete"))[-1]["metadata"]["ending"] == "stopped"
    assert not LIVE


async def test_the_stream_of_a_conversation_says_what_a_socket_would(site, client):
    async with stream(client, "/api/conversations/s/events") as events, Socket("s") as socket:
        assert (await events.receive())["type"] == "hello"
        await socket.send(type="hello")
        await socket.until("hello")
        started = await say(client, "Hi", model=SHORT)
        frames = await events.until("complete")
        assert frames[:3] == (await socket.until("complete"))[:3]
        assert [frame["type"] for frame in frames[:3]] == ["title", "posted", "started"]
        assert (frames[1]["text"], frames[2]["replyId"]) == ("Hi", started["replyId"])
        await socket.say("More", model=SHORT)
        assert (await events.until("posted"))[-1]["text"] == "More"


async def test_the_stream_of_a_conversation_goes_on_where_its_page_was(site, client):
    started = await say(client, "Hi", model=SLOW)
    async with stream(client, "/api/conversations/s/events") as events:
        before = await events.until_text("word4 ")
    last = before[-1]["to"]
    async with stream(client, f"/api/conversations/s/events?after={started['replyId']}:{last}") as events:
        hello, chunk = await events.receive(), await events.receive()
    assert (hello["running"], chunk["from"]) == (started["replyId"], last + 1)


async def test_a_guest_needs_the_token_of_a_page(site, guest):
    path, frame = "/api/conversations/s/messages", {"message": "Hi", "model": SHORT}
    assert (await post(guest, path, frame))[0] == 403
    assert (await post(guest, path, frame, Origin="http://evil.example"))[0] == 403
    page = await guest.get("/")
    token = page.context["csrf_token"]
    assert (await post(guest, path, frame, **{"X-CSRFToken": str(token)}))[0] == 202
    assert await User.objects.filter(username="guest-a").aexists()


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_what_another_site_makes_a_browser_send_is_nobodys(site, client, headers):
    assert (await post(client, "/api/conversations/s/messages", {"message": "Hi"}, **headers))[0] == 401
    assert (await client.get("/api/conversations/s/events", headers=headers)).status_code == 401


async def test_in_production_nobody_is_asked_to_sign_in(site, client, settings):
    settings.LOCAL_MODE = False
    status, error = await post(client, "/api/conversations/s/messages", {"message": "Hi"})
    assert (status, error["code"]) == (401, "sign_in")


async def test_a_signed_in_user_is_themselves(site):
    alice = await db(User.objects.create_user, "alice")
    client = AsyncClient()
    await client.aforce_login(alice)
    await say(client, "Hi", model=SHORT)
    assert (await Conversation.objects.select_related("owner").aget()).owner == alice


async def test_streams_are_counted_with_the_sockets(site, client, settings):
    settings.CHAT_SOCKETS_PER_USER = 2
    async with Socket("a"), stream(client, "/api/conversations/b/events") as one:
        await one.until("hello")
        async with stream(client, "/api/conversations/c/events") as refused:
            assert (await refused.receive())["code"] == 4429
            with pytest.raises(StopAsyncIteration):
                await refused.receive()
        async with Socket("d") as third:
            assert (await third.receive())["code"] == 4429
    async with stream(client, "/api/conversations/e/events") as again:
        await again.until("hello")
    await eventually(lambda: not open_sockets, within=1)


async def test_a_stream_speaks_its_reader_s_language(site, client, settings):
    settings.CHAT_SOCKETS_PER_USER = 0
    async with stream(client, "/api/conversations/s/events", **{"Accept-Language": "de"}) as events:
        assert (await events.receive())["reason"].startswith("0 Verbindungen sind offen")


async def test_a_silent_stream_has_a_heart(site, client, monkeypatch):
    monkeypatch.setattr(plain_http, "HEARTBEAT_SECONDS", 0.05)
    async with stream(client, "/api/conversations/s/events") as events:
        await events.until("hello")
        assert await anext(events.chunks) == b": \n\n"


async def test_a_stream_says_that_the_server_stops(site, client):
    async with stream(client, "/api/conversations/s/events") as events:
        await events.until("hello")
        plain_http.close_all()
        assert (await events.receive())["code"] == 1012


# --- On a real server -------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_real_server_streams_and_forgets_who_went_away(transactional_db, provider):
    with server_process() as server:
        process = psutil.Process(server.process.pid)
        async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=20) as client:
            answer = await client.post("/api/conversations/s/messages", json={"message": "Hi", "model": SLOW})
            path = f"/api/replies/{answer.json()['replyId']}/events"
            loop = asyncio.get_running_loop()
            async with client.stream("GET", path) as response:
                assert response.headers["x-accel-buffering"] == "no"
                assert response.headers["cache-control"] == "no-store, no-transform"
                times = []
                async for line in response.aiter_lines():
                    times += [loop.time()] if line.startswith("data: ") else []
                    if len(times) == 30:
                        break
            # An event each 10 ms, not all of them at the end.
            assert times[-1] - times[0] > 0.15
        before = process.num_threads()
        cookies = {"Cookie": guest_cookie("b"), "Origin": f"http://127.0.0.1:{server.port}"}
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
        for reader, writer in connections:
            writer.write(b"GET /api/conversations/s/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b'"hello"')
        # No thread is kept for a stream that waits.
        await eventually(lambda: process.num_threads() <= before + 5)
        async with server.connect("s") as socket:
            assert (await socket.receive())["code"] == 4429
        async with server.connect("s", **cookies) as socket:
            await socket.send(type="ping", t=1)
            await socket.until("pong")
        for _, writer in connections:
            writer.close()
        async with asyncio.timeout(1):
            while not await is_let_in(server):
                pass


async def is_let_in(server: ServerProcess) -> bool:
    async with server.connect("s") as socket:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(type="ping", t=1)
        return (await socket.receive())["type"] == "pong"


async def test_the_server_says_what_it_sees_of_a_request(site, client, guest, settings):
    _, seen = await post(client, "/api/connection")
    assert seen == {"host": "testserver", "secure": False, "origin": None, "allowed": False, "signedIn": True}
    _, seen = await post(guest, "/api/connection", Origin="http://127.0.0.1:8000")
    assert (seen["origin"], seen["allowed"], seen["signedIn"]) == ("http://127.0.0.1:8000", True, True)
    _, seen = await post(AsyncClient(), "/api/connection", Origin="http://evil.example")
    assert (seen["allowed"], seen["signedIn"]) == (False, False)


async def test_three_events_show_whether_something_holds_a_stream_back(site, client):
    loop = asyncio.get_running_loop()
    async with stream(client, "/api/connection/events") as events:
        times = [(await events.receive(), loop.time())[1] for _ in range(3)]
    assert times[2] - times[0] > 0.35


async def test_a_stream_may_be_short(site, client):
    async with stream(client, "/api/conversations/s/events?seconds=1") as events:
        await events.until("hello")
        with pytest.raises(StopAsyncIteration):
            await events.receive()


async def test_the_page_of_a_browser_without_origin_is_no_script(site):
    async with Socket("s", query="/ws?session=s&from=page") as socket:
        assert (await socket.receive())["code"] == 4403
        assert await socket.receive_close() == 4403
