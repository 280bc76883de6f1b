"""All words of the pages go through translation: in a language that puts brackets around each, none stands outside."""

from __future__ import annotations

import re
import uuid
from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.urls import get_resolver, reverse
from django.utils import timezone
from django.utils.translation import trans_real

from chat.models import ApiToken, Conversation, Message, Role, Share
from providers.models import Attempt, CountSource
from sasha.testing import Socket, make_provider

NAMES = re.compile(r"Sasha Studio|Simon|sim(?:-[a-z0-9]+)?|alice|secret title|English|Deutsch|עברית|https?://\S+|UTC")
# What takes no GET, sends a file, or needs JavaScript to be read.
NOT_PAGES = re.compile(
    r"chat:(api-|export-|source|sums|branch|failover|attachment|delete-attachment|upload|everything|manifest|sign-out|"
    r"share$|revoke-|make-token|change-password|choose-|delete-account|archive$|delete$|pin$|restore|unarchive|unpin)"
)
READ_ALOUD = ("aria-label", "placeholder", "title", "alt")
SECRET = "secret title"
# Where somebody who is signed in is not.
ELSEWHERE = {"/account/sign-in", "/account/sign-up", "/nowhere"}


class Brackets:
    """A language in which every sentence is its English in brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message.rpartition(trans_real.CONTEXT_SEPARATOR)[2]}⟧"

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.gettext(one if count == 1 else many)

    def to_language(self) -> str:
        return "de"


class Words(HTMLParser):
    """What a reader of a page reads or hears."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.shown = ""
        self.named: list[str] = []
        self._hidden = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        self.named += [value for name, value in attrs if name in READ_ALOUD and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.shown += data


def outside_brackets(text: str) -> list[str]:
    while text != (text := re.sub(r"⟦[^⟦⟧]*⟧", "", text)):
        pass
    return re.findall(r"[^\W\d_]{2,}.*", NAMES.sub("", text))


@pytest.fixture
def brackets(monkeypatch):
    monkeypatch.setitem(trans_real._translations, "de", Brackets())


@pytest.fixture
def talk(db, settings):
    """A conversation of Alice's with an answer that was cut, read by her."""
    settings.CHAT_SHARING = True
    make_provider("http://127.0.0.1:1", "sim-n5", name="Simon")
    alice = User.objects.create_user("alice")
    talk = Conversation.objects.create(owner=alice, name=str(uuid.uuid4()), title=SECRET)
    question = Message.objects.create(conversation=talk, role=Role.USER, text=SECRET)
    reply = Message.objects.create(
        conversation=talk,
        parent=question,
        role=Role.ASSISTANT,
        text=SECRET,
        reasoning=SECRET,
        reasoning_ms=3000,
        ending="cut",
        evidence=SECRET,
        provider="sim",
        model="sim-n5",
        input_tokens=7,
        output_tokens=2,
        cost_usd="0.01",
        cost_source=CountSource.ESTIMATED,
        duration_ms=1234,
        first_token_ms=400,
        attempts=1,
    )
    talk.current_leaf = reply
    talk.save()
    Attempt.objects.create(
        user=alice,
        reply_id=reply.pk,
        conversation_id=talk.pk,
        provider_slug="sim",
        model_name="sim-n5",
        reason=SECRET,
        ending="cut",
        evidence=SECRET,
        error=SECRET,
        input_tokens=7,
        output_tokens=2,
        cost_usd="0.01",
        count_source=CountSource.ESTIMATED,
        started_at=timezone.now(),
    )
    ApiToken.objects.create(user=alice, name=SECRET, digest="0" * 64, ending="0000")
    Share.objects.create(conversation=talk, leaf=reply)
    return talk


def addresses(talk: Conversation) -> list[str]:
    ids = {
        "conversation_id": talk.pk,
        "message_id": talk.current_leaf.parent_id,
        "reply_id": talk.current_leaf_id,
        "key": Share.objects.get().key,
    }
    known = get_resolver().namespace_dict["chat"][1].reverse_dict
    names = [name for name in known if isinstance(name, str) and not NOT_PAGES.match(f"chat:{name}")]
    pages = [reverse(f"chat:{name}", kwargs={key: ids[key] for key in known[name][0][0][1]}) for name in names]
    return [*pages, "/nowhere"]


def test_no_word_of_a_page_stands_outside_of_the_catalogues(client, brackets, talk):
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "de"
    found = {}
    for signed_in in (False, True):
        for address in addresses(talk):
            response = client.get(address)
            # Who is signed in already is led on.
            assert response.status_code == 200 or not signed_in or address in ELSEWHERE, address
            words = Words(response.content.decode())
            assert "⟦" in words.shown or response.status_code == 302, address
            for text in [words.shown, *words.named]:
                if outside := outside_brackets(text):
                    found[address] = found.get(address, []) + outside
        client.force_login(talk.owner)
    assert found == {}


def test_the_admin_speaks_english(client, admin_user):
    client.force_login(admin_user)
    page = client.get("/admin/", headers={"Accept-Language": "he"}).content.decode()
    assert '<html lang="en' in page
    assert 'dir="rtl"' not in page


@pytest.mark.django_db(transaction=True)
async def test_a_socket_and_the_api_speak_the_reader_s_language(site, async_client):
    german = {"Cookie": f"{settings.LANGUAGE_COOKIE_NAME}=de"}
    async with Socket("s", headers=german) as socket:
        await socket.send(message=" ")
        assert (await socket.receive())["error"] == "Die Nachricht ist leer."
    async with Socket("s") as socket:
        await socket.send(message=" ")
        assert (await socket.receive())["error"] == "The message is empty."
    posted = {"data": '{"message": " "}', "content_type": "application/json"}
    for headers in ({"Accept-Language": "de"}, {}):
        response = await async_client.post("/api/conversations/s/messages", **posted, headers=headers)
        said = "Die Nachricht ist leer." if headers else "The message is empty."
        assert response.json()["error"] == said
