"""The minutes of the past as lines."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from monitoring.models import Sample
from monitoring.pages.series import LINES, MEASURES, build

NOW = timezone.now()
HOUR = timedelta(hours=1)


def minutes(replica="a:1:x", values=(1.0, 2.0, 3.0)):
    """The values of the last minutes, the newest last."""
    return [(replica, NOW - timedelta(minutes=len(values) - at - 0.5), value) for at, value in enumerate(values)]


def test_a_minute_is_a_point_and_what_is_missing_a_hole():
    series = build(minutes(values=(5.0, None, 7.0)), MEASURES["lag"], NOW, HOUR)
    (line,) = series.lines
    assert (len(series.times), line.values[-3:]) == (60, [5.0, None, 7.0])
    assert [len(stretch.split()) for stretch in line.points] == [1, 1]
    assert series.highest == "7 ms"


@pytest.mark.parametrize(("name", "expected"), [("memory", 9.0), ("errors", 12.0)])
def test_of_several_minutes_the_worst_is_shown_or_their_sum(name, expected):
    values = [0.0] * 28 + [3.0, 9.0]
    series = build(minutes(values=values), MEASURES[name], NOW, timedelta(days=7))
    assert max(value for value in series.lines[0].values if value is not None) == expected


def test_each_server_has_a_line_but_not_without_end():
    rows = [row for number in range(LINES + 3) for row in minutes(f"host:{number}:x")]
    series = build(rows, MEASURES["cpu"], NOW, HOUR)
    assert (len(series.lines), series.more) == (LINES, 3)
    assert len(series.plot["data"]) == LINES + 1


def test_the_chart_is_in_the_unit_of_its_axis_and_the_table_in_words():
    series = build(minutes(values=(84e6,)), MEASURES["memory"], NOW, HOUR)
    assert series.plot["data"][1][-1] == 84.0
    assert series.rows[0][1] == ["84 MB"]


def sample(at=NOW, **values):
    columns = [field.name for field in Sample._meta.fields if field.name not in ("id", "replica", "at")]
    nullable = {field.name for field in Sample._meta.fields if field.null}
    usual = {name: None if name in nullable else 1 for name in columns}
    return Sample(**(usual | {"replica": "studio:42:x", "at": at} | values))


def store(at=NOW, **values):
    sample(at, **values).save()


@pytest.mark.django_db
def test_the_page_shows_what_is_asked_for(admin_client):
    store(rss=84e6)
    store(NOW - timedelta(hours=3), replica="other:7:x")
    page = admin_client.get(reverse("monitor-history"), {"span": "1h", "measure": "memory"}).content.decode()
    assert "studio 42" in page
    assert "84 MB" in page
    assert '"names": ["studio 42"]' in page
    page = admin_client.get(reverse("monitor-history"), {"server": "other:7:x"}).content.decode()
    assert '"names": ["other 7"]' in page


@pytest.mark.django_db
def test_every_server_of_the_longest_span_is_offered_the_newest_first(admin_client):
    Sample.objects.bulk_create(sample(NOW - timedelta(minutes=minute)) for minute in range(6000))
    store(NOW - timedelta(days=6), replica="early:7:x")
    store(NOW - timedelta(days=8), replica="too-early:7:x")
    page = admin_client.get(reverse("monitor-history")).content.decode()
    offered = re.findall(r'<option value="([^"]+:x)"', page)
    assert offered == ["studio:42:x", "early:7:x"]


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [{"span": "99y"}, {"measure": "id; DROP"}, {"server": "nobody"}])
def test_a_question_that_cannot_be_is_refused_beside_the_field(admin_client, asked):
    response = admin_client.get(reverse("monitor-history"), asked)
    assert response.status_code == 200
    assert "Select a valid choice" in response.content.decode()


@pytest.mark.django_db
def test_a_site_that_has_measured_nothing_says_so(admin_client):
    assert "Nothing was measured in this time." in admin_client.get(reverse("monitor-history")).content.decode()
