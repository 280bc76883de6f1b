"""The command that holds a provider's export of usage or costs against the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers import reconcile
from providers.models import Provider
from providers.reconcile import ExportError, Figures, Row


class Command(BaseCommand):
    help = "Compare a provider's exported usage or costs (CSV) with the ledger, per day (UTC) and model."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="The CSV as the provider exports it.")
        parser.add_argument(
            "--provider", default="", metavar="SLUG", help="Compare with this provider's attempts alone."
        )

    def handle(self, **options: Any) -> None:
        slug = options["provider"]
        if slug and not Provider.objects.filter(slug=slug).exists():
            raise CommandError(f"There is no provider {slug!r}.")
        try:
            export = reconcile.read_export(options["file"])
        except ExportError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Columns read: {export.columns.used}.")
        rows = reconcile.compare(export, slug)
        if not rows:
            self.stdout.write("The file has no figures.")
            return
        both = [row for row in rows if row.theirs and row.ours]
        self._table(both)
        self._list("Only in the file", [row for row in rows if not row.ours])
        self._list("Only in the ledger", [row for row in rows if not row.theirs])
        theirs = _total(row.theirs for row in rows)
        ours = _total(row.ours for row in rows)
        self._line("all together", "", theirs, ours)
        if ours.unknown:
            self.stdout.write(f"{ours.unknown} attempts are of unknown cost and in no sum.")

    def _table(self, rows: list[Row]) -> None:
        titles = ("their USD", "our USD", "gap USD", "gap")
        self.stdout.write(f"{'day':12} {'model':32}" + "".join(f"{title:>14}" for title in titles) + "  tokens")
        for row in rows:
            self._line(str(row.day), row.model, row.theirs or Figures(), row.ours or Figures())

    def _list(self, title: str, rows: list[Row]) -> None:
        if rows:
            self.stdout.write(f"{title}:")
        for row in rows:
            self._line(str(row.day), row.model, row.theirs or Figures(), row.ours or Figures())

    def _line(self, day: str, model: str, theirs: Figures, ours: Figures) -> None:
        gap, share = _gap(theirs.cost_usd, ours.cost_usd)
        money = "".join(f"{cell:>14}" for cell in (_usd(theirs.cost_usd), _usd(ours.cost_usd), gap, share))
        tokens = f"{_tokens(theirs)} here {_tokens(ours)}"
        self.stdout.write(f"{day:12} {model:32}{money}  {tokens}")


def _total(figures: Iterable[Figures | None]) -> Figures:
    return sum((each for each in figures if each), Figures())


def _gap(theirs: Decimal | None, ours: Decimal | None) -> tuple[str, str]:
    """Return what the provider counts more than this site, in USD and in per cent of the provider's figure."""
    if theirs is None:
        return "", ""
    gap = theirs - (ours or 0)
    return f"{gap:+.6f}", f"{gap / theirs * 100:+.2f} %" if theirs else ""


def _usd(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:.6f}"


def _tokens(figures: Figures) -> str:
    return "/".join("?" if count is None else str(count) for count in (figures.input, figures.output))
