from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import jsonschema
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.urls import reverse

from chat.database import db
from chat.exports.archive import write_archive
from chat.imports import upload
from chat.imports.run import import_file
from chat.models import Account, ApiToken, Attachment, Conversation, Message, Share
from chat.tests.talks import make_full_talk, make_talk, say
from chat.tests.test_exports import SCHEMA
from chat.tests.test_imports import ours, texts
from providers.models import Attempt

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", "alice@example.org", "a very secret password")


def archive_of(user: User) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(b"".join(write_archive(user, "en"))))


def send(user: User, content: bytes, **options):
    return import_file(user, SimpleUploadedFile("a.zip", content), **options)


def test_everything_of_a_person_is_in_their_archive_and_nothing_of_others(alice):
    talk = make_full_talk(alice)
    bob = User.objects.create_user("bob")
    say(make_talk(bob, "Bob's"), "Bob's words")
    Conversation.objects.filter(pk=make_talk(alice, "Deleted").pk).update(deleted_at=datetime.now(UTC))
    Account.objects.create(user=alice, system_prompt="Be kind.")
    ApiToken.objects.create(user=alice, name="script", digest="d" * 64, ending="1234")
    Share.objects.create(conversation=talk, leaf=talk.current_leaf)
    archive = archive_of(alice)
    assert archive.testzip() is None
    stem = f"conversations/2025-03-01 Bread & Brot {str(talk.pk)[:8]}"
    file = f"attachments/{Attachment.objects.get().pk}.txt"
    assert archive.namelist() == ["README.txt", "account.json", "costs.csv", f"{stem}.json", f"{stem}.md", file]
    jsonschema.validate(json.loads(archive.read(f"{stem}.json")), SCHEMA)
    assert archive.read(file) == b"Yeast?"
    account = json.loads(archive.read("account.json"))
    assert (account["username"], account["system_prompt"]) == ("alice", "Be kind.")
    assert account["api_tokens"][0]["ends_in"] == "1234"
    everything = b"".join(archive.read(name) for name in archive.namelist()).decode()
    for secret in (alice.password, "d" * 64, talk.shares.get().key, "Bob", "Deleted"):
        assert secret not in everything


def test_costs_are_a_table_in_which_nothing_is_a_formula(alice):
    talk = make_full_talk(alice)
    for number, cost in enumerate((Decimal("0.000000123"), None), start=1):
        Attempt.objects.create(
            reply_id=talk.current_leaf_id,
            conversation_id=talk.pk,
            user=alice,
            number=number,
            provider_slug="sim",
            model_name="=HYPERLINK(1)",
            reason="+1",
            cost_usd=cost,
        )
    rows = list(csv.DictReader(io.StringIO(archive_of(alice).read("costs.csv").decode())))
    assert [row["cost_usd"] for row in rows] == ["0.000000123000", ""]
    assert {row["model_name"] for row in rows} == {"'=HYPERLINK(1)"}
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "+", "-", "@"))]


