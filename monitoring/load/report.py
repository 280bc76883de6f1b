"""A measurement as a table for a person and as JSON for a program, with what docs/performance.md demands beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from monitoring.load.figures import difference, median, ratio
from monitoring.load.measure import Pair, Run
from monitoring.load.workload import Workload

Number = float | None
# Up to here the demands on latency are absolute; above it is a crowd, compared with bare aichat.
FEW = 10


@dataclass(frozen=True)
class Demand:
    """What a figure must be: its `of` ("site", "ratio" to bare, or "added" to bare) at most or at least `limit`."""

    of: str
    limit: float
    at_least: bool = False

    def met_by(self, row: Row) -> bool | None:
        """Return whether the row has what is demanded, or None where that was not measured."""
        value: Number = getattr(row, self.of)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One figure: medians of the runs on either side, and of what the two of a pair have to do with each other."""

    name: str
    unit: str
    site: Number
    base: Number = None
    ratio: Number = None
    added: Number = None
    demand: Demand | None = None
    met: bool | None = None


MEASURES: list[tuple[str, str, Callable[[Run], Number]]] = [
    ("errors", "%", lambda run: 100 * run.figures.error_share),
    ("first token, median", "ms", lambda run: run.figures.first_token_p50_ms),
    ("first token, p95", "ms", lambda run: run.figures.first_token_p95_ms),
    ("first token, worst", "ms", lambda run: run.figures.first_token_max_ms),
    ("… since its own start, median", "ms", lambda run: run.figures.own_first_token_p50_ms),
    ("… since its own start, p95", "ms", lambda run: run.figures.own_first_token_p95_ms),
    ("gap, median", "ms", lambda run: run.figures.gap_p50_ms),
    ("gap, p99", "ms", lambda run: run.figures.gap_p99_ms),
    ("gap, worst", "ms", lambda run: run.figures.gap_max_ms),
    ("tokens a second", "", lambda run: run.figures.tokens_per_second),
    ("pace, against the provider's", "×", lambda run: _against_provider(run)),
    ("provider behind its pace, median", "ms", lambda run: run.served.late_p50_ms if run.served else None),
    ("provider behind its pace, worst", "ms", lambda run: run.served.late_max_ms if run.served else None),
    ("frames with a single event", "%", lambda run: _percent(run.figures.single_event_share)),
    ("CPU while streaming, of one core", "%", lambda run: _percent(ratio(_cpu(run), run.figures.busy_seconds))),
    ("… of the server alone", "%", lambda run: _percent(ratio(run.use.server_cpu_seconds, run.figures.busy_seconds))),
    ("CPU a message, children alone", "ms", lambda run: _per_message_ms(run, run.use.children_cpu_seconds)),
    ("CPU a message, server alone", "ms", lambda run: _per_message_ms(run, run.use.server_cpu_seconds)),
    (
        "CPU of the load test itself",
        "%",
        lambda run: _percent(ratio(run.use.client_cpu_seconds, run.figures.busy_seconds)),
    ),
    ("CPU of the whole machine, of all cores", "%", lambda run: _percent(_machine_share(run))),
    ("memory of the server before, RSS", "MiB", lambda run: run.use.base_rss_mib),
    ("… private", "MiB", lambda run: run.use.base_uss_mib),
    ("… at its peak, RSS", "MiB", lambda run: run.use.peak_rss_mib),
    ("… afterwards, private", "MiB", lambda run: run.use.end_uss_mib),
    ("memory of a child, private", "MiB", lambda run: run.use.child_uss_mib),
    ("children at once", "", lambda run: float(run.use.children_peak) if run.use.base_rss_mib else None),
]


