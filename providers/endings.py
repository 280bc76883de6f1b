"""How an attempt ended, decided from evidence alone: one enum, one pure function.

The exit code proves little (aichat leaves with 0 after a cut stream), so what the provider said comes first.
The table behind it is docs/endings.md; what each provider's errors mean is in providers/errors.py.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from providers.errors import Meaning, find_meaning


class Ending(StrEnum):
    """How an attempt, and in the end a reply, ended. Only `complete` means that the answer is whole."""

    COMPLETE = "complete"
    LENGTH = "length"
    FILTERED = "filtered"
    EMPTY = "empty"
    CUT = "cut"
    STALLED = "stalled"
    TIMED_OUT = "timed_out"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    MISCONFIGURED = "misconfigured"
    UNAUTHORISED = "unauthorised"
    PROVIDER_ERROR = "provider_error"
    UNREACHABLE = "unreachable"
    CRASHED = "crashed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    NOT_STARTED = "not_started"

    @classmethod
    def choices(cls) -> list[tuple[str, str]]:
        """Return Django's choices: value and words."""
        return [(ending.value, ending.value.replace("_", " ")) for ending in cls]

    @property
    def failed(self) -> bool:
        """Whether the person is owed an `error` frame: neither an answer nor their own wish ended it."""
        return self not in (Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED, Ending.STOPPED)

    @property
    def sentence(self) -> str:
        """Return what happened, in words for the person who waited for the answer."""
        return gettext(SENTENCES[self])


# In English, as they are stored; `sentence` has them in the reader's language.
SENTENCES = {
    Ending.COMPLETE: _("The answer is whole."),
    Ending.LENGTH: _("The answer reached its length limit."),
    Ending.FILTERED: _("The provider's content filter ended the answer."),
    Ending.EMPTY: _("The provider ended the answer without a word."),
    Ending.CUT: _("The connection to the provider ended in the middle of the answer."),
    Ending.STALLED: _("The provider went silent in the middle of the answer."),
    Ending.TIMED_OUT: _("The provider took too long."),
    Ending.RATE_LIMITED: _("The provider takes no more requests from this site for now."),
    Ending.REJECTED: _("The provider refused this message; with all before it, it may be too long for the model."),
    Ending.MISCONFIGURED: _("The provider does not know this model or does not accept the request."),
    Ending.UNAUTHORISED: _("The provider does not accept this site's key."),
    Ending.PROVIDER_ERROR: _("The provider reported an error of its own."),
    Ending.UNREACHABLE: _("The provider cannot be reached."),
    Ending.CRASHED: _("The program that asks the provider failed."),
    Ending.STOPPED: _("The answer was stopped."),
    Ending.INTERRUPTED: _("The server restarted before this answer was whole."),
    Ending.NOT_STARTED: _("The answer could not be started."),
}


class Effect(StrEnum):
    """What an ending says about its provider's health."""

    SUCCESS = "success"
    NEUTRAL = "neutral"
    FAILURE = "failure"
    OPEN = "open"  # the provider is not asked again for a while
    OPEN_MODEL = "open for the model"


@dataclass(frozen=True)
class Rule:
    """What follows from an attempt's ending: for its provider's health, and whether the next provider is asked."""

    effect: Effect
    next_before: bool = False  # before the first token
    next_after: bool = False  # after it, with a seam


RULES = {
    Ending.COMPLETE: Rule(Effect.SUCCESS),
    Ending.LENGTH: Rule(Effect.SUCCESS),
    Ending.FILTERED: Rule(Effect.NEUTRAL),
    # A person can ask for nothing: that must not take a provider from everybody.
    Ending.EMPTY: Rule(Effect.NEUTRAL, next_before=True),
    Ending.CUT: Rule(Effect.FAILURE, next_before=True, next_after=True),
    Ending.STALLED: Rule(Effect.FAILURE, next_before=True, next_after=True),
    Ending.TIMED_OUT: Rule(Effect.FAILURE, next_before=True, next_after=True),
    Ending.RATE_LIMITED: Rule(Effect.OPEN, next_before=True, next_after=True),
    # Only to a model with more context: providers/routing.py.
    Ending.REJECTED: Rule(Effect.NEUTRAL),
    Ending.MISCONFIGURED: Rule(Effect.OPEN_MODEL, next_before=True, next_after=True),
    Ending.UNAUTHORISED: Rule(Effect.OPEN, next_before=True, next_after=True),
    Ending.PROVIDER_ERROR: Rule(Effect.FAILURE, next_before=True, next_after=True),
    Ending.UNREACHABLE: Rule(Effect.FAILURE, next_before=True, next_after=True),
    Ending.CRASHED: Rule(Effect.NEUTRAL, next_before=True, next_after=True),
    Ending.STOPPED: Rule(Effect.NEUTRAL),
    Ending.INTERRUPTED: Rule(Effect.NEUTRAL),
    Ending.NOT_STARTED: Rule(Effect.NEUTRAL),
}


