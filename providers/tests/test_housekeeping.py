"""What is done now and then: quiet providers are looked after, money held back for nothing is released."""

import uuid
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from django.utils import timezone

from providers import budgets, housekeeping
from providers.models import Attempt, Breaker, Budget, BudgetUse, Price, Provider, Reservation
from sasha.testing import free_port, make_provider

pytestmark = pytest.mark.django_db


@contextmanager
def web_server(status, body):
    """Serve one answer to every GET on loopback, and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def no_list():
    with web_server(404, b"nothing here") as address:
        yield address


@pytest.fixture
def models_list():
    with web_server(200, b'{"data": [{"id": "m"}]}') as address:
        yield address


def asked(provider, minutes_ago):
    Attempt.objects.create(
        reply_id=uuid.uuid4(),
        conversation_id=uuid.uuid4(),
        model=provider.models.get(),
        provider_slug=provider.slug,
        model_name="m",
        started_at=timezone.now() - timedelta(minutes=minutes_ago),
    )


def quiet():
    return [provider.slug for provider in housekeeping.find_quiet()]


def test_only_who_was_neither_asked_nor_checked_lately_is_quiet():
    for slug in ("busy", "idle", "checked", "stale", "off"):
        make_provider("https://example.org/v1", "m", slug=slug, enabled=slug != "off")
    asked(Provider.objects.get(slug="busy"), minutes_ago=14)
    asked(Provider.objects.get(slug="idle"), minutes_ago=16)
    for slug, minutes in (("checked", 14), ("stale", 16)):
        Provider.objects.filter(slug=slug).update(checked_at=timezone.now() - timedelta(minutes=minutes))
    assert quiet() == ["idle", "stale"]


def test_checks_can_be_switched_off(settings):
    settings.PROVIDER_CHECK_SECONDS = 0
    make_provider("https://example.org/v1", "m")
    assert quiet() == []


def test_a_quiet_provider_that_is_gone_is_found_out_without_anybody_waiting(settings):
    settings.PROVIDER_CHECK_SECONDS = 900
    provider = make_provider(f"http://127.0.0.1:{free_port()}/v1", "m")
    for _ in range(3):
        Provider.objects.update(checked_at=None)
        housekeeping.check_quiet()
    provider.refresh_from_db()
    assert (provider.check_ok, provider.failures_in_a_row, provider.breaker) == (False, 3, Breaker.OPEN)
    assert provider.open_reason == "3 failures in a row. It does not answer."
    assert provider.open_detail.startswith("The provider cannot be reached")
    # Checked a moment ago.
    assert quiet() == []


def test_a_provider_that_only_does_not_list_its_models_is_well(no_list):
    provider = make_provider(no_list, "m")
    for _ in range(3):
        Provider.objects.update(checked_at=None)
        housekeeping.check_quiet()
    provider.refresh_from_db()
    assert (provider.check_ok, provider.failures_in_a_row, provider.breaker) == (False, 0, Breaker.CLOSED)


def test_a_good_check_ends_a_row_of_failures(models_list):
    provider = make_provider(models_list, "m", failures_in_a_row=2)
    housekeeping.check_quiet()
    provider.refresh_from_db()
    assert (provider.check_ok, provider.failures_in_a_row) == (True, 0)


def test_what_has_no_key_yet_is_no_failure(settings):
    settings.PROVIDER_KEYS = {}
    provider = make_provider("", "m", kind="openai", key_variable="GONE_API_KEY")
    housekeeping.check_quiet()
    provider.refresh_from_db()
    assert (provider.check_ok, provider.failures_in_a_row) == (None, 0)


def test_a_round_releases_what_was_held_back_for_nothing():
    Budget.objects.create(limit_usd=1)
    now = timezone.now()
    assert budgets.reserve(budgets.find_uses(None, now), uuid.uuid4(), Decimal("0.5"), now) is None
    Reservation.objects.update(created_at=timezone.now() - housekeeping.STALE)
    housekeeping.do_round()
    assert BudgetUse.objects.get().reserved_usd == 0


def test_an_attempt_that_nobody_closed_is_closed_as_interrupted():
    provider = make_provider("https://example.org/v1", "m")
    asked(provider, minutes_ago=121)
    asked(provider, minutes_ago=1)
    housekeeping.do_round()
    assert sorted(Attempt.objects.values_list("ending", flat=True)) == ["", "interrupted"]


def test_without_a_schedule_nobody_is_asked_for_money():
    make_provider("https://example.org/v1", "m")
    assert housekeeping.find_live_due() == []


def test_the_schedule_asks_each_provider_once_within_its_time_and_its_cap(settings):
    settings.PROVIDER_LIVE_CHECK_SECONDS = 3600
    settings.PROVIDER_LIVE_CHECK_DAILY_USD = Decimal("0.01")
    cheap = make_provider("https://example.org/v1", "m", slug="cheap").models.get()
    dear = make_provider("https://example.org/v1", "m", slug="dear").models.get()
    unpriced = make_provider("https://example.org/v1", "m", slug="unpriced").models.get()
    Price.objects.create(model=cheap, input=1, output=1)
    Price.objects.create(model=dear, input=1, output=1000)
    assert housekeeping.find_live_due() == [cheap, dear, unpriced]
    assert housekeeping.begin_live(dear) is None
    assert housekeeping.begin_live(unpriced) is None
    assert housekeeping.begin_live(cheap)
    assert housekeeping.find_live_due() == [dear, unpriced]
    Attempt.objects.update(cost_usd=Decimal("0.01"))
    assert housekeeping.begin_live(cheap) is None
