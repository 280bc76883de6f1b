"""What is too old goes, a few rows at a time; what is young, unfinished or somebody's stays."""

import asyncio
import tracemalloc
import uuid
from datetime import timedelta
from io import StringIO

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from chat import guests
from chat.models import Conversation, Message, Role, State
from monitoring.models import Alert, AlertRule, HealthCheck, Sample
from monitoring.models.alerts import AlertState, RuleKind
from monitoring.retention import BATCH, HISTORIES
from providers.models import Attempt
from sasha.testing import PATIENCE, running_site

pytestmark = pytest.mark.django_db

SIZES = ("rss", "uss", "children_rss", "children_uss", "blocks", "cpu", "children_cpu", "processes", "sockets")
MINUTE = dict.fromkeys((*SIZES, "queued", "loop_lag_ms", "replies", "failed"), 0)


def ago(days):
    return timezone.now() - timedelta(days=days)


def make_samples(number, days):
    began = ago(days) - timedelta(minutes=number)
    Sample.objects.bulk_create(
        [Sample(replica="a", at=began + timedelta(minutes=minute), **MINUTE) for minute in range(number)]
    )


def make_attempt(days, **values):
    ids = {"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4()}
    names = {"provider_slug": "p", "model_name": "m", "reason": "chosen", "ending": "complete"}
    return Attempt.objects.create(started_at=ago(days), **(ids | names | values))


def make_alert(days, state=AlertState.CLEARED):
    rule = AlertRule.objects.get(kind=RuleKind.DISK)
    return Alert.objects.create(
        rule=rule, subject=str(days), state=state, value=1, sentence="x", began_at=ago(days), cleared_at=ago(days)
    )


def make_guest(days, name=None):
    user = User.objects.create(username=name or f"guest-{uuid.uuid4().hex}", date_joined=ago(days))
    user.set_unusable_password()
    user.save()
    return user


def make_conversation(owner, days, state=State.ENDED):
    conversation = Conversation.objects.create(owner=owner, name=uuid.uuid4().hex)
    question = Message.objects.create(conversation=conversation, role=Role.USER, text="?")
    reply = Message.objects.create(conversation=conversation, parent=question, role=Role.ASSISTANT, state=state)
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=ago(days), current_leaf=reply)
    return conversation


def prune(*arguments):
    out = StringIO()
    call_command("prune_history", *arguments, stdout=out)
    return dict(line.split(": ", 1) for line in out.getvalue().splitlines())


def test_each_kind_has_its_own_age(settings):
    for days in (29, 31):
        make_samples(1, days)
    for days in (89, 91):
        HealthCheck.objects.create(provider="p", kind="state", at=ago(days))
        make_alert(days)
    make_alert(92, AlertState.FIRING)
    for days in (399, 401):
        make_attempt(days)
    guest, other = make_guest(91), make_guest(89)
    make_conversation(guest, 91)
    make_conversation(guest, 89)
    said = prune()
    assert said == {
        "samples": "1 removed, older than 30 days",
        "health checks": "1 removed, older than 90 days",
        "ended alerts": "1 removed, older than 90 days",
        "attempts": "1 removed, older than 400 days",
        "conversations of guests": "1 removed, older than 90 days",
        "guests without conversations": "0 removed, older than 90 days",
    }
    left = (Sample, HealthCheck, Attempt, Conversation)
    assert [model.objects.count() for model in left] == [1] * 4
    assert set(Alert.objects.values_list("subject", flat=True)) == {"89", "92"}
    assert Message.objects.count() == 2
    assert set(User.objects.all()) == {guest, other}


def test_the_attempts_of_a_conversation_go_together_so_that_its_cost_is_never_that_of_a_part():
    alice = User.objects.create(username="alice")
    for quiet_for in (1, 401):
        conversation = make_conversation(alice, quiet_for)
        for days in (402, 500):
            make_attempt(days, conversation_id=conversation.pk, username=f"{quiet_for}")
    assert prune()["attempts"] == "2 removed, older than 400 days"
    assert set(Attempt.objects.values_list("username", flat=True)) == {"1"}


