"""What a text quotes, which is never judged: fenced and indented code, code spans, quotations, quoted lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
QUOTED_LINE = re.compile(r"^ {0,3}> .*$", re.MULTILINE)
INDENTED_LINE = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)
TICKS = re.compile(r"`+")
# In front of these the ticks belong to a shell or a script: `src=`…``, `a`id`b`.
GLUED = re.compile(r"[A-Za-z0-9=$>+-]")
# Marks that no shell, page or database knows. Bounded, for a mark that is never closed.
QUOTATION = re.compile(r"“[^“”]{1,2000}”|„[^„“”]{1,2000}[“”]|«[^«»]{1,2000}»|「[^「」]{1,2000}」|『[^『』]{1,2000}』")


@dataclass(frozen=True)
class Quoting:
    """A text in two parts: what is said in it, and the code spans within a line that it shows."""

    said: str
    spans: tuple[str, ...]


def set_apart(text: str) -> Quoting:
    """Split `text` into what is judged and what is only shown. A space stands for what was taken out."""
    if "```" in text or "~~~" in text:
        text = _without_fences(text)
    if "> " in text:
        text = QUOTED_LINE.sub(" ", text)
    text = _without_indented(text)
    spans: list[str] = []
    if "`" in text:
        text = _without_spans(text, spans)
    if not text.isascii():
        text = QUOTATION.sub(" ", text)
    return Quoting(text, tuple(spans))


def _without_fences(text: str) -> str:
    """Cut from each fence to the one that closes it, or to the end: so Markdown reads one that is never closed."""
    kept, at = [], 0
    while opening := FENCE.search(text, at):
        kept.append(text[at : opening.start()])
        at = _end_of_fence(text, opening)
    return " ".join([*kept, text[at:]])


def _end_of_fence(text: str, opening: re.Match[str]) -> int:
    for closing in FENCE.finditer(text, opening.end()):
        if closing[1].startswith(opening[1]):
            return closing.end()
    return len(text)


def _without_indented(text: str) -> str:
    """Cut lines that are indented as code, below one that is not: else everything could be indented."""
    if "\n    " not in text and "\n\t" not in text:
        return text
    first, _, rest = text.partition("\n")
    if not first.strip() or first[0] in " \t":
        return text
    return first + "\n" + INDENTED_LINE.sub(" ", rest)


def _without_spans(text: str, spans: list[str]) -> str:
    """Cut code between runs of as many back-ticks, and keep what was in it in `spans`."""
    runs = list(TICKS.finditer(text))
    # For each run the next one of its length, found from the end on: one pass, whatever is written.
    closings: list[re.Match[str] | None] = []
    next_of: dict[int, re.Match[str]] = {}
    for run in reversed(runs):
        closings.append(next_of.get(len(run[0])))
        next_of[len(run[0])] = run
    kept, at = [], 0
    for run, closing in zip(runs, reversed(closings), strict=True):
        if run.start() < at or closing is None or GLUED.match(text, run.start() - 1):
            continue
        kept.append(text[at : run.start()])
        spans.append(text[run.end() : closing.start()])
        at = closing.end()
    return " ".join([*kept, text[at:]])
