"""What was tried, and what was found: a hole is something that should not have been possible."""

from __future__ import annotations

from dataclasses import dataclass, field

# Of the holes of one section, so many are named; the rest is a number.
NAMED = 20
# What a hole's line shows of a text.
SHOWN = 120


@dataclass
class Section:
    """One part of the test. `figures` are what else was measured; `left_out` says why something was not tried."""

    name: str
    tried: int = 0
    holes: list[str] = field(default_factory=list)
    figures: dict[str, str | float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def check(self, ok: bool, hole: str) -> bool:
        """Count one try; where it is not `ok`, it is a hole of this description. Returns `ok`."""
        self.tried += 1
        if not ok:
            self.holes.append(hole)
        return ok


def shown(text: object) -> str:
    """Return a text on one line, cut where it is long, without anything that a terminal obeys."""
    line = ascii(text) if isinstance(text, str) and not text.isprintable() else str(text)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}… ({len(line)} characters)"


def percent(part: int, whole: int) -> str:
    """Return a share in percent, exact to where it matters: 100 % is said of the whole alone."""
    if not whole:
        return "–"
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.99):.2f} %"
