"""What attackers write stays text on every page that the server renders, for the owner and for the admin."""

from __future__ import annotations

import uuid
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from chat.models import Conversation, Message
from chat.tests.payloads import find_payloads
from providers.models import Attempt, Model
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db

# A text of which nothing is escaped, however it is shown.
HARMLESS = "harmless"


class Shape(HTMLParser):
    """What a page is made of: its tags with the names of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _ in attrs)))


def make_story(user: User, text: str) -> Conversation:
    """Store `text` wherever a person, a model or a provider can put words."""
    model = Model.objects.first() or Model.objects.get(provider=make_provider("http://127.0.0.1:9/v1", "a-model"))
    notices = [{"kind": "seam", "reason": text, "at": 1, "seq": 1}]
    chat = Conversation.objects.create(owner=user, name=uuid.uuid4().hex, title=text[:200])
    question = Message.objects.create(conversation=chat, role="user", text=text)
    reply = Message.objects.create(
        conversation=chat, parent=question, role="assistant", text=text, reasoning=text, notices=notices,
        ending="cut", error=text[:500], provider="sim", model=model.name,
    )  # fmt: skip
    Attempt.objects.create(
        reply_id=reply.pk, conversation_id=chat.pk, model=model, user_id=user.pk, username=text[:150],
        provider_slug=model.provider.slug, model_name=model.name, reason=text[:200], ending="cut", error=text[:500],
        stderr=text, evidence=text[:80],
    )  # fmt: skip
    return chat


def pages_of(chat: Conversation) -> list[str]:
    reply = chat.messages.get(role="assistant")
    attempt = Attempt.objects.get(reply_id=reply.pk)
    return [
        reverse("chat:conversation", args=[chat.pk]),
        reverse("chat:attempts", args=[reply.pk]),
        reverse("chat:export", args=[chat.pk]),
        reverse("admin:providers_attempt_changelist"),
        reverse("admin:providers_attempt_change", args=[attempt.pk]),
    ]


def shapes_with(client: Client, user: User, text: str) -> list[list[tuple[str, ...]]]:
    """Return the shape of each page that shows `text`, which nothing else is stored beside."""
    Conversation.objects.all().delete()
    Attempt.objects.all().delete()
    responses = [client.get(page) for page in pages_of(make_story(user, text))]
    assert {response.status_code for response in responses} == {200}
    return [Shape(response.content.decode()).tags for response in responses]


def test_payloads_in_titles_messages_and_errors_change_no_page(client):
    user = User.objects.create_superuser("ada")
    client.force_login(user)
    expected = shapes_with(client, user, HARMLESS)
    # Each of them escapes alike, and the admin breaks lines.
    for payload in find_payloads()[::400]:
        assert shapes_with(client, user, " ".join(payload.replace("\0", "").split())) == expected, payload


def test_every_payload_stays_text_in_a_conversation(client):
    user = User.objects.create_user("ada")
    client.force_login(user)
    chat = Conversation.objects.create(owner=user, name="all")
    payloads = [payload.replace("\0", "") for payload in find_payloads()]
    Message.objects.create(conversation=chat, role="assistant", text="\n".join(payloads), ending="complete")
    tags = Shape(client.get(reverse("chat:conversation", args=[chat.pk])).content.decode()).tags
    Message.objects.update(text=HARMLESS)
    assert tags == Shape(client.get(reverse("chat:conversation", args=[chat.pk])).content.decode()).tags
