"""Exports of providers, read and held against the ledger."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from providers import reconcile
from providers.reconcile import ExportError, Figures, read_export
from providers.tests.test_costs import NOW, make_attempt, make_model

DAY = date(2026, 11, 23)
# The first lines are those of the providers' real exports.
OPENAI_COSTS = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id
1795392000,1795478400,2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00,\
0.030000000000000000000000000000,usd,"gpt-4o-2024-08-06, input",p
1795392000,1795478400,2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00,\
0.070000000000000000000000000000,usd,"gpt-4o-2024-08-06, output",p
1795478400,1795564800,2026-11-24T00:00:00+00:00,2026-11-25T00:00:00+00:00,,,,
"""
OPENAI_USAGE = """\
start_time,end_time,start_time_iso,end_time_iso,model,input_tokens,output_tokens,input_cached_tokens,num_model_requests
1795392000,1795478400,2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00,gpt-4o-2024-08-06,100,20,40,1
"""
ANTHROPIC_USAGE = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,\
usage_output_tokens,web_search_count
2026-11-23,claude-haiku-4-5-20251001,k,Default,standard,≤ 200k,100,20,3,4000,50,0
2026-11-23,claude-haiku-4-5-20251001,other,Default,standard,≤ 200k,1,0,0,0,1,0
"""
ANTHROPIC_COSTS = """\
usage_date_utc,model,workspace,token_type,cost_usd
2026-11-23,Claude Haiku 4.5,Default,input_no_cache,0.10
2026-11-23,Claude Haiku 4.5,Default,output,0.25
"""


def write(tmp_path, text):
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "model", "figures", "used"),
    [
        (
            OPENAI_COSTS,
            "gpt-4o",
            Figures(Decimal("0.1")),
            "date: start_time_iso; model: line_item; cost: amount_value",
        ),
        (
            OPENAI_USAGE,
            "gpt-4o",
            Figures(None, 100, 20),
            "date: start_time_iso; model: model; input: input_tokens; output: output_tokens",
        ),
        (
            ANTHROPIC_USAGE,
            "claude-haiku-4-5",
            Figures(None, 4124, 51),
            "date: usage_date_utc; model: model_version; input: usage_input_tokens_no_cache + "
            "usage_input_tokens_cache_write_5m + usage_input_tokens_cache_write_1h + usage_input_tokens_cache_read; "
            "output: usage_output_tokens",
        ),
        (
            ANTHROPIC_COSTS,
            "claude-haiku-4-5",
            Figures(Decimal("0.35")),
            "date: usage_date_utc; model: model; cost: cost_usd",
        ),
        ("\ufeffDay,Model Name,Cost (USD)\n2026-11-23,m,$1.5\n\n", "m", Figures(Decimal("1.5")), None),
        ("day,model,cost\n1795440000,m,1\n", "m", Figures(Decimal(1)), None),
        ("day,model,cost\n2026-11-24T01:00:00+02:00,m,1\n", "m", Figures(Decimal(1)), None),
        ("day,model,cost\n2026-11-23,m,-1\n", "m", Figures(Decimal(-1)), None),
        ("day,model,cost\n2026-11-23,,1\n", "(none named)", Figures(Decimal(1)), None),
    ],
    ids=[
        "openai costs",
        "openai usage",
        "anthropic usage",
        "anthropic costs",
        "mark",
        "seconds",
        "zone",
        "credit",
        "sum",
    ],
)
def test_an_export_is_read_and_says_which_columns_it_used(tmp_path, text, model, figures, used):
    export = read_export(write(tmp_path, text))
    assert export.figures == {(DAY, model): figures}
    assert used is None or export.columns.used == used


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4o-2024-08-06, input", "gpt-4o"),
        ("claude-3-haiku-20240307", "Claude 3 Haiku"),
        ("Claude Sonnet 4.5", "claude-sonnet-4-5-20250929"),
        ("gpt-4-0613", "GPT-4"),
        ("gpt-4\x1b[2J\0", "gpt-4-[2j-"),
    ],
)
def test_names_that_mean_the_same_model_meet(one, other):
    assert reconcile.plain_name(one) == reconcile.plain_name(other)


@pytest.mark.parametrize("name", ["mistral-small-2603", "mistral-large-2512", "gpt-6.1-sol", "gpt-6-sol"])
def test_names_that_mean_different_models_do_not(name):
    assert reconcile.plain_name(name) == name.replace(".", "-")


BAD = {
    "empty": ("", "Line 1 names no day"),
    "no day": ("model,cost\nm,1\n", "Line 1 names no day"),
    "no model": ("day,cost\n2026-11-23,1\n", "Line 1 names no model"),
    "no figure": ("day,model\n2026-11-23,m\n", "Line 1 names neither a cost nor tokens"),
    "bad day": ("day,model,cost\n2026-11-23,m,1\n23.11.2026,m,1\n", "Line 3: '23.11.2026' is no day"),
    "endless day": (f"day,model,cost\n{'9' * 30},m,1\n", "Line 2: '99999"),
    "bad cost": ("day,model,cost\n2026-11-23,m,1 USD\n", "Line 2: '1 USD' is no number"),
    "no number": ("day,model,cost\n2026-11-23,m,NaN\n", "Line 2: 'NaN' is no number"),
    "huge": ("day,model,cost\n2026-11-23,m,1e999999\n", "Line 2: '1e999999' is no number"),
    "half a token": ("day,model,output_tokens\n2026-11-23,m,1.5\n", "Line 2: 1.5 is no count of tokens"),
    "minus tokens": ("day,model,output_tokens\n2026-11-23,m,-1\n", "Line 2: -1 is no count of tokens"),
    "short line": ("day,model,cost\n2026-11-23,m,1\n2026-11-23,m\n", "Line 3 has 2 cells, the first line 3"),
    "other money": ("day,model,cost,currency\n2026-11-23,m,1,eur\n", "Line 2 is in EUR; only USD"),
    "a cell without end": (f"day,model,cost\n2026-11-23,{'m' * 200_000},1\n", "Line 2: field larger than"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_a_sentence_that_names_the_line(tmp_path, text, sentence):
    with pytest.raises(ExportError) as refused:
        read_export(write(tmp_path, text))
    assert str(refused.value).startswith(sentence)


def test_a_file_that_is_no_text_or_is_not_there_is_refused(tmp_path):
    path = tmp_path / "export.csv"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(CommandError, match=r"export.csv is not UTF-8"):
        call_command("reconcile", path)
    with pytest.raises(CommandError, match=r"none.csv cannot be read: No such file"):
        call_command("reconcile", tmp_path / "none.csv")


def spent(model, usd, **values):
    return make_attempt(
        model, **{"cost_usd": usd, "input_tokens": 60, "cache_read_tokens": 40, "output_tokens": 20} | values
    )


@pytest.mark.django_db
def test_both_sides_are_printed_with_the_gap_and_what_only_one_has(tmp_path, capsys):
    model, ours_alone = make_model("gpt-4o"), make_model("gpt-4.1")
    spent(model, Decimal("0.03"))
    spent(model, Decimal("0.05"))
    spent(ours_alone, Decimal("0.5"))
    spent(ours_alone, None)
    file = write(tmp_path, OPENAI_COSTS + ",,2026-11-23,,0.4,usd,o3,\n")
    call_command("reconcile", file)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == ["Columns", "read:", "date:", "start_time_iso;"]
    assert lines[2][:7] == ["2026-11-23", "gpt-4o", "0.100000", "0.080000", "+0.020000", "+20.00", "%"]
    assert lines[2][-1] == "200/40"
    assert lines[3] == ["Only", "in", "the", "file:"]
    assert lines[4][:4] == ["2026-11-23", "o3", "0.400000", "+0.400000"]
    assert lines[5] == ["Only", "in", "the", "ledger:"]
    assert lines[6][:3] == ["2026-11-23", "gpt-4-1", "0.500000"]
    assert lines[7][:5] == ["all", "together", "0.500000", "0.580000", "-0.080000"]
    assert lines[8] == ["1", "attempts", "are", "of", "unknown", "cost", "and", "in", "no", "sum."]


@pytest.mark.django_db
def test_only_days_that_the_file_covers_and_the_provider_named_are_compared(tmp_path):
    model = make_model("m")
    other = make_model("m", slug="other")
    for hour, day in ((23, 22), (0, 23), (23, 23), (0, 24)):
        spent(model, Decimal(1), started_at=datetime(2026, 11, day, hour, 59 if hour else 0, tzinfo=UTC))
    spent(other, Decimal(1), started_at=NOW)
    spent(model, None, ending="", input_tokens=None, output_tokens=None)
    export = read_export(write(tmp_path, "day,model,cost\n2026-11-23,m,2\n"))
    [row] = reconcile.compare(export, "openai")
    assert (row.theirs, row.ours) == (Figures(Decimal(2)), Figures(Decimal(2), 200, 40))
    [row] = reconcile.compare(export)
    assert row.ours.cost_usd == 3


@pytest.mark.django_db
def test_attempts_that_used_and_cost_nothing_are_on_no_side(tmp_path):
    make_attempt(make_model("m"), cost_usd=0, input_tokens=0, output_tokens=0)
    export = read_export(write(tmp_path, "day,model,cost\n2026-11-23,other,2\n"))
    assert [row.model for row in reconcile.compare(export)] == ["other"]


@pytest.mark.django_db
def test_a_file_without_figures_and_an_unknown_provider_are_said_to_be_so(tmp_path, capsys):
    file = write(tmp_path, "day,model,cost\n2026-11-23,m,\n")
    call_command("reconcile", file)
    assert "The file has no figures." in capsys.readouterr().out
    with pytest.raises(CommandError, match="There is no provider 'nobody'"):
        call_command("reconcile", file, provider="nobody")