def demands(workload: Workload) -> dict[str, Demand]:
    """Return what is demanded of a workload, by the figure's name."""
    wanted = {
        "errors": Demand("site", 1),
        "gap, p99": Demand("site", 50),
        "pace, against the provider's": Demand("site", 0.95, at_least=True),
        "memory of the server before, RSS": Demand("site", 100),
    }
    if workload.connections <= FEW:
        wanted |= {
            "first token, p95": Demand("site", 500),
            "CPU while streaming, of one core": Demand("site", 50),
            "frames with a single event": Demand("site", 95, at_least=True),
        }
    if workload.connections == 1:
        wanted["first token, median"] = Demand("added", 20)
    elif workload.at_once and workload.connections > FEW:
        wanted |= {"first token, median": Demand("ratio", 1.5), "first token, p95": Demand("ratio", 2)}
    return wanted


def rows(pairs: Sequence[Pair], workload: Workload, *, demanding: bool = True) -> list[Row]:
    """Return the table of a measurement; figures that nobody could take are left out.

    Not `demanding`: it is compared with another site, for which docs/performance.md has no demands.
    """
    wanted = demands(workload) if demanding else {}
    table = [_row(name, unit, measure, pairs, wanted.get(name)) for name, unit, measure in MEASURES]
    return [row for row in table if row.site is not None or row.base is not None]


def _row(name: str, unit: str, measure: Callable[[Run], Number], pairs: Sequence[Pair], demand: Demand | None) -> Row:
    values = [(measure(pair.site), measure(pair.base) if pair.base else None) for pair in pairs]
    row = Row(
        name,
        unit,
        site=median(site for site, _ in values),
        base=median(base for _, base in values),
        ratio=median(ratio(site, base) for site, base in values),
        added=median(difference(site, base) for site, base in values),
        demand=demand,
    )
    return replace(row, met=demand.met_by(row) if demand else None)


def table(measured: Sequence[Row], base: str = "bare aichat") -> list[str]:
    """Return the rows as lines of text; `base` is what the site is compared with."""
    has_base = any(row.base is not None for row in measured)
    heads = ["", "site", *([base, "ratio"] if has_base else []), "wanted", ""]
    cells = [heads, *(_cells(row, has_base=has_base) for row in measured)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    return ["  ".join(_aligned(line, widths)).rstrip() for line in cells]


def _cells(row: Row, *, has_base: bool) -> list[str]:
    compared = [_shown(row.base, row.unit), _shown(row.ratio, "×")] if has_base else []
    return [
        row.name,
        _shown(row.site, row.unit),
        *compared,
        _wanted(row),
        {None: "", True: "met", False: "MISSED"}[row.met],
    ]


def _aligned(line: list[str], widths: list[int]) -> list[str]:
    first, *rest = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _shown(value: Number, unit: str) -> str:
    if value is None:
        return ""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f} {unit}".strip()


def _wanted(row: Row) -> str:
    if row.demand is None:
        return ""
    sign = "≥" if row.demand.at_least else "≤"
    unit = "×" if row.demand.of == "ratio" else row.unit
    above = "bare + " if row.demand.of == "added" else ""
    return f"{sign} {above}{row.demand.limit:g} {unit}".strip()


def as_json(pairs: Sequence[Pair], workload: Workload) -> dict[str, Any]:
    """Return everything that was measured, run by run, and the table."""
    return {
        "workload": asdict(workload),
        "rows": [asdict(row) for row in rows(pairs, workload)],
        "pairs": [asdict(pair) for pair in pairs],
    }


def _cpu(run: Run) -> float:
    return run.use.server_cpu_seconds + run.use.children_cpu_seconds


def _machine_share(run: Run) -> Number:
    # The provider is part of it, and whatever runs besides and makes figures worse than they are.
    return ratio(run.use.machine_cpu_seconds, run.use.seconds * (os.cpu_count() or 1))


def _per_message_ms(run: Run, seconds: float) -> Number:
    return 1000 * seconds / run.figures.messages if seconds else None


def _percent(share: Number) -> Number:
    return 100 * share if share else None


def _against_provider(run: Run) -> Number:
    return ratio(run.figures.tokens_per_second, run.served.tokens_per_second if run.served else None)
