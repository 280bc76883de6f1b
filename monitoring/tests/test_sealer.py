from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from chat.database import aside, close_connections, db
from chat.models import Replica
from monitoring import sealer
from monitoring.audit import Deed, record
from monitoring.chain import ENTRY_COLUMNS, GENESIS, Place, hash_of
from monitoring.models import AuditEntry, AuditPending, AuditSeal
from monitoring.tests.audits import fill, verdict
from monitoring.verify import read_columns
from providers.tests.racing import in_processes, on_threads
from sasha.testing import PATIENCE, running_site


def links():
    return list(AuditSeal.objects.order_by("sequence").select_related("entry"))


def assert_chained(count):
    seals = links()
    assert [seal.sequence for seal in seals] == list(range(1, count + 1))
    assert [seal.previous for seal in seals] == [GENESIS, *(seal.hash for seal in seals)][:count]
    assert [seal.hash for seal in seals] == [
        hash_of(Place(seal.sequence, seal.previous, seal.sealed_at), read_columns(seal.entry)) for seal in seals
    ]
    assert not AuditPending.objects.exists()


@pytest.mark.django_db
def test_entries_are_chained_in_their_order():
    ids = fill()
    assert [seal.entry_id for seal in links()] == ids
    assert_chained(6)


def test_every_column_of_an_entry_is_hashed():
    assert set(ENTRY_COLUMNS) == {field.attname for field in AuditEntry._meta.concrete_fields}


@pytest.mark.django_db
def test_a_step_is_bounded_and_the_next_one_goes_on():
    record(*[Deed("money.exported", data={"n": number}) for number in range(sealer.BATCH + 1)])
    assert sealer.seal_some() == sealer.BATCH
    assert sealer.seal_some() == 1
    assert sealer.seal_some() == 0
    assert_chained(sealer.BATCH + 1)


@pytest.mark.django_db
def test_what_json_can_hold_is_sealed_as_it_comes_back():
    record(
        Deed(
            "money.exported",
            data={"float": 0.1, "one": 1.0, "big": 2**70, "nested": [{"z": 1, "a": None}], "text": "\x1b‮é"},
        )
    )
    sealer.seal_all()
    assert_chained(1)
    assert "whole" in verdict()


@pytest.mark.django_db(transaction=True)
def test_two_sealers_at_once_seal_each_entry_once():
    for _ in range(4):
        record(*[Deed("money.exported")] * 300)
        on_threads([sealer.seal_all] * 4)
    assert_chained(1200)


@pytest.mark.django_db
def test_an_entry_with_a_smaller_number_that_comes_later_is_sealed_too():
    record(Deed("budget.added"))
    sealer.seal_all()
    AuditEntry.objects.create(pk=AuditEntry.objects.get().pk - 1, action="group.changed")
    sealer.seal_all()
    assert [seal.entry.action for seal in links()] == ["budget.added", "group.changed"]
    assert_chained(2)


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_commits_late_is_sealed_after_those_that_came_later():
    if connection.vendor == "sqlite":
        return  # one transaction at a time
    begun, go_on = threading.Event(), threading.Event()

    def write_late():
        with transaction.atomic():
            record(Deed("group.deleted"))
            begun.set()
            assert go_on.wait(PATIENCE)

    def overtake():
        assert begun.wait(PATIENCE)
        record(Deed("budget.changed"))
        sealer.seal_all()
        go_on.set()

    on_threads([write_late, overtake])
    assert [seal.entry.action for seal in links()] == ["budget.changed"]
    sealer.seal_all()
    second, first = links()
    assert first.entry_id < second.entry_id
    assert_chained(2)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_processes_that_write_and_seal_at_once_leave_one_chain():
    won = in_processes("write_and_seal", 50, processes=3, threads=3, module="monitoring.tests.racing")
    assert won == [3, 3, 3]
    sealer.seal_all()
    assert_chained(3 * 3 * 50)


async def until_sealed(count):
    async with asyncio.timeout(PATIENCE):
        while await db(AuditSeal.objects.count) < count:
            await asyncio.sleep(0.01)


@pytest.mark.django_db(transaction=True)
async def test_the_server_seals_what_is_written():
    async with running_site():
        await db(record, Deed("money.exported"), Deed("share.added"))
        await until_sealed(await db(AuditEntry.objects.count))


@pytest.mark.django_db(transaction=True)
async def test_only_the_oldest_living_replica_seals():
    now = timezone.now()
    older = Replica(name="older", started_at=now - timedelta(days=1), heartbeat_at=now + timedelta(days=1))
    await db(older.save)
    async with running_site():
        await db(record, Deed("money.exported"))
        await sealer.seal()
        assert await db(AuditPending.objects.count) > 0
        await db(older.delete)
        await until_sealed(await db(AuditEntry.objects.count))


@pytest.mark.django_db(transaction=True)
async def test_a_server_that_stops_waits_for_another_that_seals():
    if connection.vendor == "sqlite":
        return  # one transaction at a time
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            sealer._lock()
            held.set()
            assert go_on.wait(PATIENCE)

    await db(record, Deed("group.deleted"))
    holding = asyncio.create_task(aside(hold))
    await asyncio.to_thread(held.wait, PATIENCE)
    stopping = asyncio.create_task(sealer.seal_the_rest())
    done, _ = await asyncio.wait([stopping], timeout=0.1)
    go_on.set()
    await asyncio.gather(holding, stopping)
    assert not done
    assert not await db(AuditPending.objects.exists)
    await close_connections()


@pytest.mark.django_db
def test_where_nothing_is_pending_one_look_is_all(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert not sealer._is_due()
