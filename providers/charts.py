"""Where the parts of a chart are drawn; the templates only write them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from providers.spending import Group

# The share of a column's room that stays empty.
GAP = 0.2


@dataclass(frozen=True)
class Column:
    """One column in a field of 100 by 100, y growing downwards; its estimated part is on top."""

    name: str
    x: float
    width: float
    y: float
    height: float
    estimated_y: float
    estimated_height: float


def columns(groups: Sequence[Group]) -> list[Column]:
    """Return a column for each group, the dearest of them 100 high."""
    room = 100 / max(len(groups), 1)
    return [
        _column(number, room, group, height)
        for number, (group, height) in enumerate(zip(groups, lengths(groups), strict=True))
    ]


def lengths(groups: Sequence[Group]) -> list[float]:
    """Return how long each group's bar is, the dearest 100."""
    highest = max((group.sums.known_usd for group in groups), default=0)
    return [round(float(100 * group.sums.known_usd / highest), 3) if highest else 0.0 for group in groups]


def _column(number: int, room: float, group: Group, height: float) -> Column:
    estimated = height * float(group.sums.estimated_share)
    return Column(
        name=group.name,
        x=round(room * (number + GAP / 2), 3),
        width=round(room * (1 - GAP), 3),
        y=round(100 - height + estimated, 3),
        height=round(height - estimated, 3),
        estimated_y=round(100 - height, 3),
        estimated_height=round(estimated, 3),
    )
