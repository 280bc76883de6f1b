"""The command that cuts old entries off the audit."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring import cutting
from monitoring.verify import Broken, walk
from providers.arguments import day
from providers.spending import midnight


class Command(BaseCommand):
    help = "Delete entries from before a day, with their texts and seals, and leave a signed marker where it cut."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", type=day, required=True, metavar="DAY", help="The first day that stays.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many entries that are.")

    def handle(self, **options: Any) -> None:
        cut = cutting.plan(midnight(options["before"]), str(options["before"]))
        if cut is None:
            self.stdout.write(f"Nothing is older than {options['before']}.")
            return
        if options["dry_run"]:
            self.stdout.write(f"Would delete {cut.rows} entries, up to number {cut.through}.")
            return
        try:
            # What is deleted cannot be checked any more.
            walk(until=cut.through)
        except Broken as broken:
            raise CommandError(f"Nothing was deleted, since the audit is broken. {broken}") from None
        deleted = sum(cutting.prune(cut))
        self.stdout.write(f"Deleted {deleted} entries, up to number {cut.through}.")
