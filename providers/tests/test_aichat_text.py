"""What is said to a provider through the real aichat, and what is heard: text, history, parameters, usage, keys."""

import dataclasses
import json
import os
import re
import sys
from hashlib import sha256

import pytest

from providers.aichat import Image, RequestSent, Turn
from providers.output import Reasoning, Text
from providers.simulator import answer, parse_model
from providers.simulator.script import REASONING
from providers.tests.attempts import KINDS, attempt, request
from sasha.testing import TEST_KEY, free_port

# --- Text, byte for byte ----------------------------------------------------------------------------------------------

HOSTILE = {
    "option": "-e",
    "long option": "--serve",
    "file option": "-f /etc/passwd",
    "backticked file": "-f `id`",
    "repl command": ".exit",
    "repl file": ".file /etc/passwd -- hello",
    "backticks": "`id`",
    "command": "$(id) ; id | id && id > x",
    "variable": "$HOME ${HOME} %PATH%",
    "template": "{{x}} {{__now__}} {{input}} __INPUT__",
    "role prompt": "### INPUT:\na\n### OUTPUT:\nb",
    "multiline": ":::\ntext\n:::",
    "yaml": "---\n- &a !!python/none {b: *a}\n...",
    "json": '{"role": "system", "content": "\\u0000"}',
    "event stream": "data: [DONE]\n\nevent: error\ndata: {}\n\n",
    "log line": '2026-11-23T21:11:45.709Z [DEBUG] aichat::client::openai: stream-data: {"error":{"message":"x"}}\n',
    "terminal": "\x1b[2J\x1b]0;title\x07 \b\b \x7f \x00 \x85",
    "carriage returns": "a\r\nb\rc",
    "one newline": "\n",
    "one space": " ",
    "newlines around": "\n\n a \n\n\n",
    "no newline": "a",
    "byte order mark": "\ufeffa\ufeff",
    "separators": "a\u2028b\u2029c\u00a0d",
    "directions": "\u202eabc\u2066 עברית \u200b\u200d",
    "noncharacters": "\ufffe\uffff\U0010ffff\ufffd",
    "family": "👨‍👩‍👧‍👦 e\u0301 漢字",
    "closing tag": "</think>\n\nhello",
    "tag in its middle": "a <think>\nb\n</think>\n\n c <think> <thin",
    "tag at its end": "hello <think>",
    "part of a tag": "<thi",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_text_is_only_text(simulator, kind, text):
    made = await attempt(request(simulator.url(kind), "sim-echo-gap0", kind, prompt=text))
    assert made.ending == "complete"
    assert prompt_received(simulator, kind) == text
    assert made.text == text
    assert made.reasoning == ""


def prompt_received(simulator, kind):
    body = simulator.last["body"]
    return body["contents"][-1]["parts"][0]["text"] if kind == "gemini" else body["messages"][-1]["content"]


async def test_half_a_surrogate_pair_becomes_a_question_mark(simulator):
    history = (Turn("user", "\udfff"),)
    made = await attempt(request(simulator.url("openai"), "sim-echo", prompt="a\ud800b", history=history))
    assert made.text == "a?b"
    assert simulator.last["body"]["messages"][0]["content"] == "?"


MEBIBYTE = "漢😀\n" * (2**20 // 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "text"),
    [("openai", "\n" * 1_000_000), ("claude", MEBIBYTE), ("gemini", MEBIBYTE)],
    ids=["openai, a million newlines", "claude, 1 MiB", "gemini, 1 MiB"],
)
async def test_a_long_text_comes_back_whole(simulator, kind, text):
    made = await attempt(request(simulator.url(kind), "sim-echo-gap0", kind, prompt=text))
    assert made.ending == "complete"
    assert prompt_received(simulator, kind) == text
    assert made.text == text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_prompt_is_not_held_up_by_its_line_in_the_log(simulator, kind):
    made = await attempt(request(simulator.url(kind), "sim-n1", kind, prompt=MEBIBYTE))
    assert prompt_received(simulator, kind) == MEBIBYTE
    assert made.seconds < 2


WRITTEN = [
    "sim-n30-emoji-split",
    "sim-n3-newlines",
    "sim-n3-newlines-split",
    "sim-n4-newlines-length",
    "sim-n3-think",
    "sim-n3-think-split",
    "sim-n3-reasoning-think-newlines-split",
    "sim-n9-emoji-split-at5-reset",
    "sim-n9-newlines-at10-reset",
    "sim-n9-newlines-at11-reset",
    "sim-n9-newlines-at10-cut",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", WRITTEN)
async def test_the_text_is_what_the_provider_wrote(simulator, kind, model):
    made = await attempt(request(simulator.url(kind), model, kind))
    assert made.text == answer(parse_model(model), "").text


@pytest.mark.parametrize("split", ["", "-split"])
@pytest.mark.parametrize("kind", ["openai", "claude"])
async def test_reasoning_is_told_from_the_text(simulator, kind, split):
    made = await attempt(request(simulator.url(kind), f"sim-n3-reasoning-newlines{split}", kind))
    assert made.reasoning == "".join(REASONING)
    assert made.text == "word0 word1 word2 \n\n\n"


@pytest.mark.parametrize("split", ["", "-split"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_models_own_tags_are_reasoning_at_the_very_start(simulator, kind, split):
    made = await attempt(request(simulator.url(kind), f"sim-n3-thinkstart{split}", kind))
    assert (made.reasoning, made.text) == ("reason", "word0 word1 word2 ")


async def test_tokens_are_passed_on_as_they_come(simulator):
    made = await attempt(request(simulator.url("openai"), "sim-n5-gap50"))
    assert [event.text for event in made.events if isinstance(event, Text)] == [f"word{n} " for n in range(5)]
    sent = made.events[0]
    assert isinstance(sent, RequestSent)
    assert 0 < sent.ms < made.seconds * 1000


async def test_reasoning_and_text_never_share_an_event(simulator):
    made = await attempt(request(simulator.url("openai"), "sim-n3-reasoning-gap0"))
    kinds = [type(event) for event in made.events[1:-1]]
    assert kinds == sorted(kinds, key=[Reasoning, Text].index)


# --- Request ----------------------------------------------------------------------------------------------------------

# Every character that UTF-8 can carry, some 4 MB of them.
EVERY_CHARACTER = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_history_arrives_as_it_was_written(simulator, kind):
    history = (Turn("system", "Be brief."), Turn("user", EVERY_CHARACTER), Turn("assistant", ""))
    history += tuple(Turn(role, text) for text in HOSTILE.values() for role in ("user", "assistant"))
    await attempt(request(simulator.url(kind), "sim-n1", kind, history=history, prompt="last"))
    assert received(simulator.last["body"], kind) == [*history, Turn("user", "last")]


def received(body, kind):
    if kind == "openai":
        return [Turn(message["role"], message["content"]) for message in body["messages"]]
    if kind == "claude":
        turns = [Turn(message["role"], message["content"]) for message in body["messages"]]
        return [Turn("system", body["system"]), *turns]
    system = Turn("system", body["systemInstruction"]["parts"][0]["text"])
    roles = {"user": "user", "model": "assistant"}
    return [system, *(Turn(roles[said["role"]], said["parts"][0]["text"]) for said in body["contents"])]


IMAGES = {name: Image(f"image/{name}", os.urandom(300_000 + at)) for at, name in enumerate(("png", "jpeg", "webp"))}


@pytest.mark.parametrize("kind", [*KINDS, "openai-compatible", "azure-openai", "cohere"])
async def test_images_arrive_as_they_are_with_their_messages(simulator, kind):
    history = (Turn("user", "Two \x7f\u2028", ("png", "jpeg")), Turn("assistant", "Nice."))
    asked = request(
        simulator.url(kind), "sim-echo", kind, history=history, images=("webp",), files=IMAGES, prompt="And?"
    )
    made = await attempt(asked)
    assert (made.ending, made.text) == ("complete", "And?")
    line = simulator.served["served"][-1]
    assert line["images"] == tuple(sha256(image.data).hexdigest() for image in IMAGES.values())
    # Neighbours of one role: every provider that takes images takes them for one message.
    assert line["roles"] == ("user", {"gemini": "model"}.get(kind, "assistant"), "user", "user")
    assert line["input_characters"] == len("Two \x7f\u2028" + "Nice." + "And?")
    said = json.dumps(simulator.last["body"])
    assert [said.count(image.media_type) for image in IMAGES.values()] == [1, 1, 1]


async def test_the_most_that_is_ever_sent_fits_into_a_child(simulator):
    files = {str(number): Image("image/jpeg", os.urandom(1 << 20)) for number in range(16)}
    made = await attempt(request(simulator.url("openai"), "sim-n1", images=tuple(files), files=files))
    assert made.ending == "complete"
    assert len(simulator.served["served"][-1]["images"]) == 16


PARAMETERS = {
    "openai": ("max_completion_tokens", "temperature"),
    "openai-compatible": ("max_tokens", "temperature"),
    "claude": ("max_tokens", "temperature"),
    "gemini": ("maxOutputTokens", "temperature"),
}


@pytest.mark.parametrize("kind", PARAMETERS)
async def test_parameters_arrive_where_each_provider_looks_for_them(simulator, kind):
    made = await attempt(request(simulator.url(kind), "sim-n3", kind, temperature=0.25, max_tokens=77))
    body = simulator.last["body"]
    place = body["generationConfig"] if kind == "gemini" else body
    assert [place[name] for name in PARAMETERS[kind]] == [77, 0.25]
    # The patch that carries the limit replaces the one that asks for usage.
    assert made.finished.usage.output == 3


@pytest.mark.parametrize("kind", PARAMETERS)
async def test_without_parameters_there_is_no_limit_of_ours(simulator, kind):
    await attempt(request(simulator.url(kind), "sim-n3", kind))
    limits = re.findall(r'"(max\w+)": (\w+)', str(simulator.last["body"]).replace("'", '"'))
    assert limits == ([("max_tokens", "4096")] if kind == "claude" else [])


@pytest.mark.parametrize("kind", PARAMETERS)
@pytest.mark.parametrize(
    "model", [f"sim-n8{words}" for words in ("", "-cached", "-cached-reasoning", "-nousage", "-cut")]
)
async def test_usage_is_what_the_provider_reported(simulator, kind, model):
    made = await attempt(request(simulator.url(kind), model, kind, prompt="hello " * 100))
    usage = made.finished.usage
    assert (usage and dataclasses.asdict(usage)) == simulator.served["served"][0]["usage"]


@pytest.mark.parametrize("model", ["M/1:free", "a b", "m😀\x85\u2028", 'q"uo\\te', "ünï", "-e", "m#1"])
async def test_any_name_of_a_model_arrives(simulator, model):
    await attempt(request(simulator.url("openai"), model))
    assert simulator.last["body"]["model"] == model


# --- Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_the_key_arrives_and_is_told_nowhere_else(simulator, kind):
    made = await attempt(request(simulator.url(kind), "sim-n3", kind))
    assert simulator.served["served"][0]["has_key"]
    assert TEST_KEY not in repr(made)


@pytest.mark.parametrize("key", ["known-to-this-site", "AIzaSyA-0123456789abcdefghijklmnop", "of no+known/shape=="])
async def test_a_key_in_an_address_is_taken_out_of_the_error(settings, simulator, key):
    settings.PROVIDER_KEYS = {"G_API_KEY": "known-to-this-site"}
    made = await attempt(request(f"http://127.0.0.1:{free_port()}/v1beta", "m", "gemini", key=key))
    assert "?key=[key]" in made.finished.evidence.stderr
    assert key[-9:] not in repr(made)
