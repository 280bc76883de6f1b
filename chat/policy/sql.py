"""The shape of SQL injection: a string that is broken out of, a condition that always holds, a second statement."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chat.policy.prose import DOCUMENT_LINES
from chat.policy.reading import Reading
from chat.policy.shape import find_all, shape
from chat.policy.vocabulary import SQL

QUOTE = r"[\"'`´’]"
# One that breaks out of a string, if `_is_closed` does not say otherwise.
OUT = rf"(?P<out>{QUOTE})"
# `/*!50000union*/` runs; any other comment stands for a space.
COMMENT = re.compile(r"/\*!?\d{0,6}|\*/")
EMPTY_COMMENT = re.compile(r"/\*[^*!]{0,200}\*/")
SPACES = re.compile(r" {2,}")
# Somebody's whole statement, not a piece that was put into one.
STATEMENT = re.compile(
    r"(?:select|with|insert|update|delete|create|alter|explain|begin|declare|set|use|grant|drop table if exists|--"
    r"|/\*)\b"
    r"|--"
)

APOSTROPHE = re.compile(r"(?<=[a-z])'(?=[a-z])")
# `=IF(…` at the beginning, in a line or behind a word: nothing that is put into a query begins so.
FORMULA = re.compile(r"(?:^|\n|[^\W\d_] |: )= ?[+-]?[a-z][\w.]{1,30}\(")


def _is_closed(match: re.Match[str]) -> bool:
    """Whether the quote in front closes one that the text itself began: `'he' or 'she'` breaks out of nothing."""
    mark = match["out"]
    if mark is None:
        return False
    before = APOSTROPHE.sub("", match.string[: match.start("out")])
    return before.count(mark) % 2 == 1 and not before.endswith(mark)


def _is_in_formula(match: re.Match[str]) -> bool:
    """Whether a spreadsheet's formula is in the text."""
    return FORMULA.search(match.string) is not None


