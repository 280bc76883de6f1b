"""An audit for tests, and what somebody does to it who owns the database."""

from __future__ import annotations

from contextlib import contextmanager
from io import StringIO

from django.core.management import CommandError, call_command
from django.db import connection, transaction

from monitoring import append_only, sealer
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AuditEntry
from sasha.testing import without_guards

ALICE, BOB = Actor("alice", 1), Actor("bob", 2)


def say(actor, text, conversation="c1"):
    """Record a message and the answer to it."""
    target = Target("conversation", conversation)
    record(
        Deed("chat.message.posted", actor, target, {"length": len(text)}, text),
        Deed(
            "chat.reply.ended", target=target, data={"owner": actor.name, "cost_usd": "0.10"}, text=f"You said: {text}"
        ),
    )


def fill():
    """Record six entries, four of them with texts, and seal them; return their ids."""
    say(ALICE, "Where is my umbrella?")
    record(Deed("provider.changed", BOB, Target("provider", 3), {"priority": [1, 2]}), Deed("site.started"))
    say(BOB, "Nowhere.", "c2")
    sealer.seal_all()
    return list(AuditEntry.objects.order_by("pk").values_list("pk", flat=True))


@contextmanager
def as_owner():
    """Change rows as the owner of the database can: past triggers and foreign keys."""
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        for statement in without_guards(connection):
            cursor.execute(statement)
        yield cursor.execute
        append_only.install_again(connection)


def run(command, *arguments):
    """Return what the command prints."""
    call_command(command, *arguments, stdout=(out := StringIO()))
    return out.getvalue()


def verdict():
    """Return what verify_audit says, whole or broken."""
    try:
        return run("verify_audit")
    except CommandError as error:
        return str(error)
