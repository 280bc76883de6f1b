"""Real servers, and everything that they write while they serve."""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.db import connection

from chat import tokens
from chat.database import db
from providers.models import Attempt
from providers.simulator import Simulator
from sasha.testing import ServerProcess, eventually, make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

KEY = "sk-sim-canary-1234"
PROMPT = "planted words of mine"


@pytest_asyncio.fixture(autouse=True)
async def provider(transactional_db):
    simulator = Simulator()
    await simulator.start()
    models = ("sim-n5", "sim-echo-gap0", "sim-http400-echo", "sim-http500", "sim-stall-at3")
    yield await db(make_provider, simulator.url("openai"), *models, kind="openai", key_variable="SIM_API_KEY")
    await simulator.stop()


class Logged:
    """A server and what it writes on stderr."""

    def __init__(self, server: ServerProcess, path: Path) -> None:
        self.server = server
        self.path = path

    def text(self) -> str:
        return self.path.read_text()

    def events(self, event: str = "", **fields: object) -> list[dict[str, object]]:
        """Return the events of that name with these fields. Every line must be one."""
        events = [json.loads(line) for line in self.text().splitlines()]
        return [e for e in events if event in ("", e["event"]) and fields.items() <= e.items()]

    async def event(self, event: str, **fields: object) -> dict[str, object]:
        """Return the one event of that name with these fields, once it is written."""
        (found,) = await eventually(lambda: self.text().endswith("\n") and self.events(event, **fields))
        return found

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        return await asyncio.to_thread(fetch, self.server.url + path, headers)


def fetch(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


@pytest.fixture
def serve(tmp_path):
    @contextmanager
    def run(**environment: str) -> Iterator[Logged]:
        path = tmp_path / "stderr"
        with path.open("w") as stderr, server_process(stderr, SIM_API_KEY=KEY, **environment) as server:
            yield Logged(server, path)

    return run


@pytest.fixture
def no_table():
    """Rename a table, so that every page that needs it fails, until the test ends."""
    renamed = []

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def take(name: str) -> None:
        rename(name, "away")
        renamed.append(name)

    yield take
    for name in renamed:
        rename("away", name)


async def test_a_request_has_one_id_in_its_answer_and_in_all_of_its_lines(serve):
    with serve() as log:
        _, headers, _ = await log.get("/api/connection?q=secret-query")
        line = await log.event("request", route="chat:api-connection")
        assert line["request_id"] == headers["X-Request-Id"]
        assert (line["method"], line["status"], line["user"], line["level"]) == ("GET", 200, None, "info")
        assert isinstance(line["ms"], int)
        status, headers, _ = await log.get("/nowhere?q=secret-query", **{"X-Request-Id": "forged-by-anybody"})
        line = await log.event("request", path="/nowhere", status=status)
        told, _ = log.events(request_id=headers["X-Request-Id"])
        assert (told["event"], line["request_id"], status) == ("Not Found: /nowhere", told["request_id"], 404)
        assert "secret-query" not in log.text()
        assert "forged-by-anybody" not in log.text()


async def test_a_failure_of_the_server_names_its_id_on_its_page_and_no_address(serve, no_table):
    with serve(CHAT_SHARING="true") as log:
        await db(no_table, "chat_share")
        status, headers, page = await log.get("/s/the-secret-address")
        number = headers["X-Request-Id"]
        assert (status, f"<code>{number}</code>" in page) == (500, True)
        line = await log.event("request", status=500)
        told, _ = log.events(request_id=number)
        assert (told["event"], told["level"]) == ("Internal Server Error: chat:shared", "error")
        assert "chat_share" in str(told["exception"])
        assert (line["request_id"], line["route"]) == (number, "chat:shared")
        assert "the-secret-address" not in log.text()


async def test_a_proxy_s_id_is_kept_where_it_is_well_formed(serve):
    secret = secrets.token_urlsafe(50)
    production = {"SASHA_MODE": "production", "SECRET_KEY": secret, "ALLOWED_HOSTS": "127.0.0.1"}
    with serve(**production, BEHIND_PROXY="true", SECURE_SSL_REDIRECT="false") as log:
        for given, kept in [("edge.7f3a-1234", True), ("short", False), ("a b c d e f", False), ("x" * 65, False)]:
            _, headers, _ = await log.get("/account/sign-in", **{"X-Request-Id": given})
            assert (headers["X-Request-Id"] == given) is kept
    with serve(**production, SECURE_SSL_REDIRECT="false") as log:
        _, headers, _ = await log.get("/account/sign-in", **{"X-Request-Id": "edge.7f3a-1234"})
        assert headers["X-Request-Id"] != "edge.7f3a-1234"


async def test_the_line_of_a_request_names_the_account_by_its_id(serve):
    user = await User.objects.acreate(username="alice-by-name")
    _, token = await db(tokens.make, user, "script")
    with serve() as log:
        await log.get("/api/connection", Authorization=f"Bearer {token}")
        assert (await log.event("request"))["user"] == user.pk
        assert "alice-by-name" not in log.text()
        assert token not in log.text()


async def test_probes_that_succeed_have_no_line(serve):
    with serve() as log:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await log.get(path))[0] == 200
        await log.get("/")
        assert (await log.event("request"))["route"] == "chat:new"


