"""The wire protocol of /ws: every frame's name and fields, strict parsing of what comes in, encoding of what goes out.

Pure: no database, no clock. docs/protocol.md is compared with the classes below by a test. On the wire, names are
camelCase; a field with a default may be left out.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar

SESSION_NAME = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")
# Bytes of one frame: the longest legal message in four-byte characters, and room for JSON around it.
FRAME_LIMIT = 512 * 1024
# Replies that one `hello` may ask about: a page names what it shows as unfinished, never more than a few.
HELLO_LIMIT = 100
# As of the column that keeps it.
SYSTEM_PROMPT_LENGTH = 8000
# Items of any list; how many files a message may have is a setting, and less.
LIST_LIMIT = 100


class CloseCode:
    """Why the server closed a socket; the `closing` frame before it says the same in words."""

    BAD_SESSION = 4400
    SIGN_IN = 4401
    FORBIDDEN = 4403
    SLOW_READER = 4408
    REPLACED = 4409
    CHANGED = 4410
    TOO_MANY = 4429
    FAILED = 4500
    RESTARTING = 1012


class BadFrame(Exception):
    """A frame that cannot be taken, with the `code` and `sentence` of the `error` frame that answers it.

    `rule`: that of the input policy which refused it, if one did.
    """

    def __init__(self, code: str, sentence: str, *, rule: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.rule = rule
        # Whose refusal this is, where that could be read.
        self.client_id: str | None = None


# --- Client to server -------------------------------------------------------------------------------------------------


# What can follow when a provider fails in mid-answer: the values of chat.models.Failover.
FAILOVERS = ("continue", "ask", "off")


@dataclass(frozen=True)
class Parameters:
    """What a message may set for its own answer: the temperature from 0 to 2, and at most so many tokens."""

    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        # What no provider takes would only count against its health.
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise BadFrame("bad_frame", "The temperature is between 0 and 2.")
        if self.max_tokens == 0:
            raise BadFrame("bad_frame", "The field 'maxTokens' is at least 1.")


@dataclass(frozen=True)
class FirstSettings(Parameters):
    """What a new conversation begins with, for all of its answers."""

    system_prompt: str | None = None
    failover: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.failover not in (None, *FAILOVERS):
            raise BadFrame("bad_frame", f"The field 'failover' is one of: {', '.join(FAILOVERS)}.")
        if self.system_prompt and len(self.system_prompt) > SYSTEM_PROMPT_LENGTH:
            raise BadFrame("too_long", f"A system prompt has at most {SYSTEM_PROMPT_LENGTH} characters.")

    @property
    def parameters(self) -> dict[str, float]:
        """What was chosen, by the names of the rows."""
        given = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in given.items() if value is not None}


# Of a field that is ours: it is neither read from the wire nor written to it.
NOT_ON_THE_WIRE = {"wire": False}


@dataclass(frozen=True)
class Start:
    """Say something. A frame without a type is a `start`."""

    type: ClassVar = "start"
    message: str
    model: str | None = None
    only_model: bool | None = None
    client_id: str | None = None
    parent_id: uuid.UUID | None = None
    attachments: list[uuid.UUID] | None = None
    parameters: Parameters | None = None
    settings: FirstSettings | None = None
    # The rules of the input policy that let it pass and want it looked at.
    flags: tuple[str, ...] = field(default=(), metadata=NOT_ON_THE_WIRE)


@dataclass(frozen=True)
class Edit:
    """Say it in other words: a new branch beside a person's message. Unfinished answers to the old are stopped."""

    type: ClassVar = "edit"
    message_id: uuid.UUID
    message: str
    model: str | None = None
    only_model: bool | None = None
    client_id: str | None = None
    attachments: list[uuid.UUID] | None = None
    parameters: Parameters | None = None
    # As of Start.
    flags: tuple[str, ...] = field(default=(), metadata=NOT_ON_THE_WIRE)


@dataclass(frozen=True)
class Regenerate:
    """Answer the same message again."""

    type: ClassVar = "regenerate"
    message_id: uuid.UUID
    model: str | None = None
    only_model: bool | None = None
    client_id: str | None = None


@dataclass(frozen=True)
class Continue:
    """Go on where a reply stopped, in a new reply."""

    type: ClassVar = "continue"
    message_id: uuid.UUID
    model: str | None = None
    only_model: bool | None = None
    client_id: str | None = None


@dataclass(frozen=True)
class Stop:
    """End a reply; what it has said is kept."""

    type: ClassVar = "stop"
    reply_id: uuid.UUID


@dataclass(frozen=True)
class Cancel:
    """Take a reply that still waits its turn out of the queue, together with its question."""

    type: ClassVar = "cancel"
    reply_id: uuid.UUID


