"""The catalogue that ships, how it is loaded, and what a bad one is told."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import pre_save

from providers import costs, prices
from providers.catalog import CATALOGUE, CatalogError, load_catalog, read_catalog
from providers.kinds import KINDS, Kind
from providers.models import Model, Price, PriceSource, Provider

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SMALL = """
providers:
  - slug: s
    name: S
    kind: openai
    priority: 7
    models:
      - name: m
        context_window: 1000
        prices:
          - {from: 2026-01-01, input: 0.1, output: 2}
          - {from: 2026-01-01, above_tokens: 500, input: 0.2, output: 4}
"""


def write(tmp_path, text):
    path = tmp_path / "catalog.yaml"
    path.write_text(text)
    return path


# --- what ships ---


def test_the_three_of_the_founding_plan_come_first_with_their_keys():
    first = sorted((entry.provider for entry in read_catalog(CATALOGUE)), key=lambda each: each.priority)[:3]
    assert [(each.slug, each.kind, each.priority, each.key_variable) for each in first] == [
        ("openai", "openai", 1, "OPENAI_API_KEY"),
        ("claude", "claude", 2, "ANTHROPIC_API_KEY"),
        ("gemini", "gemini", 3, "GOOGLE_API_KEY"),
    ]


def test_the_founding_plans_models_are_listed_beside_five_to_eight_current_ones():
    for entry in read_catalog(CATALOGUE)[:3]:
        planned = {"openai": "gpt-4 gpt-3.5-turbo", "claude": "claude-3-sonnet claude-3-haiku", "gemini": "gemini-pro"}
        names = [item.model.name for item in entry.models]
        for plan in planned[entry.provider.slug].split():
            assert any(name == plan or name.startswith(f"{plan}-20") for name in names)
        assert 5 <= sum(item.model.enabled for item in entry.models) <= 8


def test_every_listed_model_has_a_price_and_a_context_window_and_its_priority_is_its_own():
    for entry in read_catalog(CATALOGUE):
        for item in entry.models:
            assert item.prices, item.model.name
            assert item.model.context_window, item.model.name
        priorities = [item.model.priority for item in entry.models]
        assert len(set(priorities)) == len(priorities)


def test_priorities_of_providers_differ_and_ready_made_rows_have_what_their_kind_needs_or_wait_for_it():
    providers = [entry.provider for entry in read_catalog(CATALOGUE)]
    assert len({each.priority for each in providers}) == len(providers)
    waiting = [each.slug for each in providers if KINDS[Kind(each.kind)].needs_address and not each.api_base]
    assert waiting == ["ollama", "vllm", "lmstudio"]
    assert all(each.key_variable for each in providers if each.slug not in waiting)


@pytest.mark.django_db
@pytest.mark.parametrize("at", [NOW, datetime(2027, 2, 1, tzinfo=UTC)], ids=str)
def test_the_prices_are_those_of_genai_prices(at):
    load_catalog()
    different = {str(found.model): found.words for found in prices.compare(at) if found.finding != prices.Finding.SAME}
    assert different == {
        "deepseek:deepseek-v4-pro": "its price changes with the hour of the day",
        "deepseek:deepseek-flash": "its price changes with the hour of the day",
    }


# --- loading ---


@pytest.mark.django_db
def test_loading_says_what_it_added_and_loading_again_adds_nothing(capsys, tmp_path):
    path = write(tmp_path, SMALL)
    call_command("load_catalog", path)
    said = capsys.readouterr().out
    assert "provider s\n" in said
    assert "model s:m\n" in said
    assert "Added: 1 providers, 1 models, 2 prices." in said
    call_command("load_catalog", path)
    assert capsys.readouterr().out == "Added: 0 providers, 0 models, 0 prices.\n"
    found = costs.find_price(Model.objects.get().pk, NOW)
    assert [(tier.above_tokens, tier.input, tier.output) for tier in found] == [
        (0, Decimal("0.1"), 2),
        (500, Decimal("0.2"), 4),
    ]


@pytest.mark.django_db
def test_what_an_admin_has_edited_stays(tmp_path):
    path = write(tmp_path, SMALL)
    load_catalog(path)
    Provider.objects.update(priority=99, enabled=False, name="Mine")
    Model.objects.update(context_window=5, enabled=False)
    Price.objects.update(input=9, source=PriceSource.ADMIN)
    later = SMALL.replace("2026-01-01", "2026-02-02")
    assert load_catalog(write(tmp_path, later)).prices == []
    provider, model = Provider.objects.get(), Model.objects.get()
    assert (provider.priority, provider.enabled, provider.name) == (99, False, "Mine")
    assert (model.context_window, model.enabled) == (5, False)
    assert set(Price.objects.values_list("input", flat=True)) == {Decimal(9)}


@pytest.mark.django_db
def test_a_newer_price_of_the_catalogue_is_added_and_an_older_one_is_not(tmp_path):
    load_catalog(write(tmp_path, SMALL))
    assert load_catalog(write(tmp_path, SMALL.replace("2026-01-01", "2025-01-01"))).prices == []
    assert len(load_catalog(write(tmp_path, SMALL.replace("2026-01-01", "2026-02-02"))).prices) == 2


@pytest.mark.django_db
def test_the_first_run_brings_back_nothing_that_was_deleted(capsys):
    Provider.objects.create(slug="local", name="Local model", kind="openai-compatible")
    load_catalog(first_run=True)
    assert Model.objects.filter(provider__slug="openai").exists()
    Provider.objects.exclude(slug__in=["local", "groq"]).delete()
    call_command("load_catalog", first_run=True)
    assert "There are providers already" in capsys.readouterr().out
    assert set(Provider.objects.values_list("slug", flat=True)) == {"local", "groq"}


@pytest.mark.django_db
def test_a_provider_of_the_same_slug_and_another_kind_is_left_alone(tmp_path):
    Provider.objects.create(slug="s", name="Mine", kind="claude")
    added = load_catalog(write(tmp_path, SMALL))
    assert added.notes == ["s is claude here and openai in the catalogue: left alone."]
    assert not Model.objects.exists()


@pytest.mark.django_db
def test_a_bad_entry_at_the_end_leaves_nothing_behind(tmp_path):
    bad = SMALL + "  - {slug: t, name: T, kind: unheard-of, priority: 1}\n"
    with pytest.raises(CommandError, match=r"providers\[1\] \(t\).kind: Value 'unheard-of' is not a valid choice"):
        call_command("load_catalog", write(tmp_path, bad))
    assert not Provider.objects.exists()


@pytest.mark.django_db
def test_a_load_that_fails_half_way_leaves_nothing_behind(tmp_path):
    def fail(**_):
        raise RuntimeError("the disk is full")

    pre_save.connect(fail, sender=Price)
    try:
        with pytest.raises(RuntimeError):
            load_catalog(write(tmp_path, SMALL))
    finally:
        pre_save.disconnect(fail, sender=Price)
    assert not Provider.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["http://169.254.169.254", "https://user:pass@example.org/v1", "ftp://example.org"])
def test_an_address_that_no_admin_may_enter_is_refused_in_a_file_too(tmp_path, address):
    with pytest.raises(CatalogError, match=r"s.api_base: "):
        load_catalog(write(tmp_path, SMALL.replace("priority: 7", f"priority: 7\n    api_base: {address}")))
    assert not Provider.objects.exists()


# --- bad files ---

BAD = {
    "an alias": ("a: &a [1]\nb: *a", "Line 2: aliases are not taken"),
    "a bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]", "Line 2: aliases are not taken"),
    "a tag": ("providers: !!python/object/apply:os.system [true]", "Line 1: could not determine a constructor"),
    "depth": ("[" * 5000, "Line 1: nested more than 12 deep"),
    "broken syntax": ("providers:\n  - {slug: [}", "Line 2:"),
    "a control character": ("providers: \x00", "not valid YAML"),
    "a day that does not exist": (SMALL.replace("2026-01-01", "2026-02-31"), "not valid YAML: day is out of range"),
    "a number without end": (f"providers: {'9' * 10_000}", "not valid YAML"),
    "nothing": ("", "the file must be a mapping"),
    "a list": ("[1]", "the file must be a mapping"),
    "another shape": ("providers: 5", "the file.providers must be a list"),
    "an unknown name": (SMALL.replace("name: m", "nam: m"), "providers[0] (s).models[0] has 'nam'"),
    "a name twice": (SMALL.replace("name: S", "slug: S"), "Line 4: 'slug' stands here twice"),
    "a missing name": (SMALL.replace("    kind: openai\n", ""), "providers[0] lacks 'kind'"),
    "a wrong type": (SMALL.replace("priority: 7", "priority: first"), "providers[0].priority must be a whole number"),
    "a yes for a number": (SMALL.replace("priority: 7", "priority: yes"), "providers[0].priority must be a whole"),
    "a moment for a day": (SMALL.replace("2026-01-01", "2026-01-01 10:00:00"), "prices[0].from must be a day"),
    "a provider twice": (SMALL + "  - {slug: s, name: T, kind: claude, priority: 1}", "providers names s twice"),
    "a price twice": (SMALL.replace("above_tokens: 500, ", ""), "prices names 2026-01-01 above 0 twice"),
    "a negative price": (SMALL.replace("input: 0.1", "input: -1"), "prices[0].input: Ensure this value is greater"),
    "no number": (SMALL.replace("input: 0.1", "input: .nan"), "prices[0].input:"),
    "an endless price": (SMALL.replace("input: 0.1", "input: .inf"), "prices[0].input:"),
    "too many places": (
        SMALL.replace("input: 0.1", "input: 0.1234567"),
        "Ensure that there are no more than 6 decimal",
    ),
    "a negative window": (SMALL.replace("window: 1000", "window: -1"), "context_window: Ensure this value is greater"),
    "another secret": (
        SMALL.replace("priority: 7", "priority: 7\n    key_variable: SECRET_KEY"),
        "key_variable: Name a variable that ends in _API_KEY",
    ),
    "a day in a body": (
        SMALL.replace("name: m", "name: m\n        extra_body: {a: 2026-01-01}"),
        "extra_body must hold",
    ),
    "no number in a body": (SMALL.replace("name: m", "name: m\n        extra_body: {a: .nan}"), "extra_body must hold"),
    "a bad slug": (SMALL.replace("slug: s", "slug: a b"), "slug: Enter a valid"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_catalogue_is_refused_with_a_sentence_that_says_where(tmp_path, text, sentence):
    with pytest.raises(CatalogError) as refused:
        read_catalog(write(tmp_path, text))
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".")


def test_the_sentence_for_a_huge_or_unreadable_file_names_it(tmp_path):
    huge = write(tmp_path, "#" * (1024 * 1024 + 1))
    with pytest.raises(CatalogError, match=r"catalog.yaml is larger than 1 MiB"):
        read_catalog(huge)
    huge.write_bytes(b"a: \xff")
    with pytest.raises(CatalogError, match=r"catalog.yaml is not UTF-8 at byte 3"):
        read_catalog(huge)
    with pytest.raises(CatalogError, match=r"none.yaml cannot be read: No such file"):
        read_catalog(tmp_path / "none.yaml")
