"""The tracer over OpenTelemetry: what is exported, under whom, how much of it; and that nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.adapters import traces
from service.adapters.traces import OpenTelemetryTracer, open_otlp_tracer
from service.application.tracing import SPANS, SpanName, Tracer
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.tracer import RecordingTracer
from tests.ports import free_ports

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PRODUCERS = f"00-{TRACE_ID}-b7ad6b7169203331-01"
ZEROS = f"00-{'0' * 32}-{'0' * 16}-01"
NOW = 1_790_000_000.25


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def open_tracer(telemetry: RecordingTelemetry) -> Iterator[Callable[..., OpenTelemetryTracer]]:
    opened: list[OpenTelemetryTracer] = []

    def make(exporter: SpanExporter, sample_ratio: float = 1.0) -> OpenTelemetryTracer:
        opened.append(OpenTelemetryTracer(exporter, sample_ratio=sample_ratio, telemetry=telemetry, instance="one:1"))
        return opened[-1]

    yield make
    for tracer in opened:
        tracer._provider.shutdown()


Open = Callable[..., OpenTelemetryTracer]


def exported(tracer: OpenTelemetryTracer, exporter: InMemorySpanExporter) -> Sequence[ReadableSpan]:
    assert tracer._provider.force_flush()
    return exporter.get_finished_spans()


@pytest.fixture(params=["fake", "real"])
def any_tracer(request: pytest.FixtureRequest, open_tracer: Open, exporter: InMemorySpanExporter) -> Tracer:
    return RecordingTracer() if request.param == "fake" else open_tracer(exporter)


def test_child_belongs_to_the_trace_of_its_parent(any_tracer: Tracer) -> None:
    span = any_tracer.begin("intake", parent=PRODUCERS, at=NOW)
    assert span is not None
    version, trace_id, span_id, flags = span.traceparent.split("-")
    assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
    assert len(span_id) == 16
    assert span_id not in PRODUCERS


@pytest.mark.parametrize("name", SPANS)
def test_only_intake_begins_a_trace(any_tracer: Tracer, name: SpanName) -> None:
    assert (any_tracer.begin(name, parent=None, at=NOW) is not None) is (name == "intake")


def test_what_its_producer_does_not_record_is_not_recorded(any_tracer: Tracer) -> None:
    assert any_tracer.begin("intake", parent=PRODUCERS[:-1] + "0", at=NOW) is None


@pytest.mark.parametrize("parent", [ZEROS, "", "00-1", "00-x-y-01", "00-1-2-3-4"])
def test_what_is_no_context_is_no_trace(open_tracer: Open, exporter: InMemorySpanExporter, parent: str) -> None:
    tracer = open_tracer(exporter)
    assert tracer.begin("publish", parent=parent, at=NOW) is None
    span = tracer.begin("intake", parent=parent, at=NOW)
    assert span is not None
    assert "0" * 32 not in span.traceparent


def test_span_is_exported_with_name_kind_times_and_attributes(
    open_tracer: Open, exporter: InMemorySpanExporter
) -> None:
    tracer = open_tracer(exporter)
    tracer.record(
        "vendor call",
        parent=PRODUCERS,
        begun=NOW,
        ended=NOW + 0.5,
        operation="tencent_ccc.CreateExtension",
        attempt=2,
        outcome="succeeded",
        error_class=None,
        quota_seconds=0.25,
    )
    (span,) = exported(tracer, exporter)
    assert (span.name, span.kind, span.status.status_code) == ("vendor call", SpanKind.CLIENT, StatusCode.UNSET)
    assert (span.start_time, span.end_time) == (int(NOW * 1e9), int((NOW + 0.5) * 1e9))
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes or {}) == {
        "cordboard.operation": "tencent_ccc.CreateExtension",
        "cordboard.attempt": 2,
        "cordboard.outcome": "succeeded",
        "cordboard.quota_seconds": 0.25,
    }
    resource = span.resource.attributes
    assert (resource["service.name"], resource["service.instance.id"]) == ("cordboard", "one:1")


def test_failure_is_an_error(open_tracer: Open, exporter: InMemorySpanExporter) -> None:
    tracer = open_tracer(exporter)
    tracer.record("vendor call", parent=PRODUCERS, begun=NOW, ended=NOW, outcome="throttled", error_class="throttled")
    (span,) = exported(tracer, exporter)
    assert span.status.status_code is StatusCode.ERROR


def test_attribute_that_is_not_the_spans_is_told_and_dropped(
    open_tracer: Open, exporter: InMemorySpanExporter, telemetry: RecordingTelemetry
) -> None:
    tracer = open_tracer(exporter)
    tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="lost", command_id="c")
    (span,) = exported(tracer, exporter)
    assert set(span.attributes or {}) == {"cordboard.topic", "cordboard.outcome"}
    assert telemetry.events("error") == ["a span has no such attribute"]


def test_a_ratio_samples_those_without_a_parent_alone(open_tracer: Open, exporter: InMemorySpanExporter) -> None:
    none = open_tracer(exporter, sample_ratio=0.0)
    assert none.begin("intake", parent=None, at=NOW) is None
    assert none.begin("intake", parent=PRODUCERS, at=NOW) is not None
    some = open_tracer(exporter, sample_ratio=0.25)
    begun = sum(some.begin("intake", parent=None, at=NOW) is not None for _ in range(2000))
    assert 350 < begun < 650


class _Stuck(SpanExporter):
    """A collector that does not answer until it is let go."""

    def __init__(self, result: SpanExportResult = SpanExportResult.SUCCESS) -> None:
        self.asked, self.free = threading.Event(), threading.Event()
        self.result = result
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        assert self.free.wait(30)
        self.taken += len(spans)
        return self.result

    def shutdown(self) -> None:
        self.free.set()


def test_spans_over_the_bound_are_dropped_and_counted(
    open_tracer: Open, telemetry: RecordingTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MOST_WAITING", 100)
    monkeypatch.setattr(traces, "MOST_TOGETHER", 10)
    stuck = _Stuck()
    tracer = open_tracer(stuck)
    for _ in range(130):
        tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="acknowledged")
    assert telemetry.counted("spans_dropped_total", reason="queue_full") == 30
    stuck.free.set()
    assert tracer._provider.force_flush()
    assert stuck.taken == 100


@pytest.mark.parametrize("breaks", [True, False])
def test_spans_that_the_collector_refuses_are_counted_and_told_once(
    open_tracer: Open, telemetry: RecordingTelemetry, breaks: bool
) -> None:
    class Refusing(InMemorySpanExporter):
        well = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if self.well:
                return super().export(spans)
            if breaks:
                raise ConnectionError
            return SpanExportResult.FAILURE

    exporter = Refusing()
    tracer = open_tracer(exporter)
    for well in (False, False, True):
        exporter.well = well
        tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="acknowledged")
        assert tracer._provider.force_flush()
    assert telemetry.counted("spans_dropped_total", reason="not_delivered") == 2
    assert telemetry.events() == [
        "the collector takes no spans: they are dropped",
        "the collector takes spans again",
    ]


async def test_closing_sends_what_waits(open_tracer: Open, exporter: InMemorySpanExporter) -> None:
    tracer = open_tracer(exporter)
    tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="acknowledged")
    await tracer.close()
    assert len(exporter.get_finished_spans()) == 1


async def test_closing_does_not_wait_for_a_collector_that_hangs(
    open_tracer: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "CLOSE_SECONDS", 0.05)
    stuck = _Stuck()
    tracer = open_tracer(stuck)
    tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="acknowledged")
    await tracer.close()
    assert stuck.asked.wait(10)
    assert stuck.taken == 0
    stuck.free.set()


async def test_a_collector_that_is_away_disturbs_nobody(
    telemetry: RecordingTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "EXPORT_SECONDS", 0.05)
    (port,) = free_ports(1)
    tracer = open_otlp_tracer(f"http://127.0.0.1:{port}", sample_ratio=1.0, telemetry=telemetry, instance="one:1")
    tracer.record("publish", parent=PRODUCERS, begun=NOW, ended=NOW, topic="t", outcome="acknowledged")
    await tracer.close()
    assert telemetry.counted("spans_dropped_total", reason="not_delivered") == 1
