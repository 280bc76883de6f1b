"""What must follow from a message, told from the design's table alone, and what is wrong with what did. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from monitoring.faults.rows import Row
from providers.endings import RULES, Ending

# A repetition of the last words is dropped from this length on.
SHORTEST_OVERLAP = 12
LONGEST_OVERLAP = 400
CONTINUE, ASK, OFF = "continue", "ask", "off"
# What the provider itself says of the time to come is the transcript's matter.
RETRY = re.compile(r" It may be asked again in \d+ s\.$")


@dataclass(frozen=True)
class Case:
    """One message to send. `chain`: everybody who can be asked, in the order in which they must be.

    `requested` names the model asked for, "": none. `stop_after`: so many words later the person stops it.
    `alternatives`: how many stand behind the first.
    """

    number: int
    session: str
    message: str
    requested: str
    chain: tuple[Row, ...]
    policy: str = CONTINUE
    stop_after: int = 0
    alternatives: int = 0

    @property
    def first(self) -> Row:
        return self.chain[0]


@dataclass(frozen=True)
class Notice:
    """A notice that the reader sees: its kind, whose place was taken, and by whom."""

    kind: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True)
class Expected:
    """What a message must come to. `attempts` are slug and ending of each process, in order."""

    ending: Ending
    attempts: tuple[tuple[str, str], ...]
    text: str
    notices: tuple[Notice, ...]
    error: str
    provider: str


@dataclass
class Seen:
    """What the one who asked saw. `completes` counts frames of that name, `trouble` broke the rules of the wire."""

    reply_id: str = ""
    completes: int = 0
    text: str = ""
    notices: list[Notice] = field(default_factory=list)
    error: str = ""
    ending: str = ""
    provider: str = ""
    attempts: int = 0
    cost_usd: str | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Stored:
    """What the reply's row says."""

    state: str
    ending: str
    text: str
    cost_usd: Decimal | None


@dataclass(frozen=True)
class Tried:
    """One attempt of the ledger, as far as the story goes."""

    slug: str
    ending: str
    text_from: int
    cost_usd: Decimal | None


def expect(case: Case) -> Expected:
    """Tell the story of `case` by the rules."""
    left, text, notices = list(case.chain), "", list[Notice]()
    tried: list[Row] = []
    # Who spoke last decides the ending; who added to the text last is its author.
    speaker: Row | None = None
    author: Row | None = None
    while left:
        row = left.pop(0)
        tried.append(row)
        if row.text:
            speaker = row
        if (joined := join(text, row.text)) != text:
            notices += _introduce(case, author, row)
            text, author = joined, row
        left = _who_is_next(left, row, has_text=bool(row.text))
        if left and text and case.policy != CONTINUE:
            if case.policy == ASK and author:
                notices.append(Notice("ask", author.name, left[0].name))
            break
    last = speaker or tried[-1]
    ending = Ending.STOPPED if case.stop_after else last.fault.ending
    endings = [(row.slug, row.fault.ending.value) for row in tried]
    if case.stop_after:
        endings = [(last.slug, Ending.STOPPED.value)]
    return Expected(ending, tuple(endings), text, tuple(notices), _sentence(ending, tried, text), (author or last).slug)


def join(before: str, text: str) -> str:
    """Return both as one, without what the second repeats of the first's end."""
    for length in range(min(len(before), len(text), LONGEST_OVERLAP), SHORTEST_OVERLAP - 1, -1):
        if before.endswith(text[:length]):
            return before + text[length:]
    return before + text


def _introduce(case: Case, author: Row | None, row: Row) -> list[Notice]:
    if author:
        return [Notice("seam", author.name, row.name)]
    if case.requested and row.name != case.requested:
        return [Notice("fallback", case.requested, row.name)]
    return []


def _who_is_next(left: list[Row], failed: Row, *, has_text: bool) -> list[Row]:
    ending = failed.fault.ending
    if ending is Ending.REJECTED and not has_text:
        return [row for row in left if (row.context_window or 0) > (failed.context_window or 0)]
    rule = RULES[ending]
    return left if (rule.next_after if has_text else rule.next_before) else []


def _sentence(ending: Ending, tried: Sequence[Row], text: str) -> str:
    """Return the sentence of the `error` frame, or "" where there must be none."""
    if not ending.failed:
        return ""
    if text or len(tried) == 1:
        return ending.sentence
    words = [f"{row.name}: {_in_words(row.fault.ending)}" for row in tried]
    return f"Nobody could answer. {'; '.join(words)}."


def _in_words(ending: Ending) -> str:
    return ending.sentence[0].lower() + ending.sentence[1:].rstrip(".")


def judge(case: Case, seen: Seen, stored: Stored | None, tried: Sequence[Tried]) -> list[str]:
    """Return what is wrong with what `case` came to, in a few words each; nothing where all is as designed."""
    if not seen.reply_id:
        return [f"not accepted: {seen.error or seen.trouble or 'no word'}"]
    expected = expect(case)
    wrong = [seen.trouble] if seen.trouble else []
    if seen.completes != 1:
        wrong.append(f"lost: {seen.completes} complete frames")
    if stored is None or stored.state != "ended":
        wrong.append("lost: its row has not ended")
    wrong += _differences(
        {
            "ending": (seen.ending, expected.ending.value),
            "attempts": (tuple((one.slug, one.ending) for one in tried), expected.attempts),
            "notices": (tuple(seen.notices), expected.notices),
            "error": (RETRY.sub("", seen.error), expected.error),
            "provider": (seen.provider, expected.provider),
            "attempts told": (seen.attempts, len(tried)),
        }
    )
    wrong += _judge_text(case, seen, expected)
    if stored is not None:
        wrong += _judge_row(seen, stored, tried)
    return wrong


def _differences(pairs: Mapping[str, tuple[object, object]]) -> list[str]:
    return [f"{name} {told!r}, not {wanted!r}" for name, (told, wanted) in pairs.items() if told != wanted]


def _judge_text(case: Case, seen: Seen, expected: Expected) -> list[str]:
    text = seen.text
    if case.stop_after:
        return [] if text and expected.text.startswith(text) else ["text is no beginning"]
    if text == expected.text:
        return []
    if seen.ending == Ending.COMPLETE and expected.text.startswith(text):
        return ["cut called complete"]
    return [f"text {text!r}, not {expected.text!r}"]


def _judge_row(seen: Seen, stored: Stored, tried: Sequence[Tried]) -> list[str]:
    """Compare the row with what was seen, and with its attempts."""
    costs = [one.cost_usd for one in tried]
    total = None if None in costs or not costs else sum((cost for cost in costs if cost is not None), Decimal(0))
    told = None if seen.cost_usd is None else Decimal(seen.cost_usd)
    return _differences(
        {
            "stored ending": (stored.ending, seen.ending),
            "stored text": (stored.text, seen.text),
            "stored cost": (stored.cost_usd, total),
            "cost told": (told, total),
        }
    )
