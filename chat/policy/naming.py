"""Whether a command is only named where it stands: in a list, in a condition, in a line of somebody's own script."""

from __future__ import annotations

import re

from chat.policy.vocabulary import ATTACKING, COMMANDS, TITLED, USUAL

# A longer line is no row of a table.
LONGEST_LIST = 300
# More than a letter, and no sign in it that a shell knows.
CELL = re.compile(r"(?=..)(?:[^\W\d_]{1,20}+:? ?){1,6}")
UNLISTED = {*ATTACKING} - {*TITLED}
# What begins a line of a script.
OWN_LINE = re.compile(
    r"(?:[a-z ]{1,20}: )?(?:(?:for|while|until|if) [^\n;]{1,200}+; ?(?:do|then) |export \w{1,40}=|\[ "
    r"|(?:el)?if (?:! )?(?:test|\[) )"
)
# What a script puts into a variable: a text that it has, or that it looks up.
ASSIGNMENT = re.compile(
    r"\w{2,40}=\"?(?:\$\(|`) ?(?:(?:echo|printf|grep|egrep|sed|basename|dirname|date|uname) ?[-+\"'$]|cat [\"$])"
)
# What only looks round, and what developers put it into.
LOOKING = ("ls", "pwd", "tree", "dir", "date")
LOOKING_ROUND = re.compile(r"\$\((?:" + "|".join([*LOOKING, "lsof"]) + r")\b")
OWN_COMMAND = re.compile("(?:" + "|".join([*USUAL, "for", "kill", "export"]) + ") ")


def is_listed(match: re.Match[str]) -> bool:
    """Whether this is one of three and more names, not all of commands, or in a row of a table: `name | id | date`."""
    start = match.string.rfind("\n", 0, match.start()) + 1
    line, _, _ = match.string[start : start + LONGEST_LIST + 1].partition("\n")
    if len(line) > LONGEST_LIST:
        return False
    mark = match[0][0]
    framed = line.startswith(f"{mark} ") and line.endswith(f" {mark}")
    cells = [cell.strip() for cell in line.strip(mark).split(mark)]
    return (
        len(cells) >= (2 if framed else 3)
        and all(CELL.fullmatch(cell) and cell not in UNLISTED for cell in cells)
        and not COMMANDS.issuperset(cells)
    )


def is_in_condition(match: re.Match[str]) -> bool:
    """Whether this is a name in the brackets of a program: `if (user && id && name)`."""
    before = match.string[: match.start()]
    return before.count("(") > before.count(")")


def is_in_own_line(match: re.Match[str]) -> bool:
    """Whether this is in a script of one line: `for f in *.txt; do cat $f; sleep 1; done`."""
    return OWN_LINE.match(match.string) is not None


def is_assigned(match: re.Match[str]) -> bool:
    """Whether this is the text that a script puts into a variable: `name=$(echo "$1" | sed 's/a/b/')`."""
    assignment = ASSIGNMENT.match(match.string)
    return assignment is not None and match.start() < assignment.end()


def is_looking_round(match: re.Match[str]) -> bool:
    """Whether this is the substitution of a harmless command in one of a developer: `docker run -v $(pwd):/app`."""
    return LOOKING_ROUND.match(match[0]) is not None and OWN_COMMAND.match(match.string) is not None