class Finish(StrEnum):
    """A provider's own reason for its last token, whatever it calls it."""

    NATURAL = "natural"
    LENGTH = "length"
    FILTER = "filter"


class Clock(StrEnum):
    """Which of our limits ran out."""

    FIRST_TOKEN = "first token"
    IDLE = "idle"
    TOTAL = "total"


@dataclass(frozen=True)
class Evidence:
    """Everything that is known about one attempt once both of the child's pipes are at their end.

    `exit_code` is negative for a signal, as in subprocess, and None where no process started. `error_type` is the
    provider's own word for the error (`rate_limit_error`, `RESOURCE_EXHAUSTED`), `error_text` its sentence.
    """

    exit_code: int | None = None
    finish: Finish | None = None
    in_band_error: bool = False
    http_status: int | None = None
    error_type: str = ""
    error_text: str = ""
    stderr: str = ""
    request_sent: bool = False
    has_text: bool = False
    clock: Clock | None = None
    stopped: bool = False
    interrupted: bool = False
    too_long: bool = False
    # An exception of our own while the answer was read: some of it may be lost.
    broken: bool = False
    spawn_error: str = ""
    needs_finish_reason: bool = True
    # The kind of the provider, whose errors are read by its own table.
    kind: str = ""
    # Seconds after which the provider wants to be asked again, where its error says so.
    retry_seconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """An ending, and the one piece of evidence that decided it."""

    ending: Ending
    evidence: str


def decide(seen: Evidence) -> Verdict:
    """Return how the attempt ended.

    Precedence: what lost text here, an error of ours or our own size limit; a natural finish with exit 0, even if a
    stop came later; then the stop; then our own clocks; then what the provider said in the stream, by HTTP status, by
    finish reason; the exit code last.
    """
    if seen.spawn_error:
        return Verdict(Ending.NOT_STARTED, seen.spawn_error)
    if seen.broken:
        return Verdict(Ending.CRASHED, "error in the server")
    if seen.too_long:
        return Verdict(Ending.LENGTH, "size limit of a reply")
    if seen.finish is Finish.NATURAL and seen.exit_code == 0:
        return Verdict(Ending.COMPLETE if seen.has_text else Ending.EMPTY, "finish reason")
    return _decide_by_us(seen) or _decide_by_provider(seen) or _decide_by_exit(seen)


def _decide_by_us(seen: Evidence) -> Verdict | None:
    if seen.stopped:
        return Verdict(Ending.STOPPED, "stop request")
    if seen.interrupted:
        return Verdict(Ending.INTERRUPTED, "shutdown")
    if seen.clock is Clock.IDLE:
        return Verdict(Ending.STALLED, "idle clock")
    if seen.clock:
        return Verdict(Ending.TIMED_OUT, f"{seen.clock} clock")
    return None


def _decide_by_provider(seen: Evidence) -> Verdict | None:
    if seen.in_band_error:
        return _decide_by_error(seen, "error in the stream")
    if status := _find_status(seen):
        return _decide_by_error(seen, f"HTTP {status}")
    if seen.finish is Finish.LENGTH:
        return Verdict(Ending.LENGTH, "finish reason")
    if seen.finish is Finish.FILTER:
        return Verdict(Ending.FILTERED, "finish reason")
    return None


def _decide_by_error(seen: Evidence, by: str) -> Verdict:
    meaning, status = _find_meaning(seen), _find_status(seen)
    if meaning:
        return Verdict(ENDINGS[meaning], f"{by}, {meaning}" if meaning in NOTED else by)
    return Verdict(classify_status(status) if status else Ending.PROVIDER_ERROR, by)


