"""What an admin may type about providers, models, prices and budgets, and the sentence beside a field for the rest."""

import json
import socket
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape

import pytest
from cryptography.fernet import Fernet
from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.test import RequestFactory
from django.views.debug import SafeExceptionReporterFilter

from providers.forms import (
    BudgetForm,
    JSONObjectField,
    ModelForm,
    PriceForm,
    PriceFormSet,
    ProviderForm,
    SensitivePost,
)
from providers.models import Budget, Model, Price, Provider
from providers.secrets import find_key

pytestmark = pytest.mark.django_db

KEY = "sk-typed-0123456789wxyz"


@pytest.fixture(autouse=True)
def outside(settings, monkeypatch):
    """One encryption key, and a resolver that knows nothing: no test asks the real one."""

    def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    settings.ALLOW_PRIVATE_ADDRESSES = True


def field_error(form, name):
    """Return the one sentence beside the field; every other field must be without."""
    assert list(form.errors) == [name], form.errors
    (sentence,) = form.errors[name]
    return sentence


# --- Providers --------------------------------------------------------------------------------------------------------

PROVIDER = {
    "slug": "mine",
    "name": "Mine",
    "kind": "openai-compatible",
    "api_base": "https://api.example.com/v1",
    "options": "",
    "key_variable": "MINE_API_KEY",
    "priority": "10",
    "enabled": "on",
    "sends_finish_reason": "on",
    "first_token_seconds": "60",
    "idle_seconds": "60",
    "total_seconds": "900",
}


def provider_form(instance=None, **changes):
    return ProviderForm(PROVIDER | changes, instance=instance)


def test_a_provider_is_saved_with_its_key_encrypted():
    provider = provider_form(new_key=f" {KEY} ", api_base="https://api.example.com/v1/").save()
    stored = Provider.objects.get(slug="mine")
    assert (stored.api_base, stored.options, stored.priority) == ("https://api.example.com/v1", {}, 10)
    assert KEY not in stored.encrypted_key
    assert find_key("", stored.encrypted_key, provider.pk) == KEY


def test_as_the_admin_saves_it_the_key_is_stored_after_the_row():
    form = provider_form(new_key=KEY)
    provider = form.save(commit=False)
    assert (provider.pk, provider.encrypted_key) == (None, "")
    provider.save()
    form.save_m2m()
    provider.refresh_from_db()
    assert find_key("", provider.encrypted_key, provider.pk) == KEY


def test_a_key_stays_is_replaced_and_is_forgotten():
    provider = provider_form(new_key=KEY).save()
    stored = provider.encrypted_key
    assert provider_form(provider, name="Other").save().encrypted_key == stored
    replaced = provider_form(provider, new_key="another-0123456789").save()
    assert find_key("", replaced.encrypted_key, provider.pk) == "another-0123456789"
    provider_form(provider, clear_key="on").save()
    assert Provider.objects.get().encrypted_key == ""


def test_a_stored_key_does_not_follow_its_row_to_another_address():
    provider = provider_form(new_key=KEY).save()
    elsewhere = "https://mine.example.net/v1"
    assert field_error(provider_form(provider, api_base=elsewhere), "new_key") == (
        "The address has changed: type the key again, or let it be forgotten."
    )
    provider.refresh_from_db()
    assert provider_form(provider, priority="3").is_valid()
    assert provider_form(provider, api_base=elsewhere, clear_key="on").is_valid()
    assert provider_form(provider, api_base=elsewhere, new_key=KEY).is_valid()


def test_nothing_of_a_key_is_shown_but_its_end():
    form = provider_form(new_key=KEY, slug="Not Valid")
    assert not form.is_valid()
    assert KEY not in str(form)
    provider = provider_form(new_key=KEY).save()
    page = str(ProviderForm(instance=provider))
    assert "Now: set, ends with …wxyz." in page
    assert not any(part in page for part in (KEY, KEY[:8], provider.encrypted_key))


def test_browsers_are_told_to_put_no_password_into_the_key():
    field = str(ProviderForm()["new_key"])
    assert 'type="password"' in field
    assert 'autocomplete="new-password"' in field


def test_without_an_encryption_key_only_storing_is_refused(settings):
    settings.ENCRYPTION_KEYS = []
    assert "set ENCRYPTION_KEYS" in field_error(provider_form(new_key=KEY), "new_key")
    assert provider_form().is_valid()


