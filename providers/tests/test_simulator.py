"""The simulator by itself: names, answers, HTTP, the ledger, the command."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.conf import settings

from providers.simulator import Fault, Simulator, Spec, UnknownModelError, answer, parse_model

KINDS = ["openai", "claude", "gemini"]
HOSTILE = (
    'a\r\nb\t"c\\ \u2028\u0085\u00a0\ufeff é漢😀\U0010ffff </think> data: [DONE]\n\n{"x": [}\n\x01\x7f' * 5 + "end"
)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


async def send(simulator: Simulator, request: str, body: Any = None) -> tuple[Any, Any]:
    """Send `request`, such as "GET /served", and return what reads the response and what closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    data = json.dumps(body).encode() if body else b""
    writer.write(f"{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    return reader, writer


async def fetch(simulator: Simulator, request: str, body: Any = None) -> bytes:
    """Return the whole response to `request`."""
    reader, writer = await send(simulator, request, body)
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


async def idle(simulator: Simulator) -> None:
    """Wait until no stream is open."""
    while simulator.served["open"]:
        await fetch(simulator, "GET /served?last=0")


def chat(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True, **fields}


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("sim", Spec()),
        ("sim-n100-gap20-first100", Spec(n=100, gap=20, first=100)),
        ("sim-cut-at3-n9", Spec(n=9, at=3, fault=Fault.CUT)),
        ("sim-http429", Spec(fault=Fault.HTTP, status=429)),
        ("sim-http400context", Spec(fault=Fault.HTTP, status=400, variant="context")),
        ("sim-http429-retry7", Spec(fault=Fault.HTTP, status=429, retry=7)),
        ("sim-http502html", Spec(fault=Fault.HTTP, status=502, variant="html")),
        ("sim-echo-split-nousage", Spec(echo=True, split=True, nousage=True)),
        ("sim-at0-stall-slowclose", Spec(at=0, fault=Fault.STALL, slowclose=True)),
    ],
)
def test_a_name_is_a_script(name: str, spec: Spec) -> None:
    assert parse_model(name) == spec


@pytest.mark.parametrize(
    "name",
    ["", "gpt-4", "sim-", "sim-what", "sim-n", "sim-http", "sim-http200", "sim-cut-stall", "sim-n1-n2", "sim-n-1"],
)
def test_a_name_with_an_unknown_word_is_no_model(name: str) -> None:
    with pytest.raises(UnknownModelError):
        parse_model(name)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("n3", "word0 word1 word2 "),
        ("n4-reset", "word0 word1 "),
        ("n4-length-at1", "word0 "),
        ("n4-at0-error", ""),
        ("n4-empty", ""),
        ("n4-silent", ""),
        ("n2-think", "word0 <think>x</think>word1 "),
        ("n1-thinkstart", "<think>reason</think>word0 "),
        ("n1-newlines", "word0 \n\n\n"),
        ("n1-emoji", "é0漢😀 "),
        ("echo", HOSTILE),
    ],
)
def test_the_answer_follows_from_the_name_and_the_prompt(words: str, text: str) -> None:
    assert answer(parse_model(f"sim-{words}"), HOSTILE).text == text


@pytest.mark.parametrize("words", ["at0-stall", "at0-heartbeat", "silent", "n9999"])
async def test_a_stream_ends_when_its_client_leaves(simulator: Simulator, words: str) -> None:
    reader, writer = await send(simulator, "POST /v1/chat/completions", chat(f"sim-{words}"))
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await idle(simulator)

    [line] = simulator.served["served"]
    assert line["ended"] == ("client_gone" if words == "n9999" else words.removeprefix("at0-"))


async def test_200_streams_at_once_keep_their_pace(simulator: Simulator) -> None:
    await asyncio.gather(
        *(fetch(simulator, "POST /v1/chat/completions", chat("sim-n10-gap50-first500")) for _ in range(200))
    )

    served = simulator.served
    assert (served["max_open"], served["open"], served["by_ending"]) == (200, 0, {"whole": 200})
    assert all(0.9 < line["seconds"] < 5 for line in served["served"])


