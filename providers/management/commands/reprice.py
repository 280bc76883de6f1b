"""The command that computes the cost of past attempts anew, after a price was wrong or missing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from providers import budgets, costs
from providers.arguments import day
from providers.management.commands.explain_route import check_model
from providers.models import Attempt, CountSource
from providers.signals import attempts_repriced, tell


@dataclass
class Line:
    """What repricing does to the attempts of one model. Attempts of unknown cost are in no sum."""

    attempts: int = 0
    old_usd: Decimal = Decimal(0)
    new_usd: Decimal = Decimal(0)
    were_unknown: int = 0
    left: int = 0

    def add(self, old: Decimal | None, new: Decimal | None) -> None:
        """Count one attempt; where `new` is unknown it keeps what it has."""
        kept = old if new is None else new
        self.attempts += 1
        self.old_usd += old or 0
        self.new_usd += kept or 0
        self.were_unknown += old is None
        self.left += new is None

    def merge(self, other: Line) -> None:
        """Add another line to this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Command(BaseCommand):
    help = "Compute the costs of a period anew, with the prices in force at the time; --apply writes them."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--from", dest="first", type=day, required=True, metavar="DATE", help="The first day, in the site's zone.")
        add("--to", dest="last", type=day, required=True, metavar="DATE", help="The last day.")
        add("--model", default="", metavar="SLUG:NAME", help="Attempts of this model alone.")
        add("--apply", action="store_true", help="Write the new costs.")

    def handle(self, **options: Any) -> None:
        if options["last"] < options["first"]:
            raise CommandError("--to is before --from.")
        if options["model"]:
            _check_model(options["model"])
        attempts = list(_find(options["first"], options["last"], options["model"]))
        lines, changed = _reprice(attempts)
        self._print(lines)
        if options["apply"]:
            _write(changed, options)
            self.stdout.write(f"Written: {len(changed)} attempts. Budgets count what rose, not what fell.")
        else:
            self.stdout.write(f"{len(changed)} attempts would change: --apply writes them.")

    def _print(self, lines: dict[str, Line]) -> None:
        total = Line()
        self.stdout.write(f"{'model':40} {'attempts':>8} {'old USD':>16} {'new USD':>16} {'difference':>16}")
        for name in sorted(lines):
            total.merge(lines[name])
            self._print_line(name, lines[name])
        self._print_line("total", total)
        if total.were_unknown:
            self.stdout.write(f"Of unknown cost before: {total.were_unknown}.")
        if total.left:
            self.stdout.write(f"Left as they are, because no price of that time is known: {total.left}.")

    def _print_line(self, name: str, line: Line) -> None:
        gap = line.new_usd - line.old_usd
        self.stdout.write(f"{name:40} {line.attempts:8} {line.old_usd:16.6f} {line.new_usd:16.6f} {gap:+16.6f}")


def _check_model(name: str) -> None:
    """Raise CommandError for a model that neither the table nor the ledger, which outlives it, knows."""
    slug, _, model = name.partition(":")
    if not Attempt.objects.filter(provider_slug=slug, model_name=model).exists():
        check_model(name)


def _find(first: date, last: date, model: str) -> QuerySet[Attempt]:
    """Return the attempts that have ended and used tokens, started in these days of the site's time zone."""
    zone = timezone.get_current_timezone()
    begin = datetime.combine(first, time(), zone)
    end = datetime.combine(last + timedelta(days=1), time(), zone)
    counted = (CountSource.REPORTED, CountSource.ESTIMATED)
    attempts = Attempt.objects.filter(started_at__gte=begin, started_at__lt=end, count_source__in=counted)
    if model:
        slug, _, name = model.partition(":")
        attempts = attempts.filter(provider_slug=slug, model_name=name)
    return attempts.defer("stderr", "error").order_by("started_at")


def _reprice(attempts: list[Attempt]) -> tuple[dict[str, Line], list[Attempt]]:
    """Return the lines by model, and the attempts whose cost is another now, with the new one set."""
    prices = costs.read_history({attempt.model_id for attempt in attempts if attempt.model_id})
    lines: dict[str, Line] = defaultdict(Line)
    changed = []
    for attempt in attempts:
        tiers = prices.at(attempt.model_id, attempt.started_at)
        charged = costs.charge(costs.usage_of(attempt), tiers)
        line = lines[f"{attempt.provider_slug}:{attempt.model_name}"]
        line.add(attempt.cost_usd, charged.cost_usd if charged else None)
        if charged and charged.cost_usd != attempt.cost_usd:
            attempt.cost_usd, attempt.price = charged.cost_usd, charged.applied
            changed.append(attempt)
    return lines, changed


@transaction.atomic
def _write(changed: list[Attempt], options: dict[str, Any]) -> None:
    Attempt.objects.bulk_update(changed, ["cost_usd", "price"], batch_size=500)
    attempts_repriced.send(Attempt, reply_ids={attempt.reply_id for attempt in changed})
    asked = {"first": str(options["first"]), "last": str(options["last"]), "model": options["model"]}
    tell("money.repriced", None, "money", "", **asked, attempts=len(changed))
    budgets.refresh()
