from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command

from monitoring.figures import percentile
from monitoring.load.figures import Reading, busy_seconds, difference, figures, median, ratio
from monitoring.load.ledger import served
from monitoring.load.report import demands, rows, table
from monitoring.load.workload import Workload, judge
from sasha.testing import free_port

# A short answer that still has gaps.
MODEL = "sim:sim-n10-gap5"


def load_test(*arguments: str) -> str:
    output = io.StringIO()
    call_command("load_test", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def reading(first: float, *gaps: float, error: str = "", asked: float = 0.0) -> Reading:
    """A reading with a first token after `first` seconds, and the rest after `gaps`."""
    made = Reading("hello", asked, ending="complete", error=error)
    now = asked + first
    made.arrived(now, events=1, is_text=True)
    for gap in gaps:
        now += gap
        made.arrived(now, events=1, is_text=True)
    made.ended_at = now
    return made


class TestFigures:
    def test_percentile_is_a_value_that_occurred(self):
        assert percentile([], 0.5) is None
        assert percentile([7.0], 0.99) == 7
        assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2
        assert percentile(range(1, 101), 0.95) == 95
        assert percentile(range(1, 11), 0.95) == 10

    def test_what_is_missing_has_no_ratio_and_no_median(self):
        assert ratio(3.0, 2.0) == 1.5
        assert ratio(None, 2.0) is None
        assert ratio(3.0, None) is None
        assert ratio(3.0, 0.0) is None
        assert difference(3.0, None) is None
        assert median([None, 3.0, 1.0, None, 2.0]) == 2
        assert median([None]) is None

    def test_time_that_several_answers_share_counts_once(self):
        assert busy_seconds([(0, 2), (1, 3), (10, 11), (1, 2)]) == 4
        assert busy_seconds([]) == 0

    def test_failed_answers_are_counted_by_kind_and_nowhere_else(self):
        summed = figures([reading(0.1, 0.02), reading(9.0, 5.0, error="timeout"), reading(0.3, 0.04)])
        assert (summed.messages, summed.failed, summed.errors) == (3, 1, {"timeout": 1})
        assert summed.first_token_p50_ms == pytest.approx(100)
        assert summed.first_token_max_ms == pytest.approx(300)
        assert summed.gap_max_ms == pytest.approx(40)

    def test_the_pace_counts_from_the_first_token(self):
        assert reading(5.0, *[0.02] * 10).tokens_per_second == pytest.approx(50)
        assert reading(5.0).tokens_per_second is None

    def test_a_round_counts_from_its_beginning(self):
        late = reading(0.1, asked=0.5)
        late.due_at = 0.2
        summed = figures([late])
        assert summed.first_token_p50_ms == pytest.approx(400)
        assert summed.own_first_token_p50_ms == pytest.approx(100)

    def test_an_answer_is_compared_word_for_word(self):
        answered = Reading("hello", 0.0, text="word0 word1 ", ending="complete")
        assert judge(answered, "sim:sim-n2") == ""
        assert judge(answered, "sim:sim-n3") == "wrong text"
        assert judge(answered, "other:gpt-5") == ""
        answered.ending = "length"
        assert judge(answered, "sim:sim-n2") == "ended length"

    def test_the_ledger_tells_a_prompt_that_was_asked_twice(self):
        line = {
            "prompt_sha256": "",
            "text_sha256": "",
            "late_ms": 1.0,
            "seconds": 0.5,
            "model": "sim-n2",
            "tokens_sent": 2,
        }
        hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        ours = line | {"prompt_sha256": hello, "text_sha256": hello}
        seen = served([line, ours, ours], [Reading("hello", 0.0, text="hello")])
        assert (seen.asked, seen.asked_twice, seen.same_text) == (1, 1, 2)

    def test_a_crowd_is_held_to_bare_aichat_and_a_few_to_the_clock(self):
        crowd = demands(Workload("sim:sim", connections=50, messages=1, at_once=True))
        assert crowd["first token, median"].of == "ratio"
        few = demands(Workload("sim:sim", connections=10, messages=5))
        assert few["first token, p95"].of == "site"


@pytest.mark.slow
class TestRun:
    """Real runs, each with a simulator and a server of its own."""

    def test_measures_and_compares_with_bare_aichat(self):
        told = json.loads(
            load_test("--start", "-n", "2", "--messages", "2", "--pace", "0", "--baseline", "--repeat", "1",
                      "--model", MODEL, "--json")
        )  # fmt: skip
        (pair,) = told["pairs"]
        for side in ("site", "base"):
            run = pair[side]
            assert (run["figures"]["messages"], run["figures"]["errors"]) == (4, {})
            assert (run["served"]["asked"], run["served"]["asked_twice"], run["served"]["same_text"]) == (4, 0, 4)
            assert run["figures"]["tokens"] == 40
            assert run["use"]["children_cpu_seconds"] > 0
        assert pair["site"]["use"]["server_cpu_seconds"] > 0
        assert pair["site"]["use"]["base_rss_mib"] > 10
        measured = {row["name"]: row for row in told["rows"]}
        assert measured["errors"]["met"] is True
        assert measured["first token, median"]["ratio"] > 0

    def test_compares_two_settings_side_by_side(self):
        run = ("-n", "2", "--messages", "1", "--model", MODEL, "--repeat", "1")
        assert "MONITORING=false" in load_test("--start", *run, "--versus", "MONITORING=false")

    def test_errors_are_counted_named_and_fail_the_command(self):
        with pytest.raises(CommandError, match="4 × error cut"):
            load_test("--start", "-n", "2", "--messages", "2", "--pace", "0", "--model", "sim:sim-n6-cut-at3")

    def test_a_refused_connection_names_the_setting(self, monkeypatch):
        monkeypatch.setattr("monitoring.load.stand.ROOM", "1")
        with pytest.raises(CommandError, match=r"1 × closed 4429\. .*CHAT_SOCKETS_PER_USER"):
            load_test("--start", "-n", "2", "--at-once", "--model", MODEL)


class TestRefusals:
    def test_says_that_no_site_answers(self):
        with pytest.raises(CommandError, match=r"No site answers at .*--start"):
            load_test("--url", f"http://127.0.0.1:{free_port()}")

    def test_loads_this_machine_only(self):
        with pytest.raises(CommandError, match="not a site on this machine"):
            load_test("--url", "http://192.0.2.1:8000")

    @pytest.mark.parametrize("number", ["0", "-1", "5001", "many"])
    def test_every_load_is_bounded(self, number):
        with pytest.raises(CommandError, match="whole number from 1 to 5000"):
            load_test("-n", number)

    @pytest.mark.parametrize("seconds", ["-1", "nan", "601", "long"])
    def test_every_wait_is_bounded(self, seconds):
        with pytest.raises(CommandError, match="number of seconds from 0 to 600"):
            load_test("--timeout", seconds)

    @pytest.mark.parametrize("with_it", [["--start", "--baseline"], [], ["--start"]])
    def test_a_comparison_needs_one_thing_to_compare_with(self, with_it):
        versus = "MONITORING" if with_it == ["--start"] else "MONITORING=false"
        with pytest.raises(CommandError, match="--versus takes NAME=VALUE"):
            load_test(*with_it, "--versus", versus)

    def test_only_the_simulator_is_started(self):
        with pytest.raises(CommandError, match="--start answers by a simulator"):
            load_test("--start", "--model", "openai:gpt-5")


def test_the_table_has_a_verdict_on_every_demand():
    from monitoring.load.machine import Use
    from monitoring.load.measure import Pair, Run

    site = Run("s", figures([reading(0.4, 0.02)]), Use(), None)
    bare = Run("b", figures([reading(0.1, 0.02)]), Use(), None)
    lines = table(rows([Pair(site, bare)], Workload("sim:sim", connections=50, messages=1, at_once=True)))
    assert any("first token, median" in line and "4.00 ×" in line and line.endswith("MISSED") for line in lines)
    assert any("gap, p99" in line and line.endswith("met") for line in lines)
