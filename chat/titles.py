"""What a conversation is called until a person names it: made from its first exchange, without asking a model.

All but the last function are pure.
"""

from __future__ import annotations

import re
import unicodedata
import uuid

from chat.models import Conversation, Message, Role

# Of a title that is made. A person's own may be as long as the column.
LENGTH = 60
OWN_LENGTH = 200
# Only the beginning is looked at: a title is in it or nowhere.
LOOKED_AT = 4000

FENCE = re.compile(r"^\s*(```|~~~)")
# Signs in front of a line: heading, quote, list, task.
BEFORE = re.compile(r"^\s*(?:(?:#{1,6}|>|[-*+•]|\d{1,3}[.)])\s+|\[[ xX]\]\s+)+")
IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s[^)]*)?\)")
EMPHASIS = re.compile(r"(\*\*|__|~~|`|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w))")
# Overrides of the direction of writing. Joiners stay: Persian and emoji are spelled with them.
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
QUOTES = "\"'“”„‟‘’«»‹›「」『』"
# In the languages that people are likely to write here.
GREETINGS = (
    *("hi", "hello", "hey", "hiya", "greetings", r"good (?:morning|afternoon|evening|day)", r"dear \w+"),
    *("hallo", "moin", "servus", r"guten (?:morgen|tag|abend)", "bonjour", "bonsoir", "salut"),
    *("hola", "buenos días", r"buenas (?:tardes|noches)", "ciao", "buongiorno", "olá"),
    *("привет", "здравствуйте", "שלום", "היי", "مرحبا", "你好", "您好", "こんにちは"),
)
GREETED = ("there", "all", "everyone", "again", "sasha", "assistant", "chatgpt", "claude", "gemini", "zusammen")
REQUESTS = (
    r"(?:can|could|would|will) you(?: please| kindly)?(?: help me(?: to)?)?",
    r"please(?: help me(?: to)?)?",
    r"(?:i want|i need|i would like|i'd like) you to",
    r"help me(?: to)?",
    "kindly",
    r"(?:kannst|könntest|würdest) du(?: mir)?(?: bitte)?",
    r"können sie(?: mir)?(?: bitte)?",
    "bitte",
    r"(?:peux-tu|pouvez-vous|pourriez-vous)(?: s'il (?:te|vous) plaît)?",
)
# What says nothing about a conversation where it is all that is said.
SMALL_TALK = (
    *(r"thanks?(?: you)?", r"ok(?:ay)?", "yes", "no", r"test(?:ing)?", "sup", "yo", "what's up"),
    *(r"how are you(?: (?:doing|today))?", "are you there", "danke", "ja", "nein"),
)


def _begins_with(*choices: str, then: str = "") -> re.Pattern[str]:
    # What follows must not be a letter: "hi" is not "history".
    return re.compile(rf"(?:{'|'.join(choices)}){then}(?![^\W_]|-\w)[\s,;:.!?…—–-]*", re.IGNORECASE)


GREETING = _begins_with(*GREETINGS, then=rf"(?:[ ,]+(?:{'|'.join(GREETED)})(?![^\W_]))?")
REQUEST = _begins_with(*REQUESTS)
EMPTY = _begins_with(*SMALL_TALK)


def from_question(text: str) -> str:
    """Return what a question is about, or "" where it does not say."""
    for line in _lines(text):
        rest = _without_manners(line)
        if any(sign.isalnum() for sign in rest):
            return shorten(rest)
    return ""


def from_answer(text: str) -> str:
    """Return the first heading of an answer, or its first sentence, or ""."""
    lines = _lines(text)
    headings = [line for line in text[:LOOKED_AT].splitlines() if re.match(r"^\s{0,3}#{1,6}\s+\S", line)]
    for line in [_plain(headings[0])] if headings else lines:
        rest = GREETING.sub("", line, count=1) if GREETING.match(line) else line
        # A sentence ends before a space: "3.11" has none.
        sentence = re.split(r"(?<=[.!?。！？])(?:\s|(?<=[。！？]))", rest)[0]
        if any(sign.isalnum() for sign in sentence):
            return shorten(sentence)
    return ""


def provisional(text: str) -> str:
    """Return a title for a question that says nothing, for as long as there is no answer: its first line."""
    first = next(iter(_lines(text)), "") or clean(text)
    return shorten(first)


def clean(text: str) -> str:
    """Return a title as a person typed it: one line, without control characters, as long as there is room for."""
    # What turns the direction of writing round would turn the page round as well.
    kept = (
        sign for sign in text if sign.isspace() or (unicodedata.category(sign) not in ("Cc", "Cs") and sign not in BIDI)
    )
    return " ".join("".join(kept).split())[:OWN_LENGTH].rstrip()


def shorten(line: str) -> str:
    """Return a line as a title: sentence case, no full stop, cut at a word where it is too long."""
    line = clean(line).strip(QUOTES).strip().rstrip(".,;:…")
    if len(line) > LENGTH:
        cut = line[: LENGTH - 1]
        # A word that was cut goes, but for languages without spaces.
        if not line[LENGTH - 1].isspace() and " " in cut[LENGTH // 2 :]:
            cut = cut.rsplit(" ", 1)[0]
        line = cut.rstrip(" ,;:.–—-") + "…"
    return _sentence_case(line)


def _sentence_case(line: str) -> str:
    first = re.match(r"\S*", line)[0]  # type: ignore[index]
    # Names such as iPhone and my_function() are spelled so on purpose.
    return line if first[1:] != first[1:].lower() or re.search(r"[_()./\\=\d]", first) else line[:1].upper() + line[1:]


def _lines(text: str) -> list[str]:
    """Return the lines with words, without their markup; those of code only where there are no others."""
    prose: list[str] = []
    code: list[str] = []
    fence = ""
    for line in text[:LOOKED_AT].splitlines():
        mark = FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif line.strip():
            (code if fence else prose).append(line)
    plain = [words for line in prose if (words := _plain(line))]
    return plain or [line.strip() for line in code]


def _plain(line: str) -> str:
    line = IMAGE_OR_LINK.sub(r"\1", BEFORE.sub("", line))
    return EMPHASIS.sub("", line).strip().strip(QUOTES).strip()


def _without_manners(line: str) -> str:
    """Return a line without what politeness puts in front of it, "" where nothing else is there."""
    before = None
    while line != before:
        before = line
        for manner in (GREETING, REQUEST):
            if match := manner.match(line):
                line = line[match.end() :].lstrip()
    return "" if EMPTY.fullmatch(line) else line


def retitle(reply_id: uuid.UUID) -> Conversation | None:
    """Name the conversation after its first answer, which has just ended, where the question did not say enough.

    Returns the conversation with its owner where it has a new title now.
    """
    first = Message.objects.filter(pk=reply_id, parent__role=Role.USER, parent__parent=None)
    found = first.filter(conversation__has_own_title=False).values_list("conversation", "parent__text", "text").first()
    if found is None or from_question(found[1]) or not (title := from_answer(found[2])):
        return None
    # A person may be naming it this moment.
    unnamed = Conversation.objects.filter(pk=found[0], has_own_title=False).exclude(title=title)
    return Conversation.objects.select_related("owner").get(pk=found[0]) if unnamed.update(title=title) else None
