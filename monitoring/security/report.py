"""The result as a table for a person and as JSON for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from monitoring.security.findings import NAMED, Section


def table(sections: Sequence[Section]) -> list[str]:
    """Return a line for each section, with its figures and its holes below."""
    width = max(len(section.name) for section in sections)
    lines = [f"{'':{width}}  {'tried':>7}  {'holes':>5}"]
    for section in sections:
        lines.append(f"{section.name:{width}}  {section.tried:>7,}  {len(section.holes):>5,}")
        lines += [f"    {name}: {value}" for name, value in section.figures.items()]
        lines += [f"    left out: {why}" for why in section.left_out[:NAMED]]
        lines += [f"    HOLE: {hole}" for hole in section.holes[:NAMED]]
        if len(section.holes) > NAMED:
            lines.append(f"    … and {len(section.holes) - NAMED} more holes")
    return lines


def as_json(sections: Sequence[Section]) -> dict[str, Any]:
    """Return everything, with the sum of the holes."""
    return {
        "holes": sum(len(section.holes) for section in sections),
        "sections": [asdict(section) for section in sections],
    }