BEDROCK = {"kind": "bedrock", "api_base": ""}
ACCESS = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "region": "us-east-1"}
BAD_PROVIDERS = [
    ({"slug": "Mine"}, "slug", "lower-case letters"),
    ({"slug": "my_own"}, "slug", "lower-case letters"),
    ({"slug": "a:b"}, "slug", "valid “slug”"),
    ({"name": ""}, "name", "required"),
    ({"kind": "sorcery"}, "kind", "There is no kind “sorcery”."),
    ({"api_base": ""}, "api_base", "has no address of its own"),
    ({"api_base": "http://169.254.169.254/v1"}, "api_base", "keep their own secrets"),
    ({"api_base": "https://user:pass@api.example.com"}, "api_base", "user name or a password"),
    ({"api_base": "https://api.example.com/?key=1"}, "api_base", "A key belongs in the field for the key"),
    ({"api_base": f"https://api.example.com/{KEY}"}, "api_base", "looks like a key"),
    ({"api_base": "https://" + "a" * 400}, "api_base", "at most 400 characters"),
    ({"key_variable": "SECRET_KEY"}, "key_variable", "ends in _API_KEY"),
    ({"key_variable": "PATH"}, "key_variable", "ends in _API_KEY"),
    ({"key_variable": "a_API_KEY"}, "key_variable", "ends in _API_KEY"),
    ({"new_key": "two words"}, "new_key", "neither spaces"),
    ({"new_key": "sk-…wxyz"}, "new_key", "neither spaces"),
    ({"new_key": "line\nline"}, "new_key", "neither spaces"),
    ({"new_key": KEY, "clear_key": "on"}, "clear_key", "Either type a new key"),
    ({"first_token_seconds": "0"}, "first_token_seconds", "above 0 seconds"),
    ({"idle_seconds": "0"}, "idle_seconds", "above 0 seconds"),
    ({"total_seconds": "0"}, "total_seconds", "above 0 seconds"),
    ({"idle_seconds": "901"}, "idle_seconds", "longer than the whole answer"),
    ({"first_token_seconds": "901"}, "first_token_seconds", "longer than the whole answer"),
    ({"priority": "-1"}, "priority", "greater than or equal to 0"),
    ({"options": "[1]"}, "options", "Write a JSON object"),
    ({"options": "{"}, "options", "no valid JSON"),
    ({"options": '{"region": "us-east-1"}'}, "options", "has no option “region”: it takes no options"),
    ({"kind": "openai", "options": '{"x": "y"}'}, "options", "has no option “x”: it takes only organization_id"),
    (BEDROCK | {"options": json.dumps(ACCESS | {"region": ""})}, "options", "“region” is malformed"),
    (BEDROCK | {"options": json.dumps(ACCESS | {"region": 1})}, "options", "“region” is malformed"),
    (BEDROCK | {"options": json.dumps({"access_key_id": ACCESS["access_key_id"]})}, "options", "needs the option “reg"),
]


@pytest.mark.parametrize(("changes", "name", "sentence"), BAD_PROVIDERS)
def test_a_bad_provider_is_refused_beside_the_field(changes, name, sentence):
    form = provider_form(**changes)
    assert sentence in field_error(form, name)
    typed = {key: value for key, value in changes.items() if key not in ("new_key", "clear_key", "kind")}
    page = unescape(str(form))
    assert all(value in page for value in typed.values()), "what was typed is lost"


def test_what_bedrock_needs_is_taken():
    assert provider_form(**BEDROCK, options=json.dumps(ACCESS)).save().options == ACCESS


def test_a_slug_is_given_once():
    provider_form().save()
    assert "already exists" in field_error(provider_form(), "slug")


def test_a_typed_key_is_left_out_of_error_reports(settings):
    request = RequestFactory().post("/", {"new_key": KEY, "name": "Mine"})

    class Base:
        def changeform_view(self, request):
            return SafeExceptionReporterFilter().get_post_parameters(request)

    class Page(SensitivePost, Base):
        pass

    reported = Page().changeform_view(request)
    assert isinstance(reported, QueryDict)
    assert (reported["name"], KEY in str(reported)) == ("Mine", False)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": Infinity}', r'{"a": "\u0000"}', r'{"a": "\ud800"}', '{"a": ' + "9" * 5000 + "}"]
)
def test_json_that_a_database_would_refuse_is_refused_first_and_shown_again(text):
    class Form(forms.Form):
        body = JSONObjectField()

    form = Form({"body": text})
    assert field_error(form, "body") == "This is no valid JSON."
    assert text in unescape(str(form))


@pytest.mark.parametrize(
    ("text", "sentence"), [("[" * 20_000, "no valid JSON"), ("x" * 32_001, "longer than 32,000 characters")]
)
def test_json_bombs_are_refused(text, sentence):
    with pytest.raises(ValidationError, match=sentence):
        JSONObjectField().clean(text)


