"""How OpenAI, Anthropic, Google and Cohere stream: their requests read, their chunks written.

For the simulator. Pure: bytes in, bytes out. The shapes follow the providers' public references:
https://platform.openai.com/docs/api-reference/chat-streaming, https://docs.anthropic.com/en/api/messages-streaming,
https://ai.google.dev/api/generate-content, https://docs.cohere.com/v2/docs/streaming.
"""

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from providers.endings import Finish
from providers.simulator.refusals import anthropic_error, cohere_error, google_error, openai_error
from providers.simulator.script import Spec, count_tokens
from providers.transcript import Usage


@dataclass(frozen=True)
class Question:
    """What one request asks: `prompt` is the last user message, `characters` are those of all messages together.

    `images` are the digests (SHA-256, hex) of all images, in the order in which they came.
    """

    model: str
    roles: tuple[str, ...]
    prompt: str
    characters: int
    streams: bool = True
    wants_usage: bool = True
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Message:
    """One message of a request, whatever its provider calls the parts."""

    role: str
    text: str
    images: tuple[str, ...] = ()

    @classmethod
    def read(cls, role: str, content: str | Iterable[dict[str, Any]] | None) -> Message:
        """Return the message of that content: a string, or parts."""
        parts = [] if content is None or isinstance(content, str) else list(content)
        return cls(role, text_of(content), tuple(digest for part in parts if (digest := digest_of(part))))


class BadRequestError(ValueError):
    """A request that the provider would refuse; the argument is its sentence."""


class Refusal(Protocol):
    """One of the functions of `refusals`."""

    def __call__(self, status: int, variant: str, model: str, *, sentence: str = "", retry: int = 20) -> Any: ...


class Dialect(ABC):
    """One answer in one provider's words. Tokens are counted as they are written, for the usage that ends it."""

    name: ClassVar[str]
    refuse: ClassVar[Refusal]
    # What it answers to a wrong key.
    key_status: ClassVar[int] = 401
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    # Keeps a connection alive and is not text.
    heartbeat: ClassVar[bytes]
    malformed: ClassVar[bytes] = b'data: {"choices": [oops]}\n\n'

    def __init__(self, question: Question, spec: Spec, number: int) -> None:
        self.question = question
        self.id = f"sim{number:08d}"
        self.reports_usage = question.wants_usage and not spec.nousage
        self.sent = 0
        self.thought = 0
        self.ended = False
        self.input = count_tokens(question.characters)
        self.cache_read = self.input // 2 if spec.cached else 0

    @classmethod
    @abstractmethod
    def read(cls, body: dict[str, Any], path_model: str) -> Question:
        """Return what `body` asks; `path_model` is the model where the address names it."""

    @classmethod
    @abstractmethod
    def list_models(cls, names: Iterable[str]) -> dict[str, Any]:
        """Return the provider's list of its models."""

    @property
    @abstractmethod
    def served(self) -> Usage:
        """Return what has been read and written up to now, in the transcript's terms: what would be billed."""

    @property
    @abstractmethod
    def usage(self) -> Usage | None:
        """Return what of it has been reported up to now."""

    @abstractmethod
    def opening(self) -> bytes:
        """Return what comes before the first token."""

    @abstractmethod
    def reasoning(self, text: str) -> bytes:
        """Return a piece of reasoning; empty where the provider keeps it to itself."""

    @abstractmethod
    def token(self, text: str) -> bytes:
        """Return a piece of text."""

    @abstractmethod
    def ending(self, finish: Finish) -> bytes:
        """Return the finish reason and the usage."""

    @abstractmethod
    def closing(self) -> bytes:
        """Return what ends the stream itself."""

    @abstractmethod
    def error(self) -> bytes:
        """Return an error inside the stream."""


