"""What reprice shows and writes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from providers.models import CountSource
from providers.tests.test_costs import NOW, make_attempt, make_model, make_price


def used(model, cost=None, **values):
    """An attempt of a million tokens in and as many out."""
    return make_attempt(model, **{"input_tokens": 10**6, "output_tokens": 10**6, "cost_usd": cost} | values)


def reprice(capsys, first="2026-11-23", last="2026-11-23", **options):
    call_command("reprice", "--from", first, "--to", last, **options)
    return capsys.readouterr().out


def cells(said, name):
    """The numbers in the line of a model: attempts, old, new, difference."""
    [line] = [line for line in said.splitlines() if line.startswith(f"{name} ")]
    return [Decimal(cell) for cell in line.removeprefix(name).split()]


def cost(attempt):
    attempt.refresh_from_db()
    return attempt.cost_usd


@pytest.mark.django_db
def test_the_difference_is_shown_per_model_and_in_total_and_nothing_is_written(capsys):
    one, other = make_model("one"), make_model("other")
    make_price(one, NOW, 1)
    make_price(other, NOW, 3)
    attempts = [used(one, Decimal(5)), used(one, Decimal(2)), used(other, Decimal(1))]
    said = reprice(capsys)
    assert cells(said, "openai:one") == [2, 7, 4, -3]
    assert cells(said, "openai:other") == [1, 1, 6, 5]
    assert cells(said, "total") == [3, 8, 10, 2]
    assert "2 attempts would change: --apply writes them." in said
    assert [cost(attempt) for attempt in attempts] == [5, 2, 1]


@pytest.mark.django_db
def test_apply_writes_cost_and_price(capsys):
    model = make_model()
    make_price(model, NOW, 1)
    attempt = used(model, Decimal(5), price={"input": "9"})
    assert "Written: 1 attempts." in reprice(capsys, apply=True)
    assert cost(attempt) == 2
    assert attempt.price["input"] == "1"
    assert attempt.price["valid_from"] == NOW.isoformat()
    assert "0 attempts would change" in reprice(capsys)


@pytest.mark.django_db
def test_each_attempt_is_priced_as_of_its_own_time(capsys):
    model = make_model()
    make_price(model, NOW - timedelta(days=9), 1)
    make_price(model, NOW, 3)
    before, after = used(model, started_at=NOW - timedelta(seconds=1)), used(model)
    reprice(capsys, apply=True)
    assert (cost(before), cost(after)) == (2, 6)


@pytest.mark.django_db
def test_a_cost_that_was_unknown_becomes_known_and_a_known_one_never_unknown(capsys):
    priced, unpriced = make_model("priced"), make_model("unpriced")
    make_price(priced, NOW, 1)
    unknown, known, gone = used(priced), used(unpriced, Decimal(7)), used(unpriced, Decimal(4))
    type(gone).objects.filter(pk=gone.pk).update(model=None)
    said = reprice(capsys, apply=True)
    assert cells(said, "openai:priced") == [1, 0, 2, 2]
    assert cells(said, "openai:unpriced") == [2, 11, 11, 0]
    assert "Of unknown cost before: 1." in said
    assert "Left as they are, because no price of that time is known: 2." in said
    assert (cost(unknown), cost(known), cost(gone)) == (2, 7, 4)


@pytest.mark.django_db
def test_what_was_not_billed_or_never_counted_is_left_out(capsys):
    model = make_model()
    make_price(model, NOW, 1)
    used(model, count_source=CountSource.NOT_BILLED)
    used(model, count_source=CountSource.UNKNOWN)
    used(model, count_source="")
    used(model, count_source=CountSource.ESTIMATED)
    assert cells(reprice(capsys), "total")[0] == 1


@pytest.mark.django_db
def test_both_days_count_whole_in_the_sites_own_zone(capsys, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    model = make_model()
    make_price(model, NOW - timedelta(days=9), 1)
    moments = [datetime(2026, 11, day, *at, tzinfo=UTC) for day in (22, 23) for at in ((22, 59), (23, 0))]
    attempts = [used(model, started_at=moment) for moment in moments]
    reprice(capsys, apply=True)
    assert [cost(attempt) for attempt in attempts] == [None, 2, 2, None]


@pytest.mark.django_db
def test_one_model_can_be_chosen(capsys):
    one, other = make_model("one"), make_model("other")
    used(one)
    used(other)
    said = reprice(capsys, model="openai:other")
    assert cells(said, "total")[0] == 1
    assert "openai:one" not in said


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(("2026-11-23", "2026-11-22"), "--to is before --from"), (("23.11.2026", "2026-11-23"), "'23.11.2026' is no day")],
)
def test_bad_days_are_refused_with_a_sentence(days, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("reprice", "--from", days[0], "--to", days[1])
