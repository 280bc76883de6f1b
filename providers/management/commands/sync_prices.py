"""The command that compares this site's prices with genai-prices' and takes over what has changed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from providers import prices
from providers.models import Provider
from providers.prices import Comparison


class Command(BaseCommand):
    help = "Show how prices differ from those of the installed genai-prices; --apply writes them, from now on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="Write new and changed prices as new dated rows.")
        parser.add_argument("--provider", default="", metavar="SLUG", help="Look at this provider alone.")

    def handle(self, **options: Any) -> None:
        slug = options["provider"]
        if slug and not Provider.objects.filter(slug=slug).exists():
            raise CommandError(f"There is no provider {slug!r}.")
        now = timezone.now()
        comparisons = prices.compare(now, slug)
        self.stdout.write(
            "USD per million tokens, input/output. The rates of cached tokens are compared too, and not shown."
        )
        self._table([("model", "finding", "now", "new", "difference", "")] + [_row(each) for each in comparisons])
        pending = sum(comparison.writes for comparison in comparisons)
        if options["apply"]:
            self.stdout.write(f"Written: the prices of {prices.apply(comparisons, now)} models.")
        elif pending:
            self.stdout.write(f"{pending} prices would be written: --apply does it.")
        else:
            self.stdout.write("Nothing is to be written.")

    def _table(self, rows: list[tuple[str, ...]]) -> None:
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(each: Comparison) -> tuple[str, ...]:
    now, new = prices.in_words(each.now), prices.in_words(each.new)
    return str(each.model), each.finding.value, now, new, prices.difference(each.now, each.new), each.words
