"""The command that fills a database with providers, models and prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from providers.catalog import CATALOGUE, CatalogError, load_catalog


class Command(BaseCommand):
    help = "Add the providers, models and prices of a catalogue that are not there yet. Nothing that exists is changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", nargs="?", type=Path, default=CATALOGUE, help="Default: the one that ships.")
        parser.add_argument(
            "--first-run", action="store_true", help="Add nothing where any provider but the local model exists."
        )

    def handle(self, **options: Any) -> None:
        try:
            added = load_catalog(options["file"], first_run=options["first_run"])
        except CatalogError as error:
            raise CommandError(str(error)) from None
        for name, names in (("provider", added.providers), ("model", added.models), ("price", added.prices)):
            for each in names:
                self.stdout.write(f"{name} {each}")
        for note in added.notes:
            self.stdout.write(note)
        counts = f"{len(added.providers)} providers, {len(added.models)} models, {len(added.prices)} prices"
        self.stdout.write(f"Added: {counts}.")
