"""The command that erases a person's words from the audit."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring import erasure
from providers.arguments import day
from providers.spending import midnight


class Command(BaseCommand):
    help = "Erase what a person wrote, and the answers to it, from the audit. Their digests stay, and the chain whole."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, metavar="NAME", help="The user's name, also of one who is gone.")
        parser.add_argument("--before", type=day, metavar="DAY", help="Only what is older than this day.")
        parser.add_argument("--dry-run", action="store_true", help="Only say how many texts that are.")

    def handle(self, **options: Any) -> None:
        before = midnight(options["before"]) if options["before"] else None
        try:
            planned = erasure.plan(options["user"], before)
        except LookupError as error:
            raise CommandError(error.args[0]) from None
        names = ", ".join(planned.names)
        if options["dry_run"]:
            self.stdout.write(f"Would erase {planned.find_texts().count()} texts of {names}.")
        else:
            self.stdout.write(f"Erased {erasure.erase(planned)} texts of {names}.")
