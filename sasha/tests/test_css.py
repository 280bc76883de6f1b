"""The stylesheets of the chat run from right to left as well: no side of a box is called left or right."""

from __future__ import annotations

import re

import pytest
from django.conf import settings

SHEETS = sorted(
    path for path in (settings.BASE_DIR / "static" / "css").glob("*.css") if not path.name.startswith("admin")
)
SIDE = re.compile(
    r"(?:^|[;{\s])((?:(?:margin|padding|border)-(?:left|right)[\w-]*|left|right)\s*:|(?:text-align|float|clear):\s*(?:left|right))"
)
# Of four values the second and the fourth are right and left.
FOUR = re.compile(r"(?:^|[;{\s])((?:margin|padding|inset|border-width):\s*([^;{}]+))")
ALLOWED = {
    # The insets are those of the device, whichever way the text runs.
    ("base.css", "padding-right:"),
    ("base.css", "padding-left:"),
    # In the middle.
    ("composer.css", "left:"),
    # Two sides of a square that is turned into an arrow downwards.
    ("composer.css", "border-width: 0 1.5px 1.5px 0"),
    # Formulas say themselves where they stand.
    ("markdown.css", "text-align: left"),
    ("markdown.css", "text-align: right"),
}


def sides_of(css: str) -> set[str]:
    found = {match[1] for match in SIDE.finditer(css)}
    for match in FOUR.finditer(css):
        values = re.sub(r"\((?:[^()]|\([^()]*\))*\)", "()", match[2]).split()
        if len(values) == 4 and values[1] != values[3]:
            found.add(match[1])
    return found


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.name)
def test_no_side_is_called_left_or_right(path):
    css = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    assert {(path.name, side) for side in sides_of(css)} - ALLOWED == set()


def test_sides_are_found():
    assert sides_of("a { margin-left: 1px; inset: 0 auto 0 0; text-align: right }") == {
        "margin-left:",
        "inset: 0 auto 0 0",
        "text-align: right",
    }
