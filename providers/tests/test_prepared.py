"""Queries that are translated once: they must say what the queryset says, with whatever values."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import DateTimeField, DecimalField, UUIDField
from django.utils import timezone

from providers.models import Attempt, Budget, Model
from providers.prepared import Given, Prepared, build, columns_of
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db

NOW = timezone.now()


@pytest.fixture
def attempts():
    model = make_provider("http://127.0.0.1:1", "m").models.get()
    names = {"provider_slug": "sim", "model_name": "m", "reason": "chosen", "model": model}
    return [
        Attempt.objects.create(
            reply_id=uuid.uuid4(),
            conversation_id=uuid.uuid4(),
            number=number,
            started_at=NOW - timedelta(days=number),
            cost_usd=Decimal(number) / 1000,
            price={"input": "1"},
            trial=bool(number % 2),
            **names,
        )
        for number in range(3)
    ]


def test_each_call_has_its_own_values(attempts):
    numbers = Prepared(
        lambda: Attempt.objects.filter(reply_id=Given("reply_id", UUIDField())).values_list("number", "username")
    )
    assert [numbers(reply_id=attempt.reply_id) for attempt in attempts] == [[(0, "")], [(1, "")], [(2, "")]]
    assert numbers.first(reply_id=uuid.uuid4()) is None


def test_values_and_columns_are_those_of_the_queryset_whatever_their_type(attempts):
    columns = ("id", "started_at", "cost_usd", "price", "trial", "ended_at", "model__name")
    dear = Prepared(
        lambda: Attempt.objects.filter(
            started_at__lte=Given("until", DateTimeField()),
            cost_usd__gte=Given("least", DecimalField(max_digits=20, decimal_places=12)),
        ).values_list(*columns)
    )
    until, least = NOW - timedelta(hours=1), Decimal("0.001")
    expected = list(Attempt.objects.filter(started_at__lte=until, cost_usd__gte=least).values_list(*columns))
    assert len(expected) == 2
    assert dear(until=until, least=least) == expected


def test_one_name_may_stand_for_several_values(attempts):
    either = Prepared(lambda: Attempt.objects.filter(number__in=[0, Given("number")]).values_list("number"))
    assert sorted(either(number=2)) == [(0,), (2,)]


def test_an_object_that_is_built_is_the_stored_one(attempts):
    stored = Attempt.objects.select_related("model").get(pk=attempts[1].pk)
    find = Prepared(lambda: Attempt.objects.select_related("model").filter(pk=Given("pk", UUIDField())))
    row = find.first(pk=stored.pk)
    built = build(Attempt, row[: len(columns_of(Attempt))])
    model = build(Model, row[len(columns_of(Attempt)) :])
    assert {name: getattr(built, name) for name in columns_of(Attempt)} == {
        name: getattr(stored, name) for name in columns_of(Attempt)
    }
    assert (model, model.provider_id) == (stored.model, stored.model.provider_id)
    built.number = 7
    built.save()
    assert Attempt.objects.get(pk=stored.pk).number == 7


def test_what_locks_its_rows_does_so_each_time(attempts, django_assert_num_queries):
    locked = Prepared(lambda: Attempt.objects.select_for_update().filter(number=Given("number")).values_list("id"))
    with transaction.atomic(), django_assert_num_queries(2) as captured:
        assert len(locked(number=1)) == len(locked(number=2)) == 1
    locks = ["FOR UPDATE" in query["sql"] for query in captured]
    assert locks == [connection.features.has_select_for_update] * 2


def test_a_query_without_values_sees_what_is_new():
    limits = Prepared(lambda: Budget.objects.order_by("limit_usd").values_list("limit_usd"))
    assert limits() == []
    Budget.objects.create(limit_usd=3)
    assert limits() == [(3,)]