def test_an_archive_can_be_imported_with_its_files(alice):
    make_full_talk(alice)
    say(make_talk(alice, "Other"), "Hello")
    content = b"".join(write_archive(alice, "en"))
    bob = User.objects.create_user("bob")
    report = send(bob, content)
    assert (report.problem, report.failed, len(report.imported)) == ("", [], 2)
    assert bytes(Attachment.objects.get(owner=bob).data) == b"Yeast?"
    assert Message.objects.filter(conversation__owner=bob).count() == 5
    assert (len(send(alice, content).skipped), len(send(bob, content).skipped)) == (2, 2)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_conversations(alice):
    def peak_of(count: int) -> int:
        Conversation.objects.all().delete()
        talks = [Conversation(owner=alice, name=str(number), title="T" * 50) for number in range(count)]
        Conversation.objects.bulk_create(talks)
        Message.objects.bulk_create(Message(conversation=talk, role="user", text=f"{talk.pk} " * 500) for talk in talks)
        del talks
        tracemalloc.start()
        size = sum(len(piece) for piece in write_archive(alice, "en"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > count * 500
        return peak

    few, many = peak_of(20), peak_of(400)
    # Its members are listed at the end of an archive: a kilobyte or two for each conversation, of 20 KB of text.
    assert many - few < 400 * 3000


@pytest.mark.django_db(transaction=True)
async def test_it_is_sent_while_it_is_made():
    alice = await db(User.objects.create_user, "alice")
    talk = await db(make_full_talk, alice)
    client = AsyncClient()
    assert (await client.get(reverse("chat:everything"))).status_code == 404
    await client.aforce_login(alice)
    response = await client.get(reverse("chat:everything"))
    assert response["Content-Type"] == "application/zip"
    assert response["Content-Disposition"].startswith('attachment; filename="sasha-studio-2')
    assert response["X-Content-Type-Options"] == "nosniff"
    pieces = [piece async for piece in response.streaming_content]
    names = zipfile.ZipFile(io.BytesIO(b"".join(pieces))).namelist()
    assert any(str(talk.pk)[:8] in name for name in names)


# --- Archives that somebody else has made -----------------------------------------------------------------------------


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


TALK = json.dumps([ours({"text": "Hello"})]).encode()


def test_conversations_are_found_wherever_they_stand(alice):
    for name in ("conversations.json", "export-1/conversations-000.json", "conversations/x.json", "chats.json"):
        content = zipped({"user.json" if "conv" in name else "readme.md": b"{}", name: TALK})
        report = send(alice, content, copies=True)
        assert [texts(outcome.conversation) for outcome in report.imported] == [["Hello"]], name
        assert report.failed == []


def test_a_name_in_an_archive_is_no_path(alice, tmp_path):
    report = send(alice, zipped({"../../../conversations.json": TALK, "/etc/conversations.json": b"[]"}))
    assert len(report.imported) == 1
    stolen = ours({"attachments": [{"name": "x", "file": "../../../../../../etc/passwd"}]})
    report = send(alice, zipped({"conversations.json": json.dumps(stolen).encode()}))
    assert report.imported[0].reason == "x is not part of the file."


BOMB = b'"' + b" " * 30_000_000 + b'"'
LARGE = "A file in this archive is too large once it is unpacked."
BAD_ARCHIVES = {
    "no conversations": (zipped({"a.txt": b"x"}), "There are no conversations in this archive."),
    "bomb": (zipped({"conversations.json": BOMB}), LARGE),
    "packed otherwise": (zipped({"conversations.json": TALK}, zipfile.ZIP_LZMA), "The archive is packed in a way"),
    "cut": (zipped({"conversations.json": TALK})[:-30], "The archive is damaged."),
    "only a beginning": (b"PK\x03\x04", "The archive is damaged."),
    "changed": (
        zipped({"conversations.json": TALK}, zipfile.ZIP_STORED).replace(b"Hello", b"Hallo"),
        "The archive is damaged.",
    ),
    "not json": (zipped({"conversations.json": b"\xff"}), "This is neither JSON nor a ZIP archive."),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_an_archive_that_cannot_be_read_is_refused_in_a_sentence(alice, name):
    content, sentence = BAD_ARCHIVES[name]
    report = send(alice, content)
    assert report.problem.startswith(sentence), report.problem
    assert not Conversation.objects.exists()


def test_a_password_is_named(alice):
    content = bytearray(zipped({"conversations.json": TALK}))
    # The bit that says so, in both headers.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert send(alice, bytes(content)).problem == "The archive is protected by a password."


def test_members_are_counted_before_they_are_listed(alice, monkeypatch):
    monkeypatch.setattr(upload, "MOST_MEMBERS", 3)
    members = {f"{number}.txt": b"" for number in range(3)}
    assert send(alice, zipped(members | {"conversations.json": TALK})).problem == (
        "There are too many files in this archive."
    )


def test_all_members_together_have_a_limit(alice, settings):
    settings.CHAT_IMPORT_BYTES = 2_000_000
    large = json.dumps([ours({"text": "x" * 900_000 + str(number)}) for number in range(2)]).encode()
    members = {f"conversations-{number:03}.json": large for number in range(20)}
    report = send(alice, zipped(members, zipfile.ZIP_STORED))
    assert report.problem == LARGE
    assert len(report.imported) + len(report.skipped) == 22
