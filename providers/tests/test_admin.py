"""The admin over HTTP: who may, what is shown, and that nothing is written that the form does not show."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from providers import budgets
from providers.models import Attempt, Breaker, Budget, BudgetUse, CountSource, Forced, Model, Price, Provider, Scope
from sasha.testing import free_port, make_provider

pytestmark = pytest.mark.django_db
KEY = "sk-secret-0123456789abcdef"
# Where nobody listens.
NOBODY = f"http://127.0.0.1:{free_port()}/v1"
LISTS = ["provider", "model", "budget", "attempt"]


@pytest.fixture
def admin_user():
    # Without a password, whose hash is slow on purpose.
    return User.objects.create_user("ada", is_staff=True, is_superuser=True)


@pytest.fixture
def provider():
    return make_provider(NOBODY, "one", "two", slug="sim", name="Sim")


@pytest.fixture
def model(provider):
    return provider.models.get(name="one")


@pytest.fixture
def staff(client):
    """A client of somebody who may enter the admin and has no permission in it."""
    client.force_login(User.objects.create_user("stella", is_staff=True))
    return client


def allow(client, *codenames):
    user = User.objects.get(pk=client.session["_auth_user_id"])
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))


def make_attempt(model, **values):
    usual = {
        "reply_id": uuid.uuid4(),
        "conversation_id": uuid.uuid4(),
        "model": model,
        "provider_slug": model.provider.slug,
        "model_name": model.name,
        "reason": "next by priority",
        "ending": "complete",
    }
    return Attempt.objects.create(**(usual | values))


def page(name, *args):
    return reverse(f"admin:providers_{name}", args=args)


def text_of(response):
    assert response.status_code == 200, response.status_code
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


def every_page(model, attempt, budget):
    return [
        reverse("admin:index"),
        *(page(f"{name}_changelist") for name in LISTS),
        page("provider_change", model.provider_id),
        page("provider_add"),
        page("model_change", model.pk),
        page("budget_change", budget.pk),
        page("attempt_change", attempt.pk),
        page("provider_history", model.provider_id),
        reverse("money"),
        reverse("money-csv"),
        reverse("explain"),
        reverse("admin:chat_sitesettings_changelist"),
    ]


# --- Who may ----------------------------------------------------------------------------------------------------------


def test_whoever_is_no_staff_is_sent_to_the_sign_in_page(client, model):
    client.force_login(User.objects.create_user("alice"))
    for address in every_page(model, make_attempt(model), Budget.objects.create(limit_usd=1)):
        response = client.get(address)
        assert response.status_code == 302, address
        assert response["Location"].startswith(reverse("admin:login")), address


def test_staff_without_permission_are_refused(staff, model):
    pages = every_page(model, make_attempt(model), Budget.objects.create(limit_usd=1))
    codes = {address: staff.get(address).status_code for address in pages}
    assert codes.pop(reverse("admin:index")) == 200
    assert set(codes.values()) == {403}, codes


@pytest.mark.parametrize(("deed", "row"), [("provider_check", "provider"), ("provider_force", "provider")])
def test_a_button_needs_the_permission_to_change(staff, provider, deed, row):
    allow(staff, f"view_{row}")
    assert staff.post(page(deed, provider.pk), {"forced": "open"}).status_code == 403
    provider.refresh_from_db()
    assert (provider.forced, provider.checked_at) == ("", None)


def test_put_back_needs_the_permission_to_change(staff, model):
    Model.objects.update(out_until=timezone.now() + timedelta(minutes=5))
    allow(staff, "view_model")
    assert staff.post(page("model_put_back", model.pk)).status_code == 403
    model.refresh_from_db()
    assert model.out_until


def test_who_may_only_look_is_shown_no_buttons(staff, provider):
    allow(staff, "view_provider")
    response = staff.get(page("provider_change", provider.pk))
    assert "Asked as usual." in text_of(response)
    assert b"Check now" not in response.content


@pytest.mark.parametrize("deed", ["provider_check", "provider_force"])
def test_a_button_takes_no_get_and_no_foreign_form(admin_user, provider, deed):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.get(page(deed, provider.pk)).status_code == 405
    assert client.post(page(deed, provider.pk), {"forced": "open"}).status_code == 403
    provider.refresh_from_db()
    assert provider.forced == ""


def test_no_page_shows_a_key(admin_client, model, settings):
    settings.PROVIDER_KEYS = {"SIM_API_KEY": "sk-environment-0123456789"}
    provider = model.provider
    save_provider(admin_client, provider, new_key=KEY)
    Provider.objects.create(slug="env", name="Env", kind="openai", key_variable="SIM_API_KEY")
    provider.refresh_from_db()
    assert provider.encrypted_key
    assert KEY not in provider.encrypted_key
    for address in every_page(model, make_attempt(model), Budget.objects.create(limit_usd=1)):
        content = b"".join(admin_client.get(address, follow=True))
        assert not re.search(rb"sk-(secret|environment)", content), address
        assert provider.encrypted_key.encode() not in content, address


# --- Providers --------------------------------------------------------------------------------------------------------


def save_provider(client, provider, **changes):
    values = {
        "name": provider.name,
        "slug": provider.slug,
        "kind": provider.kind,
        "api_base": provider.api_base,
        "options": "{}",
        "priority": 7,
        "enabled": "on",
        "sends_finish_reason": "on",
        "first_token_seconds": 60,
        "idle_seconds": 60,
        "total_seconds": 900,
        **{f"models-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL")},
    }
    response = client.post(page("provider_change", provider.pk), values | changes, follow=True)
    assert messages_of(response), response.context["errors"]
    return response


def test_the_list_says_how_each_provider_is(admin_client, provider):
    until = timezone.now() + timedelta(minutes=5)
    Provider.objects.update(breaker=Breaker.OPEN, open_until=until, open_reason="It was too slow.")
    shown = text_of(admin_client.get(page("provider_changelist")))
    assert f"Paused until {timezone.localtime(until):%H:%M}" in shown
    assert "It was too slow." in shown


NOT_ASKED = {
    "switched off": ({"enabled": False}, "Not asked: it is switched off."),
    "no key": ({"key_variable": "SIM_API_KEY"}, "Not asked: it has no key."),
    "no address": ({"api_base": ""}, "Not asked: it has no address."),
    "forced, without a key": ({"key_variable": "SIM_API_KEY", "forced": "closed"}, "Not asked: it has no key."),
}


@pytest.mark.parametrize(("columns", "words"), NOT_ASKED.values(), ids=NOT_ASKED)
def test_who_cannot_be_asked_is_not_asked_as_usual(admin_client, provider, columns, words):
    for address in (page("provider_changelist"), page("provider_change", provider.pk)):
        assert "Asked as usual." in text_of(admin_client.get(address))
    Provider.objects.update(**columns)
    for address in (page("provider_changelist"), page("provider_change", provider.pk)):
        shown = text_of(admin_client.get(address))
        assert words in shown
        assert "Asked as usual." not in shown


def test_a_provider_is_asked_as_long_as_one_of_its_models_can_be(admin_client, provider):
    provider.models.filter(name="one").update(enabled=False)
    assert "Asked as usual." in text_of(admin_client.get(page("provider_changelist")))
    provider.models.update(enabled=False)
    assert "Not asked: all its models are switched off." in text_of(admin_client.get(page("provider_changelist")))
    provider.models.all().delete()
    assert "Not asked: it has no models." in text_of(admin_client.get(page("provider_changelist")))


@pytest.mark.parametrize(("changes", "stays"), [({"new_key": KEY}, False), ({"name": "Another"}, True)])
def test_a_check_does_not_outlive_the_key_it_was_made_with(admin_client, provider, changes, stays):
    Provider.objects.update(checked_at=timezone.now(), check_ok=True, check_result="It lists 3 models.")
    save_provider(admin_client, provider, **changes)
    provider.refresh_from_db()
    assert (provider.checked_at is not None, provider.check_ok, bool(provider.check_result)) == (
        (True, True, True) if stays else (False, None, False)
    )


def test_a_message_spells_a_provider_as_it_is(admin_client, provider):
    Provider.objects.update(name="xAI")
    shown = text_of(admin_client.post(page("provider_force", provider.pk), {"forced": "open"}, follow=True))
    assert " xAI: Never asked" in shown


def test_a_new_provider_has_empty_options(admin_client):
    assert ">\n{}</textarea>" in admin_client.get(page("provider_add")).content.decode()


def test_priority_and_enabled_are_edited_in_the_list_and_nothing_else_is_written(admin_client, provider):
    rows = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": provider.pk, "form-0-priority": 3}
    with CaptureQueriesContext(
        connection,
    ) as queries:
        admin_client.post(page("provider_changelist"), rows | {"_save": "Save"})
    provider.refresh_from_db()
    assert (provider.priority, provider.enabled) == (3, False)
    assert _columns_written(queries, "providers_provider") == {"priority", "enabled"}


def test_saving_the_form_does_not_touch_what_the_breaker_moves(admin_client, provider, model):
    one_model = {
        "models-TOTAL_FORMS": 1,
        "models-INITIAL_FORMS": 1,
        "models-0-id": model.pk,
        "models-0-provider": provider.pk,
        "models-0-name": model.name,
        "models-0-priority": 5,
    }
    Model.objects.update(extra_body={"top_p": 1})
    with CaptureQueriesContext(connection) as queries:
        save_provider(admin_client, provider, **one_model)
    model.refresh_from_db()
    assert (model.priority, model.enabled, model.extra_body) == (5, False, {"top_p": 1})
    moved = {"breaker", "forced", "failures_in_a_row", "open_until", "checked_at", "encrypted_key"}
    assert not _columns_written(queries, "providers_provider") & moved
    assert not _columns_written(queries, "providers_model") & {"out_until", "first_token_p95_ms", "extra_body"}


def _columns_written(queries, table):
    updates = [query["sql"] for query in queries if query["sql"].startswith(f'UPDATE "{table}"')]
    assert updates
    return {column for sql in updates for column in re.findall(r'"(\w+)" = ', sql.split(" WHERE ")[0])}


def test_a_provider_and_its_model_are_added_in_one_form(admin_client):
    values = {
        "name": "New",
        "slug": "new",
        "kind": "openai",
        "options": "{}",
        "priority": 1,
        "enabled": "on",
        "first_token_seconds": 60,
        "idle_seconds": 60,
        "total_seconds": 900,
        "new_key": KEY,
        "models-TOTAL_FORMS": 1,
        "models-INITIAL_FORMS": 0,
        "models-0-name": "gpt-x",
        "models-0-priority": 1,
        "models-0-enabled": "on",
    }
    response = admin_client.post(page("provider_add"), values, follow=True)
    assert messages_of(response), response.context["errors"]
    provider = Provider.objects.get(slug="new")
    assert provider.encrypted_key
    assert [str(model) for model in provider.models.all()] == ["new:gpt-x"]


def test_a_refused_key_is_not_sent_back(admin_client, provider):
    values = {"name": "", "new_key": KEY, "models-TOTAL_FORMS": 0, "models-INITIAL_FORMS": 0}
    response = admin_client.post(page("provider_change", provider.pk), values)
    assert "This field is required." in text_of(response)
    assert KEY.encode() not in response.content


@pytest.mark.parametrize(
    ("forced", "words"),
    [(Forced.OPEN, "Never asked"), (Forced.CLOSED, "Always asked"), ("", "Asked as usual")],
)
def test_the_buttons_force_the_breaker(admin_client, provider, forced, words):
    Provider.objects.update(forced=Forced.CLOSED if forced != Forced.CLOSED else Forced.OPEN)
    response = admin_client.post(page("provider_force", provider.pk), {"forced": forced}, follow=True)
    provider.refresh_from_db()
    assert provider.forced == forced
    assert words in messages_of(response)[0]
    assert LogEntry.objects.get().object_id == str(provider.pk)


def test_a_word_the_breaker_does_not_know_is_refused(admin_client, provider):
    assert admin_client.post(page("provider_force", provider.pk), {"forced": "half"}).status_code == 400


@pytest.mark.parametrize(
    ("action", "forced"), [("force_open", "open"), ("force_closed", "closed"), ("let_the_breaker_decide", "")]
)
def test_all_chosen_providers_are_forced_at_once(admin_client, provider, action, forced):
    other = make_provider(NOBODY, slug="other")
    Provider.objects.update(forced=Forced.CLOSED if forced != "closed" else Forced.OPEN)
    admin_client.post(page("provider_changelist"), {"action": action, "_selected_action": [provider.pk, other.pk]})
    assert set(Provider.objects.values_list("forced", flat=True)) == {forced}


@pytest.mark.parametrize("way", ["button", "action"])
def test_check_now_says_what_came_of_it(admin_client, provider, way):
    if way == "button":
        response = admin_client.post(page("provider_check", provider.pk), follow=True)
    else:
        chosen = {"action": "check_all", "_selected_action": [provider.pk]}
        response = admin_client.post(page("provider_changelist"), chosen, follow=True)
    provider.refresh_from_db()
    assert provider.check_ok is False
    assert provider.check_result
    assert messages_of(response) == [f"Sim: {provider.check_result}"]


def test_the_page_shows_the_last_ten_outcomes_and_the_last_error(admin_client, model):
    now = timezone.now()
    for number in range(12):
        make_attempt(model, started_at=now - timedelta(minutes=number), evidence=f"mark {number}")
    make_attempt(model, started_at=now - timedelta(hours=1), ending="provider_error", error="It is overloaded.")
    make_attempt(model, started_at=now - timedelta(days=8), ending="provider_error", error="Long ago.")
    response = admin_client.get(page("provider_change", model.provider_id))
    shown = text_of(response)
    assert [attempt.evidence for attempt in response.context["state"]["outcomes"]] == [f"mark {n}" for n in range(10)]
    assert "It is overloaded." in shown
    assert "Long ago." not in shown


def test_a_provider_in_the_ledger_keeps_its_slug_and_cannot_be_deleted(admin_client, model):
    provider = model.provider
    make_attempt(model)
    save_provider(admin_client, provider, slug="other")
    provider.refresh_from_db()
    assert provider.slug == "sim"
    assert admin_client.post(page("provider_delete", provider.pk), {"post": "yes"}).status_code == 403
    assert admin_client.post(page("model_delete", model.pk), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [provider.pk], "post": "yes"}
    admin_client.post(page("provider_changelist"), chosen)
    assert Provider.objects.filter(pk=provider.pk).exists()


def test_a_provider_that_was_never_asked_can_be_deleted(admin_client, provider):
    admin_client.post(page("provider_delete", provider.pk), {"post": "yes"})
    assert not Provider.objects.exists()


# --- Models and prices ------------------------------------------------------------------------------------------------


def make_price(model, days_ago, rate, **values):
    moment = timezone.now() - timedelta(days=days_ago)
    return Price.objects.create(model=model, valid_from=moment, input=Decimal(rate), output=Decimal(rate), **values)


def save_model(client, model, **changes):
    values = {
        "provider": model.provider_id,
        "name": model.name,
        "priority": 1,
        "enabled": "on",
        "extra_body": "{}",
        "prices-TOTAL_FORMS": 0,
        "prices-INITIAL_FORMS": 0,
    }
    return client.post(page("model_change", model.pk), values | changes, follow=True)


def test_the_list_shows_the_price_now_and_what_was_learned(admin_client, model):
    make_price(model, 20, "3")
    make_price(model, 1, "2.5")
    make_price(model, -1, "2")
    Model.objects.filter(pk=model.pk).update(first_token_p95_ms=640, characters_per_token=4.1)
    shown = text_of(admin_client.get(page("model_changelist")))
    assert "2.5 in, 2.5 out" in shown
    assert "first token in 640 ms (p95), 4.1 characters a token" in shown


def test_only_one_price_is_the_current_one(admin_client, model):
    for days_ago in (20, 1, -1):
        make_price(model, days_ago, "1")
    shown = text_of(admin_client.get(page("model_change", model.pk)))
    standings = ("past, set by hand", "current , set by hand", "to come, set by hand")
    assert [shown.count(standing) for standing in standings] == [1, 1, 1]


def test_a_new_price_is_a_new_row_set_by_hand(admin_client, model):
    old = make_price(model, 20, "3", source="sync")
    new = {
        "prices-TOTAL_FORMS": 2,
        "prices-INITIAL_FORMS": 1,
        "prices-0-id": old.pk,
        "prices-0-model": model.pk,
        "prices-1-model": model.pk,
        "prices-1-valid_from_0": "2026-01-02",
        "prices-1-valid_from_1": "00:00:00",
        "prices-1-above_tokens": "0",
        "prices-1-input": "1.25",
        "prices-1-output": "5",
    }
    response = save_model(admin_client, model, **new)
    assert messages_of(response), response.context["errors"]
    added = model.prices.exclude(pk=old.pk).get()
    assert (added.input, added.output, added.source) == (Decimal("1.25"), 5, "admin")


def test_a_negative_price_is_refused_beside_the_field(admin_client, model):
    new = {
        "prices-TOTAL_FORMS": 1,
        "prices-0-model": model.pk,
        "prices-0-valid_from_0": "2026-01-02",
        "prices-0-valid_from_1": "00:00:00",
        "prices-0-above_tokens": "0",
        "prices-0-input": "-1",
        "prices-0-output": "5",
    }
    assert "A price cannot be negative." in text_of(save_model(admin_client, model, **new))
    assert not Price.objects.exists()


def test_a_stored_price_is_neither_changed_nor_deleted_by_a_forged_form(admin_client, model):
    price = make_price(model, 20, "3")
    forged = {
        "prices-TOTAL_FORMS": 1,
        "prices-INITIAL_FORMS": 1,
        "prices-0-id": price.pk,
        "prices-0-model": model.pk,
        "prices-0-input": "0",
        "prices-0-output": "0",
        "prices-0-DELETE": "on",
    }
    assert "This price has begun: it stays" in text_of(save_model(admin_client, model, **forged))
    del forged["prices-0-DELETE"]
    assert messages_of(save_model(admin_client, model, **forged))
    price.refresh_from_db()
    assert (price.input, price.output) == (3, 3)


def delete_price(client, model, index, *prices):
    """Tick the box of one of the model's prices, which stand as the page lists them."""
    rows = {"prices-TOTAL_FORMS": len(prices), "prices-INITIAL_FORMS": len(prices), f"prices-{index}-DELETE": "on"}
    for number, price in enumerate(prices):
        rows |= {f"prices-{number}-id": price.pk, f"prices-{number}-model": model.pk}
    return save_model(client, model, **rows)


