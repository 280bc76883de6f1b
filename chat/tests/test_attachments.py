"""Files of messages: uploaded, sent once, quoted or shown to the model, and nobody else's business."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import uuid
from datetime import timedelta
from hashlib import sha256

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client
from django.urls import reverse
from django.utils import timezone

from chat import attachments
from chat.database import db
from chat.history import IMAGE_CHARACTERS
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Attachment, Conversation, Message
from chat.tests.test_identity import ORIGIN
from chat.tests.test_strangers import session_cookie
from chat.tests.test_uploads import halves, saved
from chat.uploads import Upload
from providers.models import Attempt, Model
from sasha.testing import PATIENCE, Socket, make_provider, server_process, text_of

pytestmark = pytest.mark.django_db(transaction=True)

PNG = saved(halves(), "PNG")


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def browser(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def upload(browser: Client, content: bytes = PNG, name: str = "a.png", media_type: str = "image/png"):
    return browser.post(reverse("chat:upload"), {"file": SimpleUploadedFile(name, content, media_type)})


def keep(user: User, name: str = "a.png", data: bytes = PNG, kind: str = "image") -> Attachment:
    media_type = "image/png" if kind == "image" else "text/plain"
    return attachments.keep(user, Upload(kind, name, media_type, data, 40, 20))


# --- Over HTTP --------------------------------------------------------------------------------------------------------


def test_an_upload_is_answered_with_what_is_kept_of_it(browser, alice):
    response = upload(browser, media_type="text/html")
    row = Attachment.objects.get()
    assert (response.status_code, row.owner, row.message, row.size) == (201, alice, None, len(row.data))
    assert response.json() == {
        "id": str(row.pk),
        "kind": "image",
        "name": "a.png",
        "mediaType": "image/jpeg",
        "width": 40,
        "height": 20,
        "size": row.size,
        "url": f"/attachments/{row.pk}",
    }


def test_what_cannot_be_taken_is_refused_with_a_sentence_and_not_kept(browser, settings):
    settings.CHAT_FILE_BYTES = 1_500_000
    cases = [
        (b"\x00\x01", 422, "a.png is neither"),
        (b"", 422, "a.png is empty."),
        (b"x" * 1_500_001, 413, "a.png is too large: a file may have 1.5 MB."),
    ]
    for content, status, words in cases:
        response = upload(browser, content)
        assert response.status_code == status
        assert response.json()["error"].startswith(words)
    assert browser.post(reverse("chat:upload")).status_code == 400
    assert browser.post(reverse("chat:upload"), {"file": "text"}).status_code == 400
    assert not Attachment.objects.exists()


def test_a_user_has_room_for_so_much_and_so_many(browser, alice, settings, monkeypatch):
    settings.CHAT_FILE_BYTES_PER_USER = 3000
    assert upload(browser, b"x" * 2000).status_code == 201
    assert "There is no room for b.txt" in upload(browser, b"y" * 1001, "b.txt").json()["error"]
    assert upload(browser, b"y" * 1000).status_code == 201
    settings.CHAT_FILE_BYTES_PER_USER = 10**9
    monkeypatch.setattr(attachments, "UNSENT_MOST", 2)
    assert upload(browser, b"z").json()["error"] == "You have attached 2 files without sending them."


def test_an_upload_needs_the_forms_token(alice):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert upload(strict).status_code == 403
    row = keep(alice)
    assert strict.post(reverse("chat:delete-attachment", args=[row.pk])).status_code == 404


def test_a_script_attaches_as_it_speaks():
    script = Client(enforce_csrf_checks=True)
    assert upload(script).status_code == 201
    assert Attachment.objects.get().owner.username == "local"


def test_a_guest_who_has_said_nothing_yet_can_attach_a_file():
    browser = Client()
    browser.cookies[GUEST_COOKIE] = signing.dumps("abc", salt=SALT)
    assert upload(browser).status_code == 201
    assert Attachment.objects.get().owner.username == "guest-abc"
    assert browser.get(Attachment.objects.get().get_absolute_url()).status_code == 200


def test_a_guest_who_has_been_switched_off_is_a_stranger():
    browser = Client()
    browser.cookies[GUEST_COOKIE] = signing.dumps("abc", salt=SALT)
    upload(browser)
    User.objects.update(is_active=False)
    assert (upload(browser).status_code, Attachment.objects.count()) == (401, 1)
    assert browser.get(Attachment.objects.get().get_absolute_url()).status_code == 404


def test_in_production_a_stranger_uploads_nothing(settings):
    settings.LOCAL_MODE = False
    response = upload(Client())
    assert (response.status_code, response.json()) == (401, {"error": "Sign in first."})
    assert not User.objects.exists()


async def test_a_large_file_arrives_whole():
    guest = await User.objects.acreate(username="guest-abc")
    data = bytes(range(256)) * 8000
    file = await db(keep, guest, "a.txt", data, "text")
    client = AsyncClient()
    client.cookies[GUEST_COOKIE] = signing.dumps("abc", salt=SALT)
    response = await client.get(file.get_absolute_url())
    assert response.headers["Content-Length"] == str(len(data))
    assert b"".join([piece async for piece in response.streaming_content]) == data


@pytest.mark.slow
async def test_files_that_nobody_reads_do_not_wait_in_memory():
    guest = await User.objects.acreate(username="guest-abc")
    file = await db(keep, guest, "a.txt", secrets.token_bytes(8_000_000), "text")
    cookie = f"{GUEST_COOKIE}={signing.dumps('abc', salt=SALT)}"

    def ask(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()

    with server_process() as server:
        before = server.peak_bytes()
        connections = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(ask(file.get_absolute_url()))
            connections.append((reader, writer))
        begun = [asyncio.create_task(reader.read(1)) for reader, _ in connections]
        await asyncio.wait_for(_until_done(begun, 2), PATIENCE)
        # Time for all the others.
        async with server.connect("a") as socket:
            for _ in range(100):
                await socket.send(type="ping", t=1)
                await socket.until("pong")
        # A database unpacks the whole of each that is under way.
        assert server.peak_bytes() - before < 15 * file.size
        assert sum(task.done() for task in begun) == 2
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()


async def _until_done(tasks: list[asyncio.Task], count: int) -> None:
    while sum(task.done() for task in tasks) < count:
        await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)


def test_a_file_is_served_as_what_it_is_and_can_do_nothing(browser, alice):
    page = b"<script>alert(document.domain)</script>"
    response = browser.get(keep(alice, 'a";é.html', page, "text").get_absolute_url())
    assert response.content == page
    headers = {name: response.headers[name] for name in ("Content-Type", "X-Content-Type-Options")}
    assert headers == {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert response.headers["Content-Disposition"] == "inline; filename*=utf-8''a%22%3B%C3%A9.html"
    assert response.headers["Cache-Control"].startswith("private")


def test_only_what_was_not_sent_is_deleted_by_itself(browser, alice):
    unsent, sent = keep(alice), keep(alice)
    conversation = Conversation.objects.create(owner=alice, name="x")
    message = Message.objects.create(conversation=conversation, role="user", text="a")
    attachments.give_to(message, [sent])
    for row, status in ((unsent, 204), (unsent, 404), (sent, 404)):
        assert browser.post(reverse("chat:delete-attachment", args=[row.pk])).status_code == status
    assert list(Attachment.objects.all()) == [sent]
    conversation.deleted_at = timezone.now()
    conversation.save()
    assert browser.get(sent.get_absolute_url()).status_code == 404


def test_what_was_never_sent_is_swept_after_a_day(alice):
    old, new = keep(alice), keep(alice)
    sent = keep(alice)
    Attachment.objects.filter(pk__in=[old.pk, sent.pk]).update(created_at=timezone.now() - timedelta(hours=25))
    conversation = Conversation.objects.create(owner=alice, name="x")
    Attachment.objects.filter(pk=sent.pk).update(
        message=Message.objects.create(conversation=conversation, role="user", text="a")
    )
    assert attachments.sweep_unsent() == 1
    assert set(Attachment.objects.all()) == {new, sent}


# --- Over the socket --------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(site, alice):
    """Open a socket of Alice's."""
    cookie = session_cookie("alice")
    return lambda session="s": Socket(session, {"Origin": ORIGIN, "Cookie": cookie})


