"""What the provider really said: a parser of aichat's debug log, the only place where usage and finish reasons show.

Pure: bytes and times in, facts out. Line shapes were read off aichat 0.30.0:

    TIMESTAMP [DEBUG] aichat::client::common: Request URL BODY
    TIMESTAMP [DEBUG] aichat::client::common: Invalid response, status: N, data: JSON
    TIMESTAMP [DEBUG] aichat::client::openai|claude|vertexai|cohere: stream-data: JSON

Bedrock writes its request from its own module, and before the JSON of a chunk the name of its event.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from providers.endings import Finish


@dataclass(frozen=True)
class Usage:
    """Tokens as billed. `input` is fresh input only; `output` includes `reasoning`. None: not reported."""

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None


class Transcript:
    """Collects the facts of one attempt from its debug log, fed in pieces of any size.

    Nothing of the `Request` line is kept but its time: it holds the prompt, and for Gemini the key.
    """

    def __init__(self) -> None:
        self.request_at: float | None = None
        self.finish: Finish | None = None
        self.usage: Usage | None = None
        self.in_band_error = False
        self.http_status: int | None = None
        self.error_type = ""
        self.error_text = ""
        # How long the provider wants to be left alone, where its error says so.
        self.retry_seconds: float | None = None
        # Runs of reasoning begun so far: each is one <think> that aichat itself wrote on stdout.
        self.reasoning_runs = 0
        # The latest piece of either, and the line that holds it where nobody has asked for it yet.
        self._last_text = ""
        self._last_line: tuple[bytes, bytes | None, bytes] | None = None
        # Whether the log stands in the middle of a line that is not kept.
        self.skipping = False
        self._reasoning_open = False
        self._buffer = bytearray()

    def feed(self, data: bytes, now: float) -> None:
        """Take what was read from the log at `now` (monotonic seconds)."""
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if not self.skipping:
                self._line(line, now)
            self.skipping = False
        if self.skipping or self._is_request(self._buffer, now) or len(self._buffer) > LINE_BYTES:
            # The prompt may be megabytes without a newline: never buffered.
            self.skipping = True
            self._buffer.clear()

    def _is_request(self, line: bytes | bytearray, now: float) -> bool:
        found = REQUEST.match(line)
        if found and self.request_at is None:
            self.request_at = now
        return bool(found)

    def _line(self, line: bytes, now: float) -> None:
        if self._is_request(line, now):
            return
        if found := STREAM_DATA.match(line):
            if not self._reasoning_open and not TELLING.search(line, found.end(1)):
                # Text alone, like nine lines of ten: only the last of them is ever asked for.
                self._last_line = found[1], found[2], line[found.end() :]
                return
            self._read_last_line()
            self._chunk(found[1], found[2], line[found.end() :])
        elif found := INVALID_RESPONSE.match(line):
            self.http_status = int(found[1])
            self._error(_parse(line[found.end() :]))

    @property
    def last_text(self) -> str:
        """The latest piece of text or reasoning."""
        self._read_last_line()
        return self._last_text

    def _read_last_line(self) -> None:
        if self._last_line:
            last, self._last_line = self._last_line, None
            self._chunk(*last)

    def _chunk(self, dialect: bytes, event: bytes | None, line: bytes) -> None:
        if isinstance(data := _parse(line), dict):
            if event:
                data = {event.decode(): data}
            # A provider may send any JSON; where the shape is not that of its reference, it tells nothing.
            with contextlib.suppress(AttributeError, KeyError, TypeError):
                DIALECTS.get(dialect, _openai)(self, data)

    def _error(self, data: Any) -> None:
        complaint = read_error(data)
        self.error_type, self.error_text = complaint.type, complaint.text
        self.retry_seconds = complaint.retry_seconds

    def _text(self, text: object) -> None:
        if isinstance(text, str) and text:
            self._last_text = text
            self._reasoning_open = False

    def _reasoning(self, text: object, *, or_empty: bool = False) -> None:
        if isinstance(text, str) and (text or or_empty):
            self._last_text = text
            self.reasoning_runs += not self._reasoning_open
            self._reasoning_open = True

    def _count(self, **tokens: int | None) -> None:
        """Merge counts into `usage`: providers report them in pieces, the latest word of each wins."""
        told = {name: count for name, count in tokens.items() if isinstance(count, int) and 0 <= count <= MOST_TOKENS}
        self.usage = replace(self.usage or Usage(), **told)


@dataclass(frozen=True)
class Complaint:
    """A provider's error: its words for what kind it is, its sentence, and how long it wants to be left alone."""

    type: str
    text: str
    retry_seconds: float | None = None


def read_error(data: Any) -> Complaint:
    """Return what an error object says, in any of the shapes seen."""
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        text = str(error.get("message") or error.get("Message") or "")[:ERROR_TEXT]
    else:
        text = str(error)[:ERROR_TEXT]
        # xAI puts the kind of an error beside its sentence.
        error = {"code": data.get("code")} if isinstance(data, dict) else {}
    details = [part for part in _list(error.get("details")) if isinstance(part, dict)]
    violations = [part for detail in details for part in _list(detail.get("violations")) if isinstance(part, dict)]
    names = [error.get("type"), error.get("code"), error.get("status")]
    names += [detail.get("reason") for detail in details] + [part.get("quotaId") for part in violations]
    delays = [_find_duration(str(detail["retryDelay"])) for detail in details if "retryDelay" in detail]
    return Complaint(
        " ".join(str(name) for name in names if name)[:ERROR_TEXT],
        text,
        next(iter(delays), None) or _find_retry(text),
    )


