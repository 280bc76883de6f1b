"""Finding conversations: what is found, whose, how it is marked, and what becomes of odd input."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat import search_index
from chat.database import db as on_database
from chat.models import Conversation, Message, Role, State
from chat.search import LONGEST, Query, mark, search, snippet
from chat.tests.test_views import make_conversation, say
from sasha.testing import Socket


@pytest.fixture(autouse=True)
def _without_collected_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def as_alice(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def found(user: User, text: str) -> list[str]:
    return [str(found.conversation) for found in search(user, text).found]


def marked(pieces) -> list[str]:
    return [piece.text for piece in pieces if piece.is_hit]


def talk(owner: User, title: str, *said: str, **fields) -> Conversation:
    conversation = make_conversation(owner, title, **fields)
    message = None
    for number, text in enumerate(said):
        message = say(conversation, text, message, **({"ending": "complete"} if number % 2 else {}))
    return conversation


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("yeast", ["Yeast"]),
        ("YEA", ["Yea"]),
        ("bread rises", ["bread", "rises"]),
        ("rises bread", ["bread", "rises"]),
        ('"bread rises"', ["bread rises"]),
        ('"rises bread"', None),
        ("cafe", ["Café"]),
        ("café", ["Café"]),
        ("CAFE\u0301", ["Café"]),
        ("uber", ["über"]),
        ("rea", None),
        ("yeast -sugar", None),
        ("parse-file", ["parse_file"]),
        ("main.py", ["main.py"]),
        ("50%", ["50"]),
        ("привет", ["привет"]),
        ("寿司", ["寿司"]),
        ("司が好", ["司が好"]),
        ("🎉", ["🎉"]),
        ("c++ yeast", ["Yeast", "C"]),
    ],
)
def test_a_message_is_found_by_its_words(alice, text, hits):
    talk(alice, "Untitled", "Yeast; bread rises. Café über parse_file main.py 50% C++ 私は寿司が好きです 🎉 привет")
    results = search(alice, text)
    if hits is None:
        assert (results.found, results.sentence) == ([], "Nothing was found.")
        return
    assert marked(results.found[0].hits[0].pieces) == hits


@pytest.mark.parametrize(
    "text",
    [
        *('"', '""', "*", "a*", "NEAR(a b)", "NOT", "a AND", "OR", "-", "^a", "text: a", "owner:u1", "{a b}: c", "("),
        *("'", "\\", "%", "_", "\0", "a\0b", "\ud800", "&", "a & | ! <-> b", ":*", "x" * 10_000, "a " * 90),
        *("' OR 1=1 --", "؟", "\u202e"),
    ],
)
def test_odd_input_finds_something_or_gets_one_sentence(alice, as_alice, text):
    talk(alice, "Untitled", "some words")
    results = search(alice, text)
    assert results.found or results.sentence
    response = as_alice.get(reverse("chat:search"), {"q": text.encode("utf-8", "replace")})
    assert response.status_code == 200


def test_what_is_too_long_or_empty_is_said():
    assert search(None, "x" * (LONGEST + 1)).sentence == "Search for at most 200 characters."
    assert search(None, " ").sentence == ""
    assert search(None, '"').sentence == "Type what to look for."
    assert search(None, "bread").sentence == "Nothing was found."


def test_only_ones_own_are_found_the_archived_ones_too_and_never_the_deleted(alice):
    bob = User.objects.create_user("bob")
    talk(bob, "Bread of Bob", "bread 寿司")
    talk(alice, "Kept bread", "bread 寿司", archived=True)
    talk(alice, "Deleted bread", "bread 寿司", deleted_at=timezone.now())
    for text in ("bread", "寿司"):
        assert found(alice, text) == ["Kept bread"]
    assert search(alice, "bread").found[0].conversation.archived
    assert found(User.objects.create_user("u1"), "bread") == []


def test_titles_come_first_then_what_is_newest(alice):
    talk(alice, "Title about bread", "something")
    talk(alice, "Old", "bread")
    talk(alice, "New", "bread", "more bread", "again bread", "and bread", "bread for ever")
    results = search(alice, "bread")
    assert [str(found.conversation) for found in results.found] == ["Title about bread", "New", "Old"]
    assert marked(results.found[0].title) == ["bread"]
    assert (len(results.found[1].hits), results.found[1].more) == (3, 2)


def test_a_hit_leads_to_its_message(alice, as_alice):
    conversation = talk(alice, "Untitled", "Why does bread rise?")
    message = conversation.messages.get()
    html = as_alice.get(reverse("chat:search"), {"q": "ris"}).text
    assert f'href="/c/{conversation.pk}/?at={message.pk}#m-{message.pk}"' in html
    assert "bread <mark>ris</mark>e?" in html


def test_what_was_said_is_never_html(alice, as_alice):
    talk(alice, "<b>bread</b>", "<img src=x onerror=alert(1)> bread </mark><script>")
    html = as_alice.get(reverse("chat:search"), {"q": "bread <i>"}).text
    assert "<img src=x" not in html
    assert "<i>" not in html
    assert "</mark>&lt;/b&gt;" in as_alice.get(reverse("chat:search"), {"q": "bread"}).text


def test_a_snippet_shows_what_stands_around_the_first_hit():
    text = "lorem " * 50 + "the needle is here " + "ipsum " * 50
    pieces = snippet(Query.parse("needle"), text)
    shown = "".join(piece.text for piece in pieces)
    assert shown.startswith("… lorem")
    assert shown.endswith("…")
    assert "the needle is here" in shown
    assert len(shown) < 180
    assert marked(mark(Query.parse('"a b" ca'), "A-B x CA cat c")) == ["A-B", "CA", "ca"]
    assert marked(mark(Query.parse("a c"), "a C cc")) == ["a", "C"]


# --- The index --------------------------------------------------------------------------------------------------------


def test_the_index_follows_every_kind_of_change(alice):
    conversation = talk(alice, "First", "alpha")
    assert found(alice, "alpha") == ["First"]
    Message.objects.update(text="beta")
    assert (found(alice, "alpha"), found(alice, "beta")) == ([], ["First"])
    Message.objects.bulk_create([Message(conversation=conversation, role=Role.USER, text="gamma")])
    assert found(alice, "gamma") == ["First"]
    Conversation.objects.update(title="Second")
    assert (found(alice, "first"), found(alice, "second")) == ([], ["Second"])
    bob = User.objects.create_user("bob")
    Conversation.objects.update(owner=bob)
    assert (found(alice, "gamma"), found(bob, "gamma"), found(bob, "second")) == ([], ["Second"], ["Second"])
    Message.objects.filter(text="beta").delete()
    assert (found(bob, "beta"), found(bob, "gamma")) == ([], ["Second"])
    Conversation.objects.all().delete()
    assert (found(bob, "gamma"), found(bob, "second")) == ([], [])
    check_index()


def check_index() -> None:
    """Let FTS5 compare its rows with its numbers: a wrong deletion leaves words behind."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO chat_search (chat_search) VALUES ('integrity-check')")
            cursor.execute("SELECT count(*) FROM chat_search WHERE chat_search MATCH 'gamma OR beta OR alpha'")
            assert cursor.fetchone() == (0,)


