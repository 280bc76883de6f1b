"""Two users, every address and every frame: what is another's answers exactly as what does not exist.

Both lists come from the URL configuration and the protocol: a new route or field without an entry here fails.
"""

from __future__ import annotations

import dataclasses
import json
import typing
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from chat import protocol
from chat.database import db
from chat.models import ApiToken, Attachment, AttachmentKind, Conversation, Message, Role, Share
from chat.routes import find_routes
from chat.tests.test_identity import ORIGIN
from sasha.testing import Socket, without_nonce

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# The address of a shared conversation is the permission to read it. The words of the scripts are for everybody.
PUBLIC = {"key", "language"}
# The name of a conversation means one's own of that name, whoever else has one.
OWN = {"name"}


class Alice:
    """Somebody with one of everything; `ids` by the names that addresses and frames have for them."""

    def __init__(self) -> None:
        self.user = User.objects.create_user("alice")
        conversation = Conversation.objects.create(owner=self.user, name=str(uuid.uuid4()), title="Secret")
        question = Message.objects.create(conversation=conversation, role=Role.USER, text="Secret question")
        reply = Message.objects.create(
            conversation=conversation, role=Role.ASSISTANT, parent=question, text="Secret answer", ending="complete"
        )
        conversation.current_leaf = reply
        conversation.save()
        file = Attachment.objects.create(
            owner=self.user,
            message=question,
            kind=AttachmentKind.TEXT,
            name="a.txt",
            media_type="text/plain",
            data=b"s",
        )
        token = ApiToken.objects.create(user=self.user, name="script", digest="0" * 64, ending="0000")
        share = Share.objects.create(conversation=conversation, leaf=reply)
        self.session = conversation.name
        self.ids = {
            "conversation_id": conversation.pk,
            "message_id": question.pk,
            "reply_id": reply.pk,
            "parent_id": reply.pk,
            "attachment_id": file.pk,
            "token_id": token.pk,
            "share_id": share.pk,
            "after": reply.pk,
            "regenerate.message_id": reply.pk,
            "continue.message_id": reply.pk,
            "attachments": file.pk,
        }


@pytest.fixture
def alice(transactional_db) -> Alice:
    return Alice()


def make_client(stranger: str) -> Client:
    """Return the browser of `bob`, of an admin, or of nobody."""
    client = Client()
    if stranger != "nobody":
        client.force_login(
            User.objects.create_user(stranger, is_staff=stranger == "admin", is_superuser=stranger == "admin")
        )
    return client


# Staff's pages: monitoring/tests and sasha/tests.
ROUTES = [
    (route.name, route.parameters)
    for route in find_routes()
    if route.name and set(route.parameters) - PUBLIC - OWN and not route.template.startswith("/admin/")
]


def test_there_are_routes_and_fields_to_try():
    assert ("chat:conversation", ("conversation_id",)) in ROUTES
    assert (protocol.Stop, "reply_id") in FIELDS


@pytest.mark.parametrize("stranger", ["bob", "admin", "nobody"])
@pytest.mark.parametrize(("route", "parameters"), ROUTES, ids=[name for name, _ in ROUTES])
def test_what_is_anothers_answers_like_what_does_not_exist(alice, route, parameters, stranger):
    client = make_client(stranger)
    for at in parameters:
        foreign = {name: alice.ids[name] for name in parameters}
        unknown = foreign | {at: uuid.uuid4()}
        for method in METHODS:
            theirs = ask(client, method, reverse(route, kwargs=foreign))
            nothing = ask(client, method, reverse(route, kwargs=unknown))
            assert theirs == nothing, (method, at)
            assert theirs[0] in (404, 405), method


def ask(client: Client, method: str, url: str) -> tuple[int, str]:
    """Return the status and the body, without the parts that differ from request to request."""
    response = client.generic(method, url, content_type="application/json")
    return response.status_code, "" if response.streaming else without_nonce(response.text).replace(url, "")


def test_the_owner_is_let_in_where_strangers_are_not(alice, tmp_path, settings):
    settings.STATIC_ROOT = tmp_path
    client = Client()
    client.force_login(alice.user)
    assert b"Secret answer" in client.get(reverse("chat:conversation", args=[alice.ids["conversation_id"]])).content


# --- Frames -----------------------------------------------------------------------------------------------------------


def fields() -> Iterator[tuple[type, str]]:
    """Yield each field of each frame of a client that names a row."""
    for frame in protocol.CLIENT_FRAMES.values():
        for name, hint in typing.get_type_hints(frame).items():
            if "UUID" in str(hint):
                yield frame, name


FIELDS = list(fields())


def make_frame(frame: type, name: str, row: uuid.UUID) -> dict[str, Any]:
    """Return the least frame of that type that names the row."""
    values: dict[str, Any] = {"type": frame.type}
    for field in dataclasses.fields(frame):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            values[camel(field.name)] = "Hello" if field.type == "str" else str(row)
    hint = str(typing.get_type_hints(frame)[name])
    wire: Any = {str(row): 0} if "dict" in hint else [str(row)] if "list" in hint else str(row)
    return values | {camel(name): wire}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


@pytest.mark.parametrize(("frame", "name"), FIELDS, ids=[f"{frame.type}-{name}" for frame, name in FIELDS])
async def test_a_frame_that_names_anothers_row_is_answered_like_one_that_names_none(site, alice, frame, name):
    await db(User.objects.create_user, "bob")
    cookie = await db(session_cookie, "bob")
    row = alice.ids.get(f"{frame.type}.{name}", alice.ids[name])
    for session in ("mine", alice.session):
        async with Socket(session, {"Origin": ORIGIN, "Cookie": cookie}) as socket:
            theirs = await answers(socket, make_frame(frame, name, row))
            nothing = await answers(socket, make_frame(frame, name, uuid.uuid4()))
            assert theirs == nothing
            assert "Secret" not in json.dumps(theirs)
            assert [answer["type"] for answer in theirs] == ["hello" if frame is protocol.Hello else "error"]
    assert not await Message.objects.filter(stop_requested=True).aexists()


async def answers(socket: Socket, frame: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what comes back, up to the answer to a `ping` behind it."""
    await socket.send(**frame)
    await socket.send(type="ping", t=1)
    return (await socket.until("pong"))[:-1]


def session_cookie(username: str) -> str:
    client = Client()
    client.force_login(User.objects.get(username=username))
    return f"sessionid={client.cookies['sessionid'].value}"
