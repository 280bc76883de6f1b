"""The command that tells the newest hash of the audit's chain, to be kept where the site's database is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring import sealer
from monitoring.chain import write_moment
from monitoring.models import AuditSeal


class Command(BaseCommand):
    help = "Print the head of the audit's chain in one line: number, hash, time of the seal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="As a JSON object.")
        parser.add_argument("--file", type=Path, metavar="PATH", help="Append the line to this file instead.")

    def handle(self, **options: Any) -> None:
        head = sealer.find_head()
        if head is None:
            raise CommandError("Nothing is sealed yet.")
        line = _write(head, as_json=options["json"])
        if options["file"]:
            _append(options["file"], line)
        else:
            self.stdout.write(line)


def _write(head: AuditSeal, *, as_json: bool) -> str:
    sealed_at = write_moment(head.sealed_at)
    if as_json:
        return json.dumps({"sequence": head.sequence, "hash": head.hash, "sealed_at": sealed_at})
    return f"{head.sequence} {head.hash} {sealed_at}"


def _append(path: Path, line: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
