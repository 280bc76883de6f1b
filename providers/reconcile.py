"""A provider's own export of what was used, read and held against the ledger, per day (UTC) and model."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

from providers import costs
from providers.models import Attempt

# What providers call their columns, in lower case with _ for anything else. The first that a file has is taken.
# OpenAI: costs and completions export. Anthropic: cost and usage export. OpenRouter: activity export.
DATES = ("usage_date_utc", "start_time_iso", "start_time", "date", "day", "usage_date", "created_at", "timestamp")
MODELS = ("model", "model_version", "model_name", "model_permaslug", "snapshot_id", "line_item")
COSTS = ("cost_usd", "amount_value", "cost_total", "total_cost", "cost", "amount_usd", "amount")
OUTPUTS = ("output_tokens", "usage_output_tokens", "completion_tokens", "n_generated_tokens_total", "tokens_completion")
CURRENCIES = ("amount_currency", "currency")
# All of these count together: Anthropic gives fresh and cached input apart, OpenAI's `input_tokens` holds both.
INPUTS = (
    "input_tokens",
    "prompt_tokens",
    "tokens_prompt",
    "n_context_tokens_total",
    "uncached_input_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "usage_input_tokens_no_cache",
    "usage_input_tokens_cache_read",
    "usage_input_tokens_cache_write",
    "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
)

# A version's date at the end of a name: -2024-08-06, -20241022, or OpenAI's older -0613.
VERSION = re.compile(r"-(20\d\d-\d\d-\d\d|20\d{6}|(0\d|1[0-2])[0-3]\d)$")


Number = TypeVar("Number", int, Decimal)


class ExportError(Exception):
    """The file cannot be read as an export; the text is a sentence that names the line."""


@dataclass(frozen=True)
class Figures:
    """What was used and paid; None: one side does not say, or does not know. `unknown`: attempts without a cost."""

    cost_usd: Decimal | None = None
    input: int | None = None
    output: int | None = None
    unknown: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            _sum(self.cost_usd, other.cost_usd),
            _sum(self.input, other.input),
            _sum(self.output, other.output),
            self.unknown + other.unknown,
        )


@dataclass(frozen=True)
class Columns:
    """The columns of a file: all names, as the tables above spell them, and the places of those that are read."""

    names: tuple[str, ...]
    date: int
    model: int
    cost: int | None
    inputs: tuple[int, ...]
    output: int | None
    currency: int | None

    @property
    def used(self) -> str:
        """Return in words which columns stand for what."""
        places = {"date": (self.date,), "model": (self.model,), "cost": (self.cost,), "input": self.inputs}
        places |= {"output": (self.output,)}
        told = {what: [self.names[at] for at in found if at is not None] for what, found in places.items()}
        return "; ".join(f"{what}: {' + '.join(names)}" for what, names in told.items() if names)


Key = tuple[date, str]


@dataclass(frozen=True)
class Export:
    """A provider's figures by day and model."""

    columns: Columns
    figures: dict[Key, Figures]


@dataclass(frozen=True)
class Row:
    """One day of one model on both sides; None: only the other side has it."""

    day: date
    model: str
    theirs: Figures | None
    ours: Figures | None


def read_export(path: Path) -> Export:
    """Return the figures in a CSV file with a first line of names. Raises ExportError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(file)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ExportError(f"{path} is not UTF-8 text.") from None


def compare(export: Export, provider: str = "") -> list[Row]:
    """Hold an export against the ledger, for the days that it covers; `provider` is a slug, or all are taken."""
    days = [day for day, _ in export.figures]
    ours = _read_ledger(min(days), max(days), provider) if days else {}
    keys = sorted(export.figures.keys() | ours.keys())
    return [Row(*key, export.figures.get(key), ours.get(key)) for key in keys]


def plain_name(name: str) -> str:
    """Return a model's name as both sides can spell it: "gpt-4o-2024-08-06, input" and "Claude Sonnet 4.5" as well."""
    # Control characters too: the name is printed on a terminal.
    plain = re.sub(r"[\s._\x00-\x1f\x7f-\x9f]+", "-", name.partition(",")[0].strip().lower())
    return VERSION.sub("", plain) or "(none named)"


