"""What sync_prices shows and writes, against the data of the installed genai-prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, TieredPrices
from genai_prices.types import Provider as Service
from genai_prices.types import Tier as Threshold

from providers import costs, prices
from providers.costs import Tier
from providers.models import Price, PriceSource
from providers.prices import Finding
from providers.tests.test_costs import NOW, make_model


@pytest.fixture
def offers():
    """Put a service whose models have these prices in the place of genai-prices' own data."""

    def put(**models):
        infos = [ModelInfo(id=name, match=ClauseEquals(name), prices=price) for name, price in models.items()]
        service = Service(id="openai", name="OpenAI", api_pattern="https://api.openai.com", models=infos)
        set_custom_snapshot(DataSnapshot([service], from_auto_update=False))

    yield put
    set_custom_snapshot(None)


def per_token(input="1", output="2", **others):
    return ModelPrice(
        **{f"{name}_mtok": Decimal(rate) for name, rate in {"input": input, "output": output, **others}.items()}
    )


def store(model, source=PriceSource.CATALOGUE, **values):
    defaults = {"input": 1, "output": 2, "valid_from": NOW - timedelta(days=1)}
    return Price.objects.create(model=model, source=source, **defaults | values)


def compare_one():
    [found] = prices.compare(NOW)
    return found


@pytest.mark.django_db
def test_gemini_2_5_pro_gets_both_of_its_tiers():
    model = make_model("gemini-2.5-pro", slug="gemini", kind="gemini")
    found = compare_one()
    assert found.finding == Finding.NEW
    assert prices.apply([found], NOW) == 1
    tiers = costs.find_price(model.pk, NOW)
    assert [(tier.above_tokens, tier.input, tier.cache_read, tier.output) for tier in tiers] == [
        (0, Decimal("1.25"), Decimal("0.125"), 10),
        (200_000, Decimal("2.5"), Decimal("0.25"), 15),
    ]
    assert {tier.source for tier in tiers} == {PriceSource.SYNC}


@pytest.mark.django_db
def test_thresholds_of_different_rates_become_tiers_with_all_rates(offers):
    tiered = ModelPrice(
        input_mtok=TieredPrices(base=Decimal(1), tiers=[Threshold(start=100, price=Decimal(2))]),
        output_mtok=TieredPrices(base=Decimal(5), tiers=[Threshold(start=300, price=Decimal(6))]),
        cache_read_mtok=Decimal("0.5"),
    )
    half = Decimal("0.5")
    assert prices.read_tiers(tiered) == (
        Tier(0, Decimal(1), half, None, Decimal(5), None),
        Tier(100, Decimal(2), half, None, Decimal(5), None),
        Tier(300, Decimal(2), half, None, Decimal(6), None),
    )


@pytest.mark.django_db
def test_nothing_is_written_without_apply_and_a_change_is_a_new_row_with_it(capsys, offers):
    offers(m=per_token("2", "1", cache_read="0.1"))
    model = make_model()
    old = store(model)
    call_command("sync_prices")
    said = capsys.readouterr().out
    assert "openai:m  changed  1/2  2/1  +100.0 %/-50.0 %" in said
    assert "1 prices would be written: --apply does it." in said
    assert Price.objects.count() == 1
    call_command("sync_prices", apply=True)
    assert "Written: the prices of 1 models." in capsys.readouterr().out
    assert list(Price.objects.exclude(pk=old.pk).values_list("source", "input", "cache_read", "output")) == [
        (PriceSource.SYNC, 2, Decimal("0.1"), 1)
    ]
    old.refresh_from_db()
    assert (old.input, old.output) == (1, 2)
    call_command("sync_prices")
    assert "Nothing is to be written." in capsys.readouterr().out


@pytest.mark.django_db
def test_a_price_set_by_hand_is_listed_and_never_overwritten(capsys, offers):
    offers(m=per_token("2", "3"))
    store(make_model(), PriceSource.ADMIN)
    call_command("sync_prices", apply=True)
    assert "openai:m  set by hand" in capsys.readouterr().out
    assert Price.objects.count() == 1


