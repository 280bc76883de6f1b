"""A trace for every reply: where its time went, told to an OpenTelemetry collector once it is over; never its text.

Imported only where OTEL_EXPORTER_OTLP_ENDPOINT is set. The spans are made after the fact from the times that the reply
and its attempts have stored, and exported by a thread of the SDK's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import HTTP_RESPONSE_STATUS_CODE
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from chat.models import Message
from providers.endings import Ending
from providers.models import Attempt

logger = logging.getLogger(__name__)

# OpenTelemetry's names for those that it has another name for than ours.
PROVIDER_NAMES = {"claude": "anthropic", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# One export, its retries included; and what a server that stops waits for the last one.
EXPORT_SECONDS = 5.0
STOP_SECONDS = 3.0
# How often it is said that the collector does not answer.
COMPLAIN_SECONDS = 600.0

_reply_id: ContextVar[UUID] = ContextVar("reply_id")


class ReplyIds(RandomIdGenerator):
    """Calls a trace what its reply is called, so that each is found by the other."""

    def generate_trace_id(self) -> int:
        return _reply_id.get().int


class QuietExporter(SpanExporter):
    """Exports by HTTP; says in one line, now and then, that it cannot."""

    def __init__(self, endpoint: str) -> None:
        self._exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        self._complained_at = float("-inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        now = time.monotonic()
        if result is not SpanExportResult.SUCCESS and now - self._complained_at > COMPLAIN_SECONDS:
            self._complained_at = now
            logger.warning("traces are lost: the collector at OTEL_EXPORTER_OTLP_ENDPOINT takes none")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class Exporting:
    """The way to the collector, from the first reply to the stop of the server."""

    def __init__(self, endpoint: str) -> None:
        # Its own complaints come with every batch.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._processor = BatchSpanProcessor(QuietExporter(endpoint))
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes before our own name.
        resource = Resource({SERVICE_NAME: "sasha-studio"}).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=resource, id_generator=ReplyIds(), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self.tracer = provider.get_tracer("sasha")

    def stop(self) -> None:
        """Send what is left, within STOP_SECONDS."""
        # Not waited for any longer: the SDK would, for half a minute.
        last = threading.Thread(target=self._processor.shutdown, daemon=True)
        last.start()
        last.join(STOP_SECONDS)


_exporting: Exporting | None = None
_lock = threading.Lock()


def trace_reply(reply: Message, **_: Any) -> None:
    """Make the trace of a reply once its end is stored."""
    transaction.on_commit(lambda: _trace(reply), robust=True)


def _trace(reply: Message) -> None:
    _reply_id.set(reply.pk)
    make_spans(_current().tracer, reply, Attempt.objects.filter(reply_id=reply.pk).order_by("number"))


def _current() -> Exporting:
    """Return the way to the collector, opened by the first reply: one can end before the whole server has started."""
    global _exporting
    with _lock:
        if _exporting is None:
            _exporting = Exporting(settings.OTLP_ENDPOINT)
        return _exporting


def stop() -> None:
    """Send what is left; blocks for STOP_SECONDS at most."""
    global _exporting
    with _lock:
        exporting, _exporting = _exporting, None
    if exporting:
        exporting.stop()


# --- Spans ------------------------------------------------------------------------------------------------------------


def make_spans(tracer: trace.Tracer, reply: Message, attempts: Iterable[Attempt]) -> None:
    """Make the spans of a reply: stored, waited, each attempt with its parts, and the end."""
    ended = reply.ended_at or reply.created_at
    received = ended - timedelta(milliseconds=reply.duration_ms) if reply.duration_ms else reply.created_at
    drawer = Drawer(tracer)
    root = drawer.begin("reply", received, None, _attributes_of_reply(reply), SpanKind.SERVER)
    stored, begun = _after(received, reply.stored_ms), _after(received, reply.begun_ms)
    drawer.draw("store", received, stored, root)
    drawer.draw("wait", stored, begun, root)
    last = begun
    for attempt in attempts:
        last = _draw_attempt(drawer, attempt, root)
    drawer.draw("end", last, ended, root)
    _set_status(root, reply.ending)
    root.end(_ns(ended))


def _draw_attempt(drawer: Drawer, attempt: Attempt, root: Span) -> datetime:
    """Draw an attempt and its parts; return when it ended."""
    began = attempt.started_at
    ended = _after(began, attempt.total_ms) or attempt.ended_at or began
    span = drawer.begin(f"chat {attempt.model_name}", began, root, _attributes_of_attempt(attempt), SpanKind.CLIENT)
    sent, first = _after(began, attempt.request_ms), _after(began, attempt.first_token_ms)
    spawned = _after(began, attempt.spawn_ms)
    drawer.draw("spawn", began, spawned, span)
    drawer.draw("start up", spawned, sent, span)
    drawer.draw("first token", sent, first or ended, span)
    if first:
        stream = drawer.begin("stream", first, span)
        if (gap_at := _after(began, attempt.longest_gap_at_ms)) and attempt.longest_gap_ms:
            stream.add_event("longest gap", {"sasha.gap_ms": attempt.longest_gap_ms}, _ns(gap_at))
        stream.end(_ns(ended))
    _set_status(span, attempt.ending)
    span.end(_ns(ended))
    return ended


class Drawer:
    """Makes spans with a beginning and an end that lie in the past."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def begin(
        self,
        name: str,
        start: datetime,
        parent: Span | None,
        attributes: Mapping[str, Any] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        """Return a span that somebody else ends."""
        context = trace.set_span_in_context(parent or trace.INVALID_SPAN)
        return self._tracer.start_span(name, context, kind, attributes, start_time=_ns(start))

    def draw(self, name: str, start: datetime | None, end: datetime | None, parent: Span) -> None:
        """Make a span, where both of its ends are known."""
        if start and end:
            self.begin(name, start, parent).end(_ns(max(start, end)))


