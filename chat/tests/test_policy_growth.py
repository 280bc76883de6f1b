"""No text makes the input policy work for long: what it takes grows with the text, never with its square."""

from __future__ import annotations

import time

import pytest

from chat.policy import command, naming, paths, script, sql
from chat.policy.judging import judge
from chat.policy.normalise import normalise
from chat.policy.quoting import set_apart

PATTERNS = [each.pattern for kind in (command, script, paths, sql) for each in kind.SHAPES] + [
    command.SUBSTITUTED, command.SPLITTING, command.QUOTED_PART, command.DEVELOPING, command.NAME, command.COLUMN,
    naming.CELL, naming.OWN_LINE, naming.ASSIGNMENT, naming.LOOKING_ROUND, naming.OWN_COMMAND,
    script.SCRIPT_BODY, script.MARKUP, script.ADDRESS, sql.COMMENT, sql.EMPTY_COMMENT, sql.STATEMENT, sql.FORMULA,
    sql.APOSTROPHE,
]  # fmt: skip
# What the patterns begin with or repeat: each again and again is what could make one of them come back to it.
PUMPS = [
    *("<", "<a ", "<a on", "<a on=", "< ", "<a onload", "<script", "<script>", "<!--", "onload=a"),
    *("onload=", "onloadonload"),
    *("'", '"', "' or ", "' or '", "1 or ", "or 1", "or 1 like ", "union ", "union select "),
    *("') or (", "and (", "'||", "''"),
    *("; ", ";", "&&", "& ", "| ", "|", "`", "` ", "$(", "${", "x;id ", "; sudo ", "; x=y "),
    *("$(x=y ", "; cat ", "; ls", "; /a/"),
    *("../", ".. /", "....//", "..;/", "../x", "..\\", "/etc/", "/bin/a", "/bin/", "/?", "php://", "\\\\a", "file:/"),
    *("%41", "%25", "%2525", "&lt;", "&amp;", "&#60;", "\\u003c", "\\x3c", "\\u{3c}", "&", "&a", "%", "\\"),
    *("/*", "*/", "/**/", "--", "#", " ", "\n", " \n", "\t", "\u200b", "＜", "ﷺ", "a", "a.", "1", "(", ")", "=", "a="),
    *("data:", "data:text/", "javascript", "j a v a s c r i p t", "alert(", "'alert", "'+'"),
    *("' order by ", "order by 1,"),
    *("if (", "case when ", "char(1", "; select ", "'; select a ", "sleep(", "{cat,", "w'h'"),
    *("\\c", "a@", "cd ", "cd a "),
    *("a | ", "name | id | ", "a & tree ", "a; tree ", "for a; do ", "if (a && id ", "export a=", "a:a: "),
    *("ab=$(date -", "[ -"),
    *("where a ", "select a ", "= a(", "it's ' or a = b "),
    *("javascript: a", "javascript: a(", "<a onx={a", "on={a", "from '../", "cd ../"),
    *("``` \n", "```", "~~~\n", "\n> ", "\n    a", "“", "“a", "„", "«", "a`", "`a` "),
]  # fmt: skip
LENGTHS = (1500, 6000)
# Below it a time is noise.
SHORT_SECONDS = 0.01


def pump(what: str, length: int) -> str:
    return (what * (length // len(what) + 1))[:length]


def seconds_of(function, text: str) -> float:
    """Return the shortest of three times on the processor: other programs do not count."""
    times = []
    for _ in range(3):
        begun = time.thread_time()
        function(text)
        times.append(time.thread_time() - begun)
        if times[-1] < SHORT_SECONDS:
            break
    return min(times)


def grows_too_fast(function, what: str, lengths=LENGTHS) -> bool:
    long = seconds_of(function, pump(what, lengths[1]))
    if long < SHORT_SECONDS:
        return False
    # Four times the text: four times as long where it is linear, sixteen times where it is not.
    return long > 9 * max(seconds_of(function, pump(what, lengths[0])), SHORT_SECONDS / 9)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:40])
def test_no_pattern_comes_back_to_what_it_has_read(pattern):
    assert [what for what in PUMPS if grows_too_fast(lambda text: sum(1 for _ in pattern.finditer(text)), what)] == []


@pytest.mark.parametrize(
    "function", [normalise, set_apart, lambda text: list(judge(text))], ids=["normalise", "quoting", "judge"]
)
def test_nothing_else_does(function):
    assert [what for what in PUMPS if grows_too_fast(function, what, (8000, 32_000))] == []