def test_a_json_text_may_speak_of_nul():
    assert JSONObjectField().clean(r'{"a": "\\u0000"}') == {"a": r"\u0000"}


# --- Models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider():
    return Provider.objects.create(slug="mine", name="Mine", kind="openai")


def model_form(provider, instance=None, **changes):
    values = {"provider": provider.pk, "name": "gpt-4", "priority": "1", "enabled": "on"} | changes
    return ModelForm(values, instance=instance)


def test_a_model_is_saved(provider):
    model = model_form(provider, extra_body='{"top_p": 0.9}', context_window="8192", max_output="8192").save()
    model.refresh_from_db()
    assert (model.extra_body, model.context_window, model.max_output) == ({"top_p": 0.9}, 8192, 8192)


def test_an_empty_body_is_an_empty_object(provider):
    assert Model.objects.get(pk=model_form(provider, extra_body="").save().pk).extra_body == {}


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "gpt 4"}, "name", "neither spaces"),
        ({"name": "gpt\u200b4"}, "name", "neither spaces"),
        ({"name": "gpt\t4"}, "name", "neither spaces"),
        ({"extra_body": "3"}, "extra_body", "Write a JSON object"),
        ({"extra_body": '{"model": "x"}'}, "extra_body", "The site sets this itself: model."),
        ({"extra_body": '{"stream": false, "messages": []}'}, "extra_body", "sets this itself: messages, stream."),
        ({"extra_body": f'{{"api_key": "{KEY}"}}'}, "extra_body", "This holds a key"),
        ({"extra_body": '{"x": [{"Authorization": "Bearer abcdefghij0123456789"}]}'}, "extra_body", "This holds a key"),
        ({"context_window": "0"}, "context_window", "above 0 tokens"),
        ({"max_output": "0"}, "max_output", "above 0 tokens"),
        ({"max_output": "-1"}, "max_output", "greater than or equal to 0"),
        ({"context_window": "100", "max_output": "101"}, "max_output", "longer than the context window"),
    ],
)
def test_a_bad_model_is_refused_beside_the_field(provider, changes, name, sentence):
    assert sentence in field_error(model_form(provider, **changes), name)


# --- Prices -----------------------------------------------------------------------------------------------------------

MAY = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def model(provider):
    return Model.objects.create(provider=provider, name="gpt-4")


@pytest.fixture
def price(model):
    return Price.objects.create(model=model, valid_from=MAY, input=Decimal("2.5"), output=Decimal(10))


def price_form(model, **changes):
    values = {"valid_from": "2026-06-01 00:00:00", "above_tokens": "0", "input": "2.5", "output": "10"}
    return PriceForm(values | changes, instance=Price(model=model))


def test_a_price_is_saved_as_set_by_hand(model):
    price = price_form(model, cache_read="0.000001").save()
    price.refresh_from_db()
    assert (price.input, price.cache_read, price.cache_write) == (Decimal("2.5"), Decimal("0.000001"), None)
    assert price.source == "admin"


@pytest.mark.parametrize(
    ("changes", "name", "sentence"),
    [
        ({"input": "-1"}, "input", "A price cannot be negative."),
        ({"output": "-0.000001"}, "output", "A price cannot be negative."),
        ({"cache_write": "-1"}, "cache_write", "A price cannot be negative."),
        ({"reasoning": "0.0000001"}, "reasoning", "six decimal places at most"),
        ({"input": "1000000"}, "input", "no more than 6 digits before the decimal point"),
        ({"input": "NaN"}, "input", "Enter a number."),
        ({"input": "Infinity"}, "input", "Enter a number."),
        ({"input": "10000.000001"}, "input", "More than 10,000 USD per million tokens"),
        ({"valid_from": "2019-12-31 23:59:59"}, "valid_from", "A price begins in 2020 or later."),
        ({"input": ""}, "input", "required"),
        ({"above_tokens": "-1"}, "above_tokens", "greater than or equal to 0"),
        ({"valid_from": "yesterday"}, "valid_from", "Enter a valid date/time."),
    ],
)
def test_a_bad_price_is_refused_beside_the_field(model, changes, name, sentence):
    assert sentence in field_error(price_form(model, **changes), name)


def test_a_second_price_from_the_same_moment_is_refused_beside_the_field(model):
    price_form(model).save()
    assert "from that moment on already" in field_error(price_form(model), "valid_from")
    assert price_form(model, above_tokens="200000").is_valid()


