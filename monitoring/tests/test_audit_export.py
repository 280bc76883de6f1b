from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from monitoring import sealer
from monitoring.audit import Actor, Deed, Target, record
from monitoring.models import AuditEntry, AuditSeal
from monitoring.tests.audits import fill, run
from sasha.testing import PATIENCE, server_environment

pytestmark = pytest.mark.django_db

TODAY = timezone.localdate()
HOSTILE = (
    '=HYPERLINK("http://evil.example","x")',
    "line\r\nline\n",
    "\x1b[2J\x1b]0;owned\x07",
    "‮gnp.exe",
    "'quoted', \"so\"",
    "",
)


@pytest.fixture
def hostile():
    for text in HOSTILE:
        record(Deed("chat.message.posted", Actor(text[:150], 1), Target(text[:32], text[:64]), {"owner": text}, text))
    sealer.seal_all()


def test_json_lines_come_back_as_they_were(hostile):
    out = run("export_audit", "--texts")
    assert out.isascii()
    assert "\x1b" not in out
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["text"] for row in rows] == [*HOSTILE, None]
    assert [row["data"]["owner"] for row in rows[:-1]] == list(HOSTILE)
    seals = dict(AuditSeal.objects.values_list("sequence", "hash"))
    assert [(row["sequence"], row["hash"]) for row in rows[:-1]] == list(seals.items())


def test_an_export_can_be_checked_without_the_site(hostile):
    """As docs/audit.md says it, in a program that knows nothing else."""
    columns = "sequence previous sealed_at id at actor actor_id action target_kind target_id data digest keeps_text"
    rows = [json.loads(line) for line in run("export_audit").splitlines()][:-1]
    head = "0" * 64
    for row in rows:
        assert row["previous"] == head
        link = ["sasha-audit-1", *(row[column] for column in columns.split())]
        written = json.dumps(link, separators=(",", ":"), sort_keys=True)
        head = hashlib.sha256(written.encode()).hexdigest()
        assert row["hash"] == head


def test_csv_comes_back_as_it_was_and_is_no_formula(hostile):
    rows = list(csv.DictReader(io.StringIO(run("export_audit", "--texts", "--format", "csv"), newline="")))
    starts = ("=", "+", "-", "@", "\t", "\r", "\n")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(starts)]
    assert rows[0]["text"] == f"'{HOSTILE[0]}"
    assert [row["text"] for row in rows[1:-1]] == list(HOSTILE[1:])
    assert json.loads(rows[0]["data"]) == {"owner": HOSTILE[0]}


def test_an_export_is_narrowed_down_and_leaves_texts_out():
    record(Deed("chat.answer.requested", at=timezone.now() - timedelta(days=2)))
    fill()

    def actions(*arguments):
        return [json.loads(line)["action"] for line in run("export_audit", *arguments).splitlines()]

    assert actions("--actor", "bob") == ["provider.changed", "chat.message.posted"]
    assert set(actions("--actor", "", "--action", "chat.reply")) == {"chat.reply.ended"}
    assert actions("--to", str(TODAY - timedelta(days=1))) == ["chat.answer.requested"]
    assert "chat.answer.requested" not in actions("--from", str(TODAY))
    assert "umbrella" not in run("export_audit")


def test_an_export_is_audited_before_its_first_line():
    run("export_audit", "--action", "chat.", "--format", "csv")
    assert AuditEntry.objects.get().data == {
        "from": None,
        "to": None,
        "actor": None,
        "action": "chat.",
        "texts": False,
        "format": "csv",
    }


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_reader_that_has_seen_enough_ends_an_export_without_a_traceback():
    for _ in range(5):
        record(*(Deed("site.started", data={"ballast": "x" * 4000}) for _ in range(50)))
    command = [sys.executable, "manage.py", "export_audit"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=settings.BASE_DIR, env=server_environment(), **pipes) as run:
        assert run.stdout.readline().startswith(b"{")
        run.stdout.close()
        assert (run.stderr.read(), run.wait(PATIENCE)) == (b"", 0)
