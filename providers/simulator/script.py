"""What the simulator answers: a model's name read as a script, and the exact text that follows from it.

Pure, so that a test or a load test knows every answer without asking the server. A name is `sim` and words joined by
hyphens, in any order: `sim-n100-gap20`, `sim-n40-at10-cut`, `sim-echo-split`. The words stand in `Spec`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What goes wrong; each word strikes once `at` tokens are sent, but for the first, second and last."""

    HTTP = "http"  # never starts: `http429`, or `http400context`, `http400key`, `http502html`
    SILENT = "silent"  # headers, then nothing for ever
    STALL = "stall"
    HEARTBEAT = "heartbeat"  # like a stall, but with signs of life that are not text
    CUT = "cut"  # the response ends as HTTP demands, without a finish reason
    RESET = "reset"  # TCP RST
    ERROR = "error"  # the provider's own error, inside the stream
    MALFORMED = "malformed"  # a chunk that is not JSON, then as `cut`
    LENGTH = "length"
    FILTER = "filter"
    EMPTY = "empty"  # a natural end without any text


@dataclass(frozen=True)
class Spec:
    """One model's script. Numbers are words such as `n100`, a flag is its own name as a word."""

    n: int = 20  # tokens of text
    gap: int = 5  # ms between two of them
    first: int = 0  # ms before the first
    at: int | None = None  # tokens before the fault; None: half of them
    fault: Fault | None = None
    status: int = 0
    retry: int = 20  # seconds to wait, as the body of `http429` says in the provider's own way
    variant: str = ""  # of an HTTP error: "", "context", "key" or "html"
    echo: bool = False  # the last user message instead of counted words, or of an HTTP error's own sentence
    emoji: bool = False  # characters of one to four bytes
    split: bool = False  # each token's bytes in small pieces that cut characters anywhere
    reasoning: bool = False  # REASONING before the text
    think: bool = False  # the text holds a literal <think> in its middle
    thinkstart: bool = False  # the text starts with one, as some local models do
    newlines: bool = False  # the text ends in several
    cached: bool = False  # half of the input was read from the provider's cache
    nousage: bool = False
    slowclose: bool = False  # the connection stays open for SLOW_CLOSE_SECONDS after the finish reason


@dataclass(frozen=True)
class Answer:
    """What is sent before the end or the fault, piece by piece."""

    reasoning: tuple[str, ...]
    tokens: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the text as a reader should see it."""
        return "".join(self.tokens)


class UnknownModelError(ValueError):
    """A name that is not a script; a provider answers it with 404."""


# Enough to be a run of its own, and to outlast a clock when the gap is long.
REASONING = tuple(f"step{number} " for number in range(8))
SLOW_CLOSE_SECONDS = 1
# Short enough that an echo streams, long enough that a few MiB do not take a minute.
ECHO_CHARACTERS = 16

NUMBER = re.compile(r"(n|gap|first|at|retry)(\d{1,6})")
HTTP_ERROR = re.compile(r"http([45]\d\d)(context|key|html)?")
FLAGS = {name for name, kind in Spec.__annotations__.items() if kind == "bool"}
FAULTS = {fault.value for fault in Fault} - {Fault.HTTP}


def parse_model(name: str) -> Spec:
    """Return the script in a model's name.

    Raises UnknownModelError for any word that is unknown, said twice, or a second fault.
    """
    first, *words = name.split("-")
    fields: dict[str, Any] = {}
    for word in words:
        told = _read_word(word)
        if not told or fields.keys() & told.keys():
            raise UnknownModelError(name)
        fields |= told
    if first != "sim":
        raise UnknownModelError(name)
    return Spec(**fields)


def answer(spec: Spec, prompt: str) -> Answer:
    """Return what `spec` sends to a conversation whose last user message is `prompt`."""
    reasoning = REASONING if spec.reasoning else ()
    tokens = _whole(spec, prompt)
    match spec.fault:
        case Fault.HTTP | Fault.SILENT:
            return Answer((), ())
        case Fault.EMPTY:
            return Answer(reasoning, ())
        case None:
            return Answer(reasoning, tokens)
    return Answer(reasoning, tokens[: len(tokens) // 2 if spec.at is None else spec.at])


def count_tokens(characters: int) -> int:
    """Return the input tokens of a request with so many characters in all its messages: one for each four."""
    return -(-characters // 4)


def _read_word(word: str) -> dict[str, Any]:
    if found := NUMBER.fullmatch(word):
        return {found[1]: int(found[2])}
    if found := HTTP_ERROR.fullmatch(word):
        return {"fault": Fault.HTTP, "status": int(found[1]), "variant": found[2] or ""}
    if word in FAULTS:
        return {"fault": Fault(word)}
    return {word: True} if word in FLAGS else {}


def _whole(spec: Spec, prompt: str) -> tuple[str, ...]:
    if spec.echo:
        tokens = [prompt[at : at + ECHO_CHARACTERS] for at in range(0, len(prompt), ECHO_CHARACTERS)]
    elif spec.emoji:
        # One, two, three and four bytes a character.
        tokens = [f"é{number}漢😀 " for number in range(spec.n)]
    else:
        tokens = [f"word{number} " for number in range(spec.n)]
    if spec.think:
        tokens[len(tokens) // 2 : len(tokens) // 2] = ["<think>", "x", "</think>"]
    if spec.thinkstart:
        tokens[:0] = ["<think>", "reason", "</think>"]
    if spec.newlines:
        tokens += ["\n", "\n\n"]
    return tuple(tokens)
