"""`manage.py security_test`: attack a site as an outside client, and say what it let through."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from monitoring.load import stand
from monitoring.load.ledger import read_ledger
from monitoring.security import crowd, frames, isolation, messages, pages, report
from monitoring.security.findings import Section
from monitoring.security.target import Target, Visitor

ECHO, QUICK, SLOW, STEADY = "sim-echo", "sim-n2", "sim-n400-gap10", "sim-n100-gap20-first100"
# As a site in production has by itself; a load test's own has no limit.
PLACES = {"CHAT_PLACES": "100", "CHAT_PLACES_PER_USER": "10"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Of each kind of text, on a site that was not started for this: every message is stored there.
SOME = 20
Part = Callable[[Target], Awaitable[Section]]
PASSWORD = "a passphrase for one test"  # noqa: S105 (of accounts that live as long as the test's own site)


class Command(BaseCommand):
    help = "Attacks a site of this machine, running or (--start) of its own, and exits with 1 where it finds a hole."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--url", default=f"http://127.0.0.1:{settings.PORT}", help="The site. Default: %(default)s.")
        add("--start", action="store_true", help="Start a simulator and a site of its own, and stop both at the end.")
        add("--most", type=int, help=f"Texts of each kind. Default: all with --start, else {SOME}.")
        add("--token", default="", help="An API token, where a script needs one.")
        add("--user", default="", metavar="COOKIES", help="The Cookie header of somebody who has signed in.")
        add("--staff", default="", metavar="COOKIES", help="The same of somebody who may open the admin.")
        add("--only", nargs="+", metavar="PART", help="Of the parts that it names as it goes, only these.")
        add("--json", metavar="FILE", help="Write everything that was found there.")

    def handle(self, **options: Any) -> None:
        sections = asyncio.run(self._run(options))
        if options["json"]:
            Path(options["json"]).write_text(json.dumps(report.as_json(sections), indent=1))
        self.stdout.write("\n".join(report.table(sections)))
        if holes := sum(len(section.holes) for section in sections):
            raise CommandError(f"{holes} holes.")
        self.stdout.write("No holes.")

    async def _run(self, options: dict[str, Any]) -> list[Section]:
        most = options["most"] or (None if options["start"] else SOME)
        parts = _choose(options["only"], _parts(most))
        async with _target(options) as target:
            sections = []
            for name, part in parts.items():
                self.stderr.write(f"{name} …")
                sections.append(await part(target))
            return sections


def _parts(most: int | None) -> dict[str, Part]:
    """Return what is tried, in its order; `most` texts of each kind."""
    hostile, benign, exempt = messages.everything(settings.CHAT_MESSAGE_LENGTH, most)
    return {
        "plan": messages.try_the_plan,
        "hostile": lambda target: messages.try_hostile(target, hostile),
        "silence": _try_silence,
        "benign": lambda target: messages.try_benign(target, benign),
        "exempt": lambda target: messages.try_exempt(target, exempt),
        "frames": frames.try_frames,
        "floods": frames.try_floods,
        "ids": frames.try_ids,
        "handshakes": frames.try_handshakes,
        "pages": pages.try_pages,
        "requests": pages.try_requests,
        "isolation": isolation.try_isolation,
        "afterwards": _try_afterwards,
    }


def _choose(names: list[str] | None, parts: dict[str, Part]) -> dict[str, Part]:
    """Return the parts named, in that order, else all but what is done on request alone."""
    known = {**parts, "crowd": crowd.try_crowd}
    if unknown := [name for name in names or () if name not in known]:
        raise CommandError(f"There is no part {unknown[0]}; there are: {', '.join(known)}.")
    return {name: known[name] for name in names or parts}


async def _try_silence(target: Target) -> Section:
    """Look whether what was refused so far has started anything."""
    section = Section("no process for what is refused")
    if not target.simulator:
        section.left_out.append("only a simulator says whether it was asked: --start has one")
        return section
    asked = await read_ledger(target.simulator, 10)
    section.check(asked == [], f"the provider was asked: {asked}")
    return section


async def _try_afterwards(target: Target) -> Section:
    """A usual message is answered after all of that."""
    section = Section("a usual message afterwards")
    async with target.script() as socket:
        await socket.send(
            message="Why is the sky blue?", **({"model": target.model} if target.model else messages.NOBODY)
        )
        end = (await socket.until("complete"))[-1]["metadata"]["ending"]
    section.check(end == ("complete" if target.model else "not_started"), f"it ended {end}")
    return section


@contextlib.asynccontextmanager
async def _target(options: dict[str, Any]) -> AsyncIterator[Target]:
    if not options["start"]:
        _check_loopback(options["url"])
        url = options["url"].rstrip("/")
        user, staff = (_cookies(url, options[name]) for name in ("user", "staff"))
        yield Target(url, token=options["token"], user=user, staff=staff)
        return
    try:
        with stand.running_stand(QUICK, more=(ECHO, SLOW, STEADY), **PLACES) as started:
            staff = await _sign_up(started.url, "staff")
            user = await _sign_up(started.url, "user")
            yield Target(
                started.url,
                model=f"sim:{QUICK}",
                echo=f"sim:{ECHO}",
                slow=f"sim:{SLOW}",
                steady=f"sim:{STEADY}",
                simulator=started.simulator,
                server_pid=started.server_pid,
                user=user,
                staff=staff,
            )
    except stand.StandFailed as error:
        raise CommandError(str(error)) from None


async def _sign_up(url: str, name: str) -> Visitor:
    """Return a new account of the site's; the first one is its admin."""
    visitor = Visitor(url)
    await visitor.post_form(
        "/account/sign-up", "/account/sign-up", username=name, password1=PASSWORD, password2=PASSWORD
    )
    return visitor


def _cookies(url: str, header: str) -> Visitor | None:
    pairs = (pair.strip().partition("=") for pair in header.split(";") if pair.strip())
    return Visitor(url, {name: value for name, _, value in pairs}) if header else None


def _check_loopback(url: str) -> None:
    if urlsplit(url).hostname not in LOOPBACK:
        raise CommandError(f"{url} is not on this machine; others are not attacked from here.")
