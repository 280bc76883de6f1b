from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from monitoring.models import AuditSeal
from monitoring.tests.audits import fill, run

pytestmark = pytest.mark.django_db


def test_the_head_is_one_line_and_can_be_kept_elsewhere(tmp_path):
    fill()
    head = AuditSeal.objects.get(sequence=6)
    line = run("audit_head")
    assert line.split()[:2] == ["6", head.hash]
    assert json.loads(run("audit_head", "--json"))["hash"] == head.hash
    kept = tmp_path / "heads"
    for _ in range(2):
        assert run("audit_head", "--file", str(kept)) == ""
    assert kept.read_text() == line * 2


def test_without_a_seal_there_is_no_head(tmp_path):
    with pytest.raises(CommandError, match="Nothing is sealed yet"):
        call_command("audit_head")
    fill()
    with pytest.raises(CommandError, match="No such file or directory"):
        call_command("audit_head", file=tmp_path / "nowhere" / "heads")