def _openai(transcript: Transcript, data: dict[str, Any]) -> None:
    if data.get("error"):
        transcript.in_band_error = True
        transcript._error(data)
    for choice in (data.get("choices") or [])[:1]:
        delta = choice.get("delta") or {}
        if delta.get("content"):
            transcript._text(delta["content"])
        else:
            # The order in which aichat looks for it.
            transcript._reasoning(delta.get("reasoning_content") or delta.get("reasoning"))
        if reason := choice.get("finish_reason"):
            transcript.finish = OPENAI_FINISH.get(reason, transcript.finish)
    if usage := data.get("usage"):
        # Cached tokens are part of prompt_tokens, reasoning ones of completion_tokens.
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        prompt = usage.get("prompt_tokens")
        transcript._count(
            input=_fresh(prompt, cached),
            cache_read=cached,
            output=usage.get("completion_tokens"),
            reasoning=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
        )


def _claude(transcript: Transcript, data: dict[str, Any]) -> None:
    match data.get("type"):
        case "error":
            transcript.in_band_error = True
            transcript._error(data)
        case "message_start":
            _claude_usage(transcript, (data.get("message") or {}).get("usage"))
        case "content_block_delta":
            delta = data.get("delta") or {}
            transcript._text(delta.get("text"))
            # aichat opens its tag for an empty piece of thinking too, in this dialect alone.
            transcript._reasoning(delta.get("thinking"), or_empty=True)
        case "content_block_stop":
            transcript._reasoning_open = False
        case "message_delta":
            if reason := (data.get("delta") or {}).get("stop_reason"):
                transcript.finish = CLAUDE_FINISH.get(reason)
            _claude_usage(transcript, data.get("usage"))


def _claude_usage(transcript: Transcript, usage: dict[str, Any] | None) -> None:
    if usage:
        # input_tokens are the fresh ones alone; output_tokens is a running total.
        transcript._count(
            input=usage.get("input_tokens"),
            cache_read=usage.get("cache_read_input_tokens"),
            cache_write=usage.get("cache_creation_input_tokens"),
            output=usage.get("output_tokens"),
        )


def _gemini(transcript: Transcript, data: dict[str, Any]) -> None:
    if data.get("error"):
        transcript.in_band_error = True
        transcript._error(data)
    if (data.get("promptFeedback") or {}).get("blockReason"):
        transcript.finish = Finish.FILTER
    for candidate in (data.get("candidates") or [])[:1]:
        parts = (candidate.get("content") or {}).get("parts") or []
        texts = [part["text"] for part in parts if isinstance(part.get("text"), str)]
        transcript._text(texts[-1] if texts else None)
        if reason := candidate.get("finishReason"):
            # Google names a dozen reasons to refuse and may add more; each means that the answer was withheld.
            transcript.finish = GEMINI_FINISH.get(reason, Finish.FILTER)
    if usage := data.get("usageMetadata"):
        prompt, cached = usage.get("promptTokenCount"), usage.get("cachedContentTokenCount")
        answer, thoughts = usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount")
        transcript._count(
            input=_fresh(prompt, cached),
            cache_read=cached,
            # Google leaves zeros out: at the end a missing count is one, before it nothing is known yet.
            output=(answer or 0) + (thoughts or 0) if transcript.finish or answer or thoughts else None,
            reasoning=thoughts,
        )


def _cohere(transcript: Transcript, data: dict[str, Any]) -> None:
    """https://docs.cohere.com/v2/docs/streaming."""
    delta = data.get("delta") or {}
    if data.get("type") in ("content-delta", "tool-plan-delta"):
        message = delta.get("message") or {}
        transcript._text((message.get("content") or {}).get("text") or message.get("tool_plan"))
    elif data.get("type") == "message-end":
        reason = delta.get("finish_reason")
        transcript.finish = COHERE_FINISH.get(str(reason))
        if reason in COHERE_FAILURES or delta.get("error"):
            transcript.in_band_error = True
            transcript._error({"error": {"type": reason, "message": delta.get("error")}})
        # What is billed: `tokens` also counts what Cohere adds of its own.
        if billed := (delta.get("usage") or {}).get("billed_units"):
            transcript._count(input=_whole(billed.get("input_tokens")), output=_whole(billed.get("output_tokens")))


