"""A provider on loopback whose models fail on demand: an asyncio HTTP server, and the ledger of what it served.

It speaks the streaming HTTP of `dialects`, says what `script` says, lists its models, and asks for a key only where it
was given one. Besides, `GET /served` (`?last=N`) is the ledger, `GET /last` the last request, `POST /reset` forgets
both. Only as much HTTP/1.1 as that takes: one request a connection, answers in chunks.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import logging
import re
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from providers.simulator.dialects import Anthropic, BadRequestError, Cohere, Dialect, Google, OpenAI, Question
from providers.simulator.playback import Client, Line, Stream, phrase
from providers.simulator.refusals import proxy_page
from providers.simulator.script import Fault, Spec, UnknownModelError, parse_model

logger = logging.getLogger(__name__)

# Requests kept in the ledger, about 1 KB each; its counters go on.
LEDGER_LINES = 20_000
# Bursts of connections are what it is for: the default of 100 would make the kernel drop some.
BACKLOG = 1_024
# The reader's buffer: a long history arrives in few pieces.
READ_BYTES = 1 << 20
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
# Where each dialect is spoken to; the group is the model, where the address names it.
PATHS: tuple[tuple[re.Pattern[str], type[Dialect]], ...] = (
    (re.compile(r"/v1/chat/completions()"), OpenAI),
    (re.compile(r"/openai/deployments/(.+)/chat/completions"), OpenAI),
    (re.compile(r"/v1/messages()"), Anthropic),
    (re.compile(r"/v1beta/models/(.+):streamGenerateContent"), Google),
    (re.compile(r"/cohere/v2/chat()"), Cohere),
)
# Where each lists its models; Anthropic's and OpenAI's paths are the same.
LISTS: dict[str, type[Dialect]] = {
    "/v1/models": OpenAI,
    "/openai/models": OpenAI,
    "/v1beta/models": Google,
    "/cohere/v1/models": Cohere,
}
# A few of the models that there are; any script is one.
MODELS = ("sim", "sim-n100-gap20", "sim-echo")
# Where aichat finds each kind of client's service.
API_BASES = {
    "openai": "/v1",
    "openai-compatible": "/v1",
    "claude": "/v1",
    "gemini": "/v1beta",
    "azure-openai": "",
    "cohere": "/cohere/v2",
}


@dataclass(frozen=True)
class Request:
    """One HTTP request; header names in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def has_key(self) -> bool:
        """Whether a key came with it; which one is nobody's business."""
        return bool(self.key)

    @property
    def key(self) -> str:
        """Return the key, wherever it stands."""
        found = [self.headers[name] for name in KEY_HEADERS if self.headers.get(name)]
        return (found or self.query.get("key") or [""])[0].removeprefix("Bearer ")


