"""Each frame is admitted anew: whoever may not be here any more gets nothing for it, whatever its type.

The types come from the protocol: a new one without a look at its sender fails.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from chat import protocol, sockets
from chat.database import db
from chat.models import Message
from chat.tests.test_identity import ORIGIN
from sasha.testing import Socket, running_site


def least(frame: type) -> dict[str, Any]:
    """Return the smallest frame of that type."""
    values: dict[str, Any] = {"type": frame.type}
    for field in dataclasses.fields(frame):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            values[protocol.wire_name(field.name)] = "Hello" if field.type == "str" else str(uuid.uuid4())
    return values


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("frame", protocol.CLIENT_FRAMES.values(), ids=protocol.CLIENT_FRAMES)
async def test_a_frame_of_somebody_who_has_been_signed_out_is_not_heeded(provider, monkeypatch, frame):
    # Nobody but the frame itself finds out.
    monkeypatch.setattr(sockets, "LOOK_SECONDS", 3600)
    async with running_site():
        alice = await db(User.objects.create_user, "alice")
        client = Client()
        await db(client.force_login, alice)
        cookie = f"sessionid={client.cookies['sessionid'].value}"
        async with Socket("s", {"Origin": ORIGIN, "Cookie": cookie}) as socket:
            await socket.send(type="ping", t=1)
            assert (await socket.receive())["type"] == "pong"
            await db(lambda: Session.objects.all().delete())
            await socket.send(**least(frame))
            closing = await socket.receive()
            assert (closing["type"], closing["code"]) == ("closing", 4401)
            assert await socket.receive_close() == 4401
    assert not await Message.objects.aexists()