@pytest.mark.django_db
def test_a_price_by_hand_that_is_no_longer_in_force_protects_nothing(offers):
    offers(m=per_token("2", "3"))
    model = make_model()
    store(model, PriceSource.ADMIN, valid_from=NOW - timedelta(days=2))
    store(model, PriceSource.SYNC)
    assert compare_one().finding == Finding.CHANGED


@pytest.mark.django_db
@pytest.mark.parametrize(
    "provider",
    [
        {"api_base": "http://127.0.0.1:1/v1"},
        {"slug": "c", "kind": "openai-compatible"},
        {"slug": "b", "kind": "bedrock"},
    ],
    ids=str,
)
def test_a_service_that_genai_prices_does_not_know_has_unknown_prices(provider):
    make_model("gpt-4.1", **provider)
    assert compare_one().finding == Finding.UNKNOWN


@pytest.mark.django_db
def test_an_unknown_model_is_listed_as_unknown(capsys):
    make_model("no-such-model")
    call_command("sync_prices", apply=True)
    assert "openai:no-such-model  unknown" in capsys.readouterr().out
    assert not Price.objects.exists()


@pytest.mark.django_db
def test_a_service_is_found_by_its_address():
    make_model("openai/gpt-oss-120b", slug="g", kind="openai-compatible", api_base="https://api.groq.com/openai/v1")
    assert prices.in_words(compare_one().new) == "0.15/0.6"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("price", "words"),
    [
        (per_token("-1"), "-1 USD per million tokens is no price"),
        (per_token("10000.01"), "10000.01 USD per million tokens is no price"),
        (per_token("NaN"), "NaN USD per million tokens is no price"),
        (per_token(cache_read="Infinity"), "Infinity USD per million tokens is no price"),
        (per_token("0"), "a price of 0: set it by hand if it is true"),
        (per_token(output="0"), "a price of 0: set it by hand if it is true"),
        (ModelPrice(), "it has no price per token"),
    ],
    ids=str,
)
def test_an_absurd_price_is_refused_and_listed(capsys, offers, price, words):
    offers(m=price)
    store(make_model())
    call_command("sync_prices", apply=True)
    said = capsys.readouterr().out
    assert "openai:m  refused" in said
    assert words in said
    assert Price.objects.count() == 1


@pytest.mark.django_db
def test_a_free_model_may_stay_free(offers):
    offers(m=per_token("0", "0"))
    store(make_model(), input=0, output=0)
    assert compare_one().finding == Finding.SAME


@pytest.mark.django_db
def test_a_rate_of_more_places_than_the_column_has_is_rounded_and_then_the_same(offers):
    offers(m=per_token(cache_write="0.083333333333333"))
    store(make_model(), cache_write=Decimal("0.083333"))
    assert compare_one().finding == Finding.SAME


@pytest.mark.django_db
def test_one_provider_can_be_looked_at_alone(capsys):
    make_model("gpt-4.1")
    make_model("gemini-3.8-flash", slug="gemini", kind="gemini")
    call_command("sync_prices", provider="gemini", apply=True)
    assert "openai" not in capsys.readouterr().out
    assert set(Price.objects.values_list("model__name", flat=True)) == {"gemini-3.8-flash"}
    with pytest.raises(CommandError, match="There is no provider 'nobody'"):
        call_command("sync_prices", provider="nobody")


@pytest.mark.django_db
def test_a_price_that_begins_later_is_not_taken_before():
    make_model("gemini-4-argon", slug="gemini", kind="gemini")
    [before] = prices.compare(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    [after] = prices.compare(datetime(2026, 12, 1, tzinfo=UTC))
    assert (prices.in_words(before.new), prices.in_words(after.new)) == ("2/10", "4/20")