class Ledger:
    """What was asked and served: counters since the start or the last reset, and the latest lines."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=LEDGER_LINES)
        self.by_protocol: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.by_ending: Counter[str] = Counter()
        self.tokens = 0
        self.streams: set[Stream] = set()
        self.max_open = 0

    def add(self, line: Line) -> None:
        """Write down a new request."""
        self.lines.append(line)
        self.by_protocol[line.protocol] += 1
        self.by_fault[line.fault or "none"] += 1

    def open(self, stream: Stream) -> None:
        """Count a stream as open."""
        self.streams.add(stream)
        self.max_open = max(self.max_open, len(self.streams))

    def close(self, stream: Stream) -> None:
        """Count a stream as ended, with all that it sent."""
        self.streams.discard(stream)
        stream.note()
        stream.line.open = False
        self.tokens += stream.line.tokens_sent
        self.by_ending[stream.line.ended] += 1

    def report(self, last: int = LEDGER_LINES) -> dict[str, Any]:
        """Return the counters and the `last` lines, oldest first."""
        for stream in self.streams:
            stream.note()
        lines = list(self.lines)[-last:] if last else []
        return {
            "requests": self.by_protocol.total(),
            "by_protocol": dict(self.by_protocol),
            "by_fault": dict(self.by_fault),
            "by_ending": dict(self.by_ending),
            "tokens": self.tokens,
            "open": len(self.streams),
            "max_open": self.max_open,
            "served": [{name: getattr(line, name) for name in LINE_FIELDS} for line in lines],
        }


LINE_FIELDS = [field.name for field in fields(Line)]


class Simulator:
    """The server. `start` it, point providers at `url`, read `served` and `last`, `stop` it in the same block.

    `key`, which may be set at any time: the only one that is accepted; "" accepts all.
    """

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.port = 0
        self.last: dict[str, Any] | None = None
        self._host = ""
        self._ledger = Ledger()
        self._number = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one.

        Raises ValueError for a host that others can reach, OSError where the port cannot be had.
        """
        if host != "localhost" and not _is_loopback(host):
            raise ValueError(f"The simulator listens on loopback only, and {host} is not.")
        self._host = "127.0.0.1" if host == "localhost" else host
        self._server = await asyncio.start_server(self._connected, self._host, port, limit=READ_BYTES, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The transports close one turn of the loop after they are told to.
        await asyncio.sleep(0)

    @property
    def address(self) -> str:
        """Return scheme, host and port."""
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    def url(self, kind: str) -> str:
        """Return the `api_base` for a client of aichat's `kind`."""
        return self.address + API_BASES[kind]

    @property
    def served(self) -> dict[str, Any]:
        """Return what `GET /served` does."""
        return self._ledger.report()

    def reset(self) -> None:
        """Forget what was served; answers on their way are not disturbed, and count when they end."""
        streams = self._ledger.streams
        self._ledger = Ledger()
        for stream in streams:
            self._ledger.open(stream)
        self.last = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        except ConnectionError:
            pass
        except Exception:
            logger.exception("The simulator failed at a request.")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        if not request:
            return
        client = Client(reader, writer)
        try:
            await self._respond(request, client)
        finally:
            client.close()
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async def _respond(self, request: Request, client: Client) -> None:
        match request.method, request.path:
            case "GET", "/served":
                last = request.query.get("last", [""])[0]
                client.respond(200, self._ledger.report(int(last) if last.isdigit() else LEDGER_LINES))
            case "GET", "/last":
                client.respond(200, self.last or {})
            case "POST", "/reset":
                self.reset()
                client.respond(200, {})
            case "GET", path if path in LISTS:
                self._list(request, client)
            case "POST", path if found := _find_dialect(path):
                dialect, model = found
                await self._answer(dialect, request, client, path_model=model)
            case _:
                client.respond(404, {"error": f"There is nothing at {request.method} {request.path}."})

    def _list(self, request: Request, client: Client) -> None:
        dialect = Anthropic if "anthropic-version" in request.headers else LISTS[request.path]
        if self._accepts(request):
            client.respond(200, dialect.list_models(MODELS))
        else:
            client.respond(dialect.key_status, dialect.refuse(dialect.key_status, "key", ""))

    def _accepts(self, request: Request) -> bool:
        return not self.key or request.key == self.key

    async def _answer(self, dialect: type[Dialect], request: Request, client: Client, *, path_model: str = "") -> None:
        self._number += 1
        try:
            body = json.loads(request.body)
            self.last = {"path": request.path, "headers": _masked(request.headers), "body": body}
            question = _read_question(dialect, body, path_model)
        except ValueError as error:
            client.respond(400, dialect.refuse(400, "", "", sentence=str(error)))
            self._refused(dialect, request, Question("", (), "", 0), "http400")
            return
        if not self._accepts(request):
            client.respond(dialect.key_status, dialect.refuse(dialect.key_status, "key", question.model))
            self._refused(dialect, request, question, f"http{dialect.key_status}key")
            return
        try:
            spec = parse_model(question.model)
        except UnknownModelError:
            client.respond(404, dialect.refuse(404, "", question.model))
            self._refused(dialect, request, question, "http404")
            return
        if spec.fault is Fault.HTTP:
            self._refuse(dialect, spec, question, client)
            self._refused(dialect, request, question, f"http{spec.status}{spec.variant}")
            return
        line = self._line(dialect, request, question, spec.fault.value if spec.fault else "")
        stream = Stream(spec, dialect(question, spec, self._number), client, line)
        self._ledger.open(stream)
        try:
            await stream.run()
        finally:
            line.ended = line.ended or "stopped"
            self._ledger.close(stream)

    def _refuse(self, dialect: type[Dialect], spec: Spec, question: Question, client: Client) -> None:
        if spec.variant == "html":
            client.respond(spec.status, proxy_page(spec.status, phrase(spec.status)))
        else:
            # Some quote what they do not take.
            quote = f"This message is not accepted: {question.prompt}" if spec.echo else ""
            body = dialect.refuse(spec.status, spec.variant, question.model, sentence=quote, retry=spec.retry)
            client.respond(spec.status, body)

    def _refused(self, dialect: type[Dialect], request: Request, question: Question, word: str) -> None:
        line = self._line(dialect, request, question, word)
        line.ended, line.open = word, False
        self._ledger.by_ending[word] += 1

    def _line(self, dialect: type[Dialect], request: Request, question: Question, fault: str) -> Line:
        line = Line(
            id=self._number,
            protocol=dialect.name,
            model=question.model,
            fault=fault,
            roles=question.roles,
            has_key=request.has_key,
            prompt_sha256=hashlib.sha256(question.prompt.encode()).hexdigest(),
            prompt_characters=len(question.prompt),
            input_characters=question.characters,
            images=question.images,
        )
        self._ledger.add(line)
        return line


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return None
    url = urlsplit(target)
    return Request(method, unquote(url.path), parse_qs(url.query), headers, body)


def _find_dialect(path: str) -> tuple[type[Dialect], str] | None:
    """Return who is spoken to at `path`, and the model where the path names it."""
    for pattern, dialect in PATHS:
        if found := pattern.fullmatch(path):
            return dialect, found[1]
    return None


def _read_question(dialect: type[Dialect], body: Any, path_model: str) -> Question:
    try:
        question = dialect.read(body, path_model)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRequestError(f"The request is not as it should be: {error!r}.") from error
    if not question.streams:
        raise BadRequestError("The simulator only streams.")
    # Half a surrogate pair is valid JSON, but no text that could be sent back.
    question.prompt.encode()
    return question


def _masked(headers: dict[str, str]) -> dict[str, str]:
    return {name: "***" if name in KEY_HEADERS else value for name, value in headers.items()}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
