from __future__ import annotations

import base64
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from chat.exports.tree import write_json_with_files
from chat.imports.ours import read
from chat.imports.run import Report, import_file
from chat.imports.storing import store
from chat.models import Attachment, Conversation, Message
from chat.tests.talks import make_full_talk, make_talk, say
from chat.tests.test_exports import SCHEMA, download
from chat.turns import Names, find_branch, make_turn

pytestmark = pytest.mark.django_db

FILES = Path(__file__).parent / "files"


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


def take(owner: User, content: object, **options) -> Report:
    """Import `content`: bytes as they are, anything else as JSON."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return import_file(owner, SimpleUploadedFile("file.json", raw), **options)


def texts(conversation: Conversation) -> list[str]:
    """Return the texts of the branch that is shown."""
    conversation.refresh_from_db()
    return [message.text for message in find_branch(conversation.messages.all(), conversation.current_leaf_id)]


def only(report: Report) -> Conversation:
    assert (report.problem, report.failed, len(report.imported)) == ("", [], 1)
    conversation = report.imported[0].conversation
    conversation.refresh_from_db()
    return conversation


# --- From ChatGPT -----------------------------------------------------------------------------------------------------


def test_a_chatgpt_export_becomes_what_chatgpt_showed(alice):
    talk = only(take(alice, (FILES / "chatgpt.json").read_bytes()))
    assert (talk.title, talk.archived, talk.name) == ("Sourdough timing", True, str(talk.pk))
    assert texts(talk) == [
        "[Attached: dough.jpg]\n[An image that was not imported]\nHow long should this dough rise?",
        "Let me look that up.\n\n**Six** hours at 24 °C.",
        "Thanks!",
    ]
    assert talk.messages.count() == 4
    answer = talk.messages.get(text__startswith="Let me")
    assert (answer.model, answer.provider, answer.ending, answer.evidence) == ("o3", "", "length", "imported")
    assert (answer.attempts, answer.cost_usd, answer.state) == (0, None, "ended")
    assert answer.reasoning == "Looking at the dough\n\nIt is warm in there."
    other = talk.messages.get(text="Four hours.")
    assert (other.ending, other.model, other.parent_id) == ("complete", "gpt-4o", answer.parent_id)


def test_dates_stay_and_put_it_where_it_belongs_in_the_list(alice):
    make_talk(alice, "Later")
    talk = only(take(alice, (FILES / "chatgpt.json").read_bytes()))
    assert talk.created_at == datetime(2025, 3, 14, 12, 0, 0, 123456, UTC)
    assert talk.updated_at == datetime(2025, 3, 14, 13, 0, 0, 500000, UTC)
    assert talk.messages.get(text="Thanks!").created_at == datetime(2025, 3, 14, 13, tzinfo=UTC)


# --- From Open WebUI --------------------------------------------------------------------------------------------------


def test_an_open_webui_export_becomes_what_it_was(alice):
    report = take(alice, (FILES / "open_webui.json").read_bytes())
    assert (report.problem, report.failed) == ("", [])
    rye, old = (outcome.conversation for outcome in report.imported)
    assert texts(rye) == ["[Attached: rye.pdf]\nWhy rye?", "It keeps longer.", "And wheat?", ""]
    assert (rye.title, rye.system_prompt, rye.parameters, rye.pinned) == (
        "🍞 Rye bread",
        "You are a baker.",
        {"temperature": 0.3},
        True,
    )
    kept = rye.messages.get(text="It keeps longer.")
    assert (kept.model, kept.reasoning, kept.reasoning_ms) == ("deepseek-r1:7b", "Rye is <sour>.\nSo.", 4000)
    failed = rye.messages.get(model="llama3.1:8b", text="")
    assert (failed.ending, failed.error) == ("provider_error", "Ollama: 500, message='Internal Server Error'")
    assert rye.messages.filter(text="Taste.").exists()
    assert texts(old) == ["Hello", "Hi!"]
    assert old.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert rye.updated_at == datetime(2025, 1, 1, 12, 3, 21, tzinfo=UTC)


# --- Our own ----------------------------------------------------------------------------------------------------------


def without_ids(document: dict) -> dict:
    """Return an export as it must be after a round trip: ids by position, and without what an import changes."""
    places = {message["id"]: number for number, message in enumerate(document["messages"])}
    return {
        **document,
        "id": "",
        "current": places.get(document["current"]),
        "messages": [
            message
            | {"id": places[message["id"]], "parent": places.get(message["parent"])}
            | ({"evidence": "", "attempts": 0} if message["role"] == "assistant" else {})
            for message in document["messages"]
        ],
    }


def test_an_export_imported_and_exported_again_is_the_same(alice):
    document = json.loads(b"".join(write_json_with_files(make_full_talk(alice))))
    after = json.loads(b"".join(write_json_with_files(only(take(alice, document, copies=True)))))
    jsonschema.validate(after, SCHEMA)
    assert without_ids(after) == without_ids(document)
    assert {message["evidence"] for message in after["messages"] if message["role"] == "assistant"} == {"imported"}


text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)


@st.composite
def trees(draw) -> dict:
    """A conversation of random messages in a random tree, oldest first."""
    count = draw(st.integers(1, 12))
    messages = []
    for number in range(count):
        parent = draw(st.sampled_from([None, *range(number)]))
        role = draw(st.sampled_from(["user", "assistant"]))
        messages.append(
            {
                "id": f"m{number}",
                "parent": None if parent is None else f"m{parent}",
                "role": role,
                "text": draw(text),
                "created_at": f"2025-01-01T00:00:{number:02}+00:00",
            }
        )
        if role == "assistant":
            messages[-1] |= {
                "ending": draw(st.sampled_from(["complete", "cut", "stopped"])),
                "reasoning": draw(text),
                "cost_usd": draw(st.sampled_from([None, "0.100000000000"])),
                "usage": {"output_tokens": draw(st.one_of(st.none(), st.integers(0, 10**9)))},
            }
    current = draw(st.sampled_from([None, *(message["id"] for message in messages)]))
    return {"schema": "sasha-studio/conversation/1", "title": "T", "current": current, "messages": messages}


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=trees())
def test_any_tree_survives_the_way_out_and_in(alice, as_alice, document):
    first = json.loads(download(as_alice, only(take(alice, document, copies=True)), "json").content)
    second = json.loads(download(as_alice, only(take(alice, first, copies=True)), "json").content)
    jsonschema.validate(second, SCHEMA)
    assert without_ids(second) == without_ids(first)
    for name in ("text", "role"):
        assert [message[name] for message in first["messages"]] == [message[name] for message in document["messages"]]
    ids = {message["id"]: number for number, message in enumerate(first["messages"])}
    assert [ids.get(message["parent"]) for message in first["messages"]] == [
        None if message["parent"] is None else int(message["parent"][1:]) for message in document["messages"]
    ]


def test_what_is_still_here_is_not_imported_twice(alice, as_alice):
    document = json.loads(download(as_alice, make_full_talk(alice), "json").content)
    report = take(alice, document)
    assert (len(report.imported), [outcome.reason for outcome in report.skipped]) == (0, ["It is here already."])
    other = User.objects.create_user("bob")
    assert only(take(other, document)).owner == other
    assert len(take(other, document).skipped) == 1
    assert Conversation.objects.count() == 2


def test_the_same_file_twice_changes_nothing_and_copies_are_made_on_demand(alice):
    for name in ("chatgpt.json", "open_webui.json"):
        content = (FILES / name).read_bytes()
        count = len(take(alice, content).imported)
        before = Message.objects.count()
        again = take(alice, content)
        assert (len(again.imported), len(again.skipped)) == (0, count)
        assert Message.objects.count() == before
        assert len(take(alice, content, copies=True).imported) == count


def test_one_that_has_grown_since_comes_as_a_new_one(alice):
    document = json.loads((FILES / "chatgpt.json").read_text())
    first = only(take(alice, document))
    node = document[0]["mapping"]["q2"]
    document[0]["mapping"]["q3"] = {**node, "id": "q3", "parent": "q2", "message": {**node["message"], "id": "q3"}}
    second = only(take(alice, document))
    assert (first.messages.count(), second.messages.count()) == (4, 5)


def test_what_was_deleted_here_can_be_imported_again(alice):
    content = (FILES / "chatgpt.json").read_bytes()
    first = only(take(alice, content))
    Conversation.objects.filter(pk=first.pk).update(deleted_at=datetime.now(UTC))
    assert only(take(alice, content)).pk != first.pk


# --- On the pages -----------------------------------------------------------------------------------------------------


def test_an_imported_answer_is_shown_by_its_label_and_without_a_cost(alice, as_alice):
    talk = only(take(alice, (FILES / "chatgpt.json").read_bytes()))
    answer = talk.messages.get(text="Four hours.")
    assert make_turn(answer, Names()).facts == ["gpt-4o"]
    page = as_alice.get(reverse("chat:conversation", args=[talk.pk])).text
    assert "cost unknown" not in page
    story = as_alice.get(reverse("chat:attempts", args=[answer.pk])).text
    assert "This answer was imported. How it was made is not known here." in story
    assert "Nobody was asked" not in story


def test_the_page_says_what_became_of_each(alice, as_alice):
    rows = [*json.loads((FILES / "open_webui.json").read_text()), {"title": "<b>Odd</b>", "chat": {}}]
    url = reverse("chat:import")
    assert as_alice.get(url).status_code == 200
    file = SimpleUploadedFile("a.json", json.dumps(rows).encode())
    page = as_alice.post(url, {"file": file}).text
    assert "2 conversations imported" in page
    assert "1 conversation could not be imported" in page
    assert "&lt;b&gt;Odd&lt;/b&gt;" in page
    assert "<b>Odd" not in page.replace("<b>&lt;", "")
    file.seek(0)
    assert "2 conversations were here already" in as_alice.post(url, {"file": file}).text
    file.seek(0)
    assert "2 conversations imported" in as_alice.post(url, {"file": file, "copies": "1"}).text


def test_a_guest_can_begin_with_what_they_said_elsewhere(settings):
    guest, url = Client(), reverse("chat:import")
    guest.get("/")
    file = SimpleUploadedFile("a.json", (FILES / "chatgpt.json").read_bytes())
    assert "1 conversation imported" in guest.post(url, {"file": file}).text
    assert Conversation.objects.get().owner.username.startswith("guest-")
    settings.LOCAL_MODE = False
    file.seek(0)
    assert Client().post(url, {"file": file}, secure=True).status_code != 200
    assert Conversation.objects.count() == 1


def test_the_page_refuses_without_a_file_and_over_the_limit(alice, as_alice, settings):
    url = reverse("chat:import")
    response = as_alice.post(url)
    assert (response.status_code, "Choose a file first." in response.text) == (400, True)
    settings.CHAT_IMPORT_BYTES = 2_000_000
    response = as_alice.post(url, {"file": SimpleUploadedFile("a.json", b" " * 2_000_001)})
    assert (response.status_code, "larger than 2 MB" in response.text) == (413, True)
    assert Client(enforce_csrf_checks=True).post(url).status_code == 403


def test_attached_files_are_read_like_those_that_people_attach(alice):
    picture = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(picture, "PNG")
    files = {"red.png": picture.getvalue(), "x.html": b"<svg onload=alert(1)>", "../notes.txt": b"Yeast", "a.txt": b"A"}
    attachments = [
        {"name": name, "kind": "image", "media_type": "text/html", "data": base64.b64encode(content).decode()}
        for name, content in files.items()
    ]
    attachments += [
        {"name": "gone.txt"},
        {"name": "bad.txt", "data": "%"},
        {"name": "c.txt", "file": "../../etc/passwd"},
    ]
    report = take(alice, ours({"attachments": attachments}))
    stored = list(Attachment.objects.filter(message__conversation=only(report)))
    assert [(file.name, file.kind, file.media_type, file.owner) for file in stored] == [
        ("red.png", "image", "image/jpeg", alice),
        ("notes.txt", "text", "text/plain", alice),
        ("a.txt", "text", "text/plain", alice),
    ]
    assert report.imported[0].reason == (
        "x.html is an SVG picture; save it as a PNG to attach it. gone.txt is not part of the file. "
        "bad.txt is not part of the file. c.txt is not part of the file."
    )


def test_files_that_nobody_has_time_for_are_left_out_unread(alice):
    asked = []
    document = ours({"attachments": [{"name": "a.txt", "file": "a"}, {"name": "b.txt", "file": "b"}]})
    draft = read(document, lambda name: asked.append(name))
    _, remarks = store(alice, draft, until=0.0)
    assert remarks == ["Some files were left out: there are too many for one request."]
    assert not asked


def test_an_archive_whose_bytes_were_changed_is_refused_in_a_sentence(alice):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps([ours()] * 50))
    content = bytearray(file.getvalue())
    content[60:70] = b"\xff" * 10
    assert take(alice, bytes(content)).problem == "The archive is damaged."


def test_who_has_been_switched_off_imports_nothing():
    guest = Client()
    guest.get("/")
    file = SimpleUploadedFile("a.json", (FILES / "chatgpt.json").read_bytes())
    guest.post(reverse("chat:import"), {"file": file})
    User.objects.update(is_active=False)
    file.seek(0)
    assert guest.post(reverse("chat:import"), {"file": file, "copies": "1"}).status_code == 404
    assert Conversation.objects.count() == 1


def test_files_over_what_a_user_may_keep_are_left_out(alice, settings):
    settings.CHAT_FILE_BYTES_PER_USER = 3
    data = base64.b64encode(b"four").decode()
    report = take(alice, ours({"attachments": [{"name": "a.txt", "data": data}]}))
    assert report.imported[0].reason.startswith("There is no room for a.txt")
    assert not Attachment.objects.exists()


# --- What is wrong or hostile -----------------------------------------------------------------------------------------


def ours(*messages: dict, **fields) -> dict:
    rows = [
        {"id": str(number), "parent": None, "role": "user", "text": "x"} | row for number, row in enumerate(messages)
    ]
    return {"schema": "sasha-studio/conversation/1", "title": "T", "messages": rows, **fields}


def chatgpt(**nodes) -> dict:
    message = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["x"]}}
    return {"title": "T", "mapping": {key: {"message": message, "parent": None} | node for key, node in nodes.items()}}


def webui(**nodes) -> dict:
    rows = {key: {"role": "user", "content": "x", "parentId": None} | node for key, node in nodes.items()}
    return {"title": "T", "chat": {"history": {"messages": rows}}}


CIRCLE = "Its messages follow each other in a circle."
ORPHAN = "A message follows one that is not in the file."
LONG = "A message is longer than 1,048,576 characters."
STRANGE = "This is no conversation of Sasha Studio, ChatGPT or Open WebUI."
REFUSED = [
    (ours({"parent": "1"}, {"parent": "0"}), CIRCLE),
    (ours({"parent": "0"}), CIRCLE),
    (ours({"parent": "7"}), ORPHAN),
    (ours({}, {"id": "0"}), "Two messages have the same id."),
    (ours({"text": 5}), "The text of a message is missing or not what it should be."),
    (ours({"role": "system"}), "A message is neither a question nor an answer."),
    (ours({"role": ["user"]}), "A message is neither a question nor an answer."),
    (ours({"text": "x" * 10_000_000}), LONG),
    (ours({"id": None}), "The id of a message is missing or not what it should be."),
    (ours({"parent": {}}), "The parent of a message is missing or not what it should be."),
    (ours(messages="x"), "The list of messages is missing or not what it should be."),
    (ours(messages=[None]), "A message is missing or not what it should be."),
    (ours(messages=[]), "It has no messages."),
    (ours(messages=[None] * 20_001), "It has more than 20,000 messages."),
    (ours({}, schema="sasha-studio/conversation/2"), "It was exported by another version"),
    (chatgpt(a={"parent": "b"}, b={"parent": "a"}), CIRCLE),
    (chatgpt(a={"parent": "b"}), ORPHAN),
    (chatgpt(a={"parent": 5}), "The parent of a message is missing or not what it should be."),
    (chatgpt(a={"message": None}), "It has no messages."),
    ({"title": "T", "mapping": {"a": None}}, "A message is missing or not what it should be."),
    (webui(a={"parentId": "b"}, b={"parentId": "a"}), CIRCLE),
    (webui(a={"parentId": "b"}), ORPHAN),
    (webui(a={"content": "x" * 10_000_000}), LONG),
    ({"messages": [{"id": "a", "role": "user"}, {"id": "a", "role": "user"}]}, "Two messages have the same id."),
    ({"messages": ["x"]}, "A message is missing or not what it should be."),
    ({"title": "x"}, STRANGE),
    (["x"], STRANGE),
    (5, STRANGE),
    (None, STRANGE),
    ("x", STRANGE),
]


@pytest.mark.parametrize(("document", "sentence"), REFUSED)
def test_a_conversation_that_makes_no_sense_is_refused_alone(alice, document, sentence):
    report = take(alice, [document, ours({"text": "fine"})])
    assert [outcome.reason.startswith(sentence) for outcome in report.failed] == [True], report.failed
    assert [texts(outcome.conversation) for outcome in report.imported] == [["fine"]]
    assert Conversation.objects.count() == Message.objects.count() == 1


UNREADABLE = [
    (b"", "The file is empty."),
    (b" \n", "The file is empty."),
    (b"\xff\xfe\x00", "This is neither JSON nor a ZIP archive."),
    (b"<html>", "The file is not valid JSON: there is a mistake in line 1."),
    (b"[\n{},\nx]", "The file is not valid JSON: there is a mistake in line 3."),
    (b'{"schema": NaN}', "The file is not valid JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "The file is not valid JSON"),
    (b'[{"title": "x"', "The file ends in the middle: it is not whole."),
    (b"[" * 100_000, "Something in this file is nested too deeply."),
    (b'{"a":' * 100_000, "Something in this file is nested too deeply."),
    (b"[" * 3_000_001, "There are too many small parts in this file."),
    (b"[]", "There are no conversations in this file."),
    (b"{} x", "The file is not valid JSON: there is a mistake in line 1."),
]


@pytest.mark.parametrize(("content", "sentence"), UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(alice, content, sentence):
    report = take(alice, content)
    assert report.problem.startswith(sentence), report.problem
    assert not Conversation.objects.exists()


def test_what_is_whole_before_a_file_breaks_off_is_imported(alice):
    whole = json.dumps([ours({"text": "one"}), ours({"text": "two"})]).encode()
    report = take(alice, whole[:-20])
    assert report.problem == "The file ends in the middle: it is not whole."
    assert [texts(outcome.conversation) for outcome in report.imported] == [["one"]]


def test_odd_facts_are_left_out_and_the_words_are_kept(alice):
    odd = [None, True, -1, 10**30, 1e400, "x" * 1000, [], {}, ["a"], {"at": "x"}]
    names = ["ending", "notices", "usage", "cost_usd", "reasoning", "duration_ms", "model", "started_at", "created_at"]
    names += ["cost_source", "exit_code", "parameters", "attachments", "continues", "error", "left_out", "ended"]
    rows = [
        {"role": "assistant", "text": f"{number}", **dict.fromkeys(names, value)} for number, value in enumerate(odd)
    ]
    labels = ("title", "model", "failover", "parameters", "system_prompt", "created_at", "current")
    fields = dict.fromkeys(labels, odd[9])
    raw = json.dumps(ours(*rows, **fields)).replace("Infinity", "1e400").encode()
    talk = only(take(alice, raw))
    assert sorted(talk.messages.values_list("text", flat=True)) == [str(number) for number in range(len(odd))]
    assert set(talk.messages.values_list("cost_usd", flat=True)) == {None}
    assert (talk.title, talk.model, talk.failover, talk.parameters) == ("", "", "", {})


def test_nul_and_half_characters_are_taken_out(alice):
    raw = b'{"schema": "sasha-studio/conversation/1", "title": "a\\u0000b\\ud800", "messages": [{"id": "\\ud800", '
    raw += b'"parent": null, "role": "user", "text": "x\\u0000y\\udfff \\ud83c\\udf5e"}]}'
    talk = only(take(alice, raw))
    assert (talk.title, texts(talk)) == ("ab\ufffd", ["xy\ufffd 🍞"])


def test_nobody_wrote_in_the_future(alice):
    talk = only(take(alice, ours({"created_at": "2999-01-01T00:00:00Z"}, updated_at="9999-12-31T23:59:59-12:00")))
    assert talk.updated_at <= datetime.now(UTC)
    assert talk.messages.get().created_at <= datetime.now(UTC)


def test_an_imported_model_is_a_label_and_not_asked_again(alice):
    talk = only(take(alice, (FILES / "chatgpt.json").read_bytes()))
    assert talk.model == ""
    assert set(talk.messages.values_list("requested_model", flat=True)) == {""}


def test_a_conversation_takes_few_queries(alice, django_assert_max_num_queries):
    rows = [ours({"text": f"Question {number}"}, {"parent": "0", "role": "assistant"}) for number in range(50)]
    with django_assert_max_num_queries(50 * 7):
        assert len(take(alice, rows).imported) == 50


def test_others_conversations_are_not_touched(alice):
    bob = User.objects.create_user("bob")
    talk = make_talk(bob)
    say(talk, "Mine")
    document = ours({"id": str(talk.messages.get().pk), "text": "Not yours"}, id=str(talk.pk))
    assert only(take(alice, document)).owner == alice
    assert texts(talk) == ["Mine"]
