"""What keeps the audit's rows as they are: triggers, which no statement gets past, from the ORM or from elsewhere.

They refuse every update, and every deletion but under an AuditPermit. Another trigger lists each new entry as pending,
so that the sealer meets also those whose transaction commits late, without looking for them.

SQLite: `INSERT OR REPLACE` deletes without a trigger (https://www.sqlite.org/lang_conflict.html), so that inserting
over a row is refused as well.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction

SENTENCE = "The audit is append-only: no row is ever changed, and only prune_audit and erase_audit_texts delete any."
ENTRY, TEXT, SEAL = "monitoring_auditentry", "monitoring_audittext", "monitoring_auditseal"
PENDING, PERMIT = "monitoring_auditpending", "monitoring_auditpermit"
# Each table with what tells that a new row would take the place of another.
GUARDED = {
    ENTRY: "id = new.id",
    TEXT: "digest = new.digest",
    SEAL: "sequence = new.sequence OR entry_id = new.entry_id",
}

_REFUSE = f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
_PENDING_TRIGGER = f"{ENTRY}_pending"


def _sqlite_triggers() -> dict[str, str]:
    # (names of our own tables, here and below)
    add = f"INSERT INTO {PENDING} (entry_id) VALUES (new.id);"  # noqa: S608
    triggers = {_PENDING_TRIGGER: f"AFTER INSERT ON {ENTRY} BEGIN {add} END"}
    for table, same in GUARDED.items():
        triggers[f"{table}_no_update"] = f"BEFORE UPDATE ON {table} {_REFUSE}"
        unless = f"WHEN NOT EXISTS (SELECT 1 FROM {PERMIT})"  # noqa: S608
        triggers[f"{table}_no_delete"] = f"BEFORE DELETE ON {table} {unless} {_REFUSE}"
        when = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608
        triggers[f"{table}_no_replace"] = f"BEFORE INSERT ON {table} {when} {_REFUSE}"
    return triggers


SQLITE_TRIGGERS = _sqlite_triggers()
# One call a statement, however many rows that has.
POSTGRES_FUNCTIONS = [
    f"""
    CREATE FUNCTION monitoring_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'DELETE' AND EXISTS (SELECT 1 FROM {PERMIT}) THEN RETURN NULL; END IF;
        RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,  # noqa: S608
    f"""
    CREATE FUNCTION monitoring_audit_pending() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO {PENDING} (entry_id) SELECT id FROM added; RETURN NULL;
    END $$
    """,  # noqa: S608
]
POSTGRES_TRIGGERS = {
    _PENDING_TRIGGER: f"""
        AFTER INSERT ON {ENTRY} REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION monitoring_audit_pending()
    """,
    **{
        f"{table}_append_only": f"""
            BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION monitoring_audit_refuse()
        """
        for table in GUARDED
    },
}
# What was written while there were no triggers.
FILL = f"""
    INSERT INTO {PENDING} (entry_id)
    SELECT id FROM {ENTRY} WHERE id > (SELECT coalesce(max(entry_id), 0) FROM {SEAL})
    ON CONFLICT DO NOTHING
"""  # noqa: S608


def install(connection: Any) -> None:
    """Make the triggers."""
    if connection.vendor == "postgresql":
        made = [f"CREATE TRIGGER {name} {body}" for name, body in POSTGRES_TRIGGERS.items()]
        _execute(connection, [*POSTGRES_FUNCTIONS, *made, FILL])
    else:
        install_again(connection)


def install_again(connection: Any) -> None:
    """Make them anew on SQLite: a migration that changes a table there makes another, and drops them with the old."""
    if connection.vendor == "sqlite" and PENDING in connection.introspection.table_names():
        made = [f"CREATE TRIGGER {name} {body}" for name, body in SQLITE_TRIGGERS.items()]
        # At once: no other process finds the tables without them.
        with transaction.atomic(connection.alias):
            remove(connection)
            _execute(connection, [*made, FILL])


def remove(connection: Any) -> None:
    """Take the triggers away: for the migration's way back."""
    if connection.vendor == "postgresql":
        tables = {
            name: ENTRY if name == _PENDING_TRIGGER else name.removesuffix("_append_only") for name in POSTGRES_TRIGGERS
        }
        _execute(connection, [f"DROP TRIGGER {name} ON {table}" for name, table in tables.items()])
        _execute(connection, ["DROP FUNCTION monitoring_audit_refuse()", "DROP FUNCTION monitoring_audit_pending()"])
    else:
        _execute(connection, [f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE_TRIGGERS])


def find_missing(connection: Any) -> list[str]:
    """Return the names of the triggers that are not there, or are switched off."""
    if connection.vendor == "postgresql":
        wanted, query = POSTGRES_TRIGGERS, "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A')"
    else:
        wanted, query = SQLITE_TRIGGERS, "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    with connection.cursor() as cursor:
        cursor.execute(query)
        there = {name for (name,) in cursor.fetchall()}
    return sorted(set(wanted) - there)


def _execute(connection: Any, statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
