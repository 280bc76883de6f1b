"""`manage.py prune_history`: remove what is older than the settings say, as the server does by itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from monitoring.retention import HISTORIES, prune
from providers.templatetags.money import count


class Command(BaseCommand):
    help = "Removes history that is older than the KEEP_…_DAYS settings say; --dry-run only counts it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count what would be removed, and change nothing.")

    def handle(self, **options: Any) -> None:
        now = timezone.now()
        for history in HISTORIES:
            days = getattr(settings, history.setting)
            before = history.before(now)
            if before is None:
                self.stdout.write(f"{history.name}: kept for ever ({history.setting}=0)")
            elif options["dry_run"]:
                self.stdout.write(f"{history.name}: {count(history.count(before))} would go, older than {days} days")
            else:
                self.stdout.write(f"{history.name}: {count(prune(history, before))} removed, older than {days} days")