class OpenAI(Dialect):
    """https://platform.openai.com/docs/api-reference/chat-streaming; reasoning as DeepSeek and vLLM add it."""

    name = "openai"
    refuse = staticmethod(openai_error)
    heartbeat = b": keep-alive\n\n"

    def __init__(self, question: Question, spec: Spec, number: int) -> None:
        super().__init__(question, spec, number)
        head = f'{{"id":"chatcmpl-{self.id}","object":"chat.completion.chunk","created":1700000000,'
        self._head = f'data: {head}"model":{dumps(question.model)},"system_fingerprint":"fp_sim","choices":['.encode()
        self._tail = b',"usage":null}\n\n' if self.reports_usage else b"}\n\n"
        # A token costs one concatenation: everything round its text is made once.
        self._before = self._head + b'{"index":0,"delta":{"content":'
        self._after = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    @classmethod
    def read(cls, body: dict[str, Any], path_model: str) -> Question:
        messages = [Message.read(message["role"], message.get("content")) for message in body["messages"]]
        # The only one of the three that has to be asked.
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        # Azure has the model in the address.
        model = path_model or body["model"]
        return ask(model, messages, streams=body.get("stream") is True, wants_usage=wants_usage)

    @classmethod
    def list_models(cls, names: Iterable[str]) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "sim"} for name in names]}

    @property
    def served(self) -> Usage:
        return Usage(
            input=self.input - self.cache_read,
            cache_read=self.cache_read,
            output=self.sent + self.thought,
            reasoning=self.thought,
        )

    @property
    def usage(self) -> Usage | None:
        return self.served if self.ended and self.reports_usage else None

    def opening(self) -> bytes:
        return self._choice({"role": "assistant", "content": "", "refusal": None})

    def reasoning(self, text: str) -> bytes:
        self.thought += 1
        return self._choice({"reasoning_content": text})

    def token(self, text: str) -> bytes:
        self.sent += 1
        return self._before + dumps(text).encode() + self._after

    def ending(self, finish: Finish) -> bytes:
        self.ended = True
        reason = {Finish.NATURAL: "stop", Finish.LENGTH: "length", Finish.FILTER: "content_filter"}[finish]
        last = self._choice({}, reason)
        if not self.reports_usage:
            return last
        output = self.sent + self.thought
        usage = {
            "prompt_tokens": self.input,
            "completion_tokens": output,
            "total_tokens": self.input + output,
            "prompt_tokens_details": {"cached_tokens": self.cache_read, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.thought, "audio_tokens": 0},
        }
        return last + self._head + f'],"usage":{dumps(usage)}}}\n\n'.encode()

    def closing(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return f"data: {dumps(openai_error(500, '', self.question.model))}\n\n".encode()

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._head + dumps(choice).encode() + b"]" + self._tail


class Anthropic(Dialect):
    """https://docs.anthropic.com/en/api/messages-streaming."""

    name = "anthropic"
    refuse = staticmethod(anthropic_error)
    heartbeat = b'event: ping\ndata: {"type":"ping"}\n\n'
    malformed = b'event: content_block_delta\ndata: {"type":"content_block_delta", oops}\n\n'

    def __init__(self, question: Question, spec: Spec, number: int) -> None:
        super().__init__(question, spec, number)
        self.cache_write = self.input // 4 if spec.cached else 0
        self._opened = False
        self._block = -1
        self._block_type = ""
        self._before = b""

    @classmethod
    def read(cls, body: dict[str, Any], path_model: str) -> Question:
        if not isinstance(body.get("max_tokens"), int):
            raise BadRequestError("max_tokens: Field required")
        system = [Message("system", text_of(body["system"]))] if body.get("system") else []
        messages = [Message.read(message["role"], message["content"]) for message in body["messages"]]
        return ask(body["model"], system + messages, streams=body.get("stream") is True)

    @classmethod
    def list_models(cls, names: Iterable[str]) -> dict[str, Any]:
        return {"data": [{"type": "model", "id": name, "display_name": name} for name in names], "has_more": False}

    @property
    def served(self) -> Usage:
        return Usage(
            input=self.input - self.cache_read - self.cache_write,
            cache_read=self.cache_read,
            cache_write=self.cache_write,
            output=self.sent + self.thought,
        )

    @property
    def usage(self) -> Usage | None:
        if not (self.reports_usage and self._opened):
            return None
        return self.served if self.ended else replace(self.served, output=1)

    def opening(self) -> bytes:
        self._opened = True
        message: dict[str, Any] = {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.question.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }
        if self.reports_usage:
            message["usage"] = {
                "input_tokens": self.input - self.cache_read - self.cache_write,
                "cache_creation_input_tokens": self.cache_write,
                "cache_read_input_tokens": self.cache_read,
                # The real service has always begun its first token by now.
                "output_tokens": 1,
            }
        return event("message_start", message=message) + self.heartbeat

    def reasoning(self, text: str) -> bytes:
        self.thought += 1
        start = self._open("thinking", thinking="", signature="") if self._block_type != "thinking" else b""
        return start + self._delta({"type": "thinking_delta", "thinking": text})

    def token(self, text: str) -> bytes:
        self.sent += 1
        start = self._open("text", text="") if self._block_type != "text" else b""
        return start + self._before + dumps(text).encode() + b"}}\n\n"

    def ending(self, finish: Finish) -> bytes:
        self.ended = True
        reason = {Finish.NATURAL: "end_turn", Finish.LENGTH: "max_tokens", Finish.FILTER: "refusal"}[finish]
        delta = {"stop_reason": reason, "stop_sequence": None}
        usage = {"usage": {"output_tokens": self.sent + self.thought}} if self.reports_usage else {}
        return self._close() + event("message_delta", delta=delta, **usage)

    def closing(self) -> bytes:
        return event("message_stop")

    def error(self) -> bytes:
        return event("error", error={"details": None, "type": "overloaded_error", "message": "Overloaded"})

    def _open(self, block_type: str, **fields: str) -> bytes:
        before = self._close()
        self._block += 1
        self._block_type = block_type
        delta = f'{{"type":"content_block_delta","index":{self._block},"delta":{{"type":"text_delta","text":'
        self._before = f"event: content_block_delta\ndata: {delta}".encode()
        return before + event("content_block_start", index=self._block, content_block={"type": block_type, **fields})

    def _close(self) -> bytes:
        if not self._block_type:
            return b""
        signature = self._delta({"type": "signature_delta", "signature": "c2lt"})
        return (signature if self._block_type == "thinking" else b"") + event("content_block_stop", index=self._block)

    def _delta(self, delta: dict[str, str]) -> bytes:
        return event("content_block_delta", index=self._block, delta=delta)


class Google(Dialect):
    """https://ai.google.dev/api/generate-content without `alt=sse`: one JSON array, an element a chunk."""

    name = "google"
    refuse = staticmethod(google_error)
    key_status = 400
    content_type = "application/json; charset=UTF-8"
    heartbeat = b"\n"
    malformed = b',\r\n{"candidates": oops}'

    def __init__(self, question: Question, spec: Spec, number: int) -> None:
        super().__init__(question, spec, number)
        self._separator = b"["
        model = dumps(question.model)
        self._before = '{"candidates":[{"content":{"parts":[{"text":'
        self._after = f'}}],"role":"model"}},"index":0}}],"modelVersion":{model},"responseId":"{self.id}"'

    @classmethod
    def read(cls, body: dict[str, Any], path_model: str) -> Question:
        system = body.get("systemInstruction")
        messages = [Message("system", text_of(system["parts"]))] if system else []
        messages += [Message.read(content.get("role", "user"), content["parts"]) for content in body["contents"]]
        return ask(path_model, messages)

    @classmethod
    def list_models(cls, names: Iterable[str]) -> dict[str, Any]:
        methods = ["generateContent", "countTokens"]
        return {"models": [{"name": f"models/{name}", "supportedGenerationMethods": methods} for name in names]}

    @property
    def served(self) -> Usage:
        return Usage(
            input=self.input - self.cache_read,
            cache_read=self.cache_read or None,
            output=self.sent + self.thought,
            reasoning=self.thought or None,
        )

    @property
    def usage(self) -> Usage | None:
        return self.served if self.reports_usage and (self.sent or self.ended) else None

    def opening(self) -> bytes:
        # Nothing is sent before the first chunk; the array's bracket comes with it.
        return b""

    def reasoning(self, text: str) -> bytes:
        self.thought += 1
        return b""

    def token(self, text: str) -> bytes:
        self.sent += 1
        return self._element(self._before + dumps(text) + self._after + self._usage() + "}")

    def ending(self, finish: Finish) -> bytes:
        self.ended = True
        if finish is Finish.FILTER and not self.sent:
            return self._element(f'{{"promptFeedback":{{"blockReason":"PROHIBITED_CONTENT"}}{self._usage()}}}')
        candidate: dict[str, Any] = {"finishReason": GOOGLE_FINISH[finish], "index": 0}
        if finish is not Finish.FILTER:
            candidate |= {"content": {"parts": [{"text": ""}], "role": "model"}}
        return self._element(f'{{"candidates":[{dumps(candidate)}]{self._usage()}}}')

    def closing(self) -> bytes:
        return b"\n]" if self._separator != b"[" else b"[]"

    def error(self) -> bytes:
        return self._element(dumps(google_error(503, "", self.question.model)[0])) + self.closing()

    def _element(self, text: str) -> bytes:
        separator, self._separator = self._separator, b",\r\n"
        return separator + text.encode()

    def _usage(self) -> str:
        # Every chunk carries the running totals; fields that are 0 are left out.
        if not self.reports_usage:
            return ""
        total = self.input + self.sent + self.thought
        cached = f',"cachedContentTokenCount":{self.cache_read}' if self.cache_read else ""
        thoughts = f',"thoughtsTokenCount":{self.thought}' if self.thought else ""
        answer = f',"candidatesTokenCount":{self.sent}' if self.sent else ""
        counts = f'"promptTokenCount":{self.input}{answer}{cached}{thoughts},"totalTokenCount":{total}'
        return f',"usageMetadata":{{{counts}}}'


class Cohere(Dialect):
    """https://docs.cohere.com/v2/docs/streaming; its thinking is not shown by aichat."""

    name = "cohere"
    refuse = staticmethod(cohere_error)
    heartbeat = b": keep-alive\n\n"

    @classmethod
    def read(cls, body: dict[str, Any], path_model: str) -> Question:
        messages = [Message.read(message["role"], message.get("content")) for message in body["messages"]]
        return ask(body["model"], messages, streams=body.get("stream") is True)

    @classmethod
    def list_models(cls, names: Iterable[str]) -> dict[str, Any]:
        return {"models": [{"name": name, "endpoints": ["chat"]} for name in names]}

    @property
    def served(self) -> Usage:
        return Usage(input=self.input, output=self.sent + self.thought)

    @property
    def usage(self) -> Usage | None:
        return self.served if self.ended and self.reports_usage else None

    def opening(self) -> bytes:
        start = event("message-start", id=self.id, delta={"message": {"role": "assistant", "content": []}})
        return start + event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})

    def reasoning(self, text: str) -> bytes:
        self.thought += 1
        return event("content-delta", index=0, delta={"message": {"content": {"thinking": text}}})

    def token(self, text: str) -> bytes:
        self.sent += 1
        return event("content-delta", index=0, delta={"message": {"content": {"text": text}}})

    def ending(self, finish: Finish) -> bytes:
        self.ended = True
        delta: dict[str, Any] = {"finish_reason": COHERE_FINISH[finish]}
        if self.reports_usage:
            output = self.sent + self.thought
            billed = {"input_tokens": self.input, "output_tokens": output}
            # The real service counts its own preamble here.
            delta["usage"] = {
                "billed_units": billed,
                "tokens": {"input_tokens": self.input + 500, "output_tokens": output},
            }
        return event("content-end", index=0) + event("message-end", delta=delta)

    def closing(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self) -> bytes:
        return event("message-end", delta={"finish_reason": "ERROR", "error": "internal server error"})


