"""The command that attacks a site: it finds nothing on one as it should be, and what is open on one that is not."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from chat.models import PolicyMode, PolicyRule
from monitoring.security.findings import Section, percent
from monitoring.security.pages import addresses, fill
from sasha.testing import server_process


def security_test(*arguments: str) -> str:
    call_command("security_test", *arguments, stdout=(out := StringIO()), stderr=StringIO())
    return out.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_site_as_it_should_be_has_no_holes(tmp_path):
    told = security_test("--start", "--most", "2", "--json", str(tmp_path / "found"))
    assert "No holes." in told
    assert json.loads((tmp_path / "found").read_text())["holes"] == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_site_that_lets_everything_in_has_many():
    for name in ("command_injection", "script_injection", "path_traversal", "sql_injection", "control_characters"):
        PolicyRule.objects.update_or_create(name=name, defaults={"mode": PolicyMode.OFF})
    with server_process() as server, pytest.raises(CommandError, match=r"\d+ holes\."):
        security_test("--url", server.url, "--only", "plan", "hostile", "--most", "1")


def test_other_machines_are_not_attacked():
    with pytest.raises(CommandError, match="not on this machine"):
        security_test("--url", "https://chat.example.org")


def test_a_part_that_does_not_exist_is_named_before_any_is_tried():
    said = StringIO()
    with pytest.raises(CommandError, match="There is no part nothing; there are: plan, hostile"):
        call_command("security_test", "--url", "http://127.0.0.1:1", "--only", "silence", "nothing", stderr=said)
    assert said.getvalue() == ""


def test_every_route_can_be_filled_in():
    assert fill("c/<uuid:conversation_id>/settings").startswith("c/")
    assert not [address for address in addresses() if any(sign in address for sign in "<>^$\\?*")]


@pytest.mark.parametrize(("part", "whole", "said"), [(1, 1, "100 %"), (99_999, 100_000, "99.99 %"), (0, 0, "–")])
def test_all_is_only_said_of_all(part, whole, said):
    assert percent(part, whole) == said


def test_a_hole_is_counted_once_and_named():
    section = Section("a part")
    section.check(True, "not this one")
    section.check(False, "this one")
    assert (section.tried, section.holes) == (2, ["this one"])
