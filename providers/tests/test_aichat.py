"""How each attempt of the real aichat on the simulator ends."""

import asyncio

import pytest

from providers.aichat import Clocks, RequestSent, Stop
from providers.endings import Verdict
from providers.output import Text
from providers.simulator import answer, parse_model
from providers.tests.attempts import KINDS, attempt, clocks, request
from sasha.testing import free_port

ENDINGS = [
    ("sim-n3", "complete", "finish reason"),
    ("sim-n3-first100", "complete", "finish reason"),
    ("sim-n3-nousage", "complete", "finish reason"),
    ("sim-empty", "empty", "finish reason"),
    ("sim-reasoning-empty", "empty", "finish reason"),
    ("sim-n4-length", "length", "finish reason"),
    ("sim-n4-at0-length", "length", "finish reason"),
    ("sim-n4-filter", "filtered", "finish reason"),
    ("sim-n4-at0-filter", "filtered", "finish reason"),
    ("sim-n4-cut", "cut", "no finish reason"),
    ("sim-n4-at0-cut", "cut", "no finish reason"),
    ("sim-n4-reset", "cut", "exit code 1"),
    ("sim-n4-at0-reset", "cut", "exit code 1"),
    ("sim-n4-malformed", "cut", "exit code 1"),
    ("sim-n4-at0-malformed", "provider_error", "exit code 1"),
    ("sim-n4-error", "provider_error", "error in the stream"),
    ("sim-n4-at0-error", "provider_error", "error in the stream"),
    ("sim-http500", "provider_error", "HTTP 500"),
    ("sim-http529", "provider_error", "HTTP 529"),
    ("sim-http429", "rate_limited", "HTTP 429"),
    ("sim-http400context", "rejected", "HTTP 400"),
    ("sim-http400key", "unauthorised", "HTTP 400"),
    ("sim-http401", "unauthorised", "HTTP 401"),
    ("sim-http403", "unauthorised", "HTTP 403"),
    ("sim-http404", "misconfigured", "HTTP 404"),
    ("sim-http422", "misconfigured", "HTTP 422"),
    ("an unknown model", "misconfigured", "HTTP 404"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("model", "ending", "evidence"), ENDINGS, ids=[row[0] for row in ENDINGS])
async def test_each_ending_that_a_provider_causes(simulator, kind, model, ending, evidence):
    made = await attempt(request(simulator.url(kind), model, kind))
    assert made.verdict == Verdict(ending, evidence)
    if model.startswith("sim-n"):
        assert made.text == answer(parse_model(model), "hello").text


@pytest.mark.parametrize("kind", KINDS)
async def test_the_page_of_a_proxy_is_the_providers_failure(simulator, kind):
    made = await attempt(request(simulator.url(kind), "sim-http502html", kind))
    assert made.verdict == Verdict("provider_error", "exit code 1" if kind == "gemini" else "HTTP 502")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("model", "limits", "ending", "evidence"),
    [
        ("sim-silent", {"first_token": 0.2}, "timed_out", "first token clock"),
        ("sim-n4-at0-heartbeat", {"first_token": 0.4}, "timed_out", "first token clock"),
        ("sim-n4-stall", {"idle": 0.2}, "stalled", "idle clock"),
        ("sim-n4-heartbeat", {"idle": 0.4}, "stalled", "idle clock"),
        ("sim-n200-gap20", {"total": 0.4}, "timed_out", "total clock"),
        ("sim-n200-gap20", {"idle": 0.3, "total": 0.6}, "timed_out", "total clock"),
    ],
)
async def test_each_clock(simulator, kind, model, limits, ending, evidence):
    made = await attempt(request(simulator.url(kind), model, kind, clocks=clocks(**limits)))
    assert made.verdict == Verdict(ending, evidence)
    assert min(limits.values()) <= made.seconds < max(limits.values()) + 1