def stored_price_form(price, **changes):
    shown = {"valid_from": "2026-05-01 12:30:15", "above_tokens": "0", "input": "2.500000", "output": "10.000000"}
    return PriceForm(shown | changes, instance=price)


def test_a_stored_price_is_not_changed_by_looking_at_it(price):
    form = stored_price_form(price)
    assert form.is_valid(), form.errors
    assert not form.has_changed()


@pytest.mark.parametrize(
    "change", [{"input": "3"}, {"reasoning": "1"}, {"valid_from": "2026-05-02 00:00:00"}, {"above_tokens": "9"}]
)
def test_a_stored_price_is_not_edited(price, change):
    shown = {f"initial-{name}": value for name, value in change.items()}  # a page that says it was so already
    sentence = field_error(stored_price_form(price, **change, **shown), *change)
    assert sentence.startswith("A price change is a new row")


PRICES = forms.inlineformset_factory(Model, Price, form=PriceForm, formset=PriceFormSet, extra=0, can_delete=False)


def price_rows(model, *rows, stored=()):
    data = {"prices-TOTAL_FORMS": len(stored) + len(rows), "prices-INITIAL_FORMS": len(stored)}
    for number, row in enumerate([*stored, *rows]):
        values = {"valid_from": "2026-06-01 00:00:00", "above_tokens": "0", "input": "1", "output": "2"} | row
        data |= {f"prices-{number}-{name}": value for name, value in values.items()}
    return PRICES(data, instance=model)


def test_the_tiers_of_one_price_are_saved_together(model, price):
    kept = {"id": price.pk, "valid_from": "2026-05-01 12:30:15", "input": "2.5", "output": "10"}
    prices = price_rows(model, {}, {"above_tokens": "200000", "input": "3"}, stored=[kept])
    assert prices.is_valid(), prices.errors
    prices.save()
    assert sorted(model.prices.values_list("above_tokens", "input")) == [(0, 1), (0, Decimal("2.5")), (200_000, 3)]


def test_two_new_prices_from_the_same_moment_are_refused_beside_the_field(model):
    prices = price_rows(model, {}, {"input": "3"})
    assert not prices.is_valid()
    assert not prices.non_form_errors()
    assert prices.errors[0] == {}
    assert "from that moment on already" in field_error(prices.forms[1], "valid_from")


def test_a_new_price_from_the_moment_of_a_stored_one_is_refused_beside_the_field(model):
    stored = Price.objects.create(model=model, valid_from=datetime(2026, 6, 1, tzinfo=UTC), input=1, output=2)
    prices = price_rows(model, {}, stored=[{"id": stored.pk}])
    assert not prices.is_valid()
    assert (prices.errors[0], prices.non_form_errors()) == ({}, [])
    assert "from that moment on already" in field_error(prices.forms[1], "valid_from")


def test_a_price_for_long_requests_alone_is_refused_beside_the_field(model):
    prices = price_rows(model, {"above_tokens": "200000"})
    assert not prices.is_valid()
    assert "for all requests (above 0) is missing" in field_error(prices.forms[0], "above_tokens")


# --- Budgets ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def alice():
    return User.objects.create(username="alice")


def budget_form(instance=None, **changes):
    return BudgetForm({"scope": "site", "period": "month", "limit_usd": "10"} | changes, instance=instance)


def test_a_budget_is_saved_and_changed(alice):
    assert budget_form(enabled="on").save().limit_usd == 10
    budget = budget_form(scope="user", user=alice.pk).save()
    assert budget_form(budget, scope="user", user=alice.pk, limit_usd="20").save().limit_usd == 20


@pytest.mark.parametrize("amount", ["0", "-1", "0.00001", "NaN", "", "100000000"])
def test_a_bad_amount_is_refused_beside_the_field(amount):
    assert field_error(budget_form(limit_usd=amount), "limit_usd")


def test_a_user_is_named_for_a_budget_of_one_user_and_only_for_that(alice):
    assert field_error(budget_form(scope="user"), "user") == "Name the user whose budget this is."
    for scope in ("site", "everyone"):
        assert "leave this empty" in field_error(budget_form(scope=scope, user=alice.pk), "user")


def test_a_second_budget_of_the_same_scope_and_period_is_refused(alice):
    for changes in ({}, {"scope": "everyone"}, {"scope": "user", "user": alice.pk}):
        budget_form(**changes).save()
        assert "change that one" in field_error(budget_form(**changes), "period")
        assert budget_form(**changes, period="day").is_valid()
    bob = User.objects.create(username="bob")
    assert budget_form(scope="user", user=bob.pk).is_valid()
    assert Budget.objects.count() == 3
