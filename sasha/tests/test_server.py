from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
import websockets
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing

from chat.database import db
from chat.identity import GUEST_COOKIE, LOCAL_USER, SALT
from chat.models import Conversation, Message, Replica
from providers.simulator import Simulator
from sasha.testing import PATIENCE, eventually, make_provider, server_environment, server_process, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest_asyncio.fixture(autouse=True)
async def provider(transactional_db):
    simulator = Simulator()
    await simulator.start()
    models = ("sim-n5", "sim-echo-gap0", "sim-n150-gap10", "sim-stall-at3")
    yield await db(make_provider, simulator.url("openai"), *models, kind="openai", key_variable="SIM_API_KEY")
    await simulator.stop()


@pytest.fixture
def serve():
    """Start servers that are killed at the end, whatever happens."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **env: stack.enter_context(server_process(SIM_API_KEY="sk-sim-canary-1234", **env))


async def stop(server, number: int = signal.SIGTERM) -> int:
    return await asyncio.to_thread(server.stop, number)


async def ask_without_end(port: int, answered: asyncio.Event) -> None:
    """Ask for the same over one connection until the server closes it; `answered` is set with the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /api/connection HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    try:
        while True:
            writer.write(request)
            await writer.drain()
            if not await reader.read(65536):
                return
            answered.set()
    except ConnectionError:
        return
    finally:
        writer.close()


async def row(reply_id: str) -> Message:
    return await Message.objects.aget(pk=reply_id)


async def test_sigterm_ends_replies_as_interrupted_and_tells_every_socket(serve):
    server = serve(CHAT_SHUTDOWN_GRACE="0")
    async with server.connect("a") as a, server.connect("idle") as idle:
        # A title of its own: none comes from the answer.
        await a.send(message="Count to ten", model="sim:sim-stall-at3")
        seen = await a.until_text("word2 ")
        child = server.children()[0]
        stopping = asyncio.create_task(stop(server))
        seen += await a.until("complete")
        assert seen[-1]["metadata"]["ending"] == "interrupted"
        for connection in (a, idle):
            closing = await connection.receive()
            assert (closing["type"], closing["code"]) == ("closing", 1012)
            await connection.websocket.wait_closed()
            assert connection.websocket.close_code == 1012
    assert await stopping == 0
    assert not child.is_running()
    assert (await row(seen[-1]["replyId"])).text == text_of(seen)
    assert not await Replica.objects.aexists()


async def test_sigterm_lets_a_running_reply_finish_and_takes_no_new_one(serve):
    server = serve(CHAT_SHUTDOWN_GRACE="20")
    async with server.connect("a") as a, server.connect("b") as b:
        await a.send(message="Hi", model="sim:sim-n150-gap10")
        await a.until("chunk")
        stopping = asyncio.create_task(stop(server))
        await eventually(lambda: refuses_connections(server.port))
        await b.send(message="too late")
        assert (await b.receive())["code"] == "restarting"
        assert (await a.until("complete"))[-1]["metadata"]["ending"] == "complete"
    assert await stopping == 0


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def test_requests_up_to_the_last_moment_do_not_hold_up_the_end(serve):
    server = serve(CHAT_SHUTDOWN_GRACE="0")
    busy = asyncio.Event()
    visitors = [asyncio.create_task(ask_without_end(server.port, busy)) for _ in range(8)]
    await busy.wait()
    assert await stop(server) == 0
    await asyncio.gather(*visitors)


async def test_kill_9_leaves_no_child_and_the_reply_is_interrupted_with_its_text(serve):
    server = serve()
    async with server.connect("a") as a:
        await a.send(message="Hi", model="sim:sim-stall-at3")
        *_, chunk = await a.until_text("word2 ")
        children = server.children()
        assert [child.name() for child in children] == ["aichat"]
        reply = chunk["replyId"]
        while "word2 " not in (await row(reply)).text:
            await asyncio.sleep(0.02)
        await stop(server, signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, children, 1.0)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)

    again = serve()
    async with again.connect("a") as a:
        await a.send(type="hello", after={reply: 3})
        frames = await a.until("complete")
    assert (frames[-2]["type"], frames[-2]["code"]) == ("error", "interrupted")
    assert (await row(reply)).text == "word0 word1 word2 "
    async with again.connect("a") as a:
        assert text_of(await a.say("And now?", model="sim:sim-echo-gap0")) == "And now?"


