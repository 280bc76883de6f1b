from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from chat import protocol
from chat.protocol import BadFrame

PAGE = (Path(settings.BASE_DIR) / "docs/protocol.md").read_text()
REPLY = uuid.UUID("0b0e7a52-7a0c-4f5e-9d6a-0a3b5f1c2d3e")


def documented(heading: str) -> dict[str, list[tuple[str, bool]]]:
    """Return frame name -> fields (name, required) of the table under `heading`."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section, re.MULTILINE)
    return {
        name: [(field.rstrip("?"), not field.endswith("?")) for field in re.findall(r"`(\w+\??)`", fields)]
        for name, fields in rows
    }


@pytest.mark.parametrize(
    ("heading", "frames"),
    [("Client to server", protocol.CLIENT_FRAMES), ("Server to client", protocol.SERVER_FRAMES)],
)
def test_the_page_names_every_frame_and_field(heading, frames):
    assert documented(heading) == {name: protocol.fields_of(frame) for name, frame in frames.items()}


def test_the_page_names_every_field_of_metadata():
    paragraph = PAGE.split("`metadata` of `complete`:")[1].split("What is unknown")[0]
    named = set(re.findall(r"`(\w+)\??`", paragraph))
    for part in (protocol.Metadata, protocol.Usage):
        assert {name for name, _ in protocol.fields_of(part)} <= named


def test_the_page_names_every_close_code():
    codes = {value for name, value in vars(protocol.CloseCode).items() if name.isupper()}
    assert codes | {1009} == {int(code) for code in re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE)}


def test_the_page_names_every_refusal():
    source = "".join((Path(settings.BASE_DIR) / "chat" / f"{name}.py").read_text()
                     for name in ("protocol", "input_policy", "posting", "attachments", "consumers"))  # fmt: skip
    used = set(re.findall(r'BadFrame\(\s*"(\w+)"', source)) | set(
        re.findall(r'_error\(.*?, "(\w+)", client_id\)', source)
    )
    section = PAGE.split("## Refusals\n")[1].split("\n## ")[0]
    assert used == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_a_frame_without_a_type_is_a_start():
    frame = protocol.parse('{"message": "Hi", "model": "openai:gpt-4", "surprise": 1}')
    assert frame == protocol.Start("Hi", model="openai:gpt-4")


def test_every_field_arrives():
    frame = protocol.parse(
        json.dumps(
            {
                "type": "start",
                "message": "Hi",
                "onlyModel": True,
                "clientId": "c1",
                "parentId": str(REPLY),
                "parameters": {"temperature": 1, "maxTokens": 5},
            }
        )
    )
    assert frame == protocol.Start("Hi", None, True, "c1", REPLY, None, protocol.Parameters(1, 5))
    hello = protocol.parse(json.dumps({"type": "hello", "after": {str(REPLY): 7}}))
    assert hello == protocol.Hello({REPLY: 7})


BAD = {
    "nothing": ("", "bad_json"),
    "binary": (None, "bad_json"),
    "half an object": ('{"message": "x"', "bad_json"),
    "too deep": ("[" * 200_000, "bad_json"),
    "an integer of 5,000 digits": ('{"type": "ping", "t": ' + "9" * 5000 + "}", "bad_json"),
    "a name that stands twice": ('{"message": "Hi", "message": "x"}', "bad_json"),
    "a name that stands twice further in": (
        '{"message": "x", "parameters": {"maxTokens": 1, "maxTokens": 9}}',
        "bad_json",
    ),
    "a whole number without end": ('{"type": "ping", "t": 1e999}', "bad_frame"),
    "10,000 brackets in a field that nobody knows": (
        f'{{"type": "ping", "x": {"[" * 10_000}{"]" * 10_000}}}',
        "bad_json",
    ),
    "an array": ("[]", "bad_frame"),
    "a string": ('"hello"', "bad_frame"),
    "null": ("null", "bad_frame"),
    "no message": ("{}", "bad_frame"),
    "message null": ('{"message": null}', "bad_frame"),
    "message a number": ('{"message": 5}', "bad_frame"),
    "message a list": ('{"message": ["x"]}', "bad_frame"),
    "model a number": ('{"message": "x", "model": 1}', "bad_frame"),
    "parameters a string": ('{"message": "x", "parameters": "hot"}', "bad_frame"),
    "temperature true": ('{"message": "x", "parameters": {"temperature": true}}', "bad_frame"),
    "temperature NaN": ('{"message": "x", "parameters": {"temperature": NaN}}', "bad_json"),
    "Infinity in a field that nobody knows": ('{"type": "ping", "x": -Infinity}', "bad_json"),
    "max tokens a float": ('{"message": "x", "parameters": {"maxTokens": 1.5}}', "bad_frame"),
    "temperature too high": ('{"message": "x", "parameters": {"temperature": 2.1}}', "bad_frame"),
    "max tokens 0": ('{"message": "x", "parameters": {"maxTokens": 0}}', "bad_frame"),
    "max tokens negative": ('{"message": "x", "parameters": {"maxTokens": -1}}', "bad_frame"),
    "after true": ('{"type": "attach", "replyId": "' + str(REPLY) + '", "after": true}', "bad_frame"),
    "reply id no UUID": ('{"type": "stop", "replyId": "x"}', "bad_frame"),
    "reply id in braces": ('{"type": "stop", "replyId": "{' + str(REPLY) + '}"}', "bad_frame"),
    "after with a bad key": ('{"type": "hello", "after": {"x": 1}}', "bad_frame"),
    "after with 101 keys": (
        json.dumps({"type": "hello", "after": {str(uuid.uuid4()): 1 for _ in range(101)}}),
        "bad_frame",
    ),
    "unknown type": ('{"type": "nonsense"}', "unknown_type"),
    "type a list": ('{"type": ["start"], "message": "x"}', "unknown_type"),
    "a frame of the server's": ('{"type": "chunk"}', "unknown_type"),
    "NUL": ('{"message": "a\\u0000b"}', "bad_text"),
    "half a surrogate pair": ('{"message": "a\\ud800b"}', "bad_text"),
    "half a surrogate pair as client id": ('{"message": "x", "clientId": "\\udfff"}', "bad_text"),
}


@pytest.mark.parametrize(("text", "code"), BAD.values(), ids=BAD.keys())
def test_what_is_not_a_frame_is_refused_with_a_sentence(text, code):
    with pytest.raises(BadFrame) as refused:
        protocol.parse(text)
    assert refused.value.code == code
    assert refused.value.sentence.endswith(".")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)
wire_names = sorted({name for frame in protocol.CLIENT_FRAMES.values() for name, _ in protocol.fields_of(frame)})
frames = st.dictionaries(
    st.sampled_from(["type", *wire_names]), json_values | st.sampled_from([*protocol.CLIENT_FRAMES])
)


@given(frames.map(json.dumps) | st.text())
def test_anything_else_is_a_frame_or_is_refused(text):
    try:
        protocol.parse(text)
    except BadFrame as refused:
        assert refused.code in PAGE


def test_what_is_none_is_left_out_of_a_frame():
    frame = protocol.Complete(
        "s", REPLY, 3, protocol.Metadata(1, 5, "complete", 1, 10, usage=protocol.Usage(output_tokens=2))
    )
    assert json.loads(protocol.encode(frame)) == {
        "type": "complete",
        "sessionId": "s",
        "replyId": str(REPLY),
        "seq": 3,
        "metadata": {
            "duration": 10,
            "chunks": 1,
            "totalChars": 5,
            "ending": "complete",
            "attempts": 1,
            "usage": {"outputTokens": 2},
        },
    }


def test_from_is_spelt_without_its_underscore():
    assert json.loads(protocol.encode(protocol.Chunk("é", "s", REPLY, 1, 2)))["from"] == 1
