from __future__ import annotations

import re
import uuid
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.core import signing
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from chat.identity import GUEST_COOKIE, SALT
from chat.models import Conversation, Message, Role, SiteSettings, State
from providers.endings import Ending
from providers.models import Model
from sasha.testing import make_provider, without_nonce

pytestmark = pytest.mark.django_db


class Page(HTMLParser):
    """A page as a test reads it: each tag with its attributes, and the text of each [data-text]."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._inside = False
        # What stands in a <template> is not shown.
        self.feed(re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if "data-text" in dict(attrs):
            self._inside = True
            self.texts.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag != "div"

    def handle_data(self, data):
        if self._inside:
            self.texts[-1] += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        """Return the attributes of each element that has the attribute `name`."""
        return [attributes for _, attributes in self.tags if name in attributes]


@pytest.fixture(autouse=True)
def _without_collected_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def as_alice(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def make_conversation(owner: User, title: str = "Bread", **fields) -> Conversation:
    made = uuid.uuid4()
    return Conversation.objects.create(id=made, owner=owner, name=str(made), title=title, **fields)


def say(conversation: Conversation, text: str, parent: Message | None = None, **fields) -> Message:
    """Store a question, or with `ending` or `state` a reply, as the end of the branch."""
    role = Role.ASSISTANT if fields else Role.USER
    message = Message.objects.create(conversation=conversation, role=role, parent=parent, text=text, **fields)
    Conversation.objects.filter(pk=conversation.pk).update(current_leaf=message)
    return message


def get(client: Client, conversation: Conversation | None = None) -> tuple[Page, str]:
    url = reverse("chat:conversation", args=[conversation.pk]) if conversation else reverse("chat:new")
    response = client.get(url)
    assert response.status_code == 200
    return Page(response.text), response.text


def test_a_new_page_has_a_name_of_its_own_and_stores_nothing(client):
    first, second = (get(client)[0].all("data-chat")[0] for _ in range(2))
    assert first["data-session"] != second["data-session"]
    assert first["data-url"] == f"/c/{first['data-session']}/"
    assert "data-new" in first
    assert not User.objects.exists()
    assert not Conversation.objects.exists()


def test_a_conversation_shows_its_messages_from_first_to_last(alice, as_alice):
    conversation = make_conversation(alice)
    question = say(conversation, "Why does bread rise?")
    say(conversation, "Yeast.", question, ending="complete")
    page, html = get(as_alice, conversation)
    assert page.texts == ["Why does bread rise?", "Yeast."]
    assert [turn["data-role"] for turn in page.all("data-message")] == ["user", "assistant"]
    assert page.all("data-chat")[0]["data-session"] == conversation.name
    assert "<title>Bread · Sasha Studio</title>" in html


def test_only_the_branch_of_the_current_leaf_is_shown(alice, as_alice):
    conversation = make_conversation(alice)
    question = say(conversation, "Question")
    chosen = say(conversation, "Chosen", question, ending="complete")
    say(conversation, "Other", question, ending="complete")
    Conversation.objects.filter(pk=conversation.pk).update(current_leaf=chosen)
    assert get(as_alice, conversation)[0].texts == ["Question", "Chosen"]
    Conversation.objects.filter(pk=conversation.pk).update(current_leaf=None)
    assert get(as_alice, conversation)[0].texts == ["Question", "Other"]


@pytest.mark.parametrize("who", ["bob", "guest", "nobody"])
def test_what_belongs_to_somebody_else_does_not_exist(alice, client, who):
    conversation = make_conversation(alice)
    if who == "bob":
        client.force_login(User.objects.create_user("bob"))
    if who == "guest":
        client.cookies[GUEST_COOKIE] = signing.dumps("token", salt=SALT)
    foreign = client.get(reverse("chat:conversation", args=[conversation.pk]))
    unknown = client.get(reverse("chat:conversation", args=[uuid.uuid4()]))
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert without_nonce(foreign.text) == without_nonce(unknown.text)
    assert "Bread" not in get(client)[1]


def test_a_guest_sees_what_the_cookie_owns(client):
    conversation = make_conversation(User.objects.create_user("guest-token"))
    client.cookies[GUEST_COOKIE] = signing.dumps("token", salt=SALT)
    assert get(client, conversation)[0].all("data-conversation")[0]["aria-current"] == "page"


def test_the_list_has_the_last_used_first_and_one_query(alice, as_alice, django_assert_num_queries):
    conversations = [make_conversation(alice, f"Number {n}") for n in range(12)]
    for conversation in conversations:
        reply = say(conversation, "Answer", say(conversation, "Question"), ending="complete")
        say(conversation, "Thanks", reply)
    make_provider("http://127.0.0.1:1", "a", "b", priority=2)
    # session, user, conversation, its tree, its messages, their files, the list, budgets, the models, their prices, the
    # budgets once more for what is left, the total, the latest attempt
    with django_assert_num_queries(13):
        html = get(as_alice, conversations[3])[1]
    titles = re.findall(r"Number \d+(?=</a>)", html)
    assert titles == [f"Number {n}" for n in reversed(range(12))]


def test_what_people_and_models_write_is_text(alice, as_alice):
    nasty = '<script>alert(1)</script> & "quotes" </div><img src=x onerror=alert(1)>'
    conversation = make_conversation(alice, nasty[:200])
    reply = say(conversation, nasty, say(conversation, nasty), ending="cut", error=nasty, reasoning=nasty, model=nasty)
    Message.objects.filter(pk=reply.pk).update(notices=[{"kind": "seam", "reason": nasty, "at": 3}])
    page, html = get(as_alice, conversation)
    assert page.texts[0] == nasty
    assert "".join(page.texts[1:]) == nasty
    assert "<script>alert" not in html
    assert "<img src=x" not in html


@pytest.mark.parametrize("path", ["new", "conversation", "missing"])
def test_pages_allow_no_inline_code(alice, as_alice, path):
    conversation = make_conversation(alice)
    say(conversation, "Answer", say(conversation, "Question"), ending="length")
    urls = {"new": "/", "conversation": f"/c/{conversation.pk}/", "missing": f"/c/{uuid.uuid4()}/"}
    response = as_alice.get(urls[path])
    policy = response["Content-Security-Policy"]
    nonce = re.search("'nonce-([^']+)'", policy)[1]
    assert policy.startswith(f"default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self'")
    assert policy.endswith("require-trusted-types-for 'script'; trusted-types own-pages, script-src 'self'")
    assert "unsafe" not in policy
    for tag, attributes in Page(response.text).tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or "src" in attributes or attributes["type"] == "application/json"
        assert tag != "script" or "src" not in attributes or attributes["nonce"] == nonce
        # Nothing comes from another host.
        for name in ("src", "href"):
            assert not (attributes.get(name) or "/").startswith(("http", "//", "javascript:"))


def test_carriage_returns_survive_the_way_into_the_page(alice, as_alice):
    conversation = make_conversation(alice)
    say(conversation, "one\r\ntwo <b>", say(conversation, "Question"), ending="complete")
    _, html = get(as_alice, conversation)
    assert "one&#13;\ntwo &lt;b&gt;</div>" in html


@pytest.mark.parametrize("ending", list(Ending))
def test_an_answer_that_is_not_whole_says_so(alice, as_alice, ending):
    conversation = make_conversation(alice)
    say(conversation, "Half", say(conversation, "Question"), ending=ending.value)
    page, html = get(as_alice, conversation)
    shown = page.all("data-end")[0]
    assert ("hidden" in shown) == (ending is Ending.COMPLETE)
    assert (f">{escape(ending.sentence)}</p>" in html) == (ending is not Ending.COMPLETE)


def test_what_is_known_about_an_answer_stands_under_it(alice, as_alice):
    conversation = make_conversation(alice)
    known = {
        "provider": "claude",
        "model": "claude-3-haiku",
        "duration_ms": 3250,
        "first_token_ms": 480,
        "input_tokens": 12,
        "cache_read_tokens": 1000,
        "output_tokens": 34,
        "cost_usd": Decimal("0.00213"),
        "cost_source": "reported",
        "attempts": 1,
    }
    say(conversation, "Known", say(conversation, "Question"), ending="complete", **known)
    facts = re.findall(r"<li>([^<]+)</li>", get(as_alice, conversation)[1])
    assert facts == [
        "claude:claude-3-haiku",
        "3.2 s",
        "first token 480 ms",
        "1,012 tokens in",
        "34 tokens out",
        "$0.0021",
    ]


def test_unknown_is_never_zero(alice, as_alice):
    conversation = make_conversation(alice)
    known = {"ending": "complete", "provider": "sim", "model": "m", "attempts": 1, "cost_source": "unknown"}
    say(conversation, "Unknown", say(conversation, "Question"), **known)
    assert re.findall(r"<li>([^<]+)</li>", get(as_alice, conversation)[1]) == ["sim:m", "cost unknown"]


def test_an_unfinished_reply_shows_what_there_is(alice, as_alice):
    conversation = make_conversation(alice)
    first = say(conversation, "So far", say(conversation, "One"), state=State.RUNNING, last_seq=7)
    second = say(conversation, "", say(conversation, "Two", first), state=State.QUEUED)
    page, html = get(as_alice, conversation)
    replies = page.all("data-reply-id")
    assert [(turn["data-reply-id"], turn["data-state"], turn["data-last-seq"]) for turn in replies] == [
        (str(first.pk), "running", "7"),
        (str(second.pk), "queued", "0"),
    ]
    assert page.texts == ["One", "So far", "Two", ""]
    assert re.findall(r"data-wait>([^<]*)<", html)[:2] == ["Writing", "Waiting for its turn"]


@pytest.mark.parametrize(
    ("provider", "text", "words"),
    [
        ("sim", "", "Waiting for Simon &amp; Co"),
        ("gone", "", "Waiting for gone"),
        ("", "", "Waiting for an answer"),
        ("sim", "So", "Writing"),
    ],
)
def test_before_its_first_word_an_answer_says_whom_it_waits_for(alice, as_alice, provider, text, words):
    make_provider("http://127.0.0.1:1", "m", name="Simon & Co")
    conversation = make_conversation(alice)
    question = say(conversation, "Question")
    say(conversation, text, question, state=State.RUNNING, provider=provider, model=provider and "m")
    assert re.findall(r"data-wait>([^<]*)<", get(as_alice, conversation)[1])[0] == words


def test_an_answer_names_its_model_as_people_do(alice, as_alice):
    make_provider("http://127.0.0.1:1", "m", "plain", name="Simon")
    Model.objects.filter(name="m").update(label="The Model")
    conversation = make_conversation(alice)
    reply = say(conversation, "One", say(conversation, "Question"), ending="complete", provider="sim", model="m")
    reply = say(conversation, "Two", reply, ending="complete", provider="sim", model="plain")
    say(conversation, "Three", reply, ending="complete", provider="sim", model="gone")
    facts = re.findall(r"<li>([^<]+)</li>", get(as_alice, conversation)[1])
    assert facts == ["Simon The Model", "Simon plain", "sim:gone"]


def test_notices_stand_where_they_happened(alice, as_alice):
    conversation = make_conversation(alice)
    notices = [{"kind": "fallback", "reason": "First.", "at": 0}, {"kind": "seam", "reason": "Then.", "at": 4}]
    say(conversation, "🌍🌍🌍🌍 end", say(conversation, "Question"), ending="complete", notices=notices)
    page, html = get(as_alice, conversation)
    assert page.texts[1:] == ["", "🌍🌍🌍🌍", " end"]
    assert re.findall(r'data-kind="(\w+)"><p[^>]*>([^<]*)</p></div>', html) == [
        ("fallback", "First."),
        ("seam", "Then."),
    ]


def test_only_the_notice_that_asks_has_a_button(alice, as_alice):
    conversation = make_conversation(alice)
    notices = [
        {"kind": "budget", "reason": "Nearly used up.", "at": 0},
        {"kind": "ask", "reason": "b:two could continue.", "at": 4, "old_model": "a:one", "new_model": "b:two"},
    ]
    say(conversation, "Half", say(conversation, "Question"), ending="cut", notices=notices)
    page, html = get(as_alice, conversation)
    assert [button["data-continue"] for button in page.all("data-continue")] == ["b:two"]
    assert ">Continue with b:two</button>" in html
    make_provider("http://127.0.0.1:1", "two", slug="b", name="Bee")
    assert ">Continue with Bee two</button>" in get(as_alice, conversation)[1]
    assert [notice["role"] for notice in page.all("data-notice")] == ["note", "note"]


def test_pages_are_not_kept_by_caches_and_take_no_post(client):
    response = client.get("/")
    assert {"no-store", "private"} <= set(response["Cache-Control"].split(", "))
    assert client.post("/").status_code == 405


def test_every_page_has_an_icon_and_nothing_asks_for_another(client):
    for path in ("/", "/missing"):
        icons = [attributes for _, attributes in Page(client.get(path).text).tags if attributes.get("rel") == "icon"]
        assert [(icon["type"], icon["href"].endswith(".svg")) for icon in icons] == [("image/svg+xml", True)]


# --- What happens when a provider fails in mid-answer -----------------------------------------------------------------


def choose(client: Client, conversation_id: uuid.UUID, choice: str) -> int:
    return client.post(reverse("chat:settings", args=[conversation_id]), {"failover": choice}).status_code


def chosen(client: Client, conversation: Conversation) -> list[str]:
    return re.findall(r'<option value="(\w*)" selected>', settings_page(client, conversation))


def settings_page(client: Client, conversation: Conversation) -> str:
    return client.get(reverse("chat:settings", args=[conversation.pk])).text


@pytest.mark.parametrize("choice", ["continue", "ask", "off", ""])
def test_a_conversation_keeps_its_own_choice_of_what_follows_a_break(alice, as_alice, choice):
    conversation = make_conversation(alice, failover="off" if choice != "off" else "ask")
    before = conversation.updated_at
    assert choose(as_alice, conversation.pk, choice) == 302
    conversation.refresh_from_db()
    assert conversation.failover == choice
    # Nothing was said in it.
    assert conversation.updated_at == before
    assert chosen(as_alice, conversation) == [choice]


def test_who_leaves_it_to_the_site_reads_what_that_means(alice, as_alice):
    conversation = make_conversation(alice)
    shown = '<option value="" selected>another model continues (default)</option>'
    assert shown in settings_page(as_alice, conversation)
    SiteSettings.objects.create(failover="ask")
    assert '<option value="" selected>ask me (default)</option>' in settings_page(as_alice, conversation)


def test_a_choice_that_is_none_changes_nothing(alice, as_alice):
    conversation = make_conversation(alice, failover="ask")
    assert choose(as_alice, conversation.pk, "sometimes") == 400
    conversation.refresh_from_db()
    assert conversation.failover == "ask"


@pytest.mark.parametrize("who", ["bob", "guest", "nobody"])
def test_nobody_chooses_for_somebody_else(alice, client, who):
    conversation = make_conversation(alice)
    if who == "bob":
        client.force_login(User.objects.create_user("bob"))
    if who == "guest":
        client.cookies[GUEST_COOKIE] = signing.dumps("token", salt=SALT)
    assert choose(client, conversation.pk, "off") == choose(client, uuid.uuid4(), "off") == 404
    conversation.refresh_from_db()
    assert conversation.failover == ""


def test_another_site_cannot_choose_for_the_reader(alice):
    conversation = make_conversation(alice)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert choose(client, conversation.pk, "off") == 403
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', get(client, conversation)[1])[1]
    form = {"failover": "off", "csrfmiddlewaretoken": token}
    assert client.post(reverse("chat:settings", args=[conversation.pk]), form).status_code == 302
