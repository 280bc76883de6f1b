from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
from pathlib import Path

import jsonschema
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.test import AsyncClient, Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chat.database import db
from chat.exports.files import name_file
from chat.exports.texts import _quote, stands_alone
from chat.identity import GUEST_COOKIE, SALT
from chat.models import Attachment, Conversation, Message
from chat.tests.talks import answer, make_full_talk, make_talk, say
from sasha.testing import PATIENCE, server_process

pytestmark = pytest.mark.django_db

SCHEMA = json.loads((Path(settings.BASE_DIR) / "docs/conversation.schema.json").read_text())
HOSTILE = "<script>alert(1)</script>\n\n<img src=x onerror=alert(1)>\n\n[x](javascript:alert(1))"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def as_alice(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def download(client: Client, talk: Conversation, extension: str, query: str = ""):
    response = client.get(reverse(f"chat:export-{extension}", args=[talk.pk]) + query)
    assert response.status_code == 200
    return response


def test_markdown_has_the_branch_that_is_shown(alice, as_alice):
    text = download(as_alice, make_full_talk(alice), "md").text
    assert text.startswith("# Bread \\& Brot\n\n*Begun 2025-03-01 12:00 UTC, last message 2025-03-01")
    assert "**System prompt**\n\n> Be brief." in text
    assert "**You** · 2025-03-01 12:00 UTC\n\n*Attached: notes.txt*\n\nWhy does bread rise?" in text
    assert "**sim:m\\_1** · 2025-03-01 12:02 UTC\n\nYeast.\n\n*[Sim continues.]*\n\n It eats sug" in text
    assert "*The answer reached its length limit.*" in text
    assert "**sim:m\\_1, continuing**" in text
    assert "Magic." not in text
    assert "think" not in text


def test_plain_text_has_the_branch_that_is_shown(alice, as_alice):
    text = download(as_alice, make_full_talk(alice), "txt").text
    assert "You (2025-03-01 12:00 UTC):\n\n[Attached: notes.txt]\n\nWhy does bread rise?" in text
    assert "sim:m_1 (2025-03-01 12:02 UTC):\n\nYeast.\n\n[Sim continues.]\n\n It eats sug" in text
    assert "[The answer reached its length limit.]" in text
    assert "Magic." not in text
    assert "think" not in text


def test_reasoning_comes_only_where_it_is_asked_for(alice, as_alice):
    talk = make_full_talk(alice)
    assert "> Let me think.\n> Yeast." in download(as_alice, talk, "md", "?reasoning=1").text
    assert "Let me think.\nYeast." in download(as_alice, talk, "txt", "?reasoning=1").text


def test_json_has_every_branch_and_follows_its_schema(alice, as_alice):
    talk = make_full_talk(alice)
    document = json.loads(download(as_alice, talk, "json").content)
    jsonschema.validate(document, SCHEMA)
    assert [message["text"] for message in document["messages"]][:2] == ["Why does bread rise?", "Magic."]
    assert document["current"] == str(talk.current_leaf_id)
    cut = document["messages"][2]
    assert (cut["ending"], cut["cost_usd"], cut["usage"]["output_tokens"]) == ("length", "0.000123000000", 40)
    assert document["messages"][1]["cost_usd"] is None
    assert "data" not in document["messages"][0]["attachments"][0]


@pytest.mark.django_db(transaction=True)
async def test_json_has_the_bytes_of_attached_files_where_it_is_asked_for():
    alice = await db(User.objects.create_user, "alice")
    talk = await db(make_full_talk, alice)
    data = bytes(range(256)) * 4000
    await Attachment.objects.acreate(
        owner=alice, message=await talk.messages.afirst(), kind="text", name="b", data=data
    )
    client = AsyncClient()
    await client.aforce_login(alice)
    response = await client.get(reverse("chat:export-json", args=[talk.pk]) + "?attachments=1")
    whole = json.loads(b"".join([piece async for piece in response.streaming_content]))
    jsonschema.validate(whole, SCHEMA)
    attached = whole["messages"][0]["attachments"]
    assert [base64.b64decode(attachment.pop("data")) for attachment in attached] == [b"Yeast?", data]
    response = await client.get(reverse("chat:export-json", args=[talk.pk]))
    assert json.loads(response.content)["messages"][0]["attachments"] == attached


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.parametrize("path", ["/c/{talk}/export.json?attachments=1", "/account/export"])
async def test_a_download_does_not_take_the_memory_of_all_its_files(path):
    alice = await User.objects.acreate(username="guest-alice")
    talk = await Conversation.objects.acreate(owner=alice, name="a")
    message = await Message.objects.acreate(conversation=talk, role="user", text="Look")
    # Random, so that no packing makes it small.
    data = secrets.token_bytes(8_000_000)
    for name in "abcdefgh":
        await Attachment.objects.acreate(owner=alice, message=message, kind="text", name=name, data=data)
    cookie = f"{GUEST_COOKIE}={signing.dumps('alice', salt=SALT)}"
    with server_process() as server:
        before = server.peak_bytes()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        path = path.format(talk=talk.pk)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        read = 0
        while piece := await asyncio.wait_for(reader.read(1_000_000), PATIENCE):
            read += len(piece)
        writer.close()
        assert read > 8 * len(data)
        # SQLite itself unpacks one of them.
        assert server.peak_bytes() - before < 5 * len(data)


def test_the_schema_refuses_what_no_export_has(alice, as_alice):
    document = json.loads(download(as_alice, make_full_talk(alice), "json").content)
    for change in ({"role": "tool"}, {"cost_usd": 0.1}, {"ending": "fine"}):
        broken = {**document, "messages": [document["messages"][2] | change]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_an_answer_that_is_being_written_is_exported_as_such(alice, as_alice):
    talk = make_talk(alice)
    Message.objects.filter(pk=answer(talk, "Yea", say(talk, "Why?")).pk).update(state="running", ending="")
    assert "This answer was still being written" in download(as_alice, talk, "md").text
    document = json.loads(download(as_alice, talk, "json").content)
    jsonschema.validate(document, SCHEMA)
    assert (document["messages"][1]["ended"], document["messages"][1]["ending"]) == (False, "")


@pytest.mark.parametrize("extension", ["md", "txt", "json"])
def test_no_export_is_ever_shown_as_a_page(alice, as_alice, extension):
    talk = make_talk(alice, HOSTILE[:200], system_prompt=HOSTILE)
    answer(talk, HOSTILE, say(talk, HOSTILE), reasoning=HOSTILE, error=HOSTILE, model=HOSTILE[:100])
    response = download(as_alice, talk, extension, "?reasoning=1&attachments=1")
    media_type = {"md": "text/markdown", "txt": "text/plain", "json": "application/json"}[extension]
    assert response["Content-Type"] == f"{media_type}; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("attachment; ")
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Bread", "Bread.md"),
        ("../../etc/passwd", "etc passwd.md"),
        ("a\r\nSet-Cookie: b=c", "a Set-Cookie b=c.md"),
        ('x"; filename="y.exe', "x ; filename= y.exe.md"),
        ("\u202egnp.exe", "gnp.exe.md"),
        # Wide ones, which the plain name turns into those that end it.
        ("a＂; filename=＂b／c", "a＂; filename=＂b／c.md"),
        ("...", "conversation.md"),
        ("", "Untitled conversation.md"),
        ("ש" * 200, "ש" * 60 + ".md"),
    ],
)
def test_file_names_are_safe(alice, as_alice, title, name):
    talk = make_talk(alice, title)
    if title:
        assert name_file(title, "md") == name
    header = download(as_alice, talk, "md")["Content-Disposition"]
    plain = re.fullmatch(r"attachment; filename=\"([ -~]+)\"; filename\*=UTF-8''[A-Za-z0-9%._~-]+", header)
    assert plain, header
    assert "/" not in plain[1]
    assert '"' not in plain[1]


