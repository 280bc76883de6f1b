"""What is kept of the providers' health, and how the staff read it."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.urls import reverse

from monitoring.models import HealthCheck
from providers import breaker, checkup
from providers.models import Forced
from sasha.testing import make_provider

pytestmark = pytest.mark.django_db

# Nothing listens there.
NOWHERE = "http://127.0.0.1:9/v1"
LIST = "/admin/monitoring/healthcheck/"


@pytest.fixture
def provider():
    return make_provider(NOWHERE, "m")


def test_a_move_of_a_breaker_is_a_row(provider):
    breaker.force(provider, Forced.OPEN)
    breaker.force(provider, "")
    moves = HealthCheck.objects.order_by("pk").values_list("kind", "provider", "provider_id", "state", "sentence")
    reason = "an admin has decided so"
    assert [*moves] == [("state", "sim", provider.pk, state, reason) for state in ("open", "closed")]


def test_a_failed_check_is_a_row_with_its_reason(provider):
    result = checkup.check(provider)
    seen = HealthCheck.objects.get()
    assert (seen.kind, seen.provider, seen.ok, seen.sentence) == ("probe", "sim", False, result.sentence)


def test_three_failures_are_three_rows_and_one_move(provider):
    for _ in range(3):
        breaker.record_check(provider.pk, provider.checked_at, "It is away.")
    move = HealthCheck.objects.get(kind="state")
    assert (move.state, move.sentence) == ("open", "3 failures in a row. It does not answer.")


def test_what_is_rolled_back_was_not_seen(provider):
    with transaction.atomic():
        breaker.force(provider, Forced.OPEN)
        transaction.set_rollback(True)
    assert not HealthCheck.objects.exists()


def test_a_sentence_of_any_length_is_kept_as_far_as_there_is_room(provider):
    from providers.signals import provider_checked

    provider_checked.send(None, provider_id=None, slug="gone", ok=None, sentence="x" * 1000)
    assert len(HealthCheck.objects.get().sentence) == 300


def test_the_staff_read_them_and_change_nothing(provider, admin_client):
    breaker.force(provider, Forced.OPEN)
    seen = HealthCheck.objects.get()
    page = admin_client.get(LIST).content.decode()
    assert "an admin has decided so" in page
    detail = reverse("admin:monitoring_healthcheck_change", args=[seen.pk])
    assert detail not in page
    assert admin_client.get(reverse("admin:monitoring_healthcheck_add")).status_code == 403
    assert admin_client.post(detail, {"sentence": "All is well."}).status_code == 403
    assert admin_client.post(reverse("admin:monitoring_healthcheck_delete", args=[seen.pk])).status_code == 403


@pytest.mark.parametrize(
    ("result", "shown"),
    [("failed", ["away"]), ("good", ["there"]), ("state", ["moved"]), ("x", ["away", "there", "moved"])],
)
def test_the_list_is_cut_down_to_what_one_asks_for(admin_client, result, shown):
    HealthCheck.objects.create(provider="sim", kind="probe", ok=False, sentence="It is away.")
    HealthCheck.objects.create(provider="sim", kind="probe", ok=True, sentence="It is there.")
    HealthCheck.objects.create(provider="sim", kind="state", state="half_open", sentence="It moved.")
    page = admin_client.get(LIST, {"result": result}).content.decode()
    listed = [word for word in ("away", "there", "moved") if f"It is {word}." in page or f"It {word}." in page]
    assert listed == shown


def test_a_list_costs_the_same_however_long_it_is(provider, admin_client, django_assert_max_num_queries):
    # More than one page of them.
    HealthCheck.objects.bulk_create(HealthCheck(provider="sim", kind="probe", ok=True) for _ in range(101))
    with django_assert_max_num_queries(8) as queries:
        admin_client.get(LIST)
    of_the_table = [query["sql"] for query in queries if "monitoring_healthcheck" in query["sql"]]
    assert of_the_table
    assert all("LIMIT" in sql for sql in of_the_table), of_the_table


def test_those_of_one_provider_are_found_also_when_it_is_gone(provider, admin_client):
    breaker.force(provider, Forced.OPEN)
    HealthCheck.objects.create(provider="gone", kind="probe", ok=False, sentence="It was away.")
    page = admin_client.get(LIST, {"provider": "gone"}).text
    assert "It was away." in page
    assert "an admin has decided so" not in page
