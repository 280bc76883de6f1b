"""What was spent, as the page, its chart and its CSV say it; and who would be asked."""

import csv
import re
import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from providers import charts, money_pages, spending
from providers.models import Attempt, CountSource, Provider
from providers.spending import Group, Span, Sums
from providers.templatetags.money import percent, usd
from sasha.testing import free_port, make_provider

pytestmark = pytest.mark.django_db
MARCH = Span(date(2026, 3, 1), date(2026, 3, 31))
NOON = datetime(2026, 3, 10, 12, tzinfo=timezone.get_default_timezone())


@pytest.fixture
def admin_user():
    # Without a password, whose hash is slow on purpose.
    return User.objects.create_user("ada", is_staff=True, is_superuser=True)


def spend(cost, model="sim:one", at=NOON, **values):
    provider_slug, _, model_name = model.partition(":")
    usual = {"reply_id": uuid.uuid4(), "conversation_id": uuid.uuid4(), "ending": "complete", "username": "alice"}
    values = usual | {"provider_slug": provider_slug, "model_name": model_name, "started_at": at} | values
    return Attempt.objects.create(cost_usd=None if cost is None else Decimal(cost), **values)


def get_march(client, name="money", **values):
    return client.get(reverse(name), {"period": "days", "first": "2026-03-01", "last": "2026-03-31"} | values)


def text_of(response):
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def read_csv(response):
    return list(csv.reader(b"".join(response.streaming_content).decode().splitlines()))


# --- Sums -------------------------------------------------------------------------------------------------------------


def test_the_sums_are_exact_and_the_unknown_stays_apart():
    for cost in ("0.1", "0.2", "0.000000000001"):
        spend(cost)
    spend("0.05", count_source=CountSource.ESTIMATED, ending="stopped")
    spend(None)
    spend(None, ending="")
    sums = spending.summarise(MARCH)
    assert (sums.cost_usd, sums.estimated_usd) == (Decimal("0.350000000001"), Decimal("0.05"))
    assert (sums.attempts, sums.unknown, sums.running) == (6, 1, 1)


def test_a_group_of_unknown_costs_costs_unknown_and_an_empty_span_nothing():
    spend(None)
    assert spending.summarise(MARCH).cost_usd is None
    assert spending.summarise(Span(date(2026, 4, 1), date(2026, 4, 1))).cost_usd == 0


def test_tokens_are_what_is_known_of_them():
    spend("1", input_tokens=10, cache_read_tokens=5, cache_write_tokens=2, output_tokens=7)
    spend("1", input_tokens=1)
    sums = spending.summarise(MARCH)
    assert (sums.input_tokens, sums.output_tokens) == (18, 7)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("provider", [("dear", "3"), ("sim", "2")]),
        ("model", [("dear:x", "3"), ("sim:one", "1"), ("sim:two", "1")]),
        ("user", [("bob", "3"), ("alice", "2")]),
        ("day", [("2026-03-09", "3"), ("2026-03-10", "2")]),
    ],
)
def test_the_groups_add_up_with_the_dearest_first(by, expected):
    spend("1", "sim:one")
    spend("1", "sim:two")
    spend("3", "dear:x", at=NOON - timedelta(days=1), username="bob")
    found = [(group.name, group.sums.cost_usd) for group in spending.group(MARCH, by) if group.sums.attempts]
    assert found == [(name, Decimal(cost)) for name, cost in expected]


def test_a_day_begins_at_midnight_of_the_site(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    zone = timezone.get_default_timezone()
    for hour, day in ((0, 1), (23, 31)):
        spend("1", at=datetime(2026, 3, day, hour, 59, tzinfo=zone))
    spend("8", at=datetime(2026, 2, 28, 23, 59, tzinfo=zone))
    spend("8", at=datetime(2026, 4, 1, 0, 0, tzinfo=zone))
    days = spending.group_by_day(MARCH)
    assert len(days) == 31
    assert spending.summarise(MARCH).attempts == 2
    assert [day.name for day in days if day.sums.attempts] == ["2026-03-01", "2026-03-31"]


def test_sums_of_groups_are_the_sums_of_all():
    for cost, provider in (("1", "a"), ("2", "b"), (None, "b"), (None, "c")):
        spend(cost, f"{provider}:m", output_tokens=3)
    for by in spending.GROUPS:
        assert spending.add(spending.group(MARCH, by)) == spending.summarise(MARCH)
    assert (Sums(1, None) + Sums(1, None)).cost_usd is None


def test_the_month_is_projected_from_the_days_shown():
    spend("10", at=NOON - timedelta(days=2))
    spend("5", at=NOON - timedelta(days=20))
    now = NOON.replace(day=11, hour=0)
    ten_days = Span(date(2026, 3, 1), date(2026, 3, 11))
    sums = spending.summarise(ten_days)
    # 10 USD in 10 days, and 21 days to come.
    assert spending.project_month(ten_days, sums, now) == Decimal("31.00")
    assert spending.project_month(Span(date(2026, 2, 1), date(2026, 2, 28)), sums, now) is None
    assert spending.project_month(Span(date(2026, 3, 11), date(2026, 3, 11)), sums, now) is None


# --- Writing it down --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (None, "unknown"),
        ("0", "0.0000 USD"),
        ("1.2", "1.2000 USD"),
        ("1234.5", "1,234.5000 USD"),
        ("0.033", "0.0330 USD"),
        ("0.100001", "0.100001 USD"),
        ("10", "10.0000 USD"),
        ("0.0000001", "< 0.000001 USD"),
    ],
)
def test_an_amount_hides_nothing(amount, written):
    assert usd(None if amount is None else Decimal(amount)) == written


