"""The command that walks the audit's chain."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring.verify import Broken, Report, verify


class Command(BaseCommand):
    help = "Check that the audit is whole, and name the first row that is not; the exit code is then 1."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head", type=_hash, metavar="HASH", help="A head noted earlier, which must be in the chain."
        )

    def handle(self, **options: Any) -> None:
        try:
            report = verify(options["head"] or "")
        except Broken as broken:
            raise CommandError(f"The audit is broken. {broken}") from None
        for line in _describe(report):
            self.stdout.write(line)


def _describe(report: Report) -> list[str]:
    lines = ["The audit is empty."]
    if report.last:
        lines = [f"The audit is whole: numbers {report.first} to {report.last}. Its head is {report.head}."]
    if report.waiting:
        lines.append(f"Without a seal yet: {report.waiting}, since no server is there that makes seals.")
    if not report.last:
        return lines
    if report.cut:
        cut = report.cut
        lines.append(f"It was cut at number {cut.through}, before {cut.before}; the signature of the cut is right.")
    lines.append(f"Texts: {report.texts} as they were, {report.digests_only} of which only the digest is kept.")
    if report.erased:
        lines.append(f"{report.erased} texts were erased on request, as recorded.")
    if report.noted_at:
        lines.append(f"The head noted earlier is number {report.noted_at}: nothing up to there has changed since.")
    return lines


def _hash(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ArgumentTypeError("a head is 64 hexadecimal digits, as audit_head prints it")
    return text