def test_a_running_answer_is_found_once_it_has_ended(alice):
    conversation = talk(alice, "Untitled", "question")
    reply = Message.objects.create(
        conversation=conversation, role=Role.ASSISTANT, text="", state=State.RUNNING, parent=conversation.messages.get()
    )
    for text in ("alpha", "alpha beta", "alpha beta gamma"):
        Message.objects.filter(pk=reply.pk).update(text=text)
        assert found(alice, "alpha") == []
    Message.objects.filter(pk=reply.pk).update(state=State.ENDED, text="alpha beta gamma delta")
    assert found(alice, "delta") == ["Untitled"]
    # Counted again, as a bill that comes late is: nothing to do for the index.
    Message.objects.filter(pk=reply.pk).update(cost_usd=1)
    assert found(alice, "alpha") == ["Untitled"]


def test_a_very_long_answer_is_found_by_its_beginning(alice):
    talk(alice, "Untitled", "q", "needle " + "𝔘𝔫𝔦 " * 60_000 + "late" * 3)
    assert found(alice, "needle") == ["Untitled"]


async def test_what_is_said_at_the_socket_is_found(site):
    async with Socket("talk") as socket:
        await socket.say("Where is the needle?", model="sim:sim-n5")
    user = await User.objects.aget()
    assert await on_database(found, user, "needle") == ["Where is the needle?"]
    assert await on_database(found, user, "word4") == ["Where is the needle?"]


@pytest.mark.django_db(transaction=True)
def test_the_index_is_made_from_what_is_there_and_taken_away_again():
    alice = User.objects.create_user("alice")
    search_index.remove(connection)
    talk(alice, "First", "alpha")
    search_index.install(connection)
    assert (found(alice, "alpha"), found(alice, "first")) == (["First"], ["First"])
    Message.objects.update(text="beta")
    assert found(alice, "beta") == ["First"]


def test_triggers_that_a_migration_dropped_come_back(alice):
    # PostgreSQL has none, and changes tables where they are.
    dropped = search_index.SQLITE_TRIGGERS if connection.vendor == "sqlite" else {}
    with connection.cursor() as cursor:
        for name in dropped:
            cursor.execute(f"DROP TRIGGER {name}")
    search_index.install_triggers(connection)
    talk(alice, "First", "alpha")
    assert found(alice, "alpha") == ["First"]


def test_a_search_takes_a_handful_of_queries(alice, as_alice, django_assert_max_num_queries):
    for number in range(25):
        talk(alice, f"Bread {number}", "bread", "and more bread")
    with django_assert_max_num_queries(6):
        html = as_alice.get(reverse("chat:search"), {"q": "bread"}).text
    assert len(re.findall(r'class="found"', html)) == 20
    assert "There are more." in html