def test_a_price_to_come_is_deleted_and_no_other_can_be_chosen(admin_client, model):
    now, coming = make_price(model, 1, "3"), make_price(model, -30, "2")
    shown = admin_client.get(page("model_change", model.pk)).content.decode()
    assert re.findall(r'type="(\w+)" name="prices-[01]-DELETE"', shown) == ["checkbox", "hidden"]
    assert messages_of(delete_price(admin_client, model, 0, coming, now))
    assert list(model.prices.all()) == [now]


def test_a_price_to_come_is_not_deleted_from_under_its_tier(admin_client, model):
    coming = make_price(model, -30, "2")
    tier = Price.objects.create(model=model, valid_from=coming.valid_from, above_tokens=9, input=4, output=4)
    assert "for all requests (above 0) is missing" in text_of(delete_price(admin_client, model, 0, coming, tier))
    assert model.prices.count() == 2


def test_prices_are_headed_by_their_unit_and_dated_as_everywhere(admin_client, model):
    price = make_price(model, 20, "3")
    shown = text_of(admin_client.get(page("model_change", model.pk)))
    assert "Prices, in USD per million tokens" in shown
    assert f"{timezone.localtime(price.valid_from):%Y-%m-%d %H:%M} 0 3.0" in shown


@pytest.mark.parametrize("way", ["button", "action"])
def test_a_model_that_is_out_is_put_back(admin_client, model, way):
    Model.objects.filter(pk=model.pk).update(out_until=timezone.now() + timedelta(minutes=5), out_reason="Unknown.")
    assert "Unknown." in text_of(admin_client.get(page("model_change", model.pk)))
    if way == "button":
        response = admin_client.post(page("model_put_back", model.pk), follow=True)
    else:
        chosen = {"action": "put_back_all", "_selected_action": [model.pk]}
        response = admin_client.post(page("model_changelist"), chosen, follow=True)
    model.refresh_from_db()
    assert model.out_until is None
    assert messages_of(response) == ["sim:one is asked again."]