async def test_the_ledger_speaks_http_and_forgets_on_demand(simulator: Simulator) -> None:
    for model in ("sim-n1", "sim-http429", "gpt-4"):
        await fetch(simulator, "POST /v1/chat/completions", chat(model))
    served = json.loads((await fetch(simulator, "GET /served?last=1")).partition(b"\r\n\r\n")[2])

    assert served["by_fault"] == {"none": 1, "http429": 1, "http404": 1}
    assert [line["model"] for line in served["served"]] == ["gpt-4"]
    last = json.loads((await fetch(simulator, "GET /last")).partition(b"\r\n\r\n")[2])
    assert last["body"] == chat("gpt-4")
    await fetch(simulator, "POST /reset")
    assert (simulator.served["requests"], simulator.last) == (0, None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", chat("sim", stream=False), 400),
        ("/v1/chat/completions", ["sim"], 400),
        ("/v1/chat/completions", chat("sim") | {"messages": [{"role": "user", "content": "\ud800"}]}, 400),
        ("/v1/messages", chat("sim"), 400),
        ("/v1beta/models/sim%2Dn1:streamGenerateContent", {"contents": [{"parts": [{"text": "Hi"}]}]}, 200),
        ("/elsewhere", {}, 404),
    ],
)
async def test_requests_are_held_to_the_providers_rules(
    simulator: Simulator, path: str, body: Any, status: int
) -> None:
    assert (await fetch(simulator, f"POST {path}", body)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_only_loopback_is_served() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        await Simulator().start("0.0.0.0")


async def test_the_command_says_where_it_listens_and_ends_on_sigterm(simulator: Simulator) -> None:
    command = [sys.executable, "manage.py", "run_simulator", "--port"]
    options = {"cwd": settings.BASE_DIR, "stdout": -1, "stderr": -1}
    taken = await asyncio.create_subprocess_exec(*command, str(simulator.port), **options)
    free = await asyncio.create_subprocess_exec(*command, "0", **options)

    line = await free.stdout.readline()
    free.send_signal(signal.SIGTERM)
    _, sentence = await taken.communicate()
    assert line.startswith(b"Simulator listening on http://127.0.0.1:")
    assert await free.communicate() == (b"", b"")
    assert (free.returncode, taken.returncode) == (0, 1)
    assert sentence.decode() == (
        f"CommandError: The simulator cannot listen on port {simulator.port} of 127.0.0.1: Address already in use.\n"
    )


async def fetch_json(simulator: Simulator, request: str, body: Any = None) -> Any:
    """Return the status and the JSON of the response to `request`."""
    head, _, data = (await fetch(simulator, request, body)).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(data)


LISTS = {
    "openai": ("GET /v1/models", lambda body: [model["id"] for model in body["data"]]),
    "azure-openai": ("GET /openai/models?api-version=x", lambda body: [model["id"] for model in body["data"]]),
    "claude": (
        "GET /v1/models?limit=9 HTTP/1.1\r\nanthropic-version: 1\r\nX:",
        lambda body: [model["id"] for model in body["data"] if model["type"] == "model"],
    ),
    "gemini": ("GET /v1beta/models", lambda body: [model["name"].removeprefix("models/") for model in body["models"]]),
    "cohere": ("GET /cohere/v1/models", lambda body: [model["name"] for model in body["models"]]),
}


@pytest.mark.parametrize(("request_line", "names"), LISTS.values(), ids=LISTS)
async def test_models_are_listed_in_each_providers_way(simulator: Simulator, request_line: str, names: Any) -> None:
    status, body = await fetch_json(simulator, request_line)
    assert status == 200
    assert names(body) == ["sim", "sim-n100-gap20", "sim-echo"]


KEYS = {
    "openai": ("Authorization: Bearer ", "GET /v1/models", 401),
    "azure-openai": ("api-key: ", "GET /openai/models", 401),
    "claude": ("x-api-key: ", "GET /v1/models", 401),
    "gemini": ("x-goog-api-key: ", "GET /v1beta/models", 400),
}


@pytest.mark.parametrize(("header", "request_line", "refusal"), KEYS.values(), ids=KEYS)
async def test_a_wrong_key_is_refused_where_one_is_set(
    simulator: Simulator, header: str, request_line: str, refusal: int
) -> None:
    simulator.key = "right"
    assert (await fetch_json(simulator, f"{request_line} HTTP/1.1\r\n{header}right\r\nX:"))[0] == 200
    assert (await fetch_json(simulator, f"{request_line} HTTP/1.1\r\n{header}wrong\r\nX:"))[0] == refusal
    assert (await fetch_json(simulator, request_line))[0] == refusal


async def test_a_wrong_key_gets_no_answer(simulator: Simulator) -> None:
    simulator.key = "right"
    status, body = await fetch_json(simulator, "POST /v1/chat/completions", chat("sim"))
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert simulator.served["by_ending"] == {"http401key": 1}


async def test_a_time_to_wait_can_be_chosen(simulator: Simulator) -> None:
    _, openai = await fetch_json(simulator, "POST /v1/chat/completions", chat("sim-http429-retry7"))
    contents = {"contents": [{"parts": [{"text": "Hi"}]}]}
    _, google = await fetch_json(simulator, "POST /v1beta/models/sim-http429-retry7:streamGenerateContent", contents)
    assert "try again in 7s." in openai["error"]["message"]
    assert google[0]["error"]["details"][-1]["retryDelay"] == "7s"


async def test_the_ledger_knows_what_was_served_and_never_reported(simulator: Simulator) -> None:
    for model in ("sim-n9-reasoning", "sim-n9-nousage", "sim-n9-at4-cut", "sim-n9-at0-error", "sim-http500"):
        await fetch(simulator, "POST /v1/chat/completions", chat(model, stream_options={"include_usage": True}))

    lines = simulator.served["served"]
    assert [line["served"] and line["served"]["output"] for line in lines] == [17, 9, 4, 0, None]
    assert {line["served"]["input"] for line in lines[:4]} == {1}
    assert lines[0]["usage"] == lines[0]["served"]
    assert [line["usage"] for line in lines[1:]] == [None] * 4


async def test_the_ledger_counts_up_to_where_the_client_left(simulator: Simulator) -> None:
    reader, writer = await send(simulator, "POST /v1/chat/completions", chat("sim-n9-at3-stall"))
    await reader.readuntil(b"word2")
    writer.close()
    await idle(simulator)
    [line] = simulator.served["served"]
    assert (line["served"]["output"], line["usage"]) == (3, None)
