"""The tree of a conversation: versions, branches, deleting and cancelling, on any tree and on rows."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from chat import branches
from chat.branches import Node, Tree, window_around, window_at_end, window_before
from chat.models import Conversation, Message, Role, State

# The id of nothing.
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def make_tree(parents: list[int | None]) -> tuple[Tree, list[uuid.UUID]]:
    """Return a tree whose message number n follows number `parents[n]`, and the ids by number."""
    ids = [uuid.UUID(int=n + 1) for n in range(len(parents))]
    nodes = [
        Node(
            ids[n], None if parent is None else ids[parent], Role.USER, State.ENDED, BEGIN + timedelta(seconds=n)
        )
        for n, parent in enumerate(parents)
    ]  # fmt: skip
    return Tree(nodes), ids


@st.composite
def trees(draw) -> tuple[Tree, list[uuid.UUID]]:
    parents: list[int | None] = []
    for n in range(draw(st.integers(1, 150))):
        nearby = st.integers(max(0, n - 3), n - 1) if n else st.none()
        parents.append(draw(st.none() | nearby) if n % 7 == 0 else draw(nearby))
    return make_tree(parents)


@given(trees())
def test_every_message_is_reached_by_its_arrows_and_is_in_its_own_branch(made):
    tree, ids = made
    for message_id in ids:
        leaf = tree.newest_leaf(message_id)
        path = tree.path_to(leaf)
        assert message_id in path
        assert not tree.children(leaf)
        versions = tree.versions(message_id)
        assert 1 <= versions.number <= versions.count
        if versions.next:
            assert tree.versions(versions.next).previous == message_id
        assert (versions.previous is None) == (versions.number == 1)
        assert (versions.next is None) == (versions.number == versions.count)


@given(trees(), st.data())
def test_what_is_shown_after_a_removal_is_there_and_is_an_end(made, data):
    tree, ids = made
    gone, leaf = data.draw(st.sampled_from(ids)), tree.newest_leaf(data.draw(st.sampled_from(ids)))
    below = {gone, *(node.id for node in tree.below(gone))}
    shown = tree.leaf_after_removal(gone, leaf)
    assert shown not in below
    if leaf not in below:
        assert shown == leaf
    elif len(below) < len(ids):
        assert not {node.id for node in tree.children(shown)} - below


@given(trees(), st.data())
def test_windows_join_to_the_whole_branch(made, data):
    tree, ids = made
    leaf = tree.newest_leaf(data.draw(st.sampled_from(ids)))
    window = window_at_end(tree, leaf)
    shown = list(window.ids)
    assert window.at_end
    while window.start:
        window = window_before(tree, leaf, shown[0])
        shown = [*window.ids, *shown]
    assert shown == tree.path_to(leaf)
    wanted = data.draw(st.sampled_from(ids))
    around = window_around(tree, leaf, wanted)
    assert wanted in around.ids
    assert len(around.ids) == min(branches.WINDOW, len(around.branch))
    assert around.is_current == (wanted in tree.path_to(leaf))


# --- On rows ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def alice(db) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def client(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def talk(alice) -> Conversation:
    return Conversation.objects.create(owner=alice, name="talk")


def add(talk: Conversation, parent: Message | None, text: str, **columns: object) -> Message:
    """Store a message below `parent`, of the other role, as the end that is shown."""
    role = Role.ASSISTANT if parent and parent.role == Role.USER else Role.USER
    columns = ({"ending": "complete"} if role == Role.ASSISTANT else {}) | columns
    message = Message.objects.create(conversation=talk, parent=parent, role=role, text=text, **columns)
    Conversation.objects.filter(pk=talk.pk).update(current_leaf=message)
    return message


def leaf_of(talk: Conversation) -> uuid.UUID | None:
    return Conversation.objects.get(pk=talk.pk).current_leaf_id


def test_the_other_version_is_shown_with_what_follows_it(client, talk):
    question = add(talk, None, "Q")
    old = add(talk, question, "old answer")
    more = add(talk, add(talk, old, "Q2"), "more")
    new = add(talk, question, "new answer")
    page = client.get(f"/c/{talk.pk}/").text
    assert "new answer" in page
    assert "old answer" not in page
    response = client.post(f"/c/{talk.pk}/branch", {"message": str(old.pk)})
    assert response["Location"] == f"/c/{talk.pk}/#m-{old.pk}"
    assert leaf_of(talk) == more.pk
    page = client.get(f"/c/{talk.pk}/").text
    assert "old answer" in page
    assert "2 / 2" not in page
    assert "1 / 2" in page
    assert f'value="{new.pk}"' in page


@pytest.mark.parametrize("message", ["", "x", UNKNOWN])
def test_what_is_no_version_of_anything_is_not_there(client, talk, message):
    add(talk, None, "Q")
    assert client.post(f"/c/{talk.pk}/branch", {"message": message}).status_code == 404
    assert client.get(f"/c/{talk.pk}/?before={message}").status_code == 404
    # An old link to a message that has been deleted: the conversation is still there.
    response = client.get(f"/c/{talk.pk}/?at={message}")
    assert (response.status_code, response["Location"]) == (302, f"/c/{talk.pk}/")


def test_deleting_asks_first_and_takes_along_what_follows_in_all_versions(client, talk):
    first = add(talk, add(talk, None, "Q"), "A")
    second = add(talk, first, "Q2")
    add(talk, second, "A2")
    add(talk, second, "A2 again")
    page = client.get(f"/messages/{second.pk}/delete").text
    assert "The message and the 2 that follow it will be deleted" in page
    assert Message.objects.count() == 5
    response = client.post(f"/messages/{second.pk}/delete")
    assert response["Location"] == f"/c/{talk.pk}/"
    assert [message.text for message in Message.objects.all()] == ["Q", "A"]
    assert leaf_of(talk) == first.pk


def test_deleting_one_version_shows_the_other(client, talk):
    question = add(talk, None, "Q")
    old = add(talk, question, "old")
    new = add(talk, question, "new")
    client.post(f"/messages/{new.pk}/delete")
    assert leaf_of(talk) == old.pk


def test_a_conversation_without_messages_is_empty_and_can_go_on(client, talk):
    client.post(f"/messages/{add(talk, None, 'Q').pk}/delete")
    assert leaf_of(talk) is None
    assert client.get(f"/c/{talk.pk}/").status_code == 200


def test_two_thousand_messages_are_deleted_without_a_query_for_each(client, talk, django_assert_max_num_queries):
    first = last = Message(conversation=talk, role=Role.USER, text="0")
    rows = [first]
    for n in range(1, 2000):
        last = Message(conversation=talk, parent=last, role=Role.USER, text=str(n))
        rows.append(last)
    Message.objects.bulk_create(rows)
    Conversation.objects.filter(pk=talk.pk).update(current_leaf=last)
    with django_assert_max_num_queries(60):
        client.post(f"/messages/{first.pk}/delete")
    assert not Message.objects.exists()


def test_what_waits_behind_a_cancelled_message_moves_up(talk):
    running = add(talk, add(talk, None, "Q"), "", state=State.RUNNING, ending="")
    second = add(talk, add(talk, running, "Q2"), "", state=State.QUEUED, ending="")
    third_question = add(talk, second, "Q3")
    third = add(talk, third_question, "", state=State.QUEUED, ending="")
    assert branches.cancel(talk.pk, second.pk)
    third_question.refresh_from_db()
    assert third_question.parent_id == running.pk
    assert leaf_of(talk) == third.pk
    assert branches.cancel(talk.pk, third.pk)
    assert leaf_of(talk) == running.pk
    assert not branches.cancel(talk.pk, running.pk)
    assert [message.text for message in Message.objects.filter(role=Role.USER)] == ["Q"]
    with pytest.raises(Message.DoesNotExist):
        branches.cancel(talk.pk, third.pk)


def test_cancelling_another_answer_keeps_the_question_and_its_first_answer(talk):
    question = add(talk, None, "Q")
    first = add(talk, question, "A")
    add(talk, add(talk, first, "Q2"), "", state=State.RUNNING, ending="")
    again = add(talk, question, "", state=State.QUEUED, ending="")
    assert branches.cancel(talk.pk, again.pk)
    assert Message.objects.filter(pk=question.pk).exists()
    assert first.pk in branches.tree_of(talk.pk).path_to(leaf_of(talk))


def test_the_source_of_a_message_is_its_text_alone(client, talk):
    message = add(talk, None, "<b>*x*</b>\n")
    response = client.get(f"/messages/{message.pk}/text")
    assert (response.text, response["Content-Type"]) == ("<b>*x*</b>\n", "text/plain; charset=utf-8")