async def test_the_close_of_a_script_kills_its_child_within_a_second(serve):
    server = serve()
    async with server.connect("a") as a:
        await a.send(message="Hi", model="sim:sim-stall-at3")
        await a.until("chunk")
        child = server.children()[0]
    await eventually(lambda: not child.is_running(), within=1.0)


@pytest.mark.sqlite
async def test_the_server_needs_no_thread_for_a_child(serve):
    server = serve()
    process = psutil.Process(server.process.pid)
    async with server.connect("a") as a, server.connect("b") as b:
        await a.send(message="Hi", model="sim:sim-stall-at3")
        await a.until_text("word2 ")
        with_one = process.num_threads()
        await b.send(message="Hi", model="sim:sim-stall-at3")
        await b.until_text("word2 ")
        assert len(server.children()) == 2
        assert process.num_threads() == with_one


async def test_a_frame_over_the_limit_is_closed_with_1009(serve):
    server = serve()
    async with server.connect("a") as a:
        await a.send_text(json.dumps({"message": "x" * 512 * 1024}))
        with pytest.raises(websockets.ConnectionClosed):
            await a.receive()
        assert a.websocket.close_code == 1009
    async with server.connect("a") as a:
        assert text_of(await a.say("still here", model="sim:sim-echo-gap0")) == "still here"


async def test_a_client_that_never_reads_costs_no_memory(serve):
    server = serve()
    user = await User.objects.acreate(username=LOCAL_USER)
    talk = await Conversation.objects.acreate(owner=user, name="a")
    ended = {"conversation": talk, "role": "assistant", "state": "ended", "ending": "complete", "last_seq": 1}
    replies = [await Message.objects.acreate(text="x" * 1_000_000, **ended) for _ in range(40)]
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    _, writer = await raw_socket(server.port, "a")
    writer.write(masked(json.dumps({"type": "hello", "after": {str(reply.pk): 0 for reply in replies}})))
    async with server.connect("b") as b:
        # The others are served meanwhile.
        assert text_of(await b.say("hello", model="sim:sim-echo-gap0")) == "hello"
    await at_rest(process)
    # Of 40 MB.
    assert process.memory_info().rss - before < 20 * 1024 * 1024
    writer.transport.abort()


