"""What a load balancer, an orchestrator and the staff are told."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import AsyncClient, Client

from chat import runner, tokens
from chat.database import POSTGRES_THREADS, db
from monitoring import latency, readiness

pytestmark = pytest.mark.django_db(transaction=True)

PROBES = ("/livez", "/readyz")


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_SECONDS", -1)
    monkeypatch.setattr(readiness, "_latest", readiness._Latest())
    yield
    runner.forget()


@pytest.fixture
def production(settings):
    settings.LOCAL_MODE = False
    settings.ALLOWED_HOSTS = ["chat.example.org"]
    settings.SECURE_SSL_REDIRECT = True


def failing(client: Client) -> list[str]:
    """Return the names of the checks that fail, and hold the status to them."""
    response = client.get("/readyz")
    failed = [name for name, result in response.json()["checks"].items() if result != "ok"]
    assert response.status_code == (503 if failed else 200)
    assert response.json()["ready"] is not bool(failed)
    return failed


def test_a_server_that_has_everything_is_ready(client):
    assert failing(client) == []
    assert [*client.get("/readyz").json()["checks"]] == ["draining", *readiness.CHECKS]


def test_the_checks_stand_on_a_line_each(client):
    lines = client.get("/readyz").content.decode().splitlines()
    assert '  "migrations": "ok",' in lines


def test_a_server_without_aichat_is_not_ready(client, settings):
    settings.AICHAT = ""
    assert failing(client) == ["aichat"]
    settings.AICHAT = "/nowhere/aichat"
    assert failing(client) == ["aichat"]


def test_another_version_of_aichat_is_none(client, settings, tmp_path):
    other = tmp_path / "aichat"
    other.write_text("#!/bin/sh\necho aichat 0.29.0\n")
    other.chmod(0o755)
    settings.AICHAT = str(other)
    assert failing(client) == ["aichat"]


def test_a_full_disk_is_not_ready(client, settings):
    settings.DISK_FREE_BYTES = 10**18
    assert failing(client) == ["disk"]


def test_a_missing_migration_is_named_to_the_staff_alone(client, admin_client):
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("chat", "0004_search")
    try:
        assert failing(client) == ["migrations"]
        assert "0004" not in client.get("/readyz").content.decode()
        assert "chat.0004_search" in admin_client.get("/healthz").content.decode()
    finally:
        recorder.record_applied("chat", "0004_search")


@contextmanager
def busy_database():
    """Occupy every thread of the database's."""
    free = threading.Event()
    loop = asyncio.get_running_loop()
    waits = [loop.create_task(db(free.wait)) for _ in range(POSTGRES_THREADS)]
    try:
        yield
    finally:
        free.set()
        del waits


async def test_a_database_that_does_not_answer_is_named_and_livez_does_not_mind(monkeypatch):
    monkeypatch.setattr(latency, "LONGEST_SECONDS", 0.1)
    with busy_database():
        await asyncio.sleep(0)
        response = await AsyncClient().get("/readyz")
        assert response.status_code == 503
        checks = response.json()["checks"]
        assert (checks["database"], checks["migrations"], checks["disk"]) == ("failed", "failed", "ok")
        assert (await AsyncClient().get("/livez")).status_code == 200


def test_a_server_that_leaves_is_not_ready_at_once(client, monkeypatch):
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 3600)
    assert failing(client) == []
    runner.current().leaving = True
    assert failing(client) == ["draining"]
    assert client.get("/livez").status_code == 200


def test_many_who_ask_at_once_get_one_answer(client, monkeypatch, settings):
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 3600)
    assert failing(client) == []
    settings.DISK_FREE_BYTES = 10**18
    assert failing(client) == []


@pytest.mark.parametrize("probe", PROBES)
def test_probes_answer_by_any_name_over_plain_http_and_set_no_cookie(client, production, probe):
    response = client.get(probe, headers={"host": "10.0.0.7:8000"})
    assert response.status_code == 200
    assert not response.cookies
    assert "no-store" in response["Cache-Control"]
    assert client.head(probe).status_code == 200
    assert client.post(probe).status_code == 405


@pytest.mark.parametrize("probe", PROBES)
def test_a_cookie_or_a_token_costs_probes_no_query(client, probe, django_assert_num_queries):
    client.force_login(User.objects.create_user("alice"))
    with django_assert_num_queries(0):
        client.get(probe, headers={"Authorization": "Bearer sasha_wrong"})


def test_healthz_tells_the_staff_why_and_what_was_measured(admin_client, settings):
    settings.DISK_FREE_BYTES = 10**18
    response = admin_client.get("/healthz")
    assert response.status_code == 503
    answer = response.json()
    disk = next(check for check in answer["checks"] if check["name"] == "disk")
    assert "DATA_DIR" in disk["detail"]
    assert set(answer["server"]) >= {"reading", "figures", "processes"}


def test_healthz_needs_no_monitoring(admin_client, settings):
    settings.MONITORING = False
    assert admin_client.get("/healthz").json()["server"] is None


@pytest.mark.parametrize("mode", ["local", "production"])
def test_healthz_is_for_the_staff_by_session_and_by_token(settings, mode):
    settings.LOCAL_MODE = mode == "local"
    bob = User.objects.create_user("bob")
    root = User.objects.create_user("root", is_staff=True)
    statuses = [Client().get("/healthz").status_code]
    for user in (bob, root):
        _, text = tokens.make(user, "probe")
        statuses.append(Client().get("/healthz", headers={"Authorization": f"Bearer {text}"}).status_code)
        client = Client()
        client.force_login(user)
        statuses.append(client.get("/healthz").status_code)
    assert statuses == [404, 404, 404, 200, 200]
