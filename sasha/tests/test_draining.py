"""What a load balancer sees of a server that is about to leave."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket

import pytest
import pytest_asyncio

from chat.database import db
from providers.simulator import Simulator
from sasha.testing import PATIENCE, ServerProcess, eventually, make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

# A second and a half of streaming.
LONG = "sim:sim-n150-gap10"


@pytest_asyncio.fixture(autouse=True)
async def provider(transactional_db):
    simulator = Simulator()
    await simulator.start()
    yield await db(make_provider, simulator.url("openai-compatible"), "sim-n150-gap10", "sim-n5")
    await simulator.stop()


class Balancer:
    """Asks /readyz again and again, over one connection that it keeps."""

    def __init__(self, server: ServerProcess) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        self._connection.connect()
        # What is closed stays closed.
        self._connection.auto_open = 0

    async def ask(self) -> tuple[int, dict]:
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> tuple[int, dict]:
        self._connection.request("GET", "/readyz", headers={"Host": "10.0.0.7"})
        response = self._connection.getresponse()
        return response.status, json.load(response)["checks"]

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    async def until_not_ready(self) -> dict:
        while True:
            status, checks = await self.ask()
            if status == 503:
                return checks


def takes_connections(server: ServerProcess) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


async def test_a_draining_server_is_not_ready_while_a_reply_still_streams():
    with server_process(CHAT_SHUTDOWN_GRACE="20") as server, Balancer(server) as balancer:
        async with server.connect("a") as a:
            assert (await balancer.ask())[0] == 200
            await a.send(message="Hi", model=LONG)
            await a.until("chunk")
            server.process.send_signal(signal.SIGTERM)
            checks = await asyncio.wait_for(balancer.until_not_ready(), 1.0)
            assert [name for name, result in checks.items() if result != "ok"] == ["draining"]
            # The reply is still being written.
            frames = await a.until("complete")
            assert sum(frame["type"] == "chunk" for frame in frames) > 10
            assert frames[-1]["metadata"]["ending"] == "complete"
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0


async def test_before_it_stops_listening_it_says_no_for_as_long_as_the_setting_says_and_serves_on():
    with server_process(DRAIN_SECONDS="2") as server, Balancer(server) as balancer:
        async with server.connect("a") as a:
            await a.say("Hi", model="sim:sim-n5")
            server.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(balancer.until_not_ready(), 1.0)
            assert takes_connections(server)
            async with server.connect("b") as late:
                assert (await late.say("Hi", model="sim:sim-n5"))[-1]["metadata"]["ending"] == "complete"
            await eventually(lambda: not takes_connections(server))
        assert await asyncio.to_thread(server.process.wait, PATIENCE) == 0