@pytest.mark.parametrize(
    ("share", "written"), [("0", "0 %"), ("0.001", "< 1 %"), ("0.125", "12 %"), ("0.999", "> 99 %"), ("1.2", "120 %")]
)
def test_a_share_is_not_rounded_to_nothing_or_all(share, written):
    assert percent(Decimal(share)) == written


def test_the_chart_is_in_proportion():
    groups = [
        Group("a", Sums(1, Decimal(4), Decimal(1))),
        Group("b", Sums(1, Decimal(2))),
        Group("c", Sums(1, None)),
        Group("d", Sums()),
    ]
    drawn = charts.columns(groups)
    assert [(column.height, column.estimated_height) for column in drawn] == [(75, 25), (50, 0), (0, 0), (0, 0)]
    assert [(column.estimated_y, column.y) for column in drawn[:2]] == [(0, 25), (50, 50)]
    assert [column.x for column in drawn] == [2.5, 27.5, 52.5, 77.5]
    assert charts.columns([]) == []


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_the_same_numbers_everywhere(admin_client):
    spend("1.25")
    spend("0.75", count_source=CountSource.ESTIMATED, ending="cut")
    spend(None)
    shown = text_of(get_march(admin_client))
    assert "Spent 2.0000 USD" in shown
    assert "Of that, estimated 0.7500 USD 38 %" in shown
    assert "1 attempt of unknown cost is not part of the amounts" in shown
    assert "2026-03-10 2.0000 USD 0.7500 USD (38 %) 3 1 0 0" in shown
    assert shown.count("2.0000 USD 0.7500 USD (38 %) 3 1 0 0") == 8  # a row and a total in each of four tables


def test_the_chart_can_be_read_without_seeing_it(admin_client):
    spend("1.25")
    content = get_march(admin_client).content.decode()
    assert 'role="img" aria-labelledby="chart-title chart-text"' in content
    assert '<title id="chart-title">What each day cost</title>' in content
    assert "The dearest day is 2026-03-10 with 1.2500 USD." in content


def test_live_checks_have_a_line_of_their_own(admin_client):
    spend("1")
    spend("0.002", username="check")
    assert "Live checks of providers 0.0020 USD 1 attempt" in text_of(get_march(admin_client))


def test_rows_beyond_the_page_are_one_line(admin_client, monkeypatch):
    monkeypatch.setattr(money_pages, "ROWS", 2)
    for number in range(1, 5):
        spend(number, username=f"user{number}")
    shown = text_of(get_march(admin_client))
    assert re.search(r"user4 4\.0000 USD.*user3 3\.0000 USD.*2 others 3\.0000 USD.*Total 10\.0000 USD", shown)
    assert "user2" not in shown


def test_a_link_of_the_page_leads_to_its_attempts(admin_client):
    spend("1", "sim:one/two&x")
    links = re.findall(r'href="(/admin/providers/attempt/\?[^"]+)"', get_march(admin_client).content.decode())
    assert len(links) == 31 + 3
    found = [admin_client.get(link.replace("&amp;", "&")).context["cl"].result_count for link in links]
    assert found == [int(link.endswith("2026-03-10")) for link in links[:31]] + [1, 1, 1]


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ({}, "2026-03-01", "2026-03-10"),
        ({"period": "7"}, "2026-03-04", "2026-03-10"),
        ({"period": "30"}, "2026-02-09", "2026-03-10"),
        ({"period": "90"}, "2025-12-11", "2026-03-10"),
        ({"period": "last-month"}, "2026-02-01", "2026-02-28"),
        ({"period": "days", "first": "2024-02-29", "last": "2024-03-01"}, "2024-02-29", "2024-03-01"),
    ],
)
def test_a_period_has_its_days(asked, first, last):
    form = money_pages.SpanForm({"period": ""} | asked)
    assert form.is_valid(), form.errors
    assert form.get_span(NOON.date()) == Span(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"last": ""}, "Name the first and the last day."),
        ({"last": "2026-02-01"}, "The last day is before the first."),
        ({"last": "2036-01-01"}, "That is more than three years."),
        ({"last": "tomorrow"}, "Enter a valid date."),
        ({"period": "ever"}, "Select a valid choice."),
        ({"first": "0001-01-01", "last": "0001-01-01"}, "Name days from 2020 to 2100."),
        ({"first": "9999-12-31", "last": "9999-12-31"}, "Name days from 2020 to 2100."),
    ],
)
def test_days_that_cannot_be_are_refused_with_a_sentence(admin_client, asked, sentence):
    assert sentence in text_of(get_march(admin_client, **asked))
    assert get_march(admin_client, "money-csv", **asked).status_code == 400