@pytest.mark.parametrize("kind", ["openai", "claude"])
async def test_reasoning_is_progress_for_the_clocks(simulator, kind):
    # Eight pieces, 80 ms apart, before the first token of text.
    short = Clocks(first_token=0.5, idle=0.5, total=5)
    made = await attempt(request(simulator.url(kind), "sim-n1-reasoning-gap80", kind, clocks=short))
    assert made.seconds > 0.6
    assert made.ending == "complete"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [RequestSent, Text])
@pytest.mark.parametrize(
    ("reason", "ending"), [("stopped", "stopped"), ("interrupted", "interrupted"), ("too_long", "length")]
)
async def test_each_end_that_is_asked_for(simulator, kind, at, reason, ending):
    # Where the end is asked for before any text, the text takes so long that it cannot be there all the same.
    model = "sim-n9-at3-stall" if at is Text else "sim-n9-first5000"
    made = await attempt(request(simulator.url(kind), model, kind), stop_at=at, reason=reason)
    assert made.ending == ending
    assert bool(made.text) is (at is Text)
    assert made.seconds < 2.5


async def test_a_stop_before_the_start_is_a_stop(simulator):
    stop = Stop()
    stop.request("stopped")
    assert (await attempt(request(simulator.url("openai"), "sim-n3"), stop)).ending == "stopped"


async def test_the_first_reason_to_end_counts(simulator):
    stop = Stop()
    stop.request("interrupted")
    stop.request("stopped")
    assert (await attempt(request(simulator.url("openai"), "sim-n3"), stop)).ending == "interrupted"


async def test_a_stop_before_the_exit_is_a_stop_even_after_the_last_word(simulator):
    made = await attempt(request(simulator.url("openai"), "sim-n1-slowclose"), stop_at=Text)
    assert (made.ending, made.text) == ("stopped", "word0 ")


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listens(simulator, kind):
    made = await attempt(request(f"http://127.0.0.1:{free_port()}/v1", "m", kind))
    assert made.verdict == Verdict("unreachable", "no connection")


ODD_SERVERS = {
    "hangs up": ("http", b"", dict.fromkeys(KINDS, "unreachable")),
    "speaks no HTTP": ("http", b"220 mail ESMTP\r\n", dict.fromkeys(KINDS, "unreachable")),
    "speaks no TLS": ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", dict.fromkeys(KINDS, "unreachable")),
    "is a website": (
        "http",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>Welcome</html>",
        {"openai": "provider_error", "claude": "provider_error", "gemini": "cut"},
    ),
    "fails without a body": (
        "http",
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        dict.fromkeys(KINDS, "provider_error"),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("scheme", "response", "endings"), ODD_SERVERS.values(), ids=ODD_SERVERS)
async def test_an_address_that(simulator, kind, scheme, response, endings):
    async def serve(reader, writer):
        await reader.readuntil(b"hello" if scheme == "http" else b"\0")
        writer.write(response)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        made = await attempt(request(f"{scheme}://127.0.0.1:{port}/v1", "m", kind))
    assert made.ending == endings[kind]


@pytest.mark.parametrize("kind", ["openai", "gemini"])
async def test_a_provider_that_wants_a_key_and_has_none_is_not_asked(simulator, kind):
    made = await attempt(request(simulator.url(kind), "sim-n3", kind, key=""))
    assert made.verdict == Verdict("unauthorised", "exit code 1")
    assert simulator.served["requests"] == 0


async def test_a_compatible_server_needs_no_key(simulator):
    made = await attempt(request(simulator.url("openai"), "sim-n3", "openai-compatible", key=""))
    assert made.ending == "complete"
    assert not simulator.served["served"][0]["has_key"]


async def test_a_provider_that_never_says_why_it_stopped_is_believed_on_its_row(simulator):
    made = await attempt(request(simulator.url("openai"), "sim-n4-cut", needs_finish_reason=False))
    assert made.verdict == Verdict("complete", "exit code")