def _bedrock(transcript: Transcript, data: dict[str, Any]) -> None:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, by the event's name."""
    match data:
        case {"contentBlockDelta": {"delta": {"text": text}}}:
            transcript._text(text)
        case {"contentBlockDelta": {"delta": {"reasoningContent": {"text": text}}}}:
            transcript._reasoning(text, or_empty=True)
        case {"contentBlockStop": _}:
            transcript._reasoning_open = False
        case {"messageStop": {"stopReason": reason}}:
            transcript.finish = BEDROCK_FINISH.get(reason)
        case {"metadata": {"usage": usage}}:
            # As Anthropic counts: inputTokens are the fresh ones alone.
            transcript._count(
                input=usage.get("inputTokens"),
                cache_read=usage.get("cacheReadInputTokens"),
                cache_write=usage.get("cacheWriteInputTokens"),
                output=usage.get("outputTokens"),
            )


def _whole(count: object) -> int | None:
    # Cohere's reference has decimals here.
    return int(count) if isinstance(count, (int, float)) and math.isfinite(count) else None


def _fresh(prompt: int | None, cached: int | None) -> int | None:
    # More cached than there was at all: a server that counts the two apart, whatever the dialect's reference says.
    if prompt is None or not cached or cached > prompt:
        return prompt
    return prompt - cached


# The module that logs names the dialect: Gemini's chunks come from aichat's vertexai module.
DIALECTS: dict[bytes, Callable[[Transcript, dict[str, Any]], None]] = {
    b"openai": _openai,
    b"claude": _claude,
    b"vertexai": _gemini,
    b"cohere": _cohere,
    b"bedrock": _bedrock,
}
# OpenAI's own, and what services that speak its dialect say instead. An unknown word proves nothing.
OPENAI_FINISH = {
    "stop": Finish.NATURAL,
    "tool_calls": Finish.NATURAL,
    "function_call": Finish.NATURAL,
    "eos": Finish.NATURAL,
    "eos_token": Finish.NATURAL,
    "end_turn": Finish.NATURAL,
    "stop_sequence": Finish.NATURAL,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "content_filter": Finish.FILTER,
}
CLAUDE_FINISH = {
    "end_turn": Finish.NATURAL,
    "stop_sequence": Finish.NATURAL,
    "tool_use": Finish.NATURAL,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.FILTER,
}
GEMINI_FINISH = {"STOP": Finish.NATURAL, "MAX_TOKENS": Finish.LENGTH}
COHERE_FINISH = {
    "COMPLETE": Finish.NATURAL,
    "STOP_SEQUENCE": Finish.NATURAL,
    "TOOL_CALL": Finish.NATURAL,
    "MAX_TOKENS": Finish.LENGTH,
    "ERROR_LIMIT": Finish.LENGTH,
    "ERROR_TOXIC": Finish.FILTER,
}
COHERE_FAILURES = {"ERROR", "TIMEOUT"}
BEDROCK_FINISH = CLAUDE_FINISH | {"content_filtered": Finish.FILTER, "guardrail_intervened": Finish.FILTER}

PREFIX = rb"\S+ \[DEBUG\] aichat::client::"
REQUEST = re.compile(PREFIX + rb"(?:common|bedrock): Request ")
STREAM_DATA = re.compile(PREFIX + rb"(\w+): stream-data: (?:(\w+) )?")
# What a chunk must hold to say more than text, or not even that, in any dialect. aichat writes it compactly.
TELLING = re.compile(
    rb'"(?:finish_reason|stop_reason|finishReason|blockReason)":"|"usage":\{|usageMetadata|"error"|'
    rb"reasoning|thinking|thought|message_|content_block_st|contentBlockSt|messageSt|metadata |"
    rb'"type":"(?:content-end|citation-)|"(?:content|text)": ?""'
)
INVALID_RESPONSE = re.compile(PREFIX + rb"common: Invalid response, status: (\d{3}), data: ")
# A longer line is given up: no provider sends such a chunk.
LINE_BYTES = 4 * 1024 * 1024
# What the columns hold.
MOST_TOKENS = 2**31 - 1
# Characters kept of a provider's error: enough for any sentence, too little for a page of HTML.
ERROR_TEXT = 2_000
# "20s", "34.07s", "1m12.5s", "6ms", "2 minutes 5 seconds"; more digits than these are no time.
DURATION = (
    r"(?:\d{1,9}(?:\.\d{1,12})?\s?(?:ms|milliseconds?|[smhd]|sec(?:ond)?s?|min(?:ute)?s?|hours?|days?)(?![a-z])\s?)+"
)
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s?([a-z]+)")
RETRY = re.compile(rf"\b(?:try again|retry(?: your requests?)?) (?:in|after) ({DURATION})", re.IGNORECASE)
# By the first letter, but for the one that two units share.
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
# Nobody is left alone for longer on a provider's word.
MOST_RETRY_SECONDS = 86_400


def _find_retry(sentence: str) -> float | None:
    found = RETRY.search(sentence)
    return _find_duration(found[1]) if found else None


def _find_duration(text: str) -> float | None:
    """Return the seconds that `text` says, or None where it is no duration, or none that anybody would wait."""
    if not re.fullmatch(DURATION, text, re.IGNORECASE):
        return None
    seconds = 0.0
    for number, unit in DURATION_PART.findall(text.lower()):
        seconds += float(number) * (0.001 if unit.startswith(("ms", "milli")) else UNIT_SECONDS[unit[0]])
    return seconds if 0 < seconds <= MOST_RETRY_SECONDS else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
