"""The staff's pages over HTTP: who may, what is shown, in how many queries, and that nobody's words do anything."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.models import Replica
from chat.signals import acted
from monitoring.models import Alert, AlertRule, HealthCheck
from monitoring.pages.facts import INCIDENTS, read_facts
from monitoring.pages.verdict import judge
from monitoring.tests.states import make_attempt, make_process, make_reply, store_server
from providers.endings import Ending
from providers.models import Provider
from sasha.testing import free_port, make_provider

pytestmark = pytest.mark.django_db
NOBODY = f"http://127.0.0.1:{free_port()}/v1"
PERMISSIONS = {"monitor": "view_replicastate", "monitor-processes": "view_replicastate"}
PERMISSIONS |= {"monitor-history": "view_replicastate", "monitor-find-reply": "view_attempt"}
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m\"' onload=x " + "x" * 10_000


@pytest.fixture(autouse=True)
def _forget_money():
    cache.clear()


@pytest.fixture
def admin_user():
    # Without a password, whose hash is slow on purpose.
    return User.objects.create_user("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def staff(client):
    """A client of somebody who may enter the admin and has no permission in it."""
    client.force_login(User.objects.create_user("stella", is_staff=True))
    return client


def allow(client, *codenames):
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def read(client, name="monitor", *args, **asked):
    response = client.get(reverse(name, args=args), asked)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


# --- Who may ----------------------------------------------------------------------------------------------------------


def every_page():
    reply = make_reply()
    return [reverse(name) for name in PERMISSIONS] + [
        reverse("monitor-reply", args=[reply.pk]),
        reverse("monitor-stop", args=[reply.pk]),
    ]


def test_a_stranger_is_led_to_the_sign_in(client):
    for address in every_page():
        response = client.get(address)
        assert response.status_code == 302, address
        assert response["Location"].startswith("/admin/login/"), address


def test_a_user_who_is_not_staff_is_refused(client):
    client.force_login(User.objects.create_user("bob"))
    for address in every_page():
        response = client.get(address, follow=True)
        assert "not authorized" in response.content.decode(), address


def test_staff_need_the_permission_of_each_page(staff):
    for address in every_page():
        assert staff.get(address).status_code == 403, address
    allow(staff, "view_replicastate")
    assert staff.get(reverse("monitor")).status_code == 200
    assert staff.get(reverse("monitor-stop", args=[make_reply().pk])).status_code == 403


def test_who_may_not_see_the_ledger_sees_neither_money_nor_answers(staff):
    allow(staff, "view_replicastate")
    make_reply("carol", ending="cut")
    store_server(processes=[make_process()])
    page = text_of(read(staff))
    assert "carol" not in page
    assert "USD" not in page
    table = read(staff, "monitor-processes")
    assert "Time line" not in table
    assert "/stop/" not in table


def test_who_may_not_see_the_ledger_does_not_read_what_providers_said(staff):
    allow(staff, "view_replicastate", "view_provider")
    provider = make_provider(NOBODY, "one")
    soon = timezone.now() + timedelta(minutes=5)
    planted = {"open_reason": "It was refused.", "open_detail": "You said: planted"}
    Provider.objects.update(breaker="open", opened_at=timezone.now(), open_until=soon, **planted)
    other = make_provider(NOBODY, "two", slug="other")
    other.models.update(out_until=soon, out_reason="It was refused.", out_detail="You said: planted")
    make_attempt(ending="misconfigured", error="You said: planted")
    for name, args in (
        ("monitor", []),
        ("admin:providers_provider_changelist", []),
        ("admin:providers_provider_change", [provider.pk]),
    ):
        page = read(staff, name, *args)
        assert "It was refused." in page
        assert "planted" not in page, name
    said = text_of(read(staff))
    assert "other:two is not asked until" in said
    assert Ending.MISCONFIGURED.sentence in said
    allow(staff, "view_attempt")
    assert "You said: planted" in read(staff)


def test_the_admin_leads_there(admin_client):
    assert reverse("monitor") in admin_client.get(reverse("admin:index")).content.decode()
    attempt = make_attempt()
    page = admin_client.get(reverse("admin:providers_attempt_changelist")).content.decode()
    assert reverse("monitor-reply", args=[attempt.reply_id]) in page


# --- The overview -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["monitor", "monitor-processes"])
def test_the_number_of_queries_depends_on_nothing(admin_client, name):
    counts = []
    for more in (range(1), range(1, 9)):
        for number in more:
            make_provider(NOBODY, "one", "two", slug=f"p{number}", name=f"p{number}")
            make_attempt(provider_slug=f"p{number}", ending="cut", error="Gone")
            make_reply(f"user{number}", ending="cut", provider=f"p{number}")
            store_server(f"host:{number}:x", processes=[make_process()])
        with CaptureQueriesContext(connection) as queries:
            read(admin_client, name)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 16


def test_every_page_of_the_admin_names_the_zone_of_its_times(admin_client, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    for url in (reverse("monitor"), reverse("admin:monitoring_auditentry_changelist")):
        assert "Times are in Asia/Tokyo." in admin_client.get(url).content.decode()


def test_the_overview_of_nothing_says_what_to_do_first(admin_client):
    page = text_of(read(admin_client))
    assert "In trouble" in page
    assert "Give a provider its key, or switch one on." in page
    assert "None in the last two days." in page


def test_the_overview_of_a_site_that_is_well_says_so(admin_client):
    make_provider(NOBODY, "one")
    store_server()
    page = text_of(read(admin_client))
    assert "Well since" in page
    assert "Nothing is to be done." in page


def test_it_is_well_since_the_last_failure_however_much_was_listed_after_it(admin_client):
    now = timezone.now()
    make_provider(NOBODY, "one")
    store_server()
    Replica.objects.update(started_at=now - timedelta(days=9))
    make_reply(ending="cut", ended_at=now - timedelta(days=4))
    for _ in range(INCIDENTS):
        make_reply(attempts=2)
    assert judge(read_facts(now)).since == now - timedelta(days=4)
    # An alert counts from its end, not from its beginning.
    rule, began, ended = AlertRule.objects.get(kind="disk"), now - timedelta(days=5), now - timedelta(hours=1)
    Alert.objects.create(rule=rule, state="cleared", value=1, began_at=began, fired_at=began, cleared_at=ended)
    assert judge(read_facts(now)).since == ended


def test_the_last_incidents_of_every_kind_are_listed_with_their_pages(admin_client):
    provider = make_provider(NOBODY, "one")
    now = timezone.now()
    reply = make_reply("carol", ending="cut", error="It was cut.", ended_at=now)
    relayed = make_reply("dora", attempts=2, ended_at=now - timedelta(minutes=2))
    whole = make_reply("eve")
    old = make_reply("fay", ending="cut", ended_at=now - timedelta(days=3))
    HealthCheck.objects.create(provider="sim", kind="state", state="open", sentence="3 failures in a row.")
    HealthCheck.objects.create(provider="sim", kind="state", state="closed")
    rule = AlertRule.objects.get(kind="disk")
    Alert.objects.create(rule=rule, state="cleared", value=1, sentence="Full.", began_at=now, fired_at=now)
    page = read(admin_client)
    said = text_of(page)
    assert "carol, sim:one: cut. It was cut." in said
    assert "dora, sim:one: complete after 2 attempts." in said
    assert said.count("Sim is paused. 3 failures in a row.") == 1
    assert "Full." in said
    for shown in (reply, relayed):
        assert reverse("monitor-reply", args=[shown.pk]) in page
    for hidden in (whole, old):
        assert reverse("monitor-reply", args=[hidden.pk]) not in page
    assert reverse("admin:providers_provider_change", args=[provider.pk]) in page


def test_the_live_part_is_the_same_without_what_is_round_it(admin_client):
    make_provider(NOBODY, "one")
    store_server()
    whole, part = read(admin_client), read(admin_client, live="")
    assert part.lstrip().startswith("<div data-live")
    assert "<html" not in part
    assert text_of(part).replace(" ", "")[:200] in text_of(whole).replace(" ", "")


# --- Processes --------------------------------------------------------------------------------------------------------


def test_the_processes_of_all_living_servers_are_listed_the_oldest_first(admin_client):
    early = (timezone.now() - timedelta(minutes=3)).isoformat()
    store_server("a:1:x", processes=[make_process(user="alice")], processes_total=3)
    store_server("b:2:x", processes=[make_process(user="bob", model="two", started_at=early)], processes_total=1)
    page = text_of(read(admin_client, "monitor-processes"))
    assert page.index("bob") < page.index("alice")
    for words in (
        "3 min",
        "sim:two",
        "about 300 tokens, 1,200 characters",
        "9 MB",
        "b 2",
        "process 777",
        "2 answers under way",
        "2 more, not listed",
    ):
        assert words in page


def test_an_answer_that_waits_is_no_process_and_is_counted_as_an_answer(admin_client):
    store_server(processes=[make_process(phase="waiting", pid=None, rss=None)], processes_total=1)
    page = text_of(read(admin_client, "monitor-processes"))
    assert "1 answer under way" in page
    assert "1 process " not in page


def test_the_processes_are_filtered_by_user_and_model(admin_client):
    processes = [make_process(user="alice"), make_process(user="bob"), make_process(user="bob", model="two")]
    store_server(processes=processes)
    for asked, count in (({"user": "bob"}, 2), ({"model": "sim:two"}, 1), ({"user": "alice", "model": "sim:two"}, 0)):
        page = read(admin_client, "monitor-processes", **asked)
        assert page.count("/stop/") == count, asked


def test_what_makes_no_sense_in_a_list_of_processes_is_left_out(admin_client):
    store_server(
        processes=[None, {"reply_id": "../../etc"}, make_process(started_at=7, pid="x", rss=None, events=None)]
    )
    assert read(admin_client, "monitor-processes").count("/stop/") == 1


def test_it_is_asked_before_an_answer_is_stopped(admin_client):
    reply = make_reply("carol", state="running", ending="")
    page = text_of(read(admin_client, "monitor-stop", reply.pk))
    assert "The answer for carol by sim:one ends where it is." in page
    assert "Secret" not in page


def test_an_answer_that_has_ended_is_not_stopped_and_nobody_is_told(admin_client):
    heard = []
    reply = make_reply("carol")

    def hear(**signal):
        heard.append(signal)

    acted.connect(hear)
    try:
        response = admin_client.post(reverse("monitor-stop", args=[reply.pk]), follow=True)
    finally:
        acted.disconnect(hear)
    assert "It had ended already." in response.content.decode()
    assert heard == []


def test_what_does_not_exist_is_not_stopped(admin_client):
    assert admin_client.post(reverse("monitor-stop", args=[uuid.uuid4()])).status_code == 404


# --- One answer -------------------------------------------------------------------------------------------------------


def test_an_answer_is_shown_with_everything_but_its_words(admin_client):
    reply = make_reply("carol", requested_model="first:model", evidence="finish reason stop", attempts=2)
    reply.skipped = [["other:model", "it has no key"]]
    reply.save()
    first = make_attempt(
        reply.pk,
        number=1,
        ending="provider_error",
        evidence="HTTP 529",
        http_status=529,
        exit_code=1,
        error="Overloaded",
        total_ms=100,
    )
    make_attempt(reply.pk, number=2, reason="next by priority", spawn_ms=3, price={"input": "2"}, total_ms=900)
    page = read(admin_client, "monitor-reply", reply.pk)
    said = text_of(page)
    for words in (
        "carol",
        "first:model",
        "It ended: complete. Decided from: finish reason stop.",
        "other:model it has no key",
        "provider error, from: HTTP 529",
        "Overloaded",
        "next by priority",
        "Attempt 2: its process was there.",
        "input 2",
    ):
        assert words in said, words
    assert reverse("admin:providers_attempt_change", args=[first.pk]) in page
    assert "Secret" not in page
    assert "style=" not in page.split('id="content"')[1]


def test_an_answer_leads_to_its_audit_entries_those_who_may_see_them(staff):
    allow(staff, "view_attempt")
    reply = make_reply()
    entries = reverse("admin:monitoring_auditentry_changelist") + f"?target=reply:{reply.pk}"
    assert entries not in read(staff, "monitor-reply", reply.pk)
    allow(staff, "view_auditentry")
    assert entries in read(staff, "monitor-reply", reply.pk)
    assert staff.get(entries).status_code == 200


def test_an_answer_of_a_deleted_conversation_is_shown_from_the_ledger(admin_client):
    attempt = make_attempt(username="carol")
    page = text_of(read(admin_client, "monitor-reply", attempt.reply_id))
    assert "Its conversation has been deleted" in page
    assert "carol" in page


def test_an_answer_is_found_by_its_id_or_that_of_an_attempt(admin_client):
    reply, attempt = make_reply(), make_attempt()
    for asked, found in ((reply.pk, reply.pk), (attempt.reply_id, attempt.reply_id), (attempt.pk, attempt.reply_id)):
        response = admin_client.get(reverse("monitor-find-reply"), {"id": f" {asked} "})
        assert response["Location"] == reverse("monitor-reply", args=[found])


@pytest.mark.parametrize("asked", ["", "carol", "0b7e6a52-0000-4000-8000-000000000000", "<script>"])
def test_an_id_of_nothing_is_answered_in_words(admin_client, asked):
    response = admin_client.get(reverse("monitor-find-reply"), {"id": asked}, follow=True)
    assert "There is no answer of this id." in response.content.decode()


# --- Hostile words ----------------------------------------------------------------------------------------------------


def test_hostile_names_and_errors_are_only_words_and_not_long_ones(admin_client):
    # As long as each column lets them be; a server's JSON has no such limit.
    provider = make_provider(NOBODY, "one", slug="evil", name=HOSTILE[:80], open_detail=HOSTILE[:300])
    Provider.objects.filter(pk=provider.pk).update(
        breaker="open", opened_at=timezone.now(), open_until=timezone.now() + timedelta(hours=1)
    )
    user = HOSTILE[:150]
    reply = make_reply(user, ending="cut", error=HOSTILE[:500], provider="evil", model=HOSTILE[:120])
    make_attempt(
        reply.pk,
        username=user,
        provider_slug="evil",
        model_name=HOSTILE[:120],
        reason=HOSTILE[:200],
        ending="cut",
        error=HOSTILE[:500],
    )
    process = make_process(user=HOSTILE, provider=HOSTILE, model=HOSTILE, phase=HOSTILE)
    store_server(HOSTILE[:120], processes=[process], version=HOSTILE)
    for name, args in (("monitor", []), ("monitor-processes", []), ("monitor-reply", [reply.pk])):
        page = read(admin_client, name, *args)
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
        assert "x" * 600 not in page
    assert "<script>alert" not in read(admin_client, "monitor-processes", user=HOSTILE[:150], model=HOSTILE[:150])
    stop = read(admin_client, "monitor-stop", reply.pk)
    assert "<script>alert" not in stop