def test_the_lists_ask_no_more_for_more_rows(admin_client, provider, model):
    def count(name):
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(page(f"{name}_changelist")).status_code == 200
        return len(queries)

    make_attempt(model, user=User.objects.create_user("alice"), username="alice")
    before = {name: count(name) for name in ("provider", "model", "attempt")}
    for number in range(5):
        another = make_provider(NOBODY, "m", slug=f"sim{number}").models.get()
        make_price(another, 1, "1")
        make_attempt(another, user=User.objects.create_user(f"user{number}"), username=f"user{number}")
    assert {name: count(name) for name in before} == before


# --- Budgets ----------------------------------------------------------------------------------------------------------


def test_budgets_are_shown_with_their_use(admin_client, model):
    alice = User.objects.create_user("alice")
    Budget.objects.create(scope=Scope.EVERYONE, limit_usd=Decimal(2))
    make_attempt(model, user=alice, username="alice", cost_usd=Decimal("1.5"))
    now = timezone.now()
    budgets.reserve(budgets.find_uses(alice.pk, now), uuid.uuid4(), Decimal("0.25"), now)
    shown = text_of(admin_client.get(page("budget_changelist")))
    assert "88 % by alice: 1.5000 USD spent, 0.2500 USD reserved 0.2500 USD" in shown
    detail = text_of(admin_client.get(page("budget_change", Budget.objects.get().pk)))
    assert "alice 1.5000 USD 0.2500 USD 0.2500 USD 88 %" in detail


