"""The catalogue: which providers, models and prices a new site starts with, read from YAML that is checked strictly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from django.core.exceptions import ValidationError
from django.db import models, transaction

from providers import local_model
from providers.addresses import BadAddress, check_address
from providers.models import Model, Price, PriceSource, Provider

CATALOGUE = Path(__file__).with_name("catalog.yaml")
# The one shipped has 12 KB; both limits are there for files that want to use up the memory.
MOST_BYTES = 1024 * 1024
MOST_DEPTH = 12


Row = TypeVar("Row", bound=models.Model)


class CatalogError(Exception):
    """The file is no catalogue; the text is a sentence that says where and why."""


@dataclass
class Added:
    """What a load has added: names as people read them, and sentences about what was left alone."""

    providers: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    prices: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load_catalog(path: Path = CATALOGUE, *, first_run: bool = False) -> Added:
    """Add what is in the catalogue and not in the database; nothing that exists is changed.

    `first_run`: add nothing where any provider but the local model exists, so that what an admin has deleted stays so.
    Raises CatalogError before anything is written.
    """
    entries = read_catalog(path)
    if path != CATALOGUE:
        # Looks names up, for which a first run without a network need not wait.
        _check_addresses(entries)
    added = Added()
    with transaction.atomic():
        if first_run and Provider.objects.exclude(slug=local_model.SLUG).exists():
            added.notes.append("There are providers already: nothing was loaded.")
            return added
        for entry in entries:
            _add_provider(entry, added)
    return added


@dataclass(frozen=True)
class ModelEntry:
    """A model that is not stored yet, with its prices."""

    model: Model
    prices: list[Price]


@dataclass(frozen=True)
class ProviderEntry:
    """A provider that is not stored yet, with its models."""

    provider: Provider
    models: list[ModelEntry]


def read_catalog(path: Path) -> list[ProviderEntry]:
    """Return what the file holds, as rows that are valid and not stored. Raises CatalogError."""
    data = _fields(_parse(_read(path)), "the file", FILE, {"providers"})
    entries = [_provider_entry(item, f"providers[{number}]") for number, item in enumerate(data["providers"])]
    _refuse_repeated([entry.provider.slug for entry in entries], "providers")
    return entries


def _check_addresses(entries: list[ProviderEntry]) -> None:
    for entry in entries:
        provider = entry.provider
        try:
            # Without an address a row waits for one.
            if provider.api_base:
                check_address(provider.api_base, provider.kind)
        except BadAddress as problem:
            raise CatalogError(f"{provider.slug}.api_base: {problem}") from None


def _add_provider(entry: ProviderEntry, added: Added) -> None:
    stored = Provider.objects.filter(slug=entry.provider.slug).first()
    if stored is None:
        entry.provider.save()
        stored = entry.provider
        added.providers.append(stored.slug)
    elif stored.kind != entry.provider.kind:
        added.notes.append(
            f"{stored.slug} is {stored.kind} here and {entry.provider.kind} in the catalogue: left alone."
        )
        return
    known = {model.name: model for model in stored.models.all()}
    for item in entry.models:
        model = known.get(item.model.name)
        if model is None:
            model = item.model
            model.provider = stored
            model.save()
            added.models.append(str(model))
        _add_prices(model, item.prices, added)


def _add_prices(model: Model, prices: list[Price], added: Added) -> None:
    """Add the prices that come after those there are; none where an admin has set one."""
    there = list(model.prices.all())
    if any(price.source == PriceSource.ADMIN for price in there):
        return
    newest = max((price.valid_from for price in there), default=None)
    for price in prices:
        if newest is None or price.valid_from > newest:
            price.model = model
            price.save()
            added.prices.append(str(price))


# What may stand in each part of the file: the name, and the types that its value may have.
FILE: dict[str, tuple[type, ...]] = {"providers": (list,)}
PROVIDER: dict[str, tuple[type, ...]] = {
    "slug": (str,),
    "name": (str,),
    "kind": (str,),
    "api_base": (str,),
    "options": (dict,),
    "key_variable": (str,),
    "priority": (int,),
    "enabled": (bool,),
    "sends_finish_reason": (bool,),
    "models": (list,),
}
MODEL: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "label": (str,),
    "priority": (int,),
    "enabled": (bool,),
    "context_window": (int,),
    "max_output": (int,),
    "vision": (bool,),
    "extra_body": (dict,),
    "prices": (list,),
}
PRICE: dict[str, tuple[type, ...]] = {
    "from": (date,),
    "above_tokens": (int,),
    "input": (int, float),
    "cache_read": (int, float),
    "cache_write": (int, float),
    "output": (int, float),
    "reasoning": (int, float),
}
WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    date: "a day such as 2026-11-23",
}


def _provider_entry(item: Any, where: str) -> ProviderEntry:
    data = _fields(item, where, PROVIDER, {"slug", "name", "kind", "priority"})
    where = f"{where} ({data['slug']})"
    found = [_model_entry(model, f"{where}.models[{number}]") for number, model in enumerate(data.pop("models", []))]
    _refuse_repeated([entry.model.name for entry in found], f"{where}.models")
    return ProviderEntry(_valid(Provider(**data), where), found)


def _model_entry(item: Any, where: str) -> ModelEntry:
    data = _fields(item, where, MODEL, {"name"})
    where = f"{where} ({data['name']})"
    prices = [_price(price, f"{where}.prices[{number}]") for number, price in enumerate(data.pop("prices", []))]
    _refuse_repeated([f"{price.valid_from:%Y-%m-%d} above {price.above_tokens}" for price in prices], f"{where}.prices")
    return ModelEntry(_valid(Model(**data), where, exclude={"provider"}), prices)


def _price(item: Any, where: str) -> Price:
    data = _fields(item, where, PRICE, {"from", "input", "output"})
    valid_from = datetime.combine(data.pop("from"), time(), UTC)
    # Through the text: 0.1 is meant as it is written.
    values = {name: value if name == "above_tokens" else Decimal(str(value)) for name, value in data.items()}
    price = Price(valid_from=valid_from, source=PriceSource.CATALOGUE, **values)
    return _valid(price, where, exclude={"model"})


def _fields(item: Any, where: str, known: dict[str, tuple[type, ...]], required: set[str]) -> dict[str, Any]:
    """Return a mapping that has only known names with values of their types. Raises CatalogError."""
    if not isinstance(item, dict):
        raise CatalogError(f"{where} must be a mapping.")
    for name, value in item.items():
        if name not in known:
            raise CatalogError(f"{where} has {name!r}, which is not among {', '.join(known)}.")
        # Not isinstance: true is an int to Python, and a moment is a date.
        if type(value) not in known[name]:
            raise CatalogError(f"{where}.{name} must be {WORDS[known[name][-1]]}.")
        if isinstance(value, dict):
            _check_json(value, f"{where}.{name}")
    if missing := sorted(required - item.keys()):
        raise CatalogError(f"{where} lacks {missing[0]!r}.")
    return dict(item)


def _check_json(value: dict[Any, Any], where: str) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise CatalogError(f"{where} must hold text, numbers, lists and mappings alone.") from None


def _valid(row: Row, where: str, exclude: set[str] | None = None) -> Row:
    """Return `row` if it keeps the rules of its model. Raises CatalogError."""
    try:
        row.full_clean(exclude=exclude, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        name, sentences = next(iter(error.message_dict.items()))
        raise CatalogError(f"{where}.{name}: {sentences[0]}") from None
    return row


def _refuse_repeated(names: list[str], where: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise CatalogError(f"{where} names {name} twice.")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise CatalogError(f"{path} is larger than 1 MiB.")
        return data.decode()
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path} is not UTF-8 at byte {error.start}.") from None


def _parse(text: str) -> Any:
    """Return the plain data in a YAML text that has no aliases, no repeated names and no deep nesting.

    Raises CatalogError.
    """
    try:
        for event in _events(text):
            if isinstance(event, yaml.AliasEvent):
                raise CatalogError(f"Line {_line(event.start_mark)}: aliases are not taken, write the value out.")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise CatalogError(f"Line {_line(error.problem_mark)}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError) as error:
        # A character that YAML does not know, a day that does not exist, a number of thousands of digits.
        raise CatalogError(f"The file is not valid YAML: {' '.join(str(error).split())[:200]}.") from None


def _events(text: str) -> Iterator[yaml.Event]:
    # The parser keeps its own stack; what builds data out of its events calls itself for every level.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise CatalogError(f"Line {_line(event.start_mark)}: nested more than {MOST_DEPTH} deep.")
        yield event


def _line(mark: Any) -> int:
    return mark.line + 1 if mark else 1


class _Loader(yaml.SafeLoader):
    """YAML's own loader takes the last of two equal names in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)