def _attributes_of_reply(reply: Message) -> dict[str, Any]:
    return _known(
        {
            "sasha.ending": reply.ending,
            "sasha.attempts": reply.attempts,
            "sasha.cost_usd": None if reply.cost_usd is None else float(reply.cost_usd),
            "sasha.provider": reply.provider,
            "sasha.model": reply.model,
            gen_ai.GEN_AI_CONVERSATION_ID: str(reply.conversation_id),
        }
    )


def _attributes_of_attempt(attempt: Attempt) -> dict[str, Any]:
    parts = (attempt.input_tokens, attempt.cache_read_tokens, attempt.cache_write_tokens)
    return _known(
        {
            gen_ai.GEN_AI_OPERATION_NAME: "chat",
            gen_ai.GEN_AI_PROVIDER_NAME: PROVIDER_NAMES.get(attempt.provider_slug, attempt.provider_slug),
            gen_ai.GEN_AI_REQUEST_MODEL: attempt.model_name,
            # Ours are the fresh ones alone, OpenTelemetry's all of them.
            gen_ai.GEN_AI_USAGE_INPUT_TOKENS: None if parts[0] is None else sum(part or 0 for part in parts),
            gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: attempt.cache_read_tokens,
            gen_ai.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: attempt.cache_write_tokens,
            gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: attempt.output_tokens,
            gen_ai.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: attempt.reasoning_tokens,
            "sasha.attempt": attempt.number,
            "sasha.ending": attempt.ending,
            "sasha.cost_usd": None if attempt.cost_usd is None else float(attempt.cost_usd),
            HTTP_RESPONSE_STATUS_CODE: attempt.http_status,
        }
    )


def _known(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value not in (None, "")}


def _set_status(span: Span, ending: str) -> None:
    if ending and Ending(ending).failed:
        span.set_attribute(ERROR_TYPE, ending)
        span.set_status(Status(StatusCode.ERROR, ending))


def _after(start: datetime, ms: int | None) -> datetime | None:
    return None if ms is None else start + timedelta(milliseconds=ms)


def _ns(moment: datetime) -> int:
    # In whole microseconds, which a float of seconds has not.
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000
