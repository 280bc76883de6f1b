"""What the commands of the providers say to what cannot be, each in one line."""

import pytest
from django.core.management import CommandError, call_command

from providers.checkup import CheckResult, LiveResult
from providers.endings import Ending
from providers.management.commands import check_providers
from providers.tests.test_admin import make_attempt
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db
DAYS = ("--from", "2026-11-01", "--to", "2026-11-02")


@pytest.mark.parametrize("name", ["nobody", "sim", "m", "sim:x", "other:m", ":", "sim:"])
@pytest.mark.parametrize("command", [("explain_route",), ("explain_route", "--only"), ("reprice", *DAYS, "--model")])
def test_an_unknown_model_is_said_to_be_unknown_with_some_that_are(command, name):
    make_provider("http://127.0.0.1:1/v1", "m")
    with pytest.raises(CommandError) as said:
        call_command(*command, name)
    assert str(said.value) == f"There is no model {name!r}; known are provider:model names such as sim:m."
    assert said.value.returncode == 1


def test_reprice_knows_a_model_that_only_the_ledger_knows(capsys):
    provider = make_provider("http://127.0.0.1:1/v1", "m")
    make_attempt(provider.models.get())
    provider.models.all().delete()
    call_command("reprice", *DAYS, "--model", "sim:m")
    assert "0 attempts would change" in capsys.readouterr().out


@pytest.mark.parametrize("length", ["-1", "many", "1.5"])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(CommandError, match="is no number of characters"):
        call_command("explain_route", f"--characters={length}")


def test_a_check_is_one_line_whatever_the_provider_says(capsys, monkeypatch):
    make_provider("http://127.0.0.1:1/v1", "m")
    words = "It failed:\nCaused by:\n    0: no"
    monkeypatch.setattr(check_providers, "check", lambda _: CheckResult(False, words, ()))
    monkeypatch.setattr(check_providers, "check_live", lambda _: LiveResult(Ending.CUT, words))
    with pytest.raises(SystemExit):
        call_command("check_providers", "--live")
    said = [line for line in capsys.readouterr().out.splitlines() if "Caused by" in line]
    assert len(said) == 2
    assert all(line.endswith("It failed: Caused by: 0: no") for line in said)
