"""The command that loads a site, measures what its users would see, and compares that with bare aichat."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from monitoring.load import report, sockets, stand
from monitoring.load.bare import Bare
from monitoring.load.measure import Other, Pair, Trial
from monitoring.load.workload import Progress, Workload
from providers import config
from providers.models import Model
from providers.secrets import find_key

MODEL = "sim:sim-n100-gap20-first100"
CONNECTIONS_LIMIT = 5_000
MESSAGES_LIMIT = 1_000
SECONDS_LIMIT = 600
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Lines of progress where there is no terminal to draw on.
PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Site:
    """Whom to ask; `target` is where its model answers, None where that is not known here."""

    url: str
    target: config.Target | None = None
    key: str = ""
    server_pid: int | None = None
    other: Other | None = None

    @property
    def simulator(self) -> str:
        return self.target.api_base.rpartition("/")[0] if self.target else ""


class Command(BaseCommand):
    help = "Chat as many users at once, on a running site or (--start) on one of its own, and say what they saw."
    # What it needs of the site answers for itself.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("-n", "--connections", type=_up_to(CONNECTIONS_LIMIT), default=10, help="Users at the same time.")
        add("--messages", type=_up_to(MESSAGES_LIMIT), help="Messages of each. Default: 5; with --at-once 1.")
        add("--pace", type=_seconds, default=1.0, help="Seconds between an answer and the next message.")
        add("--at-once", action="store_true", help="Connect first, then send all messages of a round in one instant.")
        add("--model", default=MODEL, help=f"provider:model. Default: {MODEL}.")
        add("--url", default=f"http://127.0.0.1:{settings.PORT}", help="The site. Default: %(default)s.")
        add("--timeout", type=_seconds, default=60.0, help="Seconds that one answer may take.")
        add("--start", action="store_true", help="Start a simulator and a site of its own, and stop both at the end.")
        add("--baseline", action="store_true", help="Before each run, the same with bare aichat, and the ratios.")
        add(
            "--versus",
            metavar="NAME=VALUE",
            help="With --start: before each run, the same on a second site with this variable, and the ratios.",
        )
        add("--repeat", type=_up_to(100), help="Runs. Default: 1; compared with something 3 of each, in turns.")
        add("--json", action="store_true", help="Print everything measured as JSON.")

    def handle(self, **options: Any) -> None:
        workload = Workload(
            options["model"],
            connections=options["connections"],
            messages=options["messages"] or (1 if options["at_once"] else 5),
            pace=options["pace"],
            at_once=options["at_once"],
            timeout=options["timeout"],
        )
        repeat = options["repeat"] or (3 if options["baseline"] or options["versus"] else 1)
        _check_comparison(options)
        with self._site(options) as site:
            if options["baseline"] and site.target is None:
                raise CommandError(
                    f"--baseline needs the provider of {workload.model} in this command's database, or --start."
                )
            base = site.other or (Bare(site.target, site.key) if options["baseline"] and site.target else None)
            # Fresh conversations every time: answers to earlier runs are not in their history.
            trial = Trial(secrets.token_hex(3), workload, site.url, site.simulator, base, site.server_pid)
            try:
                pairs = asyncio.run(self._measure(trial, repeat, warm=options["start"]))
            except psutil.NoSuchProcess:
                raise CommandError("The server has ended; its log says why.") from None
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(pairs, workload), indent=1))
        else:
            rows = report.rows(pairs, workload, demanding=not options["versus"])
            table = report.table(rows, options["versus"] or "bare aichat")
            self.stdout.write("\n".join([_title(workload, repeat), *table]))
        _judge(pairs)

    async def _measure(self, trial: Trial, repeat: int, *, warm: bool) -> list[Pair]:
        if warm:
            await trial.warm_up()
        return await trial.run_pairs(repeat, self._announce)

    @contextlib.contextmanager
    def _site(self, options: dict[str, Any]) -> Iterator[Site]:
        slug, _, model = options["model"].partition(":")
        if not options["start"]:
            _check_reachable(options["url"])
            yield _running_site(options["url"].rstrip("/"), slug, model)
            return
        if slug != "sim":
            raise CommandError("--start answers by a simulator: name a model of it, such as sim:sim-n100-gap20.")
        try:
            with stand.running_stand(model, options["versus"]) as started:
                target = config.Target("openai", started.api_base, model)
                yield Site(started.url, target, stand.KEY, started.server_pid, started.other)
        except stand.StandFailed as error:
            raise CommandError(str(error)) from None

    def _announce(self, what: str) -> Progress:
        return Progress(Meter(what, self.stderr.write, drawn=self.stderr.isatty()).show)


class Meter:
    """Shows how far a run is: redrawn in place on a terminal, else a line now and then."""

    def __init__(self, what: str, write: Callable[..., None], *, drawn: bool) -> None:
        self._what = what
        self._write = write
        self._drawn = drawn
        self._shown_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Say where the run is, unless that was said a moment ago."""
        now, over = time.monotonic(), progress.ended == progress.total
        if not over and now - self._shown_at < (0.2 if self._drawn else PROGRESS_SECONDS):
            return
        self._shown_at = now
        line = f"{self._what}: {progress.ended} of {progress.total} answers, {progress.failed} failed"
        self._write(f"\r{line}" if self._drawn else line, ending="\n" if over or not self._drawn else "")


