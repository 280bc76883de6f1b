from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from chat.models import Attachment, Conversation, Message, Share
from chat.sharing import share
from chat.tests.talks import answer, make_full_talk, make_talk, say
from sasha.testing import without_nonce

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def _sharing_site(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.CHAT_SHARING = True


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def as_alice(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def make_link(client: Client, talk: Conversation) -> str:
    response = client.post(reverse("chat:share", args=[talk.pk]))
    assert response.status_code == 302, response.content
    return reverse("chat:shared", args=[talk.shares.get().key])


def test_anybody_can_read_what_is_shared_and_no_more(alice, as_alice, settings):
    settings.LOCAL_MODE = False
    talk = make_full_talk(alice)
    Message.objects.filter(model="m_1").update(cost_usd=Decimal("1.23"))
    response = Client().get(make_link(as_alice, talk), secure=True)
    assert response.status_code == 200
    for words in ("Why does bread rise?", "Attached: notes.txt", " It eats sug", "Sim continues.", "ar and makes gas."):
        assert words in response.text
    assert "The answer reached its length limit." in response.text
    for words in (
        "alice",
        "Magic.",
        "Let me think",
        "1.23",
        "Be brief",
        str(talk.pk),
        str(talk.current_leaf_id),
        "<form",
    ):
        assert words not in response.text
    for row in (*talk.messages.all(), *Attachment.objects.all()):
        assert str(row.pk) not in response.text


def test_it_is_not_stored_indexed_or_told_to_others(alice, as_alice):
    response = Client().get(make_link(as_alice, make_full_talk(alice)))
    assert "noindex" in response["X-Robots-Tag"]
    assert '<meta name="robots" content="noindex' in response.text
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "no-referrer"


def test_what_is_said_later_is_not_shared(alice, as_alice):
    talk = make_talk(alice)
    question = say(talk, "Question")
    first = answer(talk, "Shared answer", question)
    url = make_link(as_alice, talk)
    answer(talk, "Other answer", question)
    say(talk, "Later question", first)
    text = Client().get(url).text
    assert "Shared answer" in text
    assert "Other answer" not in text
    assert "Later question" not in text


def test_an_answer_that_is_being_written_is_not_shared(alice, as_alice):
    talk = make_talk(alice)
    running = answer(talk, "Half", say(talk, "Question"))
    Message.objects.filter(pk=running.pk).update(state="running", ending="")
    url = make_link(as_alice, talk)
    Message.objects.filter(pk=running.pk).update(text="Half and more", state="ended", ending="complete")
    text = Client().get(url).text
    assert "Question" in text
    assert "Half" not in text


def test_the_same_branch_has_one_link_and_an_empty_conversation_none(alice, as_alice):
    talk = make_full_talk(alice)
    assert make_link(as_alice, talk) == make_link(as_alice, talk)
    assert as_alice.post(reverse("chat:share", args=[make_talk(alice).pk])).status_code == 400
    assert Share.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_many_times_at_once_makes_one_link():
    talk = make_full_talk(User.objects.create_user("bob"))

    def send(_: int) -> None:
        try:
            share(Conversation.objects.get(pk=talk.pk))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(16)))
    assert Share.objects.count() == 1


def test_text_stays_text(alice, as_alice):
    talk = make_talk(alice, HOSTILE)
    notice = {"kind": "seam", "reason": HOSTILE, "at": 0, "seq": 1}
    answer(talk, HOSTILE, say(talk, HOSTILE), notices=[notice], model=HOSTILE, ending="cut", error=HOSTILE)
    for url in (make_link(as_alice, talk), reverse("chat:shares")):
        text = as_alice.get(url).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("change", ["revoked", "deleted", "inactive", "off", "gone"])