def ask(model: str, messages: list[Message], *, streams: bool = True, wants_usage: bool = True) -> Question:
    """Return the question in `messages`."""
    prompt = next((message.text for message in reversed(messages) if message.role == "user"), "")
    return Question(
        model=model,
        roles=tuple(message.role for message in messages),
        prompt=prompt,
        characters=sum(len(message.text) for message in messages),
        streams=streams,
        wants_usage=wants_usage,
        images=tuple(digest for message in messages for digest in message.images),
    )


def digest_of(part: dict[str, Any]) -> str:
    """Return the digest of the image in a part of a message, in any provider's shape, or "" where it has none."""
    source = part.get("source") or part.get("inline_data") or part.get("inlineData") or {}
    encoded = source.get("data") or part.get("image_url", {}).get("url", "").partition(";base64,")[2]
    return hashlib.sha256(base64.b64decode(encoded, validate=True)).hexdigest() if encoded else ""


def text_of(content: str | Iterable[dict[str, Any]] | None) -> str:
    """Return the text of a message: a string, or the parts that have any (images have none)."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def event(kind: str, **fields: Any) -> bytes:
    """Return one of Anthropic's or Cohere's events, which name their type twice."""
    return f"event: {kind}\ndata: {dumps({'type': kind, **fields})}\n\n".encode()


def dumps(data: Any) -> str:
    """Return JSON as providers write it: text as it is, so that pieces of a stream can end inside a character."""
    return ENCODE(data)


# Made once: json.dumps builds an encoder at every call with options.
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

GOOGLE_FINISH = {Finish.NATURAL: "STOP", Finish.LENGTH: "MAX_TOKENS", Finish.FILTER: "SAFETY"}
COHERE_FINISH = {Finish.NATURAL: "COMPLETE", Finish.LENGTH: "MAX_TOKENS", Finish.FILTER: "ERROR_TOXIC"}