CONNECTIVE = r"(?:or|and|xor|having|where|&&|\|\|)"
# No coefficient: `and 10 = 4x - y`.
NUMBER = r"-?\d{1,12}+(?:\.\d{1,12}+)?+(?!(?!or\b)[a-z]{1,2}\b)"
LITERAL = r"(?:" + NUMBER + r"|" + QUOTE + r"[^'\"`]{0,40}" + QUOTE + r"?|true|false|null|char\(\d{1,3}\))"
# As words only in front of what makes them SQL: `"this" or "that" in English` is none.
COMPARISON = (
    r"(?:=(?!=)|<=>|<>|!=|<=|>=|<|>| ?\b(?:not )?(?:r?like|regexp) ?(?=['\"%(\w])| ?\bis (?:not )?(?=null|true|false"
    r"|\d)"
    r"| ?\b(?:not )?in ?(?=\()| ?\bbetween (?=\d|'))"
)
# `1 or 1=1`: two constants compared behind a connective.
TAUTOLOGY = shape(
    r"(?<![a-z_])" + CONNECTIVE + r"[ (+!~-]{0,6}+(?:not )?[ (+!~-]{0,6}+(?:\d{1,12}"
    # Between quotes it may also be a name: `and "age" = 3`.
    r"|" + QUOTE + r"[^'\"`]{0,40}" + QUOTE + r"(?<![a-z]['\"])|" + QUOTE + r"[^'\"`]{0,40}" + QUOTE + r"(?! ?= ?\d))"
    r"[ )]{0,4}+"
    r"(?:=(?!=)|<=>| ?like ?)[ (]{0,4}+" + LITERAL,
    "=", "like",
)  # fmt: skip
# `' or x like y`: any comparison behind a quote and a connective.
QUOTED_CONDITION = shape(
    OUT + r"[ )%]{0,6}+" + CONNECTIVE + r"[ (!~+-]{0,6}+(?:not )?[ (]{0,4}+(?:" + QUOTE + r"?[\w.@]{0,30}+" + QUOTE
    + r"?|" + QUOTE + r"[^'\"`]{0,40}" + QUOTE + r")[ )]{0,4}+(?:\([^()]{0,40}\))?[ )]{0,4}+" + COMPARISON,
    "or", "and", "||", "&&", "having", unless=(_is_closed,),
)  # fmt: skip
# `' or 1 --`, `') or true #`, `id=1 or 1 --`; not `plans 1 and 2 -- which one`.
QUOTED_TRUTH = shape(
    r"(?:^|\d(?![^-]{1,40}-- ?[a-z]{3})|" + OUT + r")[ )]{0,6}+(?:or|and|xor|&&|\|\|)[ (!~-]{0,6}+(?:not )?"
    r"(?:true|false|\d{1,12}|" + QUOTE + r"[^'\"`]{0,20}" + QUOTE
    + r"|exists|\w{1,12}\(\))[ );]{0,4}+(?:--|#|/\*|limit\b|group by\b|" + QUOTE + r"[ )]*$)",
    "or", "and", "||", "&&", unless=(_is_closed,),
)  # fmt: skip
QUOTED_TRUTH_AT_END = shape(
    r"^[\w@.-]{0,30}" + QUOTE + r"[ )]{0,6}+(?:or|and|xor|&&|\|\|)[ (!~-]{0,6}+(?:not )?(?:true|false|null|\d{1,12}|"
    + QUOTE + r"[^'\"`]{0,20}" + QUOTE + r"?)[ )]{0,4}+$",
    "or", "and", "||", "&&",
)  # fmt: skip
# `admin'--`: a comment behind a quote hides the rest.
CUT_OFF = shape(OUT + r"[ );]{0,6}+(?:--[ +-]{0,4}+\w{0,8}|#[ +-]{0,4}+)$", "--", "#", unless=(_is_closed,))
# `'=''or'`, `'=0--`.
EQUATION = shape(
    r"^[\w@.-]{0,30}" + QUOTE + r" ?(?:={1,2} ?(?:" + QUOTE + r"{1,2} ?or ?" + QUOTE + r"|\d{1,6} ?(?:--|#))"
    r"|or ?" + QUOTE + r"{2} ?[-&^*+=/ ] ?" + QUOTE + r"$)",
    "=", "or",
)  # fmt: skip
# A string that begins here is of a program: `execute("select …`.
NO_STRING = r"(?<![(=,:\[+])(?<![(=,:+] )"
# `; drop table users`, and what reads or waits behind a quote, a bracket, a number or a semicolon.
STACKED = shape(
    r"(?:;|" + NO_STRING + QUOTE + r"[ )]{0,6}+)[ (]{0,4}+"
    r"(?:drop (?:table|database|schema|user|view|index|procedure|column)"
    r"|delete from|insert into"
    r"|update \S{1,40} set|shutdown|alter (?:table|user|database|login)|truncate table|create (?:or replace )?"
    r"(?:table|user|login|database|function|procedure|alias)|grant \S{1,20} (?:on|to)|declare ?@|waitfor (?:delay|time)"
    r"|select (?:[^;]{0,80}?(?:from|into)\b|sleep|pg_sleep|@@|version|user|load_file|case|benchmark|\d|null|\*)"
    r"|copy \S{1,40} (?:from|to)|backup database|attach database|load data|handler \S{1,30} open|call \S{1,30}\("
    r"|replace into|merge into|rename table|commit|rollback)(?!\w)"
    r"|(?:;|" + NO_STRING + QUOTE + r"[ )]{0,6}+)[ (]{0,4}+(?:exec(?:ute)?[ (]\S|if ?\(|begin |xp_\w|dbms_\w)",
    ";", "'", '"', "`", "´",
)  # fmt: skip
UNION = shape(r"union[ (+]{1,3}+(?:(?:all|distinct|distinctrow)[ (+]{0,3}+)?[ (+]{0,3}+select\b", "union")
BEFORE_FUNCTION = (
    r"(?:" + QUOTE + r"|\)|\d|\b(?:and|or|select|union|if|when|then|by|where|xor|like|in)\b|&&"
    r"|[;,|+=*(-])[ (+!~-]{0,6}+(?:select[ (]{1,3}+)?"
)
# Functions that wait, read files or leak through errors; harmless words by themselves.
FUNCTION = shape(
    BEFORE_FUNCTION + r"(?:sleep ?\( ?\d|benchmark ?\( ?\d|pg_sleep ?\(|extractvalue ?\(|updatexml ?\(|load_file ?\("
    r"|xp_\w{3,20}"
    r"|dbms_\w{2,20}\."
    r"|utl_\w{3,10}\.|randomblob ?\(|sysobjects|information_schema|into (?:out|dump)file|@@\w{3,20}"
    r"|ascii ?\( ?(?:substr|lower|upper)"
    r"|substr(?:ing)? ?\( ?\(? ?(?:select|user|database|version|@@|password)|mid ?\( ?\(? ?select|exists ?\( ?select"
    r"|name_const ?\(|exp ?\( ?~"
    r"|procedure analyse|waitfor delay|sqlite_version ?\(|sqlite_master|pg_read_file ?\("
    r"|case when|concat ?\( ?0x"
    r"|if ?\( ?\(? ?(?:substr|select|ascii)|geometrycollection ?\(|polygon ?\(|multipoint ?\("
    r"|json_keys ?\(|gtid_sub)",
    "sleep", "benchmark", "extractvalue", "updatexml", "load_file", "xp_", "dbms_", "utl_", "randomblob",
    "sysobjects", "information_schema", "into ", "@@", "ascii", "substr", "mid", "exists", "name_const", "exp",
    "analyse", "waitfor", "sqlite_", "pg_read", "case when", "concat", "if", "geometry", "polygon",
    "multipoint", "json_keys", "gtid",
)  # fmt: skip
# Those that spreadsheets have as well.
SHEET_FUNCTION = shape(
    BEFORE_FUNCTION + r"(?:char ?\( ?\d{2,3} ?[,)]|if ?\( ?\(? ?(?:\d{1,6} ?=|now|length)|ascii ?\( ?mid)",
    "char", "if", "ascii", unless=(_is_in_formula,),
)  # fmt: skip
# `sleep(5)#`: put in the place of a value.
PLACED = shape(
    r"^[ (+-]{0,4}+(?:sleep|benchmark|pg_sleep|randomblob)\([^;]{1,60}?\)[ )]{0,4}+(?:--|#|/\*|[=+|] ?" + QUOTE + r")",
    "sleep(", "benchmark(", "randomblob(",
)  # fmt: skip
# `1 and (select …)`.
SUBQUERY = shape(r"(?:\d|" + QUOTE + r"|\))[ )]{0,4}+(?:and|or|xor|=|<|>|,|\+|-|\*|/) ?\({1,4} ?select\b", "select")
# `1 order by 10--`, `' group by id having 1=1`.
ORDER = shape(
    r"(?:" + QUOTE + r"|^-?\d{1,9})[ )]{0,6}+(?:order|group) by [\w.,() ]{1,60}?(?:--|#|having\b|;|$)",
    "order by",
    "group by",
)
# `' || (select …)`, `'+(select …)+'`.
JOINED = shape(
    OUT + r"(?:[ )]{0,6}+(?:(?:and|or|xor|like|div|\|\||&&|\+|-|\*|/|=|;|\^)[ (!~]{0,6}+(?:select\b|case when\b"
    r"|not ?(?:\d|\(|true|false|null|exists)|(?:if|exists|ascii|length|substr\w{0,6}|chr|char|concat|cast|convert|user"
    r"|version|db_name|database|hex|ord|mid|row) ?\()"
    # As words they are said of words: `'we' or user`.
    r"|(?:\|\||\+|-|\*|\^)[ (!~]{0,6}+(?:user|version|current_user|database)\b)"
    r"| ?\|\| ?" + QUOTE + r")",
    "'", '"', "`", "´", unless=(_is_closed,),
)  # fmt: skip