async def see(name: str = "sim-echo") -> None:
    await Model.objects.filter(name=name).aupdate(vision=True)


async def test_images_reach_the_model_byte_for_byte_with_every_later_message(mine, alice, simulator):
    await see()
    one, two = await db(keep, alice), await db(keep, alice, "b.png", saved(halves(size=(10, 10)), "PNG"))
    digests = [sha256(row.data).hexdigest() for row in (one, two)]
    async with mine() as socket:
        frames = await socket.say("Look", model="sim:sim-echo", attachments=[str(one.pk), str(two.pk)])
        assert text_of(frames) == "Look"
        assert simulator.served["served"][-1]["images"] == tuple(digests)
        parts = [part["type"] for part in simulator.last["body"]["messages"][0]["content"]]
        assert parts == ["image_url", "image_url"]
        url = simulator.last["body"]["messages"][0]["content"][0]["image_url"]["url"]
        assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == one.data
        await socket.say("And now?", model="sim:sim-echo")
    assert simulator.served["served"][-1]["images"] == tuple(digests)
    first, reply, last = simulator.last["body"]["messages"]
    assert [part["type"] for part in first["content"]] == ["image_url", "image_url", "text"]
    assert (reply["content"], last["content"]) == ("Look", "And now?")
    attempt = await Attempt.objects.order_by("started_at").alast()
    assert attempt.prompt_characters == len("LookLookAnd now?") + 2 * IMAGE_CHARACTERS