async def test_a_download_that_nobody_reads_costs_no_memory(serve):
    server = serve()
    guest = await User.objects.acreate(username="guest-alice")
    for number in range(40):
        talk = await Conversation.objects.acreate(owner=guest, name=str(number))
        # Random, so that no packing makes it small.
        await Message.objects.acreate(conversation=talk, role="user", text=secrets.token_hex(500_000))
    process = psutil.Process(server.process.pid)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    cookie = f"{GUEST_COOKIE}={signing.dumps('alice', salt=SALT)}"
    before = process.memory_info().rss
    writer.write(f"GET /account/export HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await at_rest(process)
    # Of 40 MB.
    assert process.memory_info().rss - before < 20 * 1024 * 1024
    writer.transport.abort()


async def test_a_client_that_floods_costs_no_memory(serve):
    server = serve()
    memory = psutil.Process(server.process.pid).memory_info
    before = memory().rss
    _, writer = await raw_socket(server.port, "a")
    junk = masked(json.dumps({"message": "y" * 400_000}))
    for _ in range(100):
        writer.write(junk)
    async with server.connect("b") as b:
        assert text_of(await b.say("hello", model="sim:sim-echo-gap0")) == "hello"
    assert memory().rss - before < 40 * 1024 * 1024
    writer.transport.abort()


async def at_rest(process: psutil.Process) -> None:
    """Wait until a server does nothing any more but keep house."""
    spent: list[float] = []

    def rests() -> bool:
        spent.append(sum(process.cpu_times()[:2]))
        # Of half a second, a tenth at most: there is always some housekeeping.
        return len(spent) > 50 and spent[-1] - spent[-50] < 0.05

    await eventually(rests)


async def raw_socket(port: int, session: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a WebSocket without a client library, which would read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(
        f"GET /ws?session={session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    return reader, writer


def masked(text: str) -> bytes:
    """Return `text` as a client's text frame; a mask of zeros leaves it readable."""
    data = text.encode()
    # Of the ways to write a length the server takes the shortest alone.
    if len(data) < 126:
        length = bytes([0x80 | len(data)])
    else:
        length = (
            b"\xfe" + len(data).to_bytes(2, "big") if len(data) < 65_536 else b"\xff" + len(data).to_bytes(8, "big")
        )
    return b"\x81" + length + b"\0\0\0\0" + data


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"HOST": "0.0.0.0"}, "Local mode has no sign-in, so it listens on this machine only"),
        ({"SASHA_MODE": "production"}, "SECRET_KEY is not set"),
        ({"SASHA_MODE": "production", "SECRET_KEY": "short"}, "SECRET_KEY can be guessed"),
        ({"SASHA_MODE": "staging"}, "it must be one of: production, local"),
        ({"CHAT_PLACES": "0"}, "it must be above 0"),
    ],
)
def test_a_server_that_must_not_start_says_why_in_one_line(environment, sentence):
    ended = run_server(environment)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_taken_port_is_a_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run_server({"PORT": str(taken.getsockname()[1])})
    assert ended.returncode == 1
    assert re.search(r"Port \d+ of 127.0.0.1 is taken", ended.stderr)
    assert "Traceback" not in ended.stderr


def run_server(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sasha.server"],
        cwd=settings.BASE_DIR,
        env=server_environment() | environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


async def test_the_key_is_in_the_child_s_environment_and_nowhere_else(serve):
    server = serve()
    async with server.connect("a") as a:
        await a.send(message="my secret question", model="sim:sim-stall-at3")
        await a.until("chunk")
        child = server.children()[0]
        environment = child.environ()
        assert environment["P_API_KEY"] == "sk-sim-canary-1234"
        assert "SIM_API_KEY" not in environment
        assert "my secret question" not in " ".join([*environment.values(), *child.cmdline()])
        assert "sk-sim-canary" not in written_configuration()


def written_configuration() -> str:
    """Return everything that was written for children to read."""
    files = list((Path(settings.DATA_DIR) / "aichat").rglob("*.yaml"))
    assert files
    return "".join(file.read_text() for file in files)


async def test_the_server_starts_small(serve, tmp_path):
    # Only what tests need is installed beside: structlog loads it where it finds it.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None")
    server = serve(PYTHONPATH=str(tmp_path))
    async with server.connect("a") as a:
        await a.say("Hi", model="sim:sim-n5")
    assert psutil.Process(server.process.pid).memory_info().rss < 100 * 1024 * 1024


async def test_who_is_turned_away_has_time_to_read_why(serve):
    server = serve()
    reader, writer = await raw_socket(server.port, "")
    await asyncio.wait_for(reader.readuntil(b"\x88"), PATIENCE)
    told_at = time.monotonic()
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE)
    # autobahn's own second is up to a second shorter.
    assert time.monotonic() - told_at > 1
    writer.close()


async def test_frames_of_every_size_arrive_whole_and_in_order(serve):
    server = serve()
    async with server.connect("a") as a:
        # The three shapes of a frame's header, and more than a socket takes at once.
        for size in (1, 100, 125, 126, 200, 65_000):
            text = "é" * (size // 2) + "x" * (size % 2)
            text = text[:32_000]
            frames = await a.say(text, model="sim:sim-echo-gap0")
            assert text_of(frames) == text
            await a.send(type="attach", replyId=frames[-1]["replyId"], after=0)
            await a.send(type="ping", t=size)
            again = await a.until("complete")
            assert text_of(again) == text
            if not any(frame["type"] == "pong" for frame in again):
                await a.until("pong")