def test_a_budget_that_was_off_catches_up_when_it_is_changed(admin_client, model):
    budget = Budget.objects.create(limit_usd=Decimal(2))
    span = budgets.get_span(budget.period, timezone.now())
    use = BudgetUse.objects.create(budget=budget, begins=span.begins)
    make_attempt(model, cost_usd=Decimal("1.5"))
    values = {"scope": "site", "period": budget.period, "limit_usd": "3", "enabled": "on"}
    admin_client.post(page("budget_change", budget.pk), values)
    use.refresh_from_db()
    budget.refresh_from_db()
    assert (budget.limit_usd, use.spent_usd) == (3, Decimal("1.5"))


def test_a_budget_below_one_answer_is_stored_with_a_warning(admin_client, model):
    for name in ("a", "b", "c", "d", "e", "f"):
        make_price(Model.objects.create(provider=model.provider, name=name, max_output=1000), 1, "10")
    make_price(model, 1, "0.1")
    values = {"scope": "site", "period": "day", "limit_usd": "0.005", "enabled": "on"}
    warned = messages_of(admin_client.post(page("budget_add"), values, follow=True))
    assert any("not asked under it: sim:a, sim:b, sim:c, sim:d, sim:e and 1 more." in words for words in warned)
    budget = Budget.objects.get()
    enough = messages_of(
        admin_client.post(page("budget_change", budget.pk), values | {"limit_usd": "0.1"}, follow=True)
    )
    assert len(enough) == 1


