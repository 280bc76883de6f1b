"""What came of a fault test: everything seen, as JSON, as a table for people, and the reasons why it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from monitoring.faults.killing import Killed
from monitoring.faults.money import Account
from monitoring.faults.rows import FAULTS, PROTOCOLS, When
from monitoring.figures import percentile

# Of all messages that somebody healthy could have answered.
ANSWERED_SHARE = 0.99
# Above this, switching to the next provider is no longer something that a reader does not notice.
SWITCH_LIMIT_MS = 500.0
# Phases whose cells are the matrix.
MATRIX = ("alternatives", "alone", "policies", "mix")
CELL_CHARACTERS = 60
LISTED = 30


@dataclass
class Cell:
    """One result: which fault, in which dialect, with how many alternatives, and what was wrong."""

    phase: str
    fault: str
    when: str
    protocol: str
    alternatives: int
    ending: str
    wrong: list[str]


@dataclass
class Check:
    """A fact of a phase that is no cell of the matrix."""

    phase: str
    name: str
    ok: bool
    words: str = ""


@dataclass
class Report:
    """Everything that was seen."""

    seed: int
    cells: list[Cell] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    messages: Counter[str] = field(default_factory=Counter)
    by_protocol: dict[str, Counter[str]] = field(default_factory=dict)
    switch_ms: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    killed: list[Killed] = field(default_factory=list)
    genai_prices: int = 0


def as_json(report: Report) -> dict[str, Any]:
    """Return everything that was seen, as JSON takes it, with the figures and the reasons to fail."""
    figures = _figures(report)
    return {
        "seed": report.seed,
        "failed": reasons(report, figures),
        "figures": figures,
        "seconds": report.seconds,
        "cells": [asdict(cell) for cell in report.cells],
        "checks": [asdict(check) for check in report.checks],
        "money_wrong": report.account.wrong,
        "orphans": report.orphans,
    }


def _figures(report: Report) -> dict[str, Any]:
    account, messages = report.account, report.messages
    deviations = sorted(abs(one) for one in account.deviations)
    return {
        "sent": messages["sent"],
        "accepted": messages["accepted"],
        "lost": messages["lost"],
        "answerable": messages["answerable"],
        "answered": messages["answered"],
        "by_protocol": {name: dict(counts) for name, counts in report.by_protocol.items()},
        "cut_called_complete": sum("cut called complete" in cell.wrong for cell in report.cells),
        "requests": account.requests,
        "attempts": account.attempts,
        "unserved": account.unserved,
        "exact_costs": account.exact,
        "refusals_not_billed": account.free,
        "estimates": len(deviations),
        "estimate_deviation_p95": percentile(deviations, 0.95),
        "estimate_deviation_max": max(deviations, default=None),
        "genai_prices_agree": report.genai_prices,
        "switch_p50_ms": percentile(report.switch_ms, 0.5),
        "switch_p95_ms": percentile(report.switch_ms, 0.95),
        "request_p50_ms": percentile(report.request_ms, 0.5),
        "killed": len(report.killed),
        "killed_lost_characters_max": max((one.lost_characters for one in report.killed), default=None),
        "orphans": len(report.orphans),
    }


def reasons(report: Report, figures: dict[str, Any]) -> list[str]:
    """Return why the test has failed, in words; nothing where it has not."""
    bad = sum(bool(cell.wrong) for cell in report.cells)
    switch = figures["switch_p95_ms"]
    answerable = figures["answerable"]
    found = {
        f"{bad} of {len(report.cells)} messages did not go as designed": bad,
        f"{figures['sent'] - figures['accepted']} messages were not accepted": figures["sent"] != figures["accepted"],
        f"{figures['lost']} messages were lost": figures["lost"],
        f"only {figures['answered']} of {answerable} were answered": answerable
        and figures["answered"] / answerable <= ANSWERED_SHARE,
        f"{figures['cut_called_complete']} answers were cut and called complete": figures["cut_called_complete"],
        f"{len(report.account.wrong)} disagreements about requests and money": report.account.wrong,
        f"{len(report.orphans)} orphans": report.orphans,
        f"switching took {switch} ms": switch is not None and switch > SWITCH_LIMIT_MS,
    }
    failed = [f"{check.phase}: not so: {check.name} ({check.words})" for check in report.checks if not check.ok]
    return [words for words, is_so in found.items() if is_so] + failed


def table(told: dict[str, Any]) -> list[str]:
    """Return the report as lines of text: the matrix, the checks, the figures, and whatever was wrong."""
    cells = [cell for cell in told["cells"] if cell["phase"] in MATRIX]
    phases = Counter(cell["phase"] for cell in told["cells"])
    good = Counter(cell["phase"] for cell in told["cells"] if not cell["wrong"])
    lines = [*_matrix(cells), ""]
    lines += [f"{phase}: {good[phase]} of {count} messages as designed" for phase, count in phases.items()]
    lines += [f"{check['phase']}: {'ok' if check['ok'] else 'WRONG'}: {check['name']}" for check in told["checks"]]
    lines += ["", *_summary(told["figures"]), _in_minutes(told["seconds"])]
    wrong = [_in_full(cell) for cell in told["cells"] if cell["wrong"]]
    return [*lines, *_listed("Not as designed", wrong), *_listed("Requests and money", told["money_wrong"]),
            *_listed("Orphans", told["orphans"])]  # fmt: skip


def _matrix(cells: Sequence[dict[str, Any]]) -> list[str]:
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cell in cells:
        found.setdefault((cell["fault"], cell["when"], cell["protocol"]), []).append(cell)
    names = [(fault.name, fault.when.value) for fault in FAULTS] + [("none", When.NEVER.value)]
    rows = [[f"{name}, {when}", *(_cell(found.get((name, when, protocol), [])) for protocol in PROTOCOLS)]
            for name, when in names if any((name, when, protocol) in found for protocol in PROTOCOLS)]  # fmt: skip
    rows.insert(0, ["fault, first token", *PROTOCOLS])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(cells: Sequence[dict[str, Any]]) -> str:
    """Return "ok" and of how many messages, or what was wrong with the first that was not."""
    bad = [cell for cell in cells if cell["wrong"]]
    if not bad:
        return f"ok {len(cells)}" if cells else "-"
    return f"{len(bad)} of {len(cells)}: {bad[0]['wrong'][0]}"[:CELL_CHARACTERS]


def _in_full(cell: dict[str, Any]) -> str:
    where = f"{cell['phase']}, {cell['alternatives']} alternatives"
    return f"{cell['fault']} {cell['when']}, {cell['protocol']} ({where}): {'; '.join(cell['wrong'])}"


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return ["", f"{title}:", *(f"  {line}" for line in lines[:LISTED]), *more]


def _summary(figures: dict[str, Any]) -> Iterable[str]:
    share = figures["answered"] / figures["answerable"] if figures["answerable"] else 0
    yield (
        f"answered while somebody healthy was there: {figures['answered']} of {figures['answerable']} ({share:.2%}); "
        + ", ".join(
            f"{name} {counts.get('answered', 0)} of {counts.get('answerable', 0)}"
            for name, counts in figures["by_protocol"].items()
        )
    )
    yield (
        f"accepted: {figures['accepted']} of {figures['sent']}; lost: {figures['lost']}; "
        f"cut, but called complete: {figures['cut_called_complete']}; orphans: {figures['orphans']}"
    )
    yield (
        f"requests served: {figures['requests']}; attempts in the ledger: {figures['attempts']}, "
        f"{figures['unserved']} of them with nobody reached; "
        f"exact costs: {figures['exact_costs']}; refusals, not billed: {figures['refusals_not_billed']}; "
        f"estimates: {figures['estimates']}, off by at most {_percent(figures['estimate_deviation_max'])} "
        f"(p95 {_percent(figures['estimate_deviation_p95'])}); genai-prices agrees on {figures['genai_prices_agree']}"
    )
    yield (
        f"time to switch, beyond the processes: p50 {_ms(figures['switch_p50_ms'])}, "
        f"p95 {_ms(figures['switch_p95_ms'])}; a process reaches its provider after {_ms(figures['request_p50_ms'])}"
    )
    yield (
        f"killed with their server: {figures['killed']} answers; shown, but not stored: at most "
        f"{figures['killed_lost_characters_max']} characters"
    )


def _in_minutes(seconds: dict[str, float]) -> str:
    return f"took {sum(seconds.values()) / 60:.1f} minutes: " + ", ".join(
        f"{phase} {taken:.0f} s" for phase, taken in seconds.items()
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