def _check_comparison(options: dict[str, Any]) -> None:
    """Raise CommandError where there is nothing to compare with, or too much."""
    versus = options["versus"]
    if options["baseline"] and not settings.AICHAT:
        raise CommandError("aichat is not installed: scripts/install-aichat")
    if versus and (options["baseline"] or not options["start"] or "=" not in versus):
        raise CommandError("--versus takes NAME=VALUE, needs --start, and does not go with --baseline.")


def _up_to(limit: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or not 1 <= int(text) <= limit:
            raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {limit}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= SECONDS_LIMIT:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {SECONDS_LIMIT}")
    return seconds


def _check_reachable(url: str) -> None:
    """Raise CommandError where no site of this machine answers at `url`."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise CommandError(f"{url} is not a site on this machine; others are not loaded from here.")
    try:
        build_opener(ProxyHandler({})).open(url, timeout=10).close()
    except OSError as error:
        # Any page will do, an error page too: it is there.
        if not hasattr(error, "code"):
            raise CommandError(f"No site answers at {url}. Start one with scripts/run, or use --start.") from None


def _running_site(url: str, slug: str, model: str) -> Site:
    try:
        row = Model.objects.select_related("provider").filter(provider__slug=slug, name=model).first()
    except DatabaseError:
        row = None
    if row is None:
        return Site(url)
    provider = row.provider
    target = config.Target(provider.kind, provider.api_base, row.name, row.max_output)
    return Site(url, target, find_key(provider.key_variable))


def _title(workload: Workload, repeat: int) -> str:
    how = "at once" if workload.at_once else f"{workload.pace:g} s apart"
    runs = f", median of {repeat} runs" if repeat > 1 else ""
    return f"{workload.connections} users × {workload.messages} messages, {how}, {workload.model}{runs}"


def _judge(pairs: Sequence[Pair]) -> None:
    """Raise CommandError for a measurement that failed: errors from 1 % on, or an answer that is not whole."""
    for pair in pairs:
        for run in filter(None, (pair.base, pair.site)):
            if run.fault:
                raise CommandError(f"Run {run.name}: {run.fault}.")
            if run.figures.error_share >= 0.01 or "wrong text" in run.figures.errors:
                raise CommandError(f"Run {run.name}: {_errors(run.figures.errors)}.{_advice(run.figures.errors)}")


def _errors(errors: dict[str, int]) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in errors.items())


def _advice(errors: dict[str, int]) -> str:
    if sockets.TOO_MANY in errors:
        return " The site allows one user no more connections: set CHAT_SOCKETS_PER_USER for it, or use --start."
    return ""