async def test_who_takes_over_in_the_middle_sees_the_images_too(mine, alice, simulator, provider):
    await see("sim-n6-cut-at3")
    await db(make_provider, provider.api_base, "sim-n12", slug="next", priority=900)
    await see("sim-n12")
    row = await db(keep, alice)
    digest = sha256(row.data).hexdigest()
    async with mine() as socket:
        frames = await socket.say("Look", model="sim:sim-n6-cut-at3", attachments=[str(row.pk)])
        assert frames[-1]["metadata"]["attempts"] == 2
        await socket.say_frame("regenerate", messageId=frames[-1]["replyId"], model="next:sim-n12")
    assert [line["images"] for line in simulator.served["served"]] == [(digest,)] * 3
    # Of the one that continues: the question with its image, the beginning of the answer, and what to do.
    assert simulator.served["served"][1]["roles"] == ("user", "assistant", "user")


async def test_the_text_of_a_file_is_quoted_to_the_model_and_not_in_the_message(mine, alice, simulator):
    text = "one\n```\ntwo ````\n"
    row = await db(keep, alice, "notes.txt", text.encode(), "text")
    async with mine() as socket:
        frames = await socket.say("Sum up", model="sim:sim-echo", attachments=[str(row.pk)])
    said = "notes.txt:\n`````\none\n```\ntwo ````\n`````\n\nSum up"
    assert text_of(frames) == said
    question = await Message.objects.aget(role="user")
    assert question.text == "Sum up"
    assert (await question.attachments.aget()).pk == row.pk


async def test_a_message_can_be_nothing_but_its_files(mine, alice, simulator):
    await see()
    image = await db(keep, alice, "cat.png")
    async with mine() as socket:
        frames = await socket.say(" ", model="sim:sim-echo", attachments=[str(image.pk)])
        assert text_of(frames) == "cat.png"
        note = await db(keep, alice, "a.txt", b"hello\n", "text")
        frames = await socket.say("", model="sim:sim-echo", attachments=[str(note.pk)])
        assert text_of(frames) == "a.txt:\n```\nhello\n```"
        await socket.send(message="")
        assert (await socket.receive())["code"] == "empty_message"
    assert (await Conversation.objects.aget()).title == "cat.png"