def test_the_page_asks_as_often_for_more_attempts(admin_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            get_march(admin_client)
        return len(queries)

    spend("1")
    before = count()
    for number in range(5):
        spend("1", f"sim{number}:m", username=f"user{number}")
    assert count() == before


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_the_csv_has_whole_amounts_and_no_zero_for_the_unknown(admin_client):
    spend("0.000000000001", "cheap:m", input_tokens=3, output_tokens=4)
    spend(None, "odd:m")
    response = get_march(admin_client, "money-csv", by="provider")
    assert response["Content-Disposition"] == 'attachment; filename="money-by-provider-2026-03-01-2026-03-31.csv"'
    head, *rows = read_csv(response)
    assert head[:4] == ["provider", "attempts", "cost_usd", "estimated_usd"]
    assert rows == [
        ["cheap", "1", "0.000000000001", "0", "0", "0", "3", "4"],
        ["odd", "1", "", "0", "1", "0", "0", "0"],
    ]


def test_the_csv_has_every_day(admin_client):
    spend("1")
    rows = read_csv(get_march(admin_client, "money-csv", by="day"))
    assert len(rows) == 1 + 31
    assert rows[10][:3] == ["2026-03-10", "1", "1.000000000000"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_the_csv_is_a_formula(admin_client, start):
    name = f"{start}HYPERLINK(1)"
    spend("1", username=name)
    text = b"".join(get_march(admin_client, "money-csv", by="user").streaming_content).decode()
    rows = list(csv.reader(text.splitlines(keepends=True)))
    assert rows[1][0] == f"'{name}"


def test_an_unknown_table_is_refused(admin_client):
    assert get_march(admin_client, "money-csv", by="secret").status_code == 400


# --- Who would be asked -----------------------------------------------------------------------------------------------


@pytest.fixture
def two_providers():
    address = f"http://127.0.0.1:{free_port()}/v1"
    make_provider(address, "small", slug="first", name="First", priority=1)
    make_provider(address, "large", slug="second", name="Second", priority=2)
    make_provider(address, "none", slug="off", name="Off", enabled=False)


def explain(client, **asked):
    response = client.get(reverse("explain"), asked)
    return response, text_of(response)


def test_it_is_explained_who_is_asked_and_who_not(admin_client, two_providers):
    response, shown = explain(admin_client)
    route = response.context["route"]
    assert [str(candidate) for candidate in route.candidates] == ["first:small", "second:large"]
    assert [skipped.name for skipped in route.skipped] == ["off:none"]
    for entry in (*route.candidates, *route.skipped):
        assert entry.reason in shown
    preferred, _ = explain(admin_client, model="second:large")
    assert [str(candidate) for candidate in preferred.context["route"].candidates] == ["second:large", "first:small"]
    only, _ = explain(admin_client, model="second:large", only="on")
    assert [str(candidate) for candidate in only.context["route"].candidates] == ["second:large"]


def test_length_and_images_count(admin_client, two_providers):
    Provider.objects.get(slug="second").models.update(vision=True, context_window=None)
    seeing, _ = explain(admin_client, needs_vision="on")
    assert [str(candidate) for candidate in seeing.context["route"].candidates] == ["second:large"]
    Provider.objects.get(slug="first").models.update(context_window=10)
    long, _ = explain(admin_client, prompt_characters="100000")
    assert [str(candidate) for candidate in long.context["route"].candidates] == ["second:large"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"user": "nobody"}, "There is no user of this name."),
        ({"only": "on"}, "Choose the model that is the only one."),
        ({"model": "no:such"}, "Select a valid choice."),
        ({"prompt_characters": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_question_that_cannot_be_is_refused_beside_the_field(admin_client, two_providers, asked, sentence):
    response, shown = explain(admin_client, **asked)
    assert sentence in shown
    assert "route" not in response.context
