"""The fault test must be able to fail: each thing that it watches is put wrong here once."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from monitoring.faults import money, report
from monitoring.faults.money import Spent, compare, cost_of
from monitoring.faults.report import Cell, Check, Report
from monitoring.faults.rows import FAULTS, NO_FAULT, PROTOCOLS, By, Price, Row, When, faulty_rows, good_rows
from monitoring.faults.stand import Stand, environment
from monitoring.faults.story import ASK, OFF, Case, Notice, Seen, Stored, Tried, expect, join, judge
from monitoring.faults.trial import Trial
from providers.endings import Ending
from providers.simulator.script import Fault as SimulatorFault

CUT_ROW = next(row for row in faulty_rows() if row.slug == "cut-mid-openai")
REFUSING = next(row for row in faulty_rows() if row.slug == "http500-claude")
TOO_LONG = next(row for row in faulty_rows() if row.slug == "context-gemini")
GOOD = replace(good_rows()[0], prices=(Price(Decimal("1.000003"), Decimal("2.000007"), Decimal("0.1")),))
THREE, ALL = "word0 word1 word2 ", "word0 word1 word2 word3 word4 word5 word6 word7 "


def case(*chain: Row, **values) -> Case:
    return Case(1, "s", "Hello", chain[0].name, chain, **values)


class TestStory:
    def test_before_the_first_token_the_next_one_answers_with_a_notice_for_who_had_chosen(self):
        told = expect(case(REFUSING, GOOD))
        assert (told.ending, told.text, told.error, told.provider) == ("complete", ALL, "", GOOD.slug)
        assert told.attempts == (("http500-claude", "provider_error"), (GOOD.slug, "complete"))
        assert told.notices == (Notice("fallback", REFUSING.name, GOOD.name),)
        assert expect(replace(case(REFUSING, GOOD), requested="")).notices == ()

    def test_after_it_there_is_a_seam_and_no_word_twice(self):
        told = expect(case(CUT_ROW, GOOD))
        assert (told.ending, told.text) == ("complete", ALL)
        assert told.notices == (Notice("seam", CUT_ROW.name, GOOD.name),)

    def test_the_policies_leave_it_there(self):
        ask, off = expect(case(CUT_ROW, GOOD, policy=ASK)), expect(case(CUT_ROW, GOOD, policy=OFF))
        assert (ask.ending, ask.text, ask.notices) == ("cut", THREE, (Notice("ask", CUT_ROW.name, GOOD.name),))
        assert (off.ending, off.notices, off.error) == ("cut", (), Ending.CUT.sentence)

    def test_when_all_fail_the_sentence_names_them(self):
        told = expect(case(REFUSING, replace(REFUSING, slug="b")))
        assert told.error == (
            "Nobody could answer. http500-claude:sim-http500: the provider reported an error of its own; "
            "b:sim-http500: the provider reported an error of its own."
        )
        assert expect(case(REFUSING)).error == Ending.PROVIDER_ERROR.sentence

    def test_the_ending_of_a_half_answer_is_that_of_who_wrote_it(self):
        assert expect(case(CUT_ROW, REFUSING)).ending == "cut"
        assert expect(case(CUT_ROW, REFUSING)).provider == CUT_ROW.slug

    def test_too_long_a_message_goes_to_a_larger_model_only(self):
        assert expect(case(TOO_LONG, GOOD)).ending == "rejected"
        larger = replace(GOOD, slug="larger", context_window=100_000)
        assert expect(case(TOO_LONG, GOOD, larger)).provider == "larger"

    def test_only_a_repetition_of_the_end_is_dropped(self):
        assert join("one two three four", "two three four five") == "one two three four five"
        assert join("word0 ", "word0 word1 ") == "word0 word0 word1 "

    def test_every_fault_of_the_simulator_is_in_the_matrix(self):
        words = {word for fault in FAULTS for word in fault.words.split("-")}
        assert {fault.value for fault in SimulatorFault} - {"http"} <= words
        assert {row.protocol for row in faulty_rows()} == set(PROTOCOLS)


class TestVerdict:
    """A message that went as designed, and each way in which it could have gone wrong."""

    CASE = case(CUT_ROW, GOOD)
    SEEN = Seen(
        reply_id="r",
        completes=1,
        text=ALL,
        notices=[Notice("seam", CUT_ROW.name, GOOD.name)],
        ending="complete",
        provider=GOOD.slug,
        attempts=2,
        cost_usd="0.000003",
    )
    STORED = Stored("ended", "complete", ALL, Decimal("0.000003"))
    TRIED = (
        Tried(CUT_ROW.slug, "cut", 0, Decimal("0.000001")),
        Tried(GOOD.slug, "complete", len(THREE), Decimal("0.000002")),
    )

    def test_nothing_is_wrong_with_what_is_as_designed(self):
        assert judge(self.CASE, self.SEEN, self.STORED, self.TRIED) == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"ending": "cut"}, "ending 'cut', not 'complete'"),
            ({"notices": []}, "notices ()"),
            ({"text": ALL + "word"}, "text 'word0"),
            ({"text": THREE}, "cut called complete"),
            ({"completes": 0}, "lost: 0 complete frames"),
            ({"completes": 2}, "lost: 2 complete frames"),
            ({"error": "An error."}, "error 'An error.'"),
            ({"provider": CUT_ROW.slug}, "provider"),
            ({"cost_usd": "0.000004"}, "cost told"),
            ({"cost_usd": None}, "cost told None"),
            ({"attempts": 1}, "attempts told 1, not 2"),
            ({"trouble": "event 3 after 1"}, "event 3 after 1"),
            ({"reply_id": ""}, "not accepted"),
        ],
    )
    def test_what_was_seen(self, change, words):
        assert any(words in wrong for wrong in judge(self.CASE, replace(self.SEEN, **change), self.STORED, self.TRIED))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"state": "running"}, "lost: its row has not ended"),
            ({"ending": "cut"}, "stored ending 'cut'"),
            ({"text": THREE}, "stored text"),
            ({"cost_usd": Decimal("0.000002")}, "stored cost"),
        ],
    )
    def test_what_was_stored(self, change, words):
        stored = replace(self.STORED, **change)
        assert any(words in wrong for wrong in judge(self.CASE, self.SEEN, stored, self.TRIED))

    def test_a_row_that_is_gone_is_lost(self):
        assert "lost: its row has not ended" in judge(self.CASE, self.SEEN, None, self.TRIED)

    def test_an_attempt_that_ended_otherwise_or_is_missing(self):
        wrong = judge(self.CASE, self.SEEN, self.STORED, (replace(self.TRIED[0], ending="stalled"), self.TRIED[1]))
        assert wrong[0].startswith("attempts (('cut-mid-openai', 'stalled')")
        assert judge(self.CASE, self.SEEN, self.STORED, self.TRIED[1:])

    def test_a_stopped_answer_is_a_true_beginning(self):
        stopped = case(GOOD, stop_after=2)
        seen = Seen(reply_id="r", completes=1, text="word0 word1 ", ending="stopped", provider=GOOD.slug, attempts=1,
                    cost_usd="1")  # fmt: skip
        tried = (Tried(GOOD.slug, "stopped", 0, Decimal(1)),)
        stored = Stored("ended", "stopped", seen.text, Decimal(1))
        assert judge(stopped, seen, stored, tried) == []
        assert "text is no beginning" in judge(stopped, replace(seen, text="word1 "), stored, tried)


def line(text: str, **values) -> dict:
    usage = {"input": 6, "cache_read": 4, "cache_write": None, "output": 8, "reasoning": 0}
    return {
        "id": 1,
        "protocol": "openai",
        "model": GOOD.model,
        "prompt_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "input_characters": len(text),
        "tokens_sent": 8,
        "served": usage,
        "usage": usage,
        "ended": "whole",
    } | values


# 6 × 1.000003 + 4 × 0.1 + 8 × 2.000007 millionths.
DUE = Decimal("0.000022400074")
WHOLE = Spent(GOOD, "complete", True, "Hello", 0, "reported", DUE)


class TestMoney:
    def test_a_cost_is_worked_out_by_hand(self):
        assert cost_of(line("Hello")["served"], GOOD.prices) == DUE

    def test_a_higher_tier_takes_the_whole_request(self):
        tiers = (Price(Decimal(1), Decimal(1)), Price(Decimal(2), Decimal(3), above_tokens=9))
        assert cost_of({"input": 9, "output": 1}, tiers) == Decimal("0.000010")
        assert cost_of({"input": 10, "output": 1}, tiers) == Decimal("0.000023")

    def test_what_agrees_is_counted(self):
        account = compare([WHOLE], [line("Hello")], "Go on.")
        assert (account.wrong, account.exact, account.requests, account.attempts) == ([], 1, 1, 1)

    def test_a_cost_that_is_off_by_one_in_the_last_place(self):
        off = replace(WHOLE, cost_usd=DUE + Decimal("0.000000000001"))
        assert compare([off], [line("Hello")], "").wrong == [
            f"good-compatible complete: cost {off.cost_usd}, not {DUE}"
        ]

    def test_an_unknown_cost_or_an_estimate_where_usage_was_told(self):
        assert compare([replace(WHOLE, cost_usd=None)], [line("Hello")], "").wrong
        assert compare([replace(WHOLE, source="estimated")], [line("Hello")], "").wrong

    def test_a_request_without_an_attempt_and_an_attempt_without_a_request(self):
        assert "0 attempts for 1 requests" in compare([], [line("Hello")], "").wrong[0]
        assert "1 attempts for 0 requests" in compare([WHOLE], [], "").wrong[0]
        assert "1 attempts for 2 requests" in compare([WHOLE], [line("Hello"), line("Hello")], "").wrong[0]
        assert len(compare([WHOLE], [line("Other")], "").wrong) == 2

    def test_an_estimate_may_be_off_by_five_per_cent(self):
        cut = replace(WHOLE, ending="stopped", source="estimated")
        gone = line("Hello", ended="client_gone", usage=None)
        assert compare([replace(cut, cost_usd=DUE * Decimal("1.049"))], [gone], "").wrong == []
        assert "+5.1%" in compare([replace(cut, cost_usd=DUE * Decimal("1.051"))], [gone], "").wrong[0]
        assert compare([replace(cut, cost_usd=None)], [gone], "").wrong

    def test_a_refusal_costs_nothing_and_nothing_is_not_unknown(self):
        refused = replace(WHOLE, ending="rate_limited", source="not billed", cost_usd=Decimal(0))
        told = line("Hello", served=None, usage=None, ended="http429", tokens_sent=0)
        assert compare([refused], [told], "").wrong == []
        assert compare([replace(refused, cost_usd=None)], [told], "").wrong
        assert compare([replace(refused, cost_usd=DUE)], [told], "").wrong

    def test_who_was_never_reached_costs_nothing(self):
        closed = next(row for row in faulty_rows() if row.fault.by is By.ADDRESS)
        attempt = Spent(closed, "unreachable", True, "Hello", 0, "not billed", Decimal(0))
        assert compare([attempt], [], "").wrong == []
        assert compare([replace(attempt, cost_usd=Decimal(1))], [], "").wrong

    def test_a_continuation_is_known_by_its_size(self):
        going_on = replace(WHOLE, before=len(THREE))
        served = line("Go on.", input_characters=len("Hello" + THREE + "Go on."))
        assert compare([going_on], [served], "Go on.").wrong == []
        assert compare([replace(going_on, before=1)], [served], "Go on.").wrong

    def test_genai_prices_is_asked_about_every_dialect(self):
        usage = {"input": 600, "cache_read": 400, "cache_write": 0, "output": 80, "reasoning": 0}
        assert money.compare_with_genai_prices({name: [usage] for name in ("openai", "anthropic", "google")}) == (3, [])

    def test_genai_prices_may_disagree(self, monkeypatch):
        from providers import costs

        monkeypatch.setattr(costs, "charge", lambda *_: costs.Charge(Decimal(1), {}))
        usage = {"input": 600, "cache_read": 400, "cache_write": 0, "output": 80, "reasoning": 0}
        assert "gpt-4.1" in money.compare_with_genai_prices({"openai": [usage]})[1][0]


class TestReasons:
    def test_each_figure_can_fail_the_test(self):
        told = Report(seed=1, switch_ms=[501.0], orphans=["process 7"])
        told.cells = [Cell("alone", "cut", "after", "openai", 0, "cut", ["cut called complete"])]
        told.checks = [Check("breaker", "it closes", False, "open")]
        told.messages.update(sent=3, accepted=2, lost=1, answerable=100, answered=99)
        told.account.wrong = ["a cent"]
        failed = report.as_json(told)["failed"]
        for words in ("1 of 1 messages", "1 messages were not accepted", "1 messages were lost", "only 99 of 100",
                      "1 answers were cut", "1 disagreements", "1 orphans", "501", "it closes"):  # fmt: skip
            assert any(words in reason for reason in failed), words
        text = "\n".join(report.table(report.as_json(told)))
        assert "1 of 1: cut called complete" in text
        assert "breaker: WRONG: it closes" in text

    def test_a_run_without_fault_has_none(self):
        told = Report(seed=1, switch_ms=[20.0])
        told.cells = [Cell("alone", "cut", "after", "openai", 0, "cut", [])]
        told.messages.update(sent=1, accepted=1, answerable=1, answered=1)
        assert report.as_json(told)["failed"] == []


def test_an_aichat_of_the_stand_that_is_left_over_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("monitoring.faults.stand.ORPHAN_SECONDS", 0.0)
    stand = Stand(tmp_path, environment(tmp_path, ""))
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env=os.environ | {"AICHAT_CONFIG_DIR": str(tmp_path / "aichat")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        child.stdout.readline()
        assert stand.find_orphans() == [f"process {child.pid} of the stand still lives"]
    finally:
        child.communicate(b"\n")
    assert stand.find_orphans() == []


def test_nothing_of_the_users_own_reaches_the_stand(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("DATABASE_URL", "postgres://real/site")
    variables = environment(tmp_path, "")
    assert variables["OPENAI_API_KEY"] != "sk-real"
    assert variables["DATABASE_URL"].startswith(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--count", "-1"], "whole number"),
        (["--count", "1000001"], "whole number"),
        (["--faults", "nonsense"], "no fault nonsense"),
        (["--database", "sqlite:///site"], "takes the address of a PostgreSQL"),
        (["--database", "postgres://127.0.0.1:1/x"], "PostgreSQL cannot be used"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments, words):
    with pytest.raises(CommandError, match=words):
        call_command("fault_test", *arguments)


def test_every_fault_and_every_phase_is_documented():
    told = (settings.BASE_DIR / "docs" / "faults.md").read_text()
    phases = re.findall(r'_timed\("(\w+)"', inspect.getsource(Trial.run))
    assert len(phases) > 5
    assert [phase for phase in phases if f"| {phase} |" not in told] == []
    names = {fault.name for fault in FAULTS if not re.match(r"http[45]\d\d", fault.name)} | {NO_FAULT.name}
    assert [name for name in names if f"`{name}`" not in told] == []


@pytest.mark.slow
def test_a_small_run_goes_as_designed(tmp_path):
    """In a process of its own, as people start it; pytest's would keep it from its database."""
    file = tmp_path / "told.json"
    arguments = ["--faults", "http500,cut,crashed", "--seed", "7", "--count", "200", "--json", str(file)]
    ended = subprocess.run(
        [sys.executable, "manage.py", "fault_test", *arguments],
        cwd=settings.BASE_DIR,
        env=os.environ | {"AICHAT": settings.AICHAT, "SASHA_MODE": "local", "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = json.loads(file.read_text())
    assert told["seed"] == 7
    assert {cell["phase"] for cell in told["cells"]} >= {"alternatives", "alone", "policies", "mix"}
    assert {cell["when"] for cell in told["cells"]} == {When.BEFORE, When.AFTER, When.NEVER}
    assert {cell["fault"] for cell in told["cells"]} == {"http500", "cut", "crashed", NO_FAULT.name}
    assert told["figures"]["exact_costs"] > 100
    assert told["figures"]["killed"] > 0
    assert "All as designed." in ended.stdout
