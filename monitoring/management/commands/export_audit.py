"""The command that writes the audit for other programs, however long it is, without holding it in memory."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from monitoring import audit_export
from monitoring.audit import Deed, record
from providers.arguments import day


class Command(BaseCommand):
    help = "Write the audit to stdout, the oldest entry first. The export itself is audited."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--from", dest="first", type=day, metavar="DAY", help="The first day, in the site's zone.")
        add("--to", dest="last", type=day, metavar="DAY", help="The last day.")
        add("--actor", metavar="NAME", help='What this user did; "" is the site itself.')
        add("--action", metavar="PREFIX", help="Actions that begin so, such as chat.reply.")
        add("--format", choices=["csv", "jsonl"], default="jsonl", help="JSON lines unless you say otherwise.")
        add("--texts", action="store_true", help="With the words of the entries.")

    def handle(self, **options: Any) -> None:
        asked = audit_export.Asked(
            options["first"], options["last"], options["actor"], options["action"], texts=options["texts"]
        )
        # Before the first line, so that no export ends unrecorded.
        record(Deed("audit.exported", data=asked.as_data() | {"format": options["format"]}))
        write = audit_export.write_csv if options["format"] == "csv" else audit_export.write_jsonl
        try:
            for line in write(asked):
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:
            # `| head` has seen enough. What Python still holds for it goes nowhere, without a traceback at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
