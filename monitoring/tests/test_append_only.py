# ruff: noqa: S608
from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_migrate

from monitoring import append_only
from monitoring.audit import Deed, record
from monitoring.models import AppendOnlyError, AuditEntry, AuditPending, AuditPermit, AuditSeal, AuditText
from monitoring.tests.audits import fill

MODELS = [AuditEntry, AuditText, AuditSeal]
TABLES = [append_only.ENTRY, append_only.TEXT, append_only.SEAL]
COLUMN = {append_only.ENTRY: "action", append_only.TEXT: "text", append_only.SEAL: "hash"}


@pytest.fixture
def filled(db):
    return fill()


def execute(statement):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def refused(statement):
    with pytest.raises(IntegrityError, match="append-only: no row is ever changed"):
        execute(statement)


@pytest.mark.parametrize("table", TABLES)
def test_plain_sql_can_neither_update_nor_delete(filled, table):
    refused(f"UPDATE {table} SET {COLUMN[table]} = 'x'")
    refused(f"DELETE FROM {table}")


@pytest.mark.parametrize("table", TABLES)
def test_a_permit_is_for_deletion_alone_and_ends_with_its_block(filled, table):
    with transaction.atomic():
        with AuditPermit.granted("test"):
            refused(f"UPDATE {table} SET {COLUMN[table]} = 'x'")
        with AuditPermit.granted("test"), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")
            assert cursor.rowcount > 0
        record(Deed("money.exported", text="x"))
        if table != append_only.SEAL:
            refused(f"DELETE FROM {table}")
        transaction.set_rollback(True)


@pytest.mark.parametrize("model", MODELS)
def test_the_orm_can_neither_update_nor_delete(filled, model):
    row = model.objects.first()
    field = "action" if model is AuditEntry else "text" if model is AuditText else "hash"
    for deed in (
        row.save,
        row.delete,
        lambda: model.objects.update(**{field: "x"}),
        lambda: model.objects.all().delete(),
        lambda: model.objects.bulk_update([row], [field]),
        lambda: model.objects.update_or_create(pk=row.pk, defaults={field: "x"}),
    ):
        with pytest.raises(AppendOnlyError, match="append-only"), transaction.atomic():
            deed()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        model._base_manager.update(**{field: "x"})


@pytest.mark.django_db(transaction=True)
def test_a_permit_is_never_committed():
    with pytest.raises(IntegrityError):
        AuditPermit.objects.create(reason="for ever")
    with pytest.raises(IntegrityError):
        execute("INSERT INTO monitoring_auditpermit (id, reason, never_id) VALUES (0, 'its own reason', 0)")
    assert not AuditPermit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_site_cannot_flush_its_audit(monkeypatch):
    fill()
    # As Django has it: conftest.py lets tests do it.
    from django.db.backends.base.operations import BaseDatabaseOperations

    ours = BaseDatabaseOperations.execute_sql_flush
    monkeypatch.setattr(BaseDatabaseOperations, "execute_sql_flush", ours.__closure__[0].cell_contents)
    with pytest.raises(CommandError, match="couldn't be flushed"):
        call_command("flush", interactive=False, verbosity=0)
    assert AuditEntry.objects.count() == 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", TABLES)
def test_truncate_is_refused_even_under_a_permit(table):
    if connection.vendor == "sqlite":
        return  # has no such statement
    fill()
    refused(f"TRUNCATE {table} CASCADE")
    with AuditPermit.granted("test"):
        refused(f"TRUNCATE {table} CASCADE")


@pytest.mark.sqlite
@pytest.mark.parametrize("table", TABLES)
def test_replacing_a_row_is_refused(filled, table):
    refused(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1")


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("model", MODELS)
def test_triggers_that_a_migration_dropped_come_back(model):
    fill()
    with connection.schema_editor() as editor:
        editor._remake_table(model)
    post_migrate.send(app := apps.get_app_config("monitoring"), app_config=app, using="default")
    assert append_only.find_missing(connection) == []
    refused(f"DELETE FROM {append_only.ENTRY}")
    record(Deed("money.exported"))
    assert AuditPending.objects.count() == 1


def test_what_was_written_without_triggers_is_pending_once_they_are_back(filled):
    append_only.remove(connection)
    record(Deed("money.exported"))
    assert not AuditPending.objects.exists()
    append_only.install(connection)
    assert AuditPending.objects.get().pk == AuditEntry.objects.first().pk