@dataclass(frozen=True)
class Hello:
    """Introduce a page: attach to what runs, and get what is missing of the replies named (id: last number seen)."""

    type: ClassVar = "hello"
    after: dict[uuid.UUID, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Attach:
    """Follow one reply from behind event number `after`."""

    type: ClassVar = "attach"
    reply_id: uuid.UUID
    after: int = 0


@dataclass(frozen=True)
class Ping:
    """Ask whether the connection lives."""

    type: ClassVar = "ping"
    t: float | None = None


ClientFrame = Start | Edit | Regenerate | Continue | Stop | Cancel | Hello | Attach | Ping
CLIENT_FRAMES: dict[str, type[ClientFrame]] = {frame.type: frame for frame in typing.get_args(ClientFrame)}


def parse(text: str | None) -> ClientFrame:
    """Return the frame in `text` (None: a binary frame). Raises BadFrame for anything that is not exactly one."""
    try:
        data = json.loads(text or "", object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # Of a number with thousands of digits, and of brackets a thousand deep, Python makes nothing.
        raise BadFrame("bad_json", "This is not JSON. Send one JSON object as a text frame.") from None
    if not isinstance(data, dict):
        raise BadFrame("bad_frame", "Send one JSON object.")
    name = data.get("type", Start.type)
    frame = CLIENT_FRAMES.get(name) if isinstance(name, str) else None
    if frame is None:
        raise BadFrame("unknown_type", f"There is no such frame type. Known are: {', '.join(CLIENT_FRAMES)}.")
    try:
        return typing.cast("ClientFrame", _build(frame, data))
    except BadFrame as refused:
        refused.client_id = _find_client_id(data)
        raise


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return what stands in one object; of a name that stands in it twice, another reader may take the other value."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadFrame("bad_json", "A name stands twice in one object.")
    return found


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which are Python's and not JSON's. Raises ValueError."""
    raise ValueError(name)


def _find_client_id(data: dict[str, Any]) -> str | None:
    try:
        return _convert(str, data.get("clientId"), "clientId")
    except BadFrame:
        return None


def _build(cls: type, data: dict[str, Any]) -> object:
    """Return a `cls` from the known fields of `data`; unknown fields are ignored, wrong types are refused."""
    values = {}
    for spec in _specs(cls):
        value = data.get(spec.wire_name)
        if value is None:
            if spec.required:
                raise BadFrame("bad_frame", f"The field {spec.wire_name!r} is missing.")
            continue
        values[spec.name] = _convert(spec.kind, value, spec.wire_name)
    return cls(**values)


def _convert(kind: Any, value: Any, name: str) -> Any:
    """Return `value` as `kind`, strictly: JSON's own types only, a UUID in its usual spelling."""
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _build(typing.cast("type", kind), value)
    if kind is uuid.UUID and isinstance(value, str) and UUID.match(value):
        return uuid.UUID(value)
    if kind is str and isinstance(value, str):
        return _checked_text(value, name)
    if kind is bool and type(value) is bool:
        return value
    if kind is int and type(value) is int and 0 <= value < 2**31:
        return value
    if kind is float and type(value) in (int, float):
        return _checked_number(value, name)
    if typing.get_origin(kind) is dict and isinstance(value, dict) and len(value) <= HELLO_LIMIT:
        key_kind, value_kind = typing.get_args(kind)
        return {_convert(key_kind, k, name): _convert(value_kind, v, name) for k, v in value.items()}
    if typing.get_origin(kind) is list and isinstance(value, list) and len(value) <= LIST_LIMIT:
        (item_kind,) = typing.get_args(kind)
        return [_convert(item_kind, item, name) for item in value]
    raise BadFrame("bad_frame", f"The field {name!r} has a wrong type or value.")


def _checked_text(value: str, name: str) -> str:
    # Neither can be stored or sent on: PostgreSQL refuses NUL, UTF-8 has no half of a surrogate pair.
    if "\0" in value:
        raise BadFrame("bad_text", f"The field {name!r} holds a NUL character.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadFrame("bad_text", f"The field {name!r} holds half of a surrogate pair.") from None
    return value


def _checked_number(value: float, name: str) -> float:
    # JSON knows no largest number: 1e999 is read as infinite.
    if not -1e15 < value < 1e15:
        raise BadFrame("bad_frame", f"The field {name!r} is out of range.")
    return value


UUID = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


# --- Server to client -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attachment:
    """A file of a message; `url` is where its sender can see it. Width and height are those of an image."""

    id: uuid.UUID
    kind: str
    name: str
    url: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Posted:
    """A message that another tab or device sent."""

    type: ClassVar = "posted"
    message_id: uuid.UUID
    role: str
    text: str
    parent_id: uuid.UUID | None = None
    client_id: str | None = None
    attachments: list[Attachment] | None = None


@dataclass(frozen=True)
class Started:
    """A reply exists from here on; everything about it carries its id.

    Sent again, with the id, the model and the provider alone, while another than before is waited for.
    """

    type: ClassVar = "started"
    reply_id: uuid.UUID
    user_message_id: uuid.UUID | None = None
    client_id: str | None = None
    model: str | None = None
    provider: str | None = None
    continues: bool | None = None


@dataclass(frozen=True)
class Queued:
    """The reply waits; `position` counts from 1."""

    type: ClassVar = "queued"
    reply_id: uuid.UUID
    position: int


@dataclass(frozen=True)
class Chunk:
    """Text of the answer, events `from` to `to`. With `from` 1 it begins anew: drop what was shown of this reply."""

    type: ClassVar = "chunk"
    content: str
    session_id: str
    reply_id: uuid.UUID
    from_: int
    to: int


@dataclass(frozen=True)
class Reasoning(Chunk):
    """The model's thinking, numbered together with its text."""

    type: ClassVar = "reasoning"


@dataclass(frozen=True)
class Notice:
    """Something happened to the answer that its reader should see, such as another provider taking over."""

    type: ClassVar = "notice"
    reply_id: uuid.UUID
    seq: int
    kind: str
    reason: str
    old_model: str | None = None
    new_model: str | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider reported them; left out where it did not."""

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True)
class Metadata:
    """What is known about a reply that has ended. `duration` and `firstTokenMs` are milliseconds since it was sent.

    `reasoningMs`: from the first word of reasoning to the first of the text, or to the end.
    """

    chunks: int
    total_chars: int
    ending: str
    attempts: int
    duration: int | None = None
    exit_code: int | None = None
    provider: str | None = None
    model: str | None = None
    first_token_ms: int | None = None
    reasoning_ms: int | None = None
    usage: Usage | None = None
    cost_usd: str | None = None
    cost_source: str | None = None


@dataclass(frozen=True)
class Complete:
    """The end of every stored message, exactly once, whatever its ending."""

    type: ClassVar = "complete"
    session_id: str
    reply_id: uuid.UUID
    seq: int
    metadata: Metadata


@dataclass(frozen=True)
class Error:
    """Why a frame was refused, or why the reply named did not get its answer."""

    type: ClassVar = "error"
    error: str
    code: str
    session_id: str
    client_id: str | None = None
    reply_id: uuid.UUID | None = None
    retry_after_ms: int | None = None
    rule: str | None = None


@dataclass(frozen=True)
class HelloAnswer:
    """The answer to `hello`: the reply that runs, if any, everything `unfinished`, and the `last` message of all."""

    type: ClassVar = "hello"
    session_id: str
    running: uuid.UUID | None = None
    unfinished: list[uuid.UUID] = field(default_factory=list)
    last: uuid.UUID | None = None


@dataclass(frozen=True)
class Pong:
    """The answer to `ping`."""

    type: ClassVar = "pong"
    t: float | None = None


@dataclass(frozen=True)
class Title:
    """The conversation has a new title."""

    type: ClassVar = "title"
    session_id: str
    title: str


@dataclass(frozen=True)
class Changed:
    """Something other than a new message has changed the conversation: fetch it again. `reason` says what."""

    type: ClassVar = "changed"
    session_id: str
    reason: str


@dataclass(frozen=True)
class Closing:
    """The socket is about to be closed with `code`."""

    type: ClassVar = "closing"
    code: int
    reason: str


ServerFrame = (
    Posted
    | Started
    | Queued
    | Chunk
    | Reasoning
    | Notice
    | Complete
    | Error
    | HelloAnswer
    | Pong
    | Title
    | Changed
    | Closing
)
SERVER_FRAMES: dict[str, type[ServerFrame]] = {frame.type: frame for frame in typing.get_args(ServerFrame)}


def encode(frame: ServerFrame) -> str:
    """Return `frame` as one JSON text; fields that are None are left out."""
    return json.dumps({"type": frame.type, **_plain(frame)}, ensure_ascii=False, separators=(",", ":"))


def _plain(frame: object) -> dict[str, Any]:
    plain = {}
    for spec in _specs(type(frame)):
        value = getattr(frame, spec.name)
        if value is None:
            continue
        plain[spec.wire_name] = _plain_value(value)
    return plain


def _plain_value(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    return _plain(value) if dataclasses.is_dataclass(value) else value


# --- Fields -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FieldSpec:
    """One field as both sides of the code see it."""

    name: str
    wire_name: str
    kind: Any
    required: bool


_SPECS: dict[type, list[FieldSpec]] = {}


def _specs(cls: type) -> list[FieldSpec]:
    if cls not in _SPECS:
        hints = typing.get_type_hints(cls)
        _SPECS[cls] = [_spec(f, hints[f.name]) for f in dataclasses.fields(cls) if f.metadata.get("wire", True)]
    return _SPECS[cls]


def _spec(f: dataclasses.Field[Any], kind: Any) -> FieldSpec:
    if isinstance(kind, types.UnionType):
        kind = next(arg for arg in typing.get_args(kind) if arg is not type(None))
    required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    return FieldSpec(f.name, wire_name(f.name), kind, required)


def wire_name(name: str) -> str:
    """Return the camelCase spelling of a field: `reply_id` is `replyId`, `from_` is `from`."""
    head, *rest = name.strip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)


def fields_of(frame: type) -> list[tuple[str, bool]]:
    """Return each field's wire name and whether it is required, for the documentation and its test."""
    return [(spec.wire_name, spec.required) for spec in _specs(frame)]
