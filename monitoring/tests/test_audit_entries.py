"""What the audit writes down: one entry for each thing that happened, from value to value, without secrets."""

import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import transaction
from django.test import Client
from django.urls import reverse
from limits import parse

from chat import runner
from chat.database import db
from chat.models import Message, PolicyMode, PolicyRule, SiteSettings
from chat.policy import modes
from chat.tests.talks import make_talk, say
from monitoring import audit
from monitoring.audit import ACTIONS, Actor, Deed, record
from monitoring.models import AuditEntry, AuditText
from providers import breaker
from providers.models import Budget, Forced, Model, Price
from providers.simulator import Simulator
from sasha.testing import TEST_KEY, Socket, eventually, make_provider, running_site

PASSWORD = "a long enough passphrase"


def entries(action: str = "") -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action__startswith=action).order_by("id"))


def words_of(entry: AuditEntry) -> str:
    return AuditText.objects.get(pk=entry.digest).text


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture(autouse=True)
def _static_files(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def admin(db) -> User:
    return User.objects.create_superuser("root", password=PASSWORD)


@pytest.fixture
def as_admin(admin) -> Client:
    client = Client()
    client.force_login(admin)
    return client


# --- The writer -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_text_stands_under_a_digest_that_nobody_can_guess_from(settings):
    record(Deed("site.started", text="hello"), Deed("site.stopped", text="hello"))
    first, second = entries()
    assert first.digest != second.digest
    kept = AuditText.objects.get(pk=first.digest)
    assert kept.text == "hello"
    assert audit.digest_of(kept.salt, "hello") == first.digest


@pytest.mark.django_db
def test_only_the_digest_is_kept_where_the_setting_says_so(settings):
    settings.AUDIT_TEXTS = False
    record(Deed("site.started", text="hello"))
    kept = AuditText.objects.get(pk=entries()[0].digest)
    assert kept.text == ""
    assert audit.digest_of(kept.salt, "hello") == kept.digest


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x\udfff", "\u202e\x1b[31m", "漢😀"])
def test_any_text_can_be_stored_and_proved(text):
    record(Deed("site.started", text=text))
    kept = AuditText.objects.get(pk=entries()[0].digest)
    assert audit.digest_of(kept.salt, kept.text) == kept.digest


@pytest.mark.django_db
def test_what_nobody_has_described_is_not_recorded():
    with pytest.raises(ValueError, match=r"chat\.dreamt"):
        record(Deed("chat.dreamt"))
    assert not entries()


def test_every_action_fits_its_column():
    assert max(map(len, ACTIONS)) <= AuditEntry._meta.get_field("action").max_length


# --- Rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_change_of_a_provider_is_kept_from_value_to_value():
    provider = make_provider("https://one.example/v1", priority=3)
    provider.priority, provider.api_base = 1, "https://two.example/v1"
    provider.save()
    added, changed = entries("provider")
    assert (added.action, added.target_id, added.data["slug"]) == ("provider.added", str(provider.pk), "sim")
    assert changed.action == "provider.changed"
    assert changed.data["priority"] == [3, 1]
    assert changed.data["api_base"] == ["https://one.example/v1", "https://two.example/v1"]
    assert changed.data.keys() == {"name", "priority", "api_base"}


@pytest.mark.django_db
def test_saving_what_is_there_is_no_change():
    provider = make_provider("https://one.example/v1")
    provider.save()
    provider.save(update_fields=["breaker"])
    assert [entry.action for entry in entries("provider")] == ["provider.added"]


@pytest.mark.django_db
def test_a_new_price_has_its_amounts_as_they_were_typed():
    model = Model.objects.create(provider=make_provider("https://one.example/v1"), name="m")
    price = Price.objects.create(model=model, input="0.10", output=Decimal("2.000000"))
    entry = entries("price.added")[0]
    assert (entry.data["input"], entry.data["output"]) == ("0.1", "2")
    price.delete()
    assert entries("price.deleted")[0].data["name"].startswith("sim:m from")


@pytest.mark.django_db
def test_costs_that_are_computed_anew_are_kept(capsys):
    asked = ("reprice", "--from", "2026-11-01", "--to", "2026-11-02", "--model", "")
    call_command(*asked)
    assert not entries()
    call_command(*asked, "--apply")
    assert [(entry.action, entry.actor, entry.data) for entry in entries()] == [
        ("money.repriced", "", {"first": "2026-11-01", "last": "2026-11-02", "model": "", "attempts": 0})
    ]


@pytest.mark.django_db
def test_what_goes_with_its_owner_is_named_one_by_one(admin):
    Budget.objects.create(scope="user", user=admin, limit_usd=1)
    admin.delete()
    assert [entry.action for entry in entries()] == ["user.added", "budget.added", "user.deleted", "budget.deleted"]


@pytest.mark.django_db
def test_the_admin_is_named_as_who_did_it(admin, as_admin):
    provider = make_provider("https://one.example/v1")
    as_admin.post(reverse("admin:providers_provider_force", args=[provider.pk]), {"forced": "open"})
    settings_row = SiteSettings.objects.get_or_create(pk=1)[0]
    address = reverse("admin:chat_sitesettings_change", args=[settings_row.pk])
    as_admin.post(address, {"failover": "off", "continue_prompt": "Go on."})
    moved, chosen = entries("provider.state")[0], entries("site_settings.changed")[0]
    assert (moved.actor, moved.actor_id, moved.data["state"]) == ("root", admin.pk, "open")
    assert moved.data["forced"] is True
    assert (chosen.actor, chosen.data["failover"]) == ("root", ["continue", "off"])


@pytest.mark.django_db
def test_a_key_is_written_down_as_set_and_no_more(as_admin):
    provider = make_provider("https://one.example/v1", kind="openai")
    form = {
        "name": "Sim", "slug": "sim", "kind": "openai", "api_base": "https://one.example/v1", "options": "{}",
        "key_variable": "", "new_key": TEST_KEY, "priority": "1", "enabled": "on", "sends_finish_reason": "on",
        "first_token_seconds": "60", "idle_seconds": "60", "total_seconds": "900",
        "models-TOTAL_FORMS": "0", "models-INITIAL_FORMS": "0",
    }  # fmt: skip
    response = as_admin.post(reverse("admin:providers_provider_change", args=[provider.pk]), form)
    assert response.status_code == 302, response.text
    changed = entries("provider.changed")
    assert any(entry.data.get("encrypted_key") == ["none", "set"] for entry in changed)
    assert TEST_KEY not in json.dumps([entry.data for entry in entries()])


@pytest.mark.django_db
def test_rights_are_kept_as_they_are_given_and_taken(admin):
    group = Group.objects.create(name="helpers")
    admin.groups.add(group)
    admin.groups.add(group)
    admin.groups.clear()
    changes = [entry.data["groups"] for entry in entries("user.changed")]
    assert changes == [{"add": ["helpers"]}, {"remove": ["helpers"]}]


@pytest.mark.django_db
def test_a_model_that_is_put_back_is_kept(admin):
    model = Model.objects.create(provider=make_provider("https://one.example/v1"), name="m")
    breaker.put_back(model)
    assert entries("model.state")[0].data["out_until"] is None


@pytest.mark.django_db
def test_the_breaker_says_why_and_until_when():
    provider = make_provider("https://one.example/v1")
    breaker.force(provider, Forced.OPEN)
    breaker.force(provider, "")
    moves = [(entry.data["was"], entry.data["state"]) for entry in entries("provider.state")]
    assert moves == [("closed", "open"), ("open", "closed")]
    assert [entry.data["forced"] for entry in entries("provider.state")] == [True, False]


# --- People -----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_coming_and_going_is_kept(client, admin):
    address = reverse("chat:sign-in")
    client.post(address, {"username": "root", "password": "wrong"})
    client.post(address, {"username": "my-secret-passphrase", "password": "root"})
    client.post(address, {"username": "root", "password": PASSWORD})
    client.post(reverse("chat:sign-out"))
    found = [(entry.action, entry.actor, entry.data.get("name")) for entry in entries("account")]
    assert found == [
        ("account.sign_in_failed", "", "root"),
        ("account.sign_in_failed", "", "(nobody's)"),
        ("account.signed_in", "root", None),
        ("account.signed_out", "root", None),
    ]
    assert all(entry.data["address"] == "127.0.0.1" for entry in entries("account"))


@pytest.mark.django_db
def test_an_account_is_made_and_changed_by_its_person(client):
    form = {"username": "alice", "password1": PASSWORD, "password2": PASSWORD}
    client.post(reverse("chat:sign-up"), form)
    another = PASSWORD + "!"
    form = {"old_password": PASSWORD, "new_password1": another, "new_password2": another}
    client.post(reverse("chat:change-password"), form)
    client.post(reverse("chat:make-token"), {"name": "laptop"})
    client.post(reverse("chat:sign-out-everywhere"), {})
    found = {entry.action: entry for entry in entries()}
    assert found["user.added"].actor == "alice"
    assert found["user.changed"].data == {"name": "alice", "password": ["set", "set"]}
    assert found["token.added"].data["name"].startswith("laptop")
    assert found["account.signed_out_everywhere"].actor == "alice"
    assert "pbkdf2" not in json.dumps([entry.data for entry in entries()])


@pytest.mark.django_db
def test_what_is_done_to_a_conversation_is_kept(client, admin):
    client.force_login(admin)
    talk = make_talk(admin)
    message = say(talk, "Why?")
    client.get(reverse("chat:export-md", args=[talk.pk]))
    client.head(reverse("chat:export-md", args=[talk.pk]))
    client.post(reverse("chat:delete", args=[talk.pk]))
    client.post(reverse("chat:delete", args=[talk.pk]))
    client.post(reverse("chat:restore", args=[talk.pk]))
    client.post(reverse("chat:delete_message", args=[message.pk]))
    found = [(entry.action, entry.actor, entry.target_id) for entry in entries("chat")]
    assert found == [
        ("chat.conversation.exported", "root", str(talk.pk)),
        ("chat.conversation.deleted", "root", str(talk.pk)),
        ("chat.conversation.restored", "root", str(talk.pk)),
        ("chat.message.deleted", "root", str(message.pk)),
    ]


# --- Messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_message_and_its_answer_are_kept_whole(simulator):
    await make_simulated(simulator, "sim-n3")
    async with running_site(), Socket("one") as socket:
        await socket.say("What is bread?", model="sim:sim-n3")
    posted, attempt, ended = await found("chat.message", "provider.attempt", "chat.reply")
    reply = await Message.objects.aget(role="assistant")
    assert posted["text"] == "What is bread?"
    assert (posted["actor"], posted["data"]["reply"]) == ("local", str(reply.pk))
    assert attempt["data"]["reply"] == str(reply.pk)
    assert ended["text"] == reply.text
    assert (ended["data"]["ending"], ended["data"]["owner"]) == ("complete", "local")
    assert ended["data"]["output_tokens"] == attempt["data"]["output_tokens"] == reply.output_tokens
    started, stopped = await found("site")
    assert (started["action"], stopped["action"]) == ("site.started", "site.stopped")


@pytest.mark.django_db(transaction=True)
async def test_what_is_refused_is_kept_with_its_rule(simulator):
    async with running_site(), Socket("one") as socket:
        await socket.send_text("{")
        await socket.receive()
        await socket.send(message="")
        await socket.receive()
        await socket.send(type="stop", replyId=str(uuid.uuid4()))
        await socket.receive()
        await socket.send(message="1 OR 1=1")
        await socket.receive()
    refused = await found("chat.input.refused")
    assert [entry["data"]["rule"] for entry in refused] == ["bad_json", "empty_message", "not_found", "sql_injection"]
    assert refused[0]["text"] == "{"


@pytest.mark.django_db(transaction=True)
async def test_a_flood_of_refused_frames_is_not_kept(simulator, settings, rate_limits):
    settings.RATE_REFUSALS_PER_USER = parse("2/hour")
    codes = []
    async with running_site(), Socket("one") as socket:
        for _ in range(4):
            await socket.send_text("{")
            codes.append((await socket.receive())["code"])
    assert codes == ["bad_json", "bad_json", "too_many", "too_many"]
    assert len(await found("chat.input.refused")) == 2


@pytest.mark.django_db
def test_a_door_that_is_shut_writes_nothing_down(client, settings):
    settings.AXES_FAILURE_LIMIT = 2
    User.objects.create_user("alice", password="correct horse battery staple")
    for _ in range(5):
        client.post(reverse("chat:sign-in"), {"username": "alice", "password": "wrong"})
    assert AuditEntry.objects.filter(action="account.sign_in_failed").count() == 2


@pytest.mark.django_db(transaction=True)
async def test_what_is_flagged_is_kept_with_the_rule(simulator, monkeypatch):
    monkeypatch.setattr(modes, "_modes", {})
    await PolicyRule.objects.acreate(name="sql_injection", mode=PolicyMode.FLAG)
    await make_simulated(simulator, "sim-n5")
    async with running_site(), Socket("one") as socket:
        await socket.say("1 OR 1=1", model="sim:sim-n5")
        await socket.say("One or two?", model="sim:sim-n5")
    assert [entry["data"].get("flags") for entry in await found("chat.message.posted")] == ["sql_injection", None]


@pytest.mark.django_db(transaction=True)
async def test_who_asks_for_the_end_is_kept_once(simulator):
    await make_simulated(simulator, "sim-n1000-gap20")
    async with running_site(), Socket("one") as socket:
        await socket.send(message="Tell me more", model="sim:sim-n1000-gap20")
        reply_id = (await socket.until("chunk"))[-1]["replyId"]
        await socket.send(type="stop", replyId=reply_id)
        await socket.send(type="stop", replyId=reply_id)
        await socket.until("complete")
    assert len(await found("chat.reply.stop_requested")) == 1
    assert (await found("chat.reply.ended"))[0]["data"]["ending"] == "stopped"


@pytest.mark.django_db(transaction=True)
async def test_an_answer_whose_conversation_goes_meanwhile_ends_in_the_audit_as_well(simulator):
    await make_simulated(simulator, "sim-n30-gap20")
    async with running_site():
        async with Socket("one") as socket:
            await socket.send(message="Tell me more", model="sim:sim-n30-gap20")
            await socket.until("chunk")
            await db(lambda: User.objects.all().delete())
        await eventually(lambda: not runner.current().unfinished)
    (attempt,) = await found("provider.attempt.ended")
    (ended,) = await found("chat.reply.ended")
    assert ended["data"]["owner"] == attempt["data"]["owner"] == "local"
    assert ended["text"].startswith("word0 ")
    await db(call_command, "erase_audit_texts", "--user", "local")
    assert not await AuditText.objects.filter(text__contains="word0").aexists()


@pytest.mark.django_db(transaction=True)
async def test_what_is_taken_out_of_the_queue_has_never_been_an_answer(simulator):
    await make_simulated(simulator, "sim-n1000-gap20")
    async with running_site(), Socket("one") as socket:
        await socket.send(message="Tell me more", model="sim:sim-n1000-gap20")
        running = (await socket.until("chunk"))[-1]["replyId"]
        await socket.send(message="And then?")
        waiting = (await socket.until("queued"))[-1]["replyId"]
        await socket.send(type="cancel", replyId=waiting)
        await socket.until("changed")
        await socket.send(type="stop", replyId=running)
        await socket.until("complete")
    assert len(await found("chat.message.cancelled")) == 1
    assert len(await found("chat.reply.ended")) == 1


async def make_simulated(simulator: Simulator, *models: str) -> None:
    await db(make_provider, simulator.url("openai-compatible"), *models)


async def found(*prefixes: str) -> list[dict]:
    """Return the entries of these actions, in order, with their texts."""
    kept = []
    async for entry in AuditEntry.objects.order_by("id"):
        if entry.action.startswith(prefixes):
            text = (await AuditText.objects.aget(pk=entry.digest)).text if entry.digest else None
            kept.append({"action": entry.action, "actor": entry.actor, "data": entry.data, "text": text})
    return kept


@pytest.mark.django_db
def test_a_failed_transaction_leaves_no_entry():
    with transaction.atomic():
        make_provider("https://one.example/v1")
        transaction.set_rollback(True)
    assert not entries()


def test_nobody_is_the_site():
    assert Actor.of(None) == Actor()


def test_the_documentation_lists_what_is_recorded():
    rows = [line.split("|")[1:3] for line in Path(settings.BASE_DIR, "docs/audit.md").read_text().splitlines()]
    listed = {row[0].strip(" `"): row[1].strip() for row in rows if len(row) == 2 and row[0].strip().startswith("`")}
    assert {action: listed.get(action) for action in ACTIONS} == ACTIONS
