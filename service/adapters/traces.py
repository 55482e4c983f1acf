"""The tracer port over OpenTelemetry: spans go to a collector by OTLP over HTTP, from a thread of their own.

Loaded only where a collector is configured. Nothing here waits for the collector: what it does not take in time is
dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import Final, Unpack

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OpenTelemetrySpan

from service.application import tracing
from service.application.telemetry import Telemetry
from service.application.tracing import SPANS, SpanAttributes, SpanName

ATTRIBUTE_PREFIX: Final = "cordboard."
MOST_WAITING: Final = 4096  # spans; some eight megabytes
MOST_TOGETHER: Final = 512
EVERY_SECONDS: Final = 1.0
EXPORT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0
MOST_CHARACTERS: Final = 200

KINDS: Final = {
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
}


class OpenTelemetryTracer:
    """Fulfils the Tracer port. An attribute that the catalogue does not give a span is told and dropped."""

    def __init__(self, exporter: SpanExporter, *, sample_ratio: float, telemetry: Telemetry, instance: str) -> None:
        """Send to the exporter, as this process (`instance`), so large a share of the traces that begin here."""
        self._telemetry = telemetry
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({"service.name": "cordboard", "service.instance.id": instance}),
            span_limits=SpanLimits(max_span_attribute_length=MOST_CHARACTERS),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(_CountingProcessor(_CountingExporter(exporter, telemetry), telemetry))
        self._tracer = self._provider.get_tracer("cordboard")

    def begin(self, name: SpanName, *, parent: str | None, at: float) -> tracing.Span | None:
        """Begin a span; None where nothing is recorded."""
        entry, above = SPANS[name], _context_of(parent)
        if not entry.begins if above is None else not above.trace_flags.sampled:
            return None
        span = self._tracer.start_span(
            name,
            context=Context() if above is None else set_span_in_context(NonRecordingSpan(above), Context()),
            kind=KINDS[entry.kind],
            start_time=_nanoseconds(at),
        )
        return _Begun(name, span, self._telemetry) if span.is_recording() else None

    def record(
        self, name: SpanName, *, parent: str | None, begun: float, ended: float, **attributes: Unpack[SpanAttributes]
    ) -> None:
        """A span that is over already."""
        span = self.begin(name, parent=parent, at=begun)
        if span is not None:
            span.end(ended, **attributes)

    async def close(self) -> None:
        """Send what waits, for at most two seconds; what the collector has not taken then is lost."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces-closing", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSE_SECONDS)


class _Begun:
    """Fulfils the Span port."""

    def __init__(self, name: SpanName, span: OpenTelemetrySpan, telemetry: Telemetry) -> None:
        self._name: SpanName = name
        self._span = span
        self._telemetry = telemetry

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
        return f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"

    def end(self, at: float, **attributes: Unpack[SpanAttributes]) -> None:
        allowed, kept = SPANS[self._name].attributes, dict[str, str | int | float]()
        for name, value in attributes.items():
            if name not in allowed:
                self._telemetry.log("error", "a span has no such attribute", span=self._name, attribute=name)
            elif isinstance(value, str):
                kept[ATTRIBUTE_PREFIX + name] = str(value)  # a word of ours may be more than text
            elif isinstance(value, int | float):
                kept[ATTRIBUTE_PREFIX + name] = value
        self._span.set_attributes(kept)
        if attributes.get("error_class") is not None:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(_nanoseconds(at))


class _CountingExporter(SpanExporter):
    """Passes spans on; knows how many it has passed, counts those that were not taken, and says when that changes."""

    def __init__(self, exporter: SpanExporter, telemetry: Telemetry) -> None:
        self._exporter = exporter
        self._telemetry = telemetry
        self._well = True
        self.passed = 0  # as the line above, written by the exporting thread alone

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the exporting thread."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 - traces never disturb work; it is counted and said
            result = SpanExportResult.FAILURE
        self.passed += len(spans)
        well = result is SpanExportResult.SUCCESS
        if not well:
            self._telemetry.count("spans_dropped_total", len(spans), reason="not_delivered")
        if well is not self._well:
            self._well = well
            self._telemetry.log(
                "info" if well else "warning",
                "the collector takes spans again" if well else "the collector takes no spans: they are dropped",
            )
        return result

    def shutdown(self) -> None:
        """Let go of the collector."""
        self._exporter.shutdown()


class _CountingProcessor(BatchSpanProcessor):
    """The SDK's bounded queue and its thread; a span that finds the queue full is counted, not silently lost."""

    def __init__(self, exporter: _CountingExporter, telemetry: Telemetry) -> None:
        super().__init__(
            exporter,
            max_queue_size=MOST_WAITING,
            schedule_delay_millis=EVERY_SECONDS * 1000,
            max_export_batch_size=MOST_TOGETHER,
            export_timeout_millis=EXPORT_SECONDS * 1000,
        )
        self._counted = exporter
        self._telemetry = telemetry
        self._taken = 0  # written by those who end spans alone: the event loop's thread

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that is over, if there is room."""
        if self._taken - self._counted.passed >= MOST_WAITING:
            self._telemetry.count("spans_dropped_total", reason="queue_full")
            return
        self._taken += 1
        super().on_end(span)


def open_otlp_tracer(endpoint: str, *, sample_ratio: float, telemetry: Telemetry, instance: str) -> OpenTelemetryTracer:
    """A tracer that sends to the collector there; nothing is connected yet.

    Headers that a collector wants (`OTEL_EXPORTER_OTLP_HEADERS`) and its authorities (`OTEL_EXPORTER_OTLP_CERTIFICATE`)
    are read from OpenTelemetry's own variables.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # we tell it ourselves
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=EXPORT_SECONDS)
    return OpenTelemetryTracer(exporter, sample_ratio=sample_ratio, telemetry=telemetry, instance=instance)


def _context_of(traceparent: str | None) -> SpanContext | None:
    """The context that a `traceparent` of version 00 says; None where it says none, or ids of zeros."""
    if traceparent is None:
        return None
    try:
        _, trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-"))
    except ValueError:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