# --- The ledger -------------------------------------------------------------------------------------------------------


def test_the_ledger_can_only_be_read(admin_client, model):
    attempt = make_attempt(model)
    assert admin_client.get(page("attempt_add")).status_code == 403
    assert admin_client.post(page("attempt_change", attempt.pk), {"reason": "forged"}).status_code == 403
    assert admin_client.post(page("attempt_delete", attempt.pk), {"post": "yes"}).status_code == 403
    attempt.refresh_from_db()
    assert attempt.reason == "next by priority"


FILTERS = {
    "provider=other": "other",
    "model=sim%3Atwo": "second",
    "ending=failed": "failed",
    "ending=running": "running",
    "ending=stopped": "estimated",
    "look=slow": "slow",
    "look=costly": "costly",
    "look=unknown": "failed",
    "user=alice": "of alice",
    "user=gone": "of gone",
    "count_source__exact=estimated": "estimated",
    "day=2026-01-02": "old",
}


@pytest.mark.parametrize(("query", "expected"), FILTERS.items())
def test_a_filter_finds_its_attempt_and_no_other(admin_client, model, query, expected):
    two = model.provider.models.get(name="two")
    other = make_provider(NOBODY, "three", slug="other").models.get()
    free = {"cost_usd": Decimal(0)}
    old = timezone.now().replace(year=2026, month=1, day=2, hour=12)
    make_attempt(model, evidence="plain", first_token_ms=5000, cost_usd=Decimal("0.1"), username="bob")
    make_attempt(other, evidence="other", **free)
    make_attempt(two, evidence="second", **free)
    make_attempt(model, evidence="failed", ending="cut")
    make_attempt(model, evidence="running", ending="")
    make_attempt(model, evidence="slow", first_token_ms=5001, **free)
    make_attempt(model, evidence="costly", cost_usd=Decimal("0.11"))
    make_attempt(model, evidence="estimated", ending="stopped", count_source=CountSource.ESTIMATED, **free)
    make_attempt(model, evidence="of alice", user=User.objects.create_user("alice"), username="al", **free)
    make_attempt(model, evidence="of gone", username="gone", **free)
    make_attempt(model, evidence="old", started_at=old, **free)
    response = admin_client.get(f"{page('attempt_changelist')}?{query}")
    assert [attempt.evidence for attempt in response.context["cl"].result_list] == [expected]


