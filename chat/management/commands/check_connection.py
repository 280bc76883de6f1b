"""The command that tells whether a browser's live connection gets through to a site."""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chat.reach import Finding, check


class Command(BaseCommand):
    """Ask a site over HTTP and a WebSocket as a browser does, and say in one sentence each what was found."""

    help = (
        "Check from outside whether HTTP, the WebSocket and event streams of the site at URL get through to whoever "
        "uses it, and say what to change. Exit code 1 where something has to be."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", metavar="URL", help="Where people open the site, such as https://chat.example.org.")
        parser.add_argument("--origin", default="", help="Of the page, where it is not that of the URL.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["url"].startswith(("http://", "https://")):
            raise CommandError("The URL begins with http:// or https://.")
        findings = asyncio.run(self._check(options["url"], options["origin"], quiet=options["json"]))
        ok = all(finding.ok for finding in findings)
        if options["json"]:
            report = {"ok": ok, "findings": [{"ok": each.ok, "sentence": each.sentence} for each in findings]}
            self.stdout.write(json.dumps(report, indent=2))
        if not ok:
            raise SystemExit(1)

    async def _check(self, url: str, origin: str, *, quiet: bool) -> list[Finding]:
        findings = []
        async for finding in check(url, origin):
            findings.append(finding)
            if not quiet:
                self.stdout.write(f"{'ok' if finding.ok else 'NO'}  {finding.sentence}")
        return findings
