"""A collector that speaks OTLP over HTTP in the test's own process, and what arrives there."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chat.database import db
from chat.models import Message
from providers.models import Attempt
from providers.simulator import Simulator
from sasha.testing import eventually, free_port, make_provider, server_process

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PROMPT = "planted words of mine"


class Collector:
    """What OpenTelemetry's collector is to a sender: POST /v1/traces with protobuf."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.raw.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def resources(self):
        return [found for raw in self.raw for found in ExportTraceServiceRequest.FromString(raw).resource_spans]

    def spans(self):
        return [span for found in self.resources() for scope in found.scope_spans for span in scope.spans]

    def trace(self, reply_id: str):
        """Return the spans of one reply, by their beginning."""
        wanted = bytes.fromhex(reply_id.replace("-", ""))
        return sorted((s for s in self.spans() if s.trace_id == wanted), key=lambda s: s.start_time_unix_nano)


def attributes_of(thing) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in thing.attributes}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest_asyncio.fixture(autouse=True)
async def provider(transactional_db):
    simulator = Simulator()
    await simulator.start()
    models = ("sim-n20-gap5", "sim-n6-cut-at3")
    await db(make_provider, simulator.url("openai-compatible"), *models, slug="claude")
    yield
    await simulator.stop()


async def answered(server, message: str = PROMPT, model: str = "claude:sim-n20-gap5", **fields) -> str:
    async with server.connect("a") as socket:
        return (await socket.say(message, model=model, **fields))[-1]["replyId"]


async def stop(server) -> None:
    assert await asyncio.to_thread(server.stop) == 0


def ns(moment) -> int:
    return round(moment.timestamp() * 1_000_000) * 1000


def is_near(nanoseconds: int, moment) -> bool:
    return abs(nanoseconds - ns(moment)) < 1_000_000


async def test_an_answer_is_a_trace_under_its_own_id(collector):
    with server_process(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as server:
        reply_id = await answered(server)
        await stop(server)
    # Flushed at the stop, long before the batch was due.
    spans = {span.name: span for span in collector.trace(reply_id)}
    root, asked, stream = spans["reply"], spans["chat sim-n20-gap5"], spans["stream"]
    parents = {name: span.parent_span_id for name, span in spans.items()}
    assert parents == {
        "reply": b"",
        **dict.fromkeys(("store", "wait", "chat sim-n20-gap5", "end"), root.span_id),
        **dict.fromkeys(("spawn", "start up", "first token", "stream"), asked.span_id),
    }
    reply, attempt = await Message.objects.aget(pk=reply_id), await Attempt.objects.aget(reply_id=reply_id)
    received = reply.ended_at - timedelta(milliseconds=reply.duration_ms)

    def after(start, ms):
        return start + timedelta(milliseconds=ms)

    times = {
        "reply": (received, reply.ended_at),
        "store": (received, after(received, reply.stored_ms)),
        "wait": (after(received, reply.stored_ms), after(received, reply.begun_ms)),
        "chat sim-n20-gap5": (attempt.started_at, after(attempt.started_at, attempt.total_ms)),
        "spawn": (attempt.started_at, after(attempt.started_at, attempt.spawn_ms)),
        "start up": (after(attempt.started_at, attempt.spawn_ms), after(attempt.started_at, attempt.request_ms)),
        "first token": (
            after(attempt.started_at, attempt.request_ms),
            after(attempt.started_at, attempt.first_token_ms),
        ),
        "stream": (
            after(attempt.started_at, attempt.first_token_ms),
            after(attempt.started_at, attempt.total_ms),
        ),
        "end": (after(attempt.started_at, attempt.total_ms), reply.ended_at),
    }
    for name, (start, end) in times.items():
        assert is_near(spans[name].start_time_unix_nano, start), name
        assert is_near(spans[name].end_time_unix_nano, end), name
    (gap,) = stream.events
    assert (gap.name, attributes_of(gap)) == ("longest gap", {"sasha.gap_ms": attempt.longest_gap_ms})
    assert is_near(gap.time_unix_nano, after(attempt.started_at, attempt.longest_gap_at_ms))
    assert attributes_of(asked) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "sim-n20-gap5",
        "gen_ai.usage.input_tokens": attempt.input_tokens + (attempt.cache_read_tokens or 0),
        "gen_ai.usage.cache_read.input_tokens": attempt.cache_read_tokens,
        "gen_ai.usage.output_tokens": attempt.output_tokens,
        "gen_ai.usage.reasoning.output_tokens": attempt.reasoning_tokens,
        "sasha.attempt": 1,
        "sasha.ending": "complete",
    }
    assert attributes_of(root)["sasha.ending"] == "complete"
    assert attributes_of(collector.resources()[0].resource)["service.name"] == "sasha-studio"
    assert not any(PROMPT.encode() in raw or b"word1" in raw for raw in collector.raw)


async def test_each_attempt_has_its_span_and_a_failure_its_status(collector):
    with server_process(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="mine") as server:
        reply_id = await answered(server, model="claude:sim-n6-cut-at3")
        await stop(server)
    attempts = [span for span in collector.trace(reply_id) if span.name.startswith("chat ")]
    assert [span.name for span in attempts] == ["chat sim-n6-cut-at3", "chat sim-n20-gap5"]
    assert [(span.status.code, span.status.message) for span in attempts] == [(2, "cut"), (0, "")]
    assert attributes_of(attempts[0])["error.type"] == "cut"
    assert attributes_of(collector.resources()[0].resource)["service.name"] == "mine"


async def test_a_collector_that_is_away_costs_one_line_and_no_time(tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    with (tmp_path / "stderr").open("w") as stderr:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with server_process(stderr, **environment) as server:
            for _ in range(3):
                await answered(server)
            await eventually(lambda: "traces are lost" in (tmp_path / "stderr").read_text())
            await answered(server)
            await stop(server)
    events = [json.loads(line) for line in (tmp_path / "stderr").read_text().splitlines()]
    told = [event for event in events if event["logger"].startswith(("opentelemetry", "monitoring.traces", "urllib3"))]
    assert [(event["event"].partition(":")[0], event["level"]) for event in told] == [("traces are lost", "warning")]


async def test_without_the_setting_a_server_loads_nothing_of_it(tmp_path):
    loaded = {}
    for endpoint in ("", f"http://127.0.0.1:{free_port()}"):
        # Python writes down every module that it loads.
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PYTHONPROFILEIMPORTTIME": "1"}
        with (tmp_path / "stderr").open("w") as stderr, server_process(stderr, **environment) as server:
            await answered(server)
            await stop(server)
        loaded[bool(endpoint)] = (tmp_path / "stderr").read_text()
    assert "sasha.request_log" in loaded[False]
    assert "opentelemetry" not in loaded[False]
    assert "opentelemetry.sdk.trace" in loaded[True]
