"""The command that breaks everything that can break, on a site of its own, and says whether the answers survived."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring.faults import report
from monitoring.faults.rows import FAULTS
from monitoring.faults.stand import environment, new_database

COUNT_LIMIT = 100_000
# For the matrix alone, and for each message of the mix: far more than either takes.
LEAST_SECONDS, SECONDS_A_MESSAGE = 900, 2


class Command(BaseCommand):
    """Exit code 1 where anything is not as designed."""

    help = (
        "Let every fault happen in every protocol, with and without others who could answer, through a server of its "
        "own with the real aichat, and compare endings, seams, money and processes with the design."
    )
    # It needs nothing of the site, and touches nothing of it.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--count", type=_count, default=0, help="Messages in all: a random mix after the matrix. Default: none.")
        add("--seed", type=int, default=None, help="Of the mix. Default: a new one, which is printed.")
        add("--faults", default="", help="Only these, by name, with commas between them: cut,http500.")
        add("--database", default="", help="A PostgreSQL on which to make a database for the test. Default: SQLite.")
        add("--json", type=Path, help="Write everything seen to this file.")

    def handle(self, **options: Any) -> None:
        if not settings.AICHAT:
            raise CommandError("aichat is not installed: scripts/install-aichat")
        told = self._run(options)
        if options["json"]:
            options["json"].write_text(json.dumps(told, indent=1))
        self.stdout.write("\n".join([*report.table(told), "", f"seed: {told['seed']}"]))
        if told["failed"]:
            raise CommandError("Not as designed: " + "; ".join(told["failed"]) + ".")
        self.stdout.write("All as designed.")

    def _run(self, options: dict[str, Any]) -> dict[str, Any]:
        """Run the test in a process of its own, which knows no other database than the stand's."""
        with tempfile.TemporaryDirectory(prefix="faults-") as place, _database(options["database"]) as database:
            directory = Path(place)
            told = {
                "directory": place,
                "report": str(directory / "report.json"),
                "seed": secrets.randbelow(10**6) if options["seed"] is None else options["seed"],
                "count": options["count"],
                "faults": _faults(options["faults"]),
            }
            # However this process ends, that one ends with it, and its parts with it.
            argv = ["/usr/bin/setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "monitoring.faults.run"]
            limit = LEAST_SECONDS + SECONDS_A_MESSAGE * options["count"]
            try:
                ended = subprocess.run(
                    [*argv, json.dumps(told)],
                    cwd=settings.BASE_DIR,
                    env=environment(directory, database),
                    check=False,
                    timeout=limit,
                )
            except subprocess.TimeoutExpired:
                raise CommandError(f"The test did not end within {limit} s.") from None
            if ended.returncode:
                raise CommandError("The test broke off; its last words stand above.")
            return json.loads(Path(told["report"]).read_text())


def _database(url: str) -> contextlib.AbstractContextManager[str]:
    if not url:
        return contextlib.nullcontext("")
    if not url.startswith(("postgres://", "postgresql://")):
        raise CommandError("--database takes the address of a PostgreSQL: postgres://user@host/name")
    return _new_database(url)


@contextlib.contextmanager
def _new_database(url: str) -> Iterator[str]:
    import psycopg

    try:
        with new_database(url) as made:
            yield made
    except psycopg.Error as error:
        raise CommandError(f"The PostgreSQL cannot be used: {error}") from error


def _faults(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    known = {fault.name for fault in FAULTS}
    if unknown := set(names) - known:
        raise CommandError(f"There is no fault {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}.")
    return names


def _count(text: str) -> int:
    if not text.isdigit() or int(text) > COUNT_LIMIT:
        raise ArgumentTypeError(f"{text!r} is not a whole number up to {COUNT_LIMIT}")
    return int(text)
