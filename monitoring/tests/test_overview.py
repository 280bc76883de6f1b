"""What the overview says of a site: its verdict, its providers, its servers. No database: facts in, words out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from monitoring.models import Alert, AlertRule, HealthCheck
from monitoring.models.alerts import AlertState, RuleKind
from monitoring.pages.facts import Asked, Facts
from monitoring.pages.overview import build
from monitoring.pages.reasons import Level
from monitoring.pages.verdict import judge
from monitoring.pages.words import milliseconds, seconds, server_name, short, size
from monitoring.tests.states import make_server
from providers.endings import Ending
from providers.models import Model, Provider
from providers.spending import Sums

NOW = timezone.now()


def make_provider(slug="sim", pk=1, **columns):
    return Provider(pk=pk, slug=slug, name=columns.pop("name", slug.title()), **columns)


def paused(slug="sim", pk=1, **columns):
    usual = {"breaker": "open", "opened_at": NOW - timedelta(minutes=9), "open_until": NOW + timedelta(minutes=1)}
    return make_provider(slug, pk, **(usual | {"open_reason": "3 failures in a row."} | columns))


def well(**changes):
    return replace(Facts(NOW, providers=[make_provider()], servers=[make_server(now=NOW)]), **changes)


def firing(kind, subject="", sentence="Something is."):
    rule = AlertRule(kind=kind)
    began = NOW - timedelta(hours=1)
    return Alert(rule=rule, subject=subject, state=AlertState.FIRING, sentence=sentence, began_at=began, fired_at=began)


def server(**parts):
    return {"servers": [make_server(now=NOW, **parts)]}


def failed(number):
    return server(figures={"errors": {"ended": 100, "failed": number}})


def memory(**words):
    return server(figures={"memory": words})


def young(**parts):
    return replace(make_server(now=NOW, **parts), started_at=NOW - timedelta(minutes=5))


TABLE = [
    ("nothing is wrong", {}, Level.WELL, ""),
    ("nobody at all", {"providers": []}, Level.TROUBLE, "there is nobody to ask"),
    ("nobody with a key", {"missing": {"sim": "it has no key"}}, Level.TROUBLE, "there is nobody to ask"),
    ("all are paused", {"providers": [paused()]}, Level.TROUBLE, "every provider is paused"),
    ("one is paused", {"providers": [paused(), make_provider("b", 2)]}, Level.ATTENTION, "Sim is not asked"),
    ("one is off", {"providers": [make_provider(enabled=False), make_provider("b", 2)]}, Level.WELL, ""),
    ("one is forced", {"providers": [paused(forced="closed")]}, Level.WELL, ""),
    ("few failed", failed(3), Level.WELL, ""),
    ("some failed", failed(6), Level.ATTENTION, "6 of the 100 answers"),
    ("many failed", failed(40), Level.TROUBLE, "40 of the 100 answers"),
    ("too few to say", server(figures={"errors": {"ended": 2, "failed": 2}}), Level.WELL, ""),
    ("memory rises", memory(trend="increasing"), Level.ATTENTION, "The memory of studio 42 grows."),
    ("memory rises at first", {"servers": [young(figures={"memory": {"trend": "increasing"}})]}, Level.WELL, ""),
    ("by how much", memory(slope_low=6e6, slope_bytes_per_hour=9e6), Level.ATTENTION, "about 9 MB an hour"),
    ("perhaps", memory(slope_low=-1e6, slope_bytes_per_hour=9e6), Level.WELL, ""),
    ("the loop lags", server(reading={"loop_lag_ms": 900}), Level.ATTENTION, "late with everything, by 900 ms"),
    ("a slow database", server(reading={"database_ms": 700}), Level.ATTENTION, "answers the server studio 42 after"),
    ("all places taken", server(reading={"processes": 100, "queued": 3}), Level.ATTENTION, "All 100 places"),
    ("waiting for turns", server(reading={"processes": 10, "queued": 3}), Level.WELL, ""),
    ("one drains", {"servers": [make_server(now=NOW), make_server("b:1", draining=True)]}, Level.WELL, ""),
    ("all drain", server(draining=True), Level.TROUBLE, "No new message is taken"),
    ("a silent server", server(said_ago=40), Level.ATTENTION, "has not said since"),
    ("a mute server", server(said_ago=None), Level.ATTENTION, "has not said yet how it is"),
    ("a lost server", {"servers": [make_server(alive=False)]}, Level.ATTENTION, "gone without a word"),
    ("a stopped one", {"servers": [make_server(alive=False, draining=True)]}, Level.WELL, ""),
    (
        "unknown cost",
        {"money": {"sim": Sums(3, unknown=2)}},
        Level.ATTENTION,
        "The cost of 2 attempts of today is not known",
    ),
    ("an alert", {"alerts": [firing(RuleKind.BUDGET)]}, Level.ATTENTION, "Something is."),
    ("a grave alert", {"alerts": [firing(RuleKind.DISK)]}, Level.TROUBLE, "Something is."),
]


@pytest.mark.parametrize(("changes", "level", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_verdict_follows_from_the_facts(changes, level, words):
    verdict = judge(well(**changes))
    said = [reason.sentence for reason in verdict.reasons]
    assert verdict.level == level, said
    assert (words in said[0]) if words else not said
    assert all(reason.todo for reason in verdict.reasons)


def test_the_worst_comes_first_and_says_since_when():
    facts = well(providers=[paused()], money={"sim": Sums(1, unknown=1)})
    verdict = judge(facts)
    assert [reason.level for reason in verdict.reasons] == [Level.TROUBLE, Level.ATTENTION, Level.ATTENTION]
    assert verdict.since == NOW - timedelta(minutes=9)


def test_an_alert_about_what_is_said_already_is_not_said_twice():
    facts = well(providers=[paused(), make_provider("b", 2)], alerts=[firing(RuleKind.PROVIDER_DOWN, "sim")])
    assert len(judge(facts).reasons) == 1


def test_it_is_well_since_the_last_thing_that_was_not():
    assert judge(well()).since == NOW - timedelta(hours=2)
    failed, over, changed = (NOW - timedelta(minutes=minutes) for minutes in (5, 4, 3))
    assert judge(well(failed_at=failed)).since == failed
    assert judge(well(failed_at=failed, alert_ended_at=over)).since == over
    change = HealthCheck(provider="sim", kind="state", state="closed", at=changed)
    assert judge(well(failed_at=failed, alert_ended_at=over, changes=[change])).since == changed


def test_a_model_that_is_out_is_named_with_its_reason():
    model = Model(
        pk=3, provider=make_provider(), name="one", out_until=NOW + timedelta(minutes=2), out_reason="Refused"
    )
    (reason,) = judge(well(models_out=[model])).reasons
    assert reason.sentence.startswith("sim:one is not asked until")
    assert reason.sentence.endswith("Refused.")
    assert "/providers/model/3/" in reason.url


# --- Providers --------------------------------------------------------------------------------------------------------


def asked(count=1, ending="complete", first_token_ms=500, minutes=1, error=""):
    at = NOW - timedelta(minutes=minutes)
    return [Asked("sim", "one", at, first_token_ms, ending, error)] * count


def card_of(**changes):
    (card,) = build(well(**changes)).providers
    return card


def test_a_provider_is_shown_with_its_hour():
    card = card_of(
        asked=asked(19) + asked(1, first_token_ms=4000, minutes=5) + asked(2, "cut", None, error="Gone away"),
        money={"sim": Sums(22, unknown=1)},
    )
    assert card.words == "Asked as usual."
    assert card.first_token == "p95 500 ms of 20 answers"
    assert card.errors == "2 of 22 attempts"
    assert card.last_error.endswith("one: " + Ending.CUT.sentence)
    assert card.last_words == "Gone away"
    assert card.money == "0.0000 USD, 1 of unknown cost"
    assert card.line.dots or card.line.lines


def test_a_provider_that_nobody_asked_says_so():
    card = card_of()
    assert (card.first_token, card.errors, card.last_error) == (
        "no answer in the last hour",
        "not asked in the last hour",
        "",
    )


def test_a_paused_provider_says_why_and_since_when_and_comes_first():
    page = build(well(providers=[make_provider("b", 2), paused()]))
    assert [card.slug for card in page.providers] == ["sim", "b"]
    assert "3 failures in a row." in page.providers[0].words
    assert "for 9 min" in page.providers[0].since
    assert page.providers[0].level == "trouble"


def test_a_provider_is_as_it_is_since_its_last_change():
    change = HealthCheck(provider="sim", kind="state", state="closed", at=NOW - timedelta(minutes=4))
    assert "for 4 min" in card_of(changes=[change]).since


def test_providers_that_cannot_be_asked_are_apart_unless_they_were_asked_in_the_hour():
    facts = well(missing={"sim": "it has no key"})
    page = build(facts)
    assert page.providers == []
    assert [(name, words) for _, name, words in page.not_asked] == [("Sim", "Not asked: it has no key.")]
    assert [card.slug for card in build(replace(facts, asked=asked())).providers] == ["sim"]


# --- Servers and numbers ----------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_all_living_servers():
    both = [make_server(now=NOW), make_server("b:1", now=NOW), make_server("c:1", alive=False)]
    tiles = {tile.name: tile for tile in build(well(servers=both)).tiles}
    assert (tiles["Replies now"].value, tiles["Replies now"].note) == ("4", "0 waiting, 200 places")
    assert (tiles["Failed, last 5 minutes"].value, tiles["Failed since start"].value) == ("0 %", "< 1 %")
    assert tiles["Connections"].value == "18"


def test_without_answers_there_is_no_share_of_failures():
    (tile,) = [tile for tile in build(well(servers=[])).tiles if tile.name == "Failed, last 5 minutes"]
    assert (tile.value, tile.note) == ("–", "no answer has ended")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, "lives since"),
        ({"draining": True}, "about to stop: takes nothing new"),
        ({"said_ago": 60}, "lives, but has said nothing since"),
        ({"said_ago": None}, "has not said yet how it is"),
        ({"alive": False}, "gone without a word, last heard of at"),
        ({"alive": False, "draining": True}, "stopped, last heard of at"),
    ],
)
def test_a_server_says_in_words_how_it_is(parts, words):
    (card,) = build(well(**server(**parts))).servers
    assert words in card.words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"trend": "unknown"}, "90 MB, too early to say"),
        ({"trend": "increasing", "change_bytes": 12e6}, "90 MB, increasing (12 MB)"),
        ({"trend": "decreasing", "change_bytes": -12e6}, "90 MB, decreasing (-12 MB)"),
        ({"slope_low": -1e6, "slope_bytes_per_hour": 1e6, "slope_high": 3e6}, "; no clear change over the hour"),
        ({"slope_low": 1e6, "slope_bytes_per_hour": 2e6, "slope_high": 3e6}, "2 MB an hour, between 1 MB and 3 MB"),
    ],
)
def test_memory_is_said_with_what_is_known_of_it(said, words):
    (card,) = build(well(**memory(**said))).servers
    assert words in dict(card.facts)["Memory"]


def test_a_server_of_another_version_that_says_other_things_is_shown():
    odd = replace(make_server(now=NOW), data={"figures": [], "reading": {"rss": "much"}, "processes": "many"})
    (card,) = build(well(servers=[odd])).servers
    assert dict(card.facts)["Memory"].startswith("–")


# --- Words ------------------------------------------------------------------------------------------------------------


def test_lengths_and_sizes_are_said_in_two_units_at_most():
    assert [seconds(n) for n in (0, 59, 60, 3725, 90_000)] == ["0 s", "59 s", "1 min", "1 h 2 min", "1 day 1 h"]
    assert [milliseconds(n) for n in (None, 850, 1200, 61_000)] == ["–", "850 ms", "1.2 s", "1 min 1 s"]
    assert [size(n) for n in (None, 900, 84e6, 2.5e9)] == ["–", "1 kB", "84 MB", "2.5 GB"]
    assert server_name("studio:42:abcd") == "studio 42"


def test_a_name_cannot_turn_or_break_its_sentence():
    assert short("a\u202eb\nc\x00d\u2066e") == "a b c d e"
    assert short("x" * 10_000, 10) == "x" * 9 + "…"
