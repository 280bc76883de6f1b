"""What is left of the audit when a server stops, and when nobody is there to seal it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import psutil
import pytest
from django.db import OperationalError
from django.utils import timezone

from chat.database import close_connections, db
from chat.models import Replica
from monitoring import sampler
from monitoring.audit import Deed, record
from monitoring.models import AuditEntry, AuditPending
from monitoring.receivers import site
from monitoring.tests.audits import fill, verdict
from sasha.testing import running_site

LONG_AGO = timedelta(hours=1)


@pytest.mark.django_db
def test_a_server_starts_on_a_machine_with_the_longest_name():
    site.record_start("h" * Replica._meta.get_field("name").max_length)
    entry = AuditEntry.objects.get()
    assert len(entry.target_id) <= AuditEntry._meta.get_field("target_id").max_length


@pytest.mark.django_db(transaction=True)
async def test_a_server_that_stops_leaves_no_entry_without_a_seal():
    async with running_site():
        pass
    assert (await db(AuditEntry.objects.latest, "pk")).action == "site.stopped"
    assert not await db(AuditPending.objects.exists)


@pytest.mark.django_db(transaction=True)
async def test_the_rest_of_a_stop_is_done_also_without_a_database(monkeypatch):
    def fail(replica):
        raise OperationalError

    closed = []
    async with running_site():
        monkeypatch.setattr(site, "record_stop", fail)
        monkeypatch.setattr("sasha.lifespan.close_connections", partial(_note, closed))
    assert closed


@pytest.mark.django_db(transaction=True)
async def test_a_server_whose_last_reading_fails_is_recorded_as_stopped(monkeypatch):
    async def fail():
        raise psutil.Error

    async with running_site():
        monkeypatch.setattr(sampler, "sample", fail)
    assert (await db(AuditEntry.objects.latest, "pk")).action == "site.stopped"
    assert not await db(AuditPending.objects.exists)


async def _note(closed):
    closed.append(True)
    await close_connections()


@pytest.mark.django_db
def test_entries_wait_for_their_seals_where_no_server_is_there():
    fill()
    record(Deed("share.added", at=timezone.now() - LONG_AGO))
    assert "The audit is whole: numbers 1 to 6" in verdict()
    assert "Without a seal yet: 1," in verdict()


@pytest.mark.django_db
def test_entries_that_a_living_server_does_not_seal_are_named(monkeypatch):
    monkeypatch.setattr("monitoring.verify.LAST_CHANCE_SECONDS", 0)
    fill()
    Replica.objects.create(name="one", started_at=timezone.now(), heartbeat_at=timezone.now())
    record(Deed("share.added", at=timezone.now() - LONG_AGO))
    assert "has had no seal for more than a minute" in verdict()


@pytest.mark.django_db
def test_an_entry_that_nobody_would_seal_is_named_without_a_server(monkeypatch):
    monkeypatch.setattr("monitoring.verify.LAST_CHANCE_SECONDS", 0)
    fill()
    record(Deed("share.added", at=timezone.now() - LONG_AGO))
    AuditPending.objects.all().delete()
    assert "has had no seal for more than a minute" in verdict()