async def test_a_probe_that_is_refused_has_a_line(serve):
    with serve(METRICS_TOKEN="of-the-collector") as log:
        assert (await log.get("/metrics", Authorization="Bearer of-somebody-else"))[0] == 401
        assert (await log.event("request"))["status"] == 401
        assert "of-somebody-else" not in log.text()


async def test_an_answer_is_found_by_its_id_from_the_frame_to_its_end(serve):
    with serve() as log:
        async with log.server.connect("a") as socket:
            await socket.send(type="ping", t=1)
            await socket.until("pong")
            frames = await socket.say(PROMPT, model="sim:sim-http500", onlyModel=True)
        reply_id = frames[-1]["replyId"]
        ended = await log.event("reply ended", reply_id=reply_id)
        closed = await log.event("socket closed")
        opened = await log.event("socket opened")
        assert (closed["code"], closed["connection_id"]) == (1000, opened["connection_id"])
        assert isinstance(closed["seconds"], float)
        # The second frame.
        assert ended["request_id"] == f"{opened['connection_id']}-2"
        failed, last = log.events(reply_id=reply_id)
        assert {failed["request_id"], last["request_id"]} == {ended["request_id"]}
        expected = {"event": "attempt failed", "ending": "provider_error", "http_status": 500, "model": "sim-http500"}
        assert expected.items() <= failed.items()
        expected = {"ending": "provider_error", "provider": "sim", "model": "sim-http500", "attempts": 1}
        assert expected.items() <= last.items()
        assert last["ms"] > 0


async def test_requests_at_once_keep_their_ids_apart(serve):
    with serve() as log:

        async def ask(number: int) -> tuple[str, str]:
            async with log.server.connect(f"s{number}") as socket:
                replies = []
                for _ in range(3):
                    replies.append((await socket.say("Hi", model="sim:sim-n5"))[-1]["replyId"])
                    await log.get(f"/missing-{number}")
            return replies

        asked = await asyncio.gather(*map(ask, range(8)))
        await eventually(lambda: len(log.events("socket closed")) == 8)
        for replies in asked:
            requests = [(await log.event("reply ended", reply_id=reply_id))["request_id"] for reply_id in replies]
            connections = {request.rpartition("-")[0] for request in requests}
            assert len(connections) == 1
            assert [request.rpartition("-")[2] for request in requests] == ["1", "2", "3"]
        # A line is written behind its response.
        await eventually(lambda: len(log.events("request", status=404)) == 24)
        missing = log.events("request", status=404)
        assert len({line["request_id"] for line in missing}) == 24
        for line in missing:
            told, _ = log.events(request_id=line["request_id"])
            assert told["event"] == f"Not Found: {line['path']}"


async def test_all_that_a_server_writes_is_json_without_a_prompt_or_a_key(serve, no_table):
    with serve(CHAT_SHUTDOWN_GRACE="0") as log:
        for path in ("/", "/livez", "/nowhere%0A%1B[2K%E2%80%AE/" + KEY, f"/search?q={PROMPT.replace(' ', '+')}"):
            await log.get(path)
        async with log.server.connect("a") as socket, log.server.connect("b") as other:
            await socket.say(PROMPT, model="sim:sim-echo-gap0")
            # The provider's error quotes the message.
            frames = await socket.say(f"{PROMPT} {KEY}", model="sim:sim-http400-echo", onlyModel=True)
            attempt = await Attempt.objects.aget(reply_id=frames[-1]["replyId"])
            assert PROMPT in attempt.error
            await socket.send_text("{" + PROMPT)
            await socket.until("error")
            await db(no_table, "chat_conversation")
            await socket.send(type="hello")
            await socket.until("closing")
            await log.get("/")
            await other.send(type="ping", t=1)
            await other.until("pong")
            assert await asyncio.to_thread(log.server.stop) == 0
        events = log.events()
        assert events[-1]["event"] == "socket closed"
        assert [e["code"] for e in events if e["event"] == "socket closed"] == [4500, 1012]
        assert {"attempt failed", "reply ended", "request", "a frame failed"} <= {str(e["event"]) for e in events}
        outside = [e for e in events if not e.keys() & {"request_id", "connection_id"}]
        assert [e for e in outside if e["logger"] not in ("chat.runner", "chat.sockets", "py.warnings")] == []
        assert log.text().isascii()
        for planted in (PROMPT, PROMPT.replace(" ", "+"), KEY):
            assert planted not in log.text()
        assert log.server.process.stdout.read() == ""