def test_a_dry_run_counts_and_changes_nothing():
    make_samples(3, 31)
    make_attempt(401)
    make_conversation(make_guest(91), 91)
    make_guest(91)
    said = prune("--dry-run")
    assert said["samples"] == "3 would go, older than 30 days"
    assert said["conversations of guests"] == said["guests without conversations"] == "1 would go, older than 90 days"
    assert (Sample.objects.count(), Attempt.objects.count(), User.objects.count()) == (3, 1, 2)
    assert not Conversation.objects.exclude(deleted_at=None).exists()


def test_nothing_goes_that_is_kept_for_ever(settings):
    for history in HISTORIES:
        setattr(settings, history.setting, 0)
    make_samples(1, 10_000)
    make_attempt(10_000)
    make_conversation(make_guest(10_000), 10_000)
    said = prune()
    assert said["attempts"] == "kept for ever (KEEP_ATTEMPTS_DAYS=0)"
    assert (Sample.objects.count(), Attempt.objects.count(), Conversation.objects.count()) == (1, 1, 1)


@pytest.mark.slow
def test_twenty_thousand_rows_go_in_batches_and_in_little_memory():
    for days in (31, 60, 90, 120):
        make_samples(5_000, days)
    tracemalloc.start()
    try:
        with CaptureQueriesContext(connection) as queries:
            assert prune()["samples"] == "20,000 removed, older than 30 days"
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    deletes = [query["sql"] for query in queries if query["sql"].startswith('DELETE FROM "monitoring_sample"')]
    assert len(deletes) == 20_000 // BATCH


# --- Guests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.RUNNING, State.QUEUED])
def test_a_conversation_that_is_being_answered_stays(state):
    kept = make_conversation(make_guest(91), 91, state)
    prune()
    assert list(Conversation.objects.filter(deleted_at=None)) == [kept]


def test_accounts_and_the_local_user_keep_their_conversations():
    alice = User.objects.create_user("alice", password="secret-enough")
    local = make_guest(500, "local")
    imposter = User.objects.create_user("guest-room", password="secret-enough")
    User.objects.update(date_joined=ago(500))
    for owner in (alice, local, imposter):
        make_conversation(owner, 500)
    prune()
    assert (Conversation.objects.count(), User.objects.count()) == (3, 3)


def test_a_guest_without_conversations_goes_and_the_ledger_forgets_the_name():
    guest = make_guest(91)
    make_conversation(guest, 91)
    spent = make_attempt(1, user=guest, username=guest.username, cost_usd=1)
    said = prune()
    assert said["guests without conversations"] == "1 removed, older than 90 days"
    spent.refresh_from_db()
    assert (spent.user, spent.username, spent.cost_usd) == (None, "(deleted)", 1)
    assert not User.objects.exists()


def test_a_guest_who_writes_again_in_that_moment_keeps_it(monkeypatch):
    conversation = make_conversation(make_guest(91), 91)
    before = ago(90)
    left = guests.find_left(before)
    # Found, and then somebody comes back.
    monkeypatch.setattr(guests, "find_left", lambda _: Conversation.objects.filter(pk__in=list(left)))
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now())
    assert guests.delete_left(before) == 0
    assert Conversation.objects.get().deleted_at is None


def test_many_conversations_of_guests_go_in_batches():
    for _ in range(guests.STEP + 5):
        make_conversation(make_guest(91), 91)
    assert guests.delete_left(ago(90)) == guests.STEP
    said = prune()
    assert said["conversations of guests"] == "5 removed, older than 90 days"
    assert (Conversation.objects.count(), Message.objects.count(), User.objects.count()) == (0, 0, 0)


# --- By itself --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_a_server_prunes_by_itself():
    await sync_to_async(make_samples)(3, 31)
    await sync_to_async(make_samples)(2, 1)
    async with running_site():
        count = sync_to_async(Sample.objects.count)
        async with asyncio.timeout(PATIENCE):
            while await count() != 2:
                await asyncio.sleep(0.01)