async def test_a_file_is_sent_once_and_copied_within_its_conversation(mine, alice):
    row = await db(keep, alice, "a.txt", b"hello", "text")
    async with mine() as socket:
        await socket.say("One", model="sim:sim-echo", attachments=[str(row.pk)])
        frames = await socket.say("Two", model="sim:sim-echo", attachments=[str(row.pk)])
        assert text_of(frames).endswith("Two")
    assert await Attachment.objects.acount() == 2
    assert await Message.objects.filter(role="user", attachments__name="a.txt").acount() == 2
    async with mine("other") as socket:
        await socket.send(message="x", attachments=[str(row.pk)])
        assert (await socket.receive())["code"] == "no_such_file"


async def test_a_copy_needs_room_too(mine, alice, settings):
    row = await db(keep, alice, "a.txt", b"hello", "text")
    async with mine() as socket:
        first = await socket.say("One", model="sim:sim-echo", attachments=[str(row.pk)])
        settings.CHAT_FILE_BYTES_PER_USER = 9
        await socket.send(type="edit", messageId=first[0]["userMessageId"], message="Uno")
        assert (await socket.receive())["code"] == "no_room"
        await socket.say_frame("edit", messageId=first[0]["userMessageId"], message="Uno", attachments=[])
    assert await Attachment.objects.acount() == 1


@pytest.mark.parametrize("value", ["x", [1], ["x"], [None], [["0" * 36]], {"a": 1}, [str(uuid.uuid4())] * 101])
async def test_a_list_of_files_is_read_strictly(mine, value):
    async with mine() as socket:
        await socket.send(message="x", attachments=value)
        assert (await socket.receive())["code"] == "bad_frame"
        await socket.send(message="x", attachments=[str(uuid.uuid4())] * 9)
        assert (await socket.receive())["code"] == "too_many_files"
    assert not await Message.objects.aexists()


async def test_another_tab_sees_the_files_of_a_message(mine, alice):
    row = await db(keep, alice)
    async with mine() as other, mine() as socket:
        await other.send(type="hello")
        await other.receive()
        await socket.say("Look", model="sim:sim-echo", attachments=[str(row.pk)])
        posted = (await other.until("posted"))[-1]
    url = f"/attachments/{row.pk}"
    shown = {"id": str(row.pk), "kind": "image", "name": "a.png", "url": url, "width": 40, "height": 20}
    assert posted["attachments"] == [shown]


async def test_who_sees_no_images_is_not_asked_and_the_reader_is_told(mine, alice):
    row = await db(keep, alice)
    async with mine() as socket:
        frames = await socket.say("Look", model="sim:sim-echo", attachments=[str(row.pk)])
        error = next(frame["error"] for frame in frames if frame["type"] == "error")
        assert error.endswith("sim-echo cannot be asked: it takes no images.")
        frames = await socket.say("Look again")
        error = next(frame["error"] for frame in frames if frame["type"] == "error")
        assert re.search("there are images in this conversation, and nobody .* takes any", error)
        await see("sim-n5")
        frames = await socket.say("And now?", model="sim:sim-echo")
    notice = next(frame for frame in frames if frame["type"] == "notice")
    assert "it takes no images" in notice["reason"]
    assert frames[-1]["metadata"]["model"] == "sim-n5"


async def test_the_newest_images_go_along_and_the_rest_is_named(mine, alice, simulator, monkeypatch):
    await see()
    rows = [await db(keep, alice, f"{number}.png") for number in range(3)]
    monkeypatch.setattr(attachments, "IMAGE_BYTES_SENT", 2 * len(PNG))
    async with mine() as socket:
        frames = await socket.say("Look", model="sim:sim-echo", attachments=[str(row.pk) for row in rows])
    assert text_of(frames) == "[0.png: an image that is no longer sent]\n\nLook"
    assert len(simulator.served["served"][-1]["images"]) == 2


async def test_an_image_that_is_gone_is_left_out(mine, alice, simulator):
    await see()
    row = await db(keep, alice)
    async with mine() as socket:
        await socket.say("Look", model="sim:sim-echo", attachments=[str(row.pk)])
        await Attachment.objects.all().adelete()
        frames = await socket.say("And now?", model="sim:sim-n5")
    assert frames[-1]["metadata"]["ending"] == "complete"
    assert simulator.served["served"][-1]["images"] == ()
