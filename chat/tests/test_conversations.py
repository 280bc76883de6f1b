"""The list of conversations, and what can be done with each."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from chat import housekeeping, listing
from chat.database import db as on_database
from chat.listing import PAGE_LENGTH, Place, find_zone, group_of
from chat.models import Conversation, Message, Share
from chat.tests.test_views import get, make_conversation, say
from sasha.testing import Socket

AUCKLAND = ZoneInfo("Pacific/Auckland")


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


def make_many(owner: User, count: int, title: str = "Number", **fields) -> list[Conversation]:
    """Store conversations, the first one used last."""
    made = [Conversation(owner=owner, name=str(uuid.uuid4()), title=f"{title} {n}", **fields) for n in range(count)]
    Conversation.objects.bulk_create(made)
    for minutes, conversation in enumerate(made):
        conversation.updated_at = timezone.now() - timedelta(minutes=minutes)
        # Not saved: that would be another time.
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=conversation.updated_at)
    return made


def titles(html: str) -> list[str]:
    return re.findall(r">([^<>]+)</a><button", html)


def following(html: str) -> str:
    links = re.findall(r'href="([^"]+)" data-more', html)
    return links[0] if links else ""


def post(client: Client, action: str, conversation: Conversation, script: bool = False, **values):
    headers = {"X-Requested-With": "fetch"} if script else {}
    return client.post(reverse(f"chat:{action}", args=[conversation.pk]), values, headers=headers)


# --- The list ---------------------------------------------------------------------------------------------------------


def test_the_list_goes_on_page_by_page_and_leaves_nothing_out(alice, as_alice):
    make_many(alice, 2 * PAGE_LENGTH + 5)
    # The same moment for many: the id decides.
    Conversation.objects.filter(title__in=[f"Number {n}" for n in range(20, 40)]).update(updated_at=timezone.now())
    seen, url = [], reverse("chat:conversations")
    while url:
        html = as_alice.get(url).text
        seen += titles(html)
        url = following(html)
    assert len(seen) == len(set(seen)) == 2 * PAGE_LENGTH + 5


def test_pinned_ones_are_first_also_where_they_fill_pages(alice, as_alice):
    make_many(alice, 3)
    make_many(alice, PAGE_LENGTH + 2, "Pinned", pinned=True)
    first = as_alice.get(reverse("chat:conversations")).text
    assert titles(first) == [f"Pinned {n}" for n in range(PAGE_LENGTH)]
    second = as_alice.get(following(first)).text
    assert titles(second) == ["Pinned 30", "Pinned 31", "Number 0", "Number 1", "Number 2"]


def test_the_page_itself_and_its_list_show_only_ones_own(alice, as_alice):
    make_many(User.objects.create_user("bob"), 2)
    make_conversation(alice)
    assert titles(get(as_alice)[1])[0] == "Bread"
    assert titles(as_alice.get(reverse("chat:conversations")).text) == ["Bread"]
    assert titles(Client().get(reverse("chat:conversations")).text) == []


@pytest.mark.parametrize("place", ["x", "2-1-" + "0" * 32, "0-99999999999999999999-" + "0" * 32, "0-1-x", "\0"])
def test_a_place_that_is_none_gets_a_sentence(as_alice, place):
    response = as_alice.get(reverse("chat:conversations"), {"after": place})
    assert (response.status_code, response.text) == (
        400,
        "The list has no such place. Open it again from its beginning.",
    )


def test_a_place_is_read_as_it_was_written():
    place = Place(True, datetime(2026, 2, 3, 4, 5, 6, 789_123, tzinfo=UTC), uuid.uuid4())
    assert Place.parse(str(place)) == place


def test_a_page_of_the_list_is_one_query_however_many_there_are(alice, as_alice, django_assert_num_queries):
    make_many(alice, 3 * PAGE_LENGTH)
    after = following(as_alice.get(reverse("chat:conversations")).text)
    for url in (reverse("chat:conversations"), after, reverse("chat:archived")):
        # Session, user, list.
        with django_assert_num_queries(3):
            as_alice.get(url)


@pytest.mark.parametrize(
    ("updated", "now", "group"),
    [
        # Half past midnight in Auckland is noon of the day before in Greenwich.
        ("2026-03-10T11:10", "2026-03-10T11:30", "today"),
        ("2026-03-10T10:59", "2026-03-10T11:30", "yesterday"),
        ("2026-03-09T10:59", "2026-03-10T11:30", "week"),
        ("2026-03-03T11:00", "2026-03-10T11:30", "week"),
        ("2026-03-03T10:59", "2026-03-10T11:30", "earlier"),
        # The clocks go back in between: the day has 25 hours.
        ("2026-04-04T11:30", "2026-04-05T11:30", "today"),
        # Written by a server whose clock was wrong.
        ("2031-01-01T00:00", "2026-03-10T11:30", "today"),
    ],
)
def test_days_are_those_of_the_readers_calendar(updated, now, group):
    updated_at, at = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (updated, now))
    assert group_of(Conversation(updated_at=updated_at), at.astimezone(AUCKLAND)) == group
    assert group_of(Conversation(updated_at=updated_at, pinned=True), at.astimezone(AUCKLAND)) == "pinned"


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "x" * 999, "Europe/../Paris"])
def test_a_time_zone_that_nobody_knows_is_the_sites(name, settings):
    settings.TIME_ZONE = "UTC"
    request = RequestFactory().get("/")
    request.COOKIES["timezone"] = name
    assert find_zone(request) == timezone.get_default_timezone()
    request.COOKIES["timezone"] = "Pacific/Auckland"
    assert find_zone(request) == AUCKLAND


def test_the_groups_of_the_page_have_their_headings(alice, as_alice):
    now = timezone.now()
    for age, title in ((0, "New"), (3, "Last"), (90, "Old")):
        made = make_conversation(alice, title)
        Conversation.objects.filter(pk=made.pk).update(updated_at=now - timedelta(days=age))
    make_conversation(alice, "Kept", pinned=True)
    html = get(as_alice)[1]
    shown = re.findall(r'<section class="group" data-group="(\w+)">', html)
    assert shown == ["pinned", "today", "week", "earlier"]
    assert [label for label in map(str, listing.GROUPS.values()) if f">{label}</h2>" in html] == list(
        map(str, listing.GROUPS.values())
    )


# --- What can be done -------------------------------------------------------------------------------------------------


def test_a_conversation_is_renamed_for_good(alice, as_alice):
    conversation = make_conversation(alice)
    before = conversation.updated_at
    assert "Bread" in as_alice.get(reverse("chat:rename", args=[conversation.pk])).text
    assert post(as_alice, "rename", conversation, title="  My\nbread ").status_code == 302
    conversation.refresh_from_db()
    assert (conversation.title, conversation.has_own_title) == ("My bread", True)
    assert conversation.updated_at == before


@pytest.mark.parametrize("title", ["", " \n", "\0"])
def test_an_empty_title_is_refused_and_the_old_one_stays(alice, as_alice, title):
    conversation = make_conversation(alice)
    assert post(as_alice, "rename", conversation, title=title).status_code == 400
    conversation.refresh_from_db()
    assert (conversation.title, conversation.has_own_title) == ("Bread", False)


def test_pinning_and_archiving_answer_with_the_row_as_it_is_now(alice, as_alice):
    conversation = make_conversation(alice)
    for action, column, value in (
        ("pin", "pinned", True),
        ("unpin", "pinned", False),
        ("archive", "archived", True),
        ("unarchive", "archived", False),
    ):
        html = post(as_alice, action, conversation, script=True).text
        assert (f"data-{column}" in html) is value
        conversation.refresh_from_db()
        assert getattr(conversation, column) is value


def test_a_form_goes_back_to_the_page_that_it_was_sent_from(alice, as_alice):
    conversation, other = make_conversation(alice), make_conversation(alice)
    url = reverse("chat:pin", args=[conversation.pk])
    page = f"http://testserver/c/{other.pk}/"
    assert as_alice.post(url, headers={"Referer": page}).url == page
    for foreign in ("https://evil.example/", "//evil.example", "javascript:x", ""):
        assert as_alice.post(url, headers={"Referer": foreign}).url == f"/c/{conversation.pk}/"


def test_what_is_archived_has_a_list_of_its_own_until_somebody_goes_on_with_it(alice, as_alice):
    conversation = make_conversation(alice)
    post(as_alice, "archive", conversation)
    assert titles(as_alice.get(reverse("chat:conversations")).text) == []
    assert titles(as_alice.get(reverse("chat:archived")).text) == ["Bread"]
    assert as_alice.get(reverse("chat:conversation", args=[conversation.pk])).status_code == 200


async def test_a_message_takes_a_conversation_out_of_the_archive(site):
    async with Socket("kept") as socket:
        await socket.say("One", model="sim:sim-n5")
        await on_database(Conversation.objects.update, archived=True)
        await socket.say("Two", model="sim:sim-n5")
    assert not (await Conversation.objects.aget()).archived


def test_a_deleted_conversation_is_gone_everywhere_and_can_be_had_back(alice, as_alice):
    conversation = make_conversation(alice)
    question = say(conversation, "Why?")
    say(conversation, "", question, state="queued")
    after = post(as_alice, "delete", conversation)
    assert after.url == f"/?deleted={conversation.pk}"
    page = as_alice.get(after.url).text
    assert reverse("chat:restore", args=[conversation.pk]) in page
    assert titles(page)[:1] != ["Bread"]
    assert as_alice.get(reverse("chat:conversation", args=[conversation.pk])).status_code == 404
    assert post(as_alice, "pin", conversation).status_code == 404
    assert list(Message.objects.values_list("role", "stop_requested").order_by("created_at")) == [
        ("user", False),
        ("assistant", True),
    ]
    assert post(as_alice, "restore", conversation).url == f"/c/{conversation.pk}/"
    assert as_alice.get(reverse("chat:conversation", args=[conversation.pk])).status_code == 200
    # Twice does no harm.
    assert post(as_alice, "restore", conversation, script=True).status_code == 200


def test_nobody_else_can_undo_a_deletion_or_learn_of_it(alice, as_alice):
    conversation = make_conversation(alice)
    post(as_alice, "delete", conversation)
    bob = Client()
    bob.force_login(User.objects.create_user("bob"))
    assert post(bob, "restore", conversation).status_code == 404
    assert "Undo" not in bob.get(f"/?deleted={conversation.pk}").text
    assert "Undo" not in as_alice.get("/?deleted=nonsense").text


def test_an_hour_later_it_is_gone_for_good_step_by_step(alice, as_alice, monkeypatch):
    kept, restored, *gone = (make_conversation(alice, f"Number {n}") for n in range(9))
    for conversation in (restored, *gone):
        reply = say(conversation, "Answer", say(conversation, "Question"), ending="complete")
        Share.objects.create(conversation=conversation, leaf=reply)
        post(as_alice, "delete", conversation)
    post(as_alice, "restore", restored)
    assert housekeeping.purge_some() == 0
    Conversation.objects.exclude(deleted_at=None).update(deleted_at=timezone.now() - timedelta(minutes=61))
    assert post(as_alice, "restore", gone[0]).status_code == 404
    monkeypatch.setattr(housekeeping, "STEP", 3)
    # Two messages each, then the conversation.
    assert [housekeeping.purge_some() for _ in range(15)] == [2, 1] * 7 + [0]
    assert set(Conversation.objects.all()) == {kept, restored}
    assert Message.objects.count() == 2


async def test_deleting_stops_the_answer_that_is_being_written(site):
    async with Socket("gone") as socket:
        await socket.send(message="Count", model="sim:sim-n400-gap10")
        await socket.until("chunk")
        user = await User.objects.aget()
        client = Client()
        await on_database(client.force_login, user)
        conversation = await Conversation.objects.aget()
        await on_database(client.post, reverse("chat:delete", args=[conversation.pk]))
        assert (await socket.until("complete"))[-1]["metadata"]["ending"] == "stopped"


@pytest.mark.parametrize("action", ["rename", "pin", "unpin", "archive", "unarchive", "delete", "restore"])
def test_a_change_needs_the_token_of_a_page_and_is_no_get(alice, action):
    conversation = make_conversation(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert post(client, action, conversation, title="x").status_code == 403
    if action != "rename":
        assert client.get(reverse(f"chat:{action}", args=[conversation.pk])).status_code == 405
    conversation.refresh_from_db()
    assert (conversation.title, conversation.pinned, conversation.archived, conversation.deleted_at) == (
        "Bread",
        False,
        False,
        None,
    )
