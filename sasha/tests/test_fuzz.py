"""10,000 frames and 10,000 requests that nobody would send: no failure of the server, nothing left behind by them.

A real server takes them, over real sockets. What they are made of comes from the protocol and from the URL
configuration, so that a new frame or address is tried without anybody's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import uuid
from collections import Counter
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from chat import protocol
from chat.database import db
from chat.routes import Route, find_routes
from providers.simulator import Simulator
from sasha.testing import ServerProcess, eventually, make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.sqlite, pytest.mark.timeout(600)]

FRAMES = REQUESTS = 10_000
SOCKETS = 8
# Garbage is only collected now and then, and SQLite keeps pages of what was read; a leak of 4 KiB a frame would show.
GROWTH_BYTES = 40 * 2**20
SEED = 20261129
NASTY = [
    "", "\0", "\x1b[2J", "\ud800", "\u202e", "null", "../../etc/passwd",
    "'; DROP TABLE x; --", "<script>", "%00", "%s%n",
    "\r\nX-A: b", "{{7*7}}", "a" * 5000, "9" * 5000, "-0", "1e999", "NaN", "😀" * 50,
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
]  # fmt: skip


# --- What is sent -----------------------------------------------------------------------------------------------------

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30), st.sampled_from(NASTY))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from([*protocol.CLIENT_FRAMES, *protocol.SERVER_FRAMES, "", "__class__"])
fields = st.sampled_from(
    sorted({name for frame in protocol.CLIENT_FRAMES.values() for name, _ in protocol.fields_of(frame)})
)
objects = st.dictionaries(fields, values, max_size=6)
frames: SearchStrategy[str] = st.one_of(
    st.builds(lambda name, rest: json.dumps({"type": name} | rest), names, objects),
    st.builds(json.dumps, objects),
    st.builds(json.dumps, values),
    st.text(max_size=60),
    st.builds(lambda depth: "[" * depth, st.integers(1, 20_000)),
    st.builds(lambda rest, at: json.dumps(rest)[:at], objects, st.integers(0, 60)),
)


def examples(strategy: SearchStrategy[Any], count: int) -> list[Any]:
    """The same `count` examples each time; those of hypothesis' own runs shrink towards what is harmless."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    made: list[Any] = []

    @seed(SEED)
    @settings(max_examples=count, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def collect(example: Any) -> None:
        made.append(example)

    collect()
    return [made[at % len(made)] for at in range(count)]


def request_of(route: Route, chance: random.Random, cookies: list[str]) -> bytes:
    """One HTTP/1.1 request to an address of the site, or to something like it."""
    path = route.template.removeprefix("/").replace("^", "").replace("$", "")
    for _name in route.parameters:
        value = chance.choice([*NASTY, str(uuid.uuid4()), "1", "0"])
        start = path.find("<")
        path = path[:start] + quote(value.encode(errors="replace"), safe="") + path[path.find(">") + 1 :]
    query = "&".join(
        f"{chance.choice(['q', 'after', 'model', 'p', 'o', 'next', 'seconds', 'e', 'by', 'first', 'session'])}="
        f"{quote(chance.choice(NASTY).encode(errors='replace'), safe='')}"
        for _ in range(chance.randrange(3))
    )
    body = json.dumps({"message": chance.choice(NASTY)}).encode() if chance.random() < 0.5 else chance.randbytes(40)
    kind = chance.choice(
        [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "text/\xff",
        ]
    )
    method = chance.choice(["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
    lines = [
        f"{method} /{path}{'?' + query if query else ''} HTTP/1.1",
        f"Host: {chance.choice(['127.0.0.1', '127.0.0.1', '127.0.0.1', 'evil.example', '[::1'])}",
        f"Content-Length: {len(body)}",
        f"Content-Type: {kind}",
        f"Cookie: {chance.choice(cookies)}",
        f"Accept-Language: {chance.choice(['de', 'he', 'xx-' + 'y' * 300, '*;q=9'])}",
        f"Authorization: {chance.choice(['', 'Bearer x', 'Bearer ' + 'y' * 3000, 'Basic Og=='])}",
        f"Last-Event-ID: {chance.choice(['1', 'x', '9' * 400])}",
        "Connection: close",
    ]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


# --- To whom ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def server(transactional_db):
    simulator = Simulator()
    await simulator.start()
    await db(make_provider, simulator.url("openai-compatible"), "sim-n1", forced="closed")
    with server_process() as server:
        yield server
    await simulator.stop()


def memory_of(server: ServerProcess) -> int:
    return psutil.Process(server.process.pid).memory_full_info().uss


async def check_alive(server: ServerProcess, before: int) -> None:
    """It answers a usual message, has no child left, and has not grown."""
    async with server.connect("afterwards") as socket:
        told = await socket.say("Hi", model="sim:sim-n1")
    assert told[-1]["metadata"]["ending"] == "complete"
    await eventually(lambda: not server.children())
    assert memory_of(server) - before < GROWTH_BYTES


async def test_no_frame_breaks_the_server(server):
    sent = examples(frames, FRAMES)
    await throw(server, sent[: FRAMES // 10])
    before = memory_of(server)
    told = await throw(server, sent[FRAMES // 10 :])
    assert told.keys() <= {*protocol.SERVER_FRAMES}, told
    assert told["error"] > FRAMES // 2
    await check_alive(server, before)


async def throw(server: ServerProcess, sent: list[str]) -> Counter[str]:
    """Send everything over a few sockets; return how often which frame came back."""
    told: Counter[str] = Counter()

    async def over_one(number: int) -> None:
        async with server.connect(f"fuzz-{number}") as socket:
            for text in sent[number::SOCKETS]:
                await socket.send_text(text.encode(errors="replace").decode())
                # What is behind it in the line answers when it has been read.
                await socket.send(type="ping", t=1)
                for frame in await socket.until("pong", t=1):
                    told[frame["type"]] += 1

    await asyncio.gather(*map(over_one, range(SOCKETS)))
    return told


async def test_no_request_breaks_the_server(server):
    admin, cookies = await db(make_people)
    chance = random.Random(SEED)
    known = list(find_routes())
    sent = [request_of(chance.choice(known), chance, cookies) for _ in range(REQUESTS)]
    await ask(server, sent[: REQUESTS // 10])
    before = memory_of(server)
    statuses = await ask(server, sent[REQUESTS // 10 :])
    assert max(statuses) < 500, statuses
    assert statuses[200] > REQUESTS // 50
    assert await db(User.objects.filter(pk=admin.pk).exists)
    await check_alive(server, before)


def make_people() -> tuple[User, list[str]]:
    """An admin, and the cookies of everybody who asks: nobody, the admin, and whoever makes some up."""
    admin = User.objects.create_superuser("root", password="a long enough passphrase")
    client = Client()
    client.force_login(admin)
    session = client.cookies["sessionid"].value
    return admin, [
        "",
        f"sessionid={session}",
        "sessionid=x; sasha_guest=y",
        f"sessionid={session}; csrftoken={'c' * 32}",
        "a=\x01;;=;",
    ]


async def ask(server: ServerProcess, sent: list[bytes]) -> Counter[int]:
    """Send every request, a few at a time; return how often which status came back."""
    statuses: Counter[int] = Counter()
    places = asyncio.Semaphore(SOCKETS)

    async def one(request: bytes) -> None:
        async with places:
            status, body = await answer_to(server, request)
        statuses[status] += 1
        assert status or is_no_http(request), request
        assert b"Traceback" not in body, request
        assert status < 500, (request, body[-2000:])

    await asyncio.gather(*map(one, sent))
    return statuses


async def answer_to(server: ServerProcess, request: bytes) -> tuple[int, bytes]:
    """Return status and body; 0 where the connection was cut before. What is refused is cut behind its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = body = b""
    with contextlib.suppress(ConnectionResetError):
        writer.write(request)
        head = await asyncio.wait_for(reader.readline(), 20)
        # An event stream does not end by itself; its head says enough.
        if b"/events" not in request.split(b"\r\n", 1)[0]:
            # A refusal is one piece; behind it the server waits for a while until it cuts the connection.
            refused = head[9:10] == b"4"
            body = await asyncio.wait_for(reader.read(65536 if refused else -1), 20)
    writer.close()
    return (int(head.split()[1]) if head else 0), body


def is_no_http(request: bytes) -> bool:
    """Whether its head has what no header may hold; such a connection is cut, its body unread."""
    head = request.partition(b"\r\n\r\n")[0]
    return b"\x01" in head or b"\xff" in head or b"Host: [::1\r\n" in head