def test_only_the_owner_can_export(alice):
    talk = make_full_talk(alice)
    bob = Client()
    bob.force_login(User.objects.create_user("bob"))
    for client in (bob, Client()):
        for extension in ("md", "txt", "json"):
            assert client.get(reverse(f"chat:export-{extension}", args=[talk.pk])).status_code == 404
        assert client.get(reverse("chat:export", args=[talk.pk])).status_code == 404


def test_the_page_offers_every_format_and_unknown_ones_do_not_exist(alice, as_alice):
    talk = make_talk(alice, "<b>Bread</b>")
    page = as_alice.get(reverse("chat:export", args=[talk.pk]))
    assert re.findall(r'data-export="(\w+)"', page.text) == ["md", "txt", "json"]
    assert "<b>" not in page.text
    assert as_alice.get(f"/c/{talk.pk}/export.html").status_code == 404
    assert as_alice.post(reverse("chat:export-md", args=[talk.pk])).status_code == 405


# A message cannot change how the next one is read.

TRICKS = [
    "```python\nprint(1)",
    "~~~\ncode",
    "<!-- hidden",
    "<script>\nx",
    "<pre>",
    "text\n<?php",
    "```a`b\n```\nx",
    "> ```\n```\nx\n```x",
    "- ```\n  code\n\ntext\n```\nx",
    "- a\n  ```\n  x\nb\n```\ncode",
    "    ```\n\n```\ncode",
    "```\n    ```\n",
    "# Heading",
    "text\n---",
    "- a\n- b",
    "| a |\n|---|",
    "[x]: y",
    "a\x0bb\r```\rx",
]
piece = st.sampled_from(
    ["```", "~~~~", "`", "- ", "> ", "1. ", "    ", " ", "\n", "\n\n", "x", "<!--", "-->", "<pre>", "#"]
)


def is_contained(text: str) -> bool:
    """Whether CommonMark reads a rule and a paragraph behind what is written for `text`."""
    written = text if stands_alone(text) else _quote(text)
    tokens = MarkdownIt("commonmark").parse(f"{written}\n\n---\n\n**You** end")
    return [token.type for token in tokens[-4:]] == ["hr", "paragraph_open", "inline", "paragraph_close"]


@pytest.mark.parametrize("text", TRICKS)
def test_a_message_does_not_swallow_what_follows(text):
    assert is_contained(text)


@given(st.lists(piece, max_size=20).map("".join))
def test_no_mixture_of_markdown_swallows_what_follows(text):
    assert is_contained(text.strip("\r\n"))


def test_usual_markdown_is_not_quoted():
    for text in ("```sh\nls\n```", "1. a\n   ```\n   x\n   ```\n2. b", "<b>x</b>", "- a\n\n    ```\n    x\n    ```"):
        assert stands_alone(text), text


def test_a_block_that_swallows_what_follows_is_found_behind_every_line_end():
    assert not any(stands_alone(f"a{end} \t<pre>") for end in ("\n", "\r", "\r\n", "\n\n"))


def test_many_empty_lines_are_looked_at_once():
    # Looked at again from each of its lines, this would take hours.
    assert stands_alone("\n" * 1_048_576)
