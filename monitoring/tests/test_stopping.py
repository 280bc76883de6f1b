"""Somebody's answer is stopped by staff, whichever server writes it."""

from __future__ import annotations

import time

import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from chat.database import db
from chat.models import Message
from chat.signals import acted
from providers.simulator import Simulator
from sasha.testing import make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
# A quarter of one until its server looks, and the rest for a busy machine.
WITHIN_SECONDS = 1.0


@pytest_asyncio.fixture
async def servers(transactional_db):
    """Two servers on one database, with a model that never ends."""
    simulator = Simulator()
    await simulator.start()
    await db(make_provider, simulator.url("openai-compatible"), "sim-n2000-gap20")
    with server_process() as one, server_process() as other:
        yield one, other
    await simulator.stop()


@pytest.fixture
def admin_client(transactional_db):
    client = Client()
    client.force_login(User.objects.create_user("ada", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def heard():
    """What is said to whoever writes the audit, and whether that was inside the transaction."""
    signals = []

    def hear(**signal):
        signals.append((signal, connection.in_atomic_block))

    acted.connect(hear)
    yield signals
    acted.disconnect(hear)


async def test_a_streaming_answer_of_another_server_ends_stopped_within_a_second(servers, admin_client, heard):
    _, other = servers
    async with other.connect("s") as socket:
        await socket.send(message="Hi", model="sim:sim-n2000-gap20")
        reply = (await socket.until_text("word3 "))[-1]["replyId"]
        began = time.monotonic()
        address = reverse("monitor-stop", args=[reply])
        response = await db(admin_client.post, address, follow=True)
        ended = (await socket.until("complete"))[-1]
        assert time.monotonic() - began < WITHIN_SECONDS
    assert "Stopped." in response.content.decode()
    assert ended["metadata"]["ending"] == "stopped"
    assert other.children() == []
    (signal, inside), *more = heard
    assert (inside, more) == (True, [])
    assert (signal["action"], signal["target_kind"], str(signal["target_id"])) == ("process.stopped", "reply", reply)
    assert signal["user"].username == "ada"
    assert signal["data"] == {"owner": "local", "model": "sim:sim-n2000-gap20"}
    again = await db(admin_client.post, address, follow=True)
    assert "It had ended already." in again.content.decode()
    assert len(heard) == 1
    assert (await Message.objects.aget(pk=reply)).ending == "stopped"