@pytest.mark.parametrize("day", ["today", "9999-12-31", "0001-01-01"])
def test_a_day_that_is_none_finds_nothing(admin_client, model, day):
    make_attempt(model)
    response = admin_client.get(page("attempt_changelist"), {"day": day})
    assert list(response.context["cl"].result_list) == []


def test_a_value_that_a_link_brings_is_listed_as_chosen(admin_client, model):
    response = admin_client.get(page("attempt_changelist"), {"day": "2026-01-02"})
    assert re.search(r'class="selected">\s*<a[^>]*>2026-01-02<', response.content.decode())


@pytest.mark.parametrize("by", ["reply", "conversation", "attempt", "user"])
def test_the_search_takes_an_id_or_a_name(admin_client, model, by):
    alice = User.objects.create_user("alice")
    found = make_attempt(model, user=alice, username="alice")
    make_attempt(model)
    terms = {"reply": found.reply_id, "conversation": found.conversation_id, "attempt": found.pk, "user": "alice"}
    response = admin_client.get(page("attempt_changelist"), {"q": str(terms[by])})
    assert list(response.context["cl"].result_list) == [found]


def test_the_ledger_is_never_counted_whole(admin_client, model):
    make_attempt(model)
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(page("attempt_changelist"))
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "providers_attempt" in query["sql"]]
    assert counts
    assert all("LIMIT 10000" in sql for sql in counts)