SHAPES = (
    TAUTOLOGY, QUOTED_CONDITION, QUOTED_TRUTH, QUOTED_TRUTH_AT_END, CUT_OFF, EQUATION, STACKED, UNION, FUNCTION,
    SUBQUERY, PLACED, ORDER, JOINED, SHEET_FUNCTION,
)  # fmt: skip
VOCABULARY = frozenset(SQL)


def find(reading: Reading) -> Iterator[re.Match[str]]:
    """Yield what looks like a piece to be put into a query."""
    text = spell(reading.text)
    if not STATEMENT.match(text):
        yield from find_all(SHAPES, text)


def rest_of(reading: Reading) -> str:
    """Return what is written around the attack."""
    return spell(reading.text)


def spell(text: str) -> str:
    """Return a normalised text as a query would be read: comments are spaces, and so is `+` in an address."""
    if text.endswith("/*"):
        # What follows is in a comment, as behind `--`.
        text = text[:-2] + "--"
    if "/*" in text or "*/" in text:
        text = SPACES.sub(" ", COMMENT.sub(" ", EMPTY_COMMENT.sub(" ", text))).strip()
    if "+" in text and " " not in text:
        text = text.replace("+", " ")
    return text if text.count("\n") + 1 >= DOCUMENT_LINES else text.replace("\n", " ")