def _decide_by_exit(seen: Evidence) -> Verdict:
    code = seen.exit_code
    if code == 0:
        if seen.needs_finish_reason:
            return Verdict(Ending.CUT, "no finish reason")
        return Verdict(Ending.COMPLETE if seen.has_text else Ending.EMPTY, "exit code")
    if code is None or code < 0:
        return Verdict(Ending.CRASHED, f"killed by {_signal_name(code)}")
    if code == RUST_PANIC or not seen.request_sent:
        missing_key = any(f"Miss '{name}'" in seen.stderr for name in KEY_FIELDS)
        return Verdict(Ending.UNAUTHORISED if missing_key else Ending.CRASHED, f"exit code {code}")
    if seen.has_text or (DECODING in seen.stderr and NOT_JSON not in seen.stderr):
        return Verdict(Ending.CUT, f"exit code {code}")
    if SENDING in seen.stderr:
        return Verdict(Ending.UNREACHABLE, "no connection")
    return Verdict(Ending.PROVIDER_ERROR if seen.stderr else Ending.CRASHED, f"exit code {code}")


# What aichat 0.30.0 (its HTTP library, reqwest) writes on stderr, and Rust's exit code after a panic.
SENDING = "error sending request"
DECODING = "error decoding response body"
# A body read whole that was no JSON: to Google's dialect, which hides the status, the page of a proxy.
NOT_JSON = " at line "
RUST_PANIC = 101

# What aichat calls a key.
KEY_FIELDS = ("api_key", "secret_access_key")

ENDINGS = {
    Meaning.KEY: Ending.UNAUTHORISED,
    # Nobody at this provider answers before an admin has done something.
    Meaning.CREDIT: Ending.UNAUTHORISED,
    Meaning.PLACE: Ending.UNAUTHORISED,
    Meaning.QUOTA: Ending.RATE_LIMITED,
    Meaning.BUSY: Ending.RATE_LIMITED,
    Meaning.SERVER: Ending.PROVIDER_ERROR,
    Meaning.CONTEXT: Ending.REJECTED,
    Meaning.CONTENT: Ending.REJECTED,
    Meaning.MODEL: Ending.MISCONFIGURED,
}
# Those that the ending alone would not tell.
NOTED = {Meaning.CREDIT, Meaning.PLACE, Meaning.QUOTA, Meaning.CONTENT}


def is_too_long(seen: Evidence) -> bool:
    """Whether the request was rejected for its length, so that a model with more context may take it."""
    return decide(seen).ending is Ending.REJECTED and _find_meaning(seen) is not Meaning.CONTENT


def is_spent(seen: Evidence) -> bool:
    """Whether a quota or the credit is used up: waiting a minute does not cure that."""
    return (seen.in_band_error or _find_status(seen) is not None) and _find_meaning(seen) in SPENT


SPENT = {Meaning.QUOTA, Meaning.CREDIT}


def classify_status(status: int) -> Ending:
    """Return what an HTTP status above 399 means where the body says nothing more precise."""
    if status in (401, 402, 403):
        return Ending.UNAUTHORISED
    if status == 429:
        return Ending.RATE_LIMITED
    if status in (408, 409, 425) or status >= 500:
        return Ending.PROVIDER_ERROR
    if status == 413:
        # This conversation is too large: nothing is wrong with the model's row.
        return Ending.REJECTED
    return Ending.MISCONFIGURED


def _find_meaning(seen: Evidence) -> Meaning | None:
    return find_meaning(seen.kind, _find_status(seen), seen.error_type, seen.error_text)


def _find_status(seen: Evidence) -> int | None:
    if seen.in_band_error:
        # A status that came too late to be one: some providers write it into the error.
        found = re.search(r"\b[45]\d\d\b", seen.error_type)
        return int(found[0]) if found else None
    return seen.http_status or _status_in(seen.stderr)


def _status_in(stderr: str) -> int | None:
    # "Invalid response data: … (status: 502)": the only trace of a body that is not JSON. The body may say it too.
    found = re.search(r"\(status: (\d{3})\)\s*\Z", stderr)
    return int(found[1]) if found else None


def _signal_name(code: int | None) -> str:
    try:
        return signal.Signals(-code).name if code else "nobody: it never ran"
    except ValueError:
        return f"signal {-code if code else 0}"