def _read(lines: Iterator[str]) -> Export:
    reader = csv.reader(lines)
    figures: dict[Key, Figures] = defaultdict(Figures)
    try:
        columns = _find_columns(next(reader, []))
        for cells in reader:
            if any(cells):
                _add(figures, cells, columns, reader.line_num)
    except csv.Error as error:
        raise ExportError(f"Line {reader.line_num}: {error}.") from None
    return Export(columns, dict(figures))


def _find_columns(names: Sequence[str]) -> Columns:
    plain = [re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") for name in names]

    def first(aliases: Sequence[str]) -> int | None:
        return next((plain.index(alias) for alias in aliases if alias in plain), None)

    day, model, cost, output = first(DATES), first(MODELS), first(COSTS), first(OUTPUTS)
    inputs = tuple(at for at, name in enumerate(plain) if name in INPUTS)
    if day is None:
        raise ExportError(f"Line 1 names no day; known are {', '.join(DATES)}.")
    if model is None:
        raise ExportError(f"Line 1 names no model; known are {', '.join(MODELS)}.")
    if cost is None and output is None and not inputs:
        raise ExportError(f"Line 1 names neither a cost nor tokens; known are {', '.join(COSTS + OUTPUTS + INPUTS)}.")
    return Columns(tuple(plain), day, model, cost, inputs, output, first(CURRENCIES))


def _add(figures: dict[Key, Figures], cells: list[str], columns: Columns, line: int) -> None:
    if len(cells) != len(columns.names):
        raise ExportError(f"Line {line} has {len(cells)} cells, the first line {len(columns.names)}.")
    cost = _number(cells, columns.cost, line)
    inputs = [_tokens(cells, at, line) for at in columns.inputs]
    told = [tokens for tokens in inputs if tokens is not None]
    found = Figures(cost, sum(told) if told else None, _tokens(cells, columns.output, line))
    if found == Figures():
        # OpenAI has a line for every day, used or not.
        return
    currency = cells[columns.currency].strip().lower() if columns.currency is not None else ""
    if currency not in ("", "usd"):
        raise ExportError(f"Line {line} is in {currency.upper()}; only USD can be compared.")
    figures[_day(cells[columns.date], line), plain_name(cells[columns.model])] += found


def _number(cells: list[str], at: int | None, line: int) -> Decimal | None:
    text = cells[at].strip().removeprefix("$") if at is not None else ""
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("nan")
    # Far beyond any bill, and near enough for a sum of a million lines to stay exact.
    if not number.is_finite() or abs(number) >= 10**15:
        raise ExportError(f"Line {line}: {text[:40]!r} is no number.")
    return number


def _tokens(cells: list[str], at: int | None, line: int) -> int | None:
    number = _number(cells, at, line)
    if number is None:
        return None
    if number < 0 or number != int(number):
        raise ExportError(f"Line {line}: {number} is no count of tokens.")
    return int(number)


def _day(text: str, line: int) -> date:
    """Return the UTC day of "2026-11-23", of a moment in ISO form, or of seconds since 1970."""
    text = text.strip()
    try:
        if text.isdecimal() and len(text) > 8:
            return datetime.fromtimestamp(int(text), UTC).date()
        moment = datetime.fromisoformat(text)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date()
    except (ValueError, OverflowError, OSError):
        raise ExportError(f"Line {line}: {text[:40]!r} is no day such as 2026-11-23.") from None


def _read_ledger(first: date, last: date, provider: str) -> dict[Key, Figures]:
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last + timedelta(days=1), time(), UTC)
    attempts = Attempt.objects.filter(started_at__gte=begin, started_at__lt=end).exclude(ending="")
    if provider:
        attempts = attempts.filter(provider_slug=provider)
    figures: dict[Key, Figures] = defaultdict(Figures)
    # Summed here: SQLite would do it in floating point.
    for attempt in attempts.defer("stderr", "error").order_by().iterator(2000):
        usage = costs.usage_of(attempt)
        found = Figures(attempt.cost_usd, costs.total_input(usage), usage.output, int(attempt.cost_usd is None))
        if attempt.cost_usd or found.input or found.output or found.unknown:
            figures[attempt.started_at.date(), plain_name(attempt.model_name)] += found
    return dict(figures)


def _sum(one: Number | None, other: Number | None) -> Number | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