def test_a_long_name_is_shortened_and_still_leads_to_its_attempts(admin_client, model):
    name = "guest-c0114857a1dc4bcba755fdc431f542a3"
    make_attempt(model, username=name)
    content = admin_client.get(page("attempt_changelist")).content.decode()
    assert f'<a href="?user={name}" title="{name}">guest-c0114…</a>' in content


@pytest.mark.parametrize(("column", "order"), [(4, "first_token_ms"), (5, "total_ms"), (6, "cost_usd")])
def test_a_column_sorts_with_the_unknown_below_the_most(admin_client, model, column, order):
    for value in (2, None, 30):
        make_attempt(model, **{order: value})
    response = admin_client.get(page("attempt_changelist"), {"o": f"-{column}"})
    assert [getattr(attempt, order) for attempt in response.context["cl"].result_list] == [30, 2, None]


def test_the_ledger_is_called_in_plain_words(admin_client, model):
    shown = text_of(admin_client.get(page("attempt_change", make_attempt(model, http_status=429).pk)))
    assert "HTTP status: 429" in shown
    assert "Spawn" not in shown


# --- Users -----------------------------------------------------------------------------------------------------------


def test_staff_can_run_the_users(admin_client):
    assert "alice" in text_of(
        admin_client.post(
            reverse("admin:auth_user_add"),
            {"username": "alice", "usable_password": "false"},
            follow=True,
        )
    )
    assert User.objects.filter(username="alice").exists()