def test_what_is_not_shared_any_more_does_not_exist(alice, as_alice, settings, change):
    talk = make_full_talk(alice)
    url = make_link(as_alice, talk)
    assert Client().get(url).status_code == 200
    if change == "revoked":
        assert as_alice.post(reverse("chat:revoke-share", args=[talk.shares.get().pk])).status_code == 302
    elif change == "deleted":
        Conversation.objects.filter(pk=talk.pk).update(deleted_at=datetime.now(UTC))
    elif change == "inactive":
        User.objects.filter(pk=alice.pk).update(is_active=False)
    elif change == "off":
        settings.CHAT_SHARING = False
    else:
        alice.delete()
    theirs = Client().get(url)
    nothing = Client().get(reverse("chat:shared", args=["x" * 22]))
    assert (theirs.status_code, without_nonce(theirs.text)) == (nothing.status_code, without_nonce(nothing.text))
    assert nothing.status_code == 404


def test_nothing_is_shared_where_the_site_does_not(alice, as_alice, settings):
    settings.CHAT_SHARING = False
    talk = make_full_talk(alice)
    assert as_alice.post(reverse("chat:share", args=[talk.pk])).status_code == 404
    assert "data-share-button" not in as_alice.get(reverse("chat:export", args=[talk.pk])).text
    assert not Share.objects.exists()


def test_links_are_listed_for_their_owner_alone(alice, as_alice):
    talk = make_full_talk(alice)
    url = make_link(as_alice, talk)
    assert f"http://testserver{url}" in as_alice.get(reverse("chat:shares")).text
    bob = Client()
    bob.force_login(User.objects.create_user("bob"))
    for client in (bob, Client()):
        assert "Nothing is shared." in client.get(reverse("chat:shares")).text
        assert client.post(reverse("chat:revoke-share", args=[talk.shares.get().pk])).status_code == 404
        assert client.post(reverse("chat:share", args=[talk.pk])).status_code == 404
    assert Share.objects.count() == 1


def test_making_and_revoking_need_a_form_of_this_site(alice):
    talk = make_full_talk(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(reverse("chat:share", args=[talk.pk])).status_code == 403
    assert client.get(reverse("chat:share", args=[talk.pk])).status_code == 405
    assert not Share.objects.exists()


# A refusal is written down on another thread.
@pytest.mark.django_db(transaction=True)
def test_a_link_gives_no_right_but_to_read(alice, as_alice):
    talk = make_full_talk(alice)
    url = make_link(as_alice, talk)
    bob = Client()
    bob.force_login(User.objects.create_user("bob"))
    reply = talk.messages.filter(role="assistant").first()
    file = Attachment.objects.get()
    reading = [("chat:conversation", talk.pk), ("chat:attempts", reply.pk), ("chat:attachment", file.pk)]
    reading += [(f"chat:export-{extension}", talk.pk) for extension in ("md", "txt", "json")]
    before = Message.objects.count()
    for client in (bob, Client()):
        assert client.get(url).status_code == 200
        for route, key in reading:
            assert client.get(reverse(route, args=[key])).status_code == 404, route
        for method in ("post", "put", "patch", "delete"):
            assert getattr(client, method)(url).status_code == 405
        assert client.post(reverse("chat:api-stop", args=[reply.pk])).status_code in (401, 404)
        assert client.post(reverse("chat:delete-attachment", args=[file.pk])).status_code == 404
        # The key is no name of anything else.
        assert client.get(f"/c/{uuid.uuid5(uuid.NAMESPACE_URL, url)}/").status_code == 404
    assert Message.objects.count() == before
    assert not Message.objects.filter(stop_requested=True).exists()


def test_a_shared_page_takes_few_queries(alice, as_alice, django_assert_max_num_queries):
    talk = make_talk(alice)
    message = say(talk, "Question")
    for _ in range(30):
        message = say(talk, "More", answer(talk, "Answer", message, provider="sim", model="m"))
    url = make_link(as_alice, talk)
    with django_assert_max_num_queries(5):
        Client().get(url)
