"""One event is one trace, from its producer's header to the result's, also when the process is killed on the way."""

import dataclasses
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.entrypoints.demo_day import DayRecord
from tests.acceptance.collector import CollectedSpan, Collector, collecting, hanging
from tests.acceptance.events import hired
from tests.acceptance.scene import Scene
from tests.benchmarks.meters import cpu_seconds
from tests.kafka.broker import KafkaBroker

TRACE_ID, PRODUCERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PRODUCERS = f"00-{TRACE_ID}-{PRODUCERS_SPAN}-01"
SETTINGS: dict[str, Any] = {
    "kafka": {"session_timeout_ms": 1500},
    "timing": {"read_lag_seconds": 0.5},
    "accounts": {"acme_cn": {"quotas": {"default": 200}}},
}
NEVER_ANSWERED = {"kind": "late_reply", "action": "CreateExtension", "seconds": 600.0, "count": 1}
PERSONAL = (b"Agent 7001", b"a7001@acme.example", b"A7001")
EVENTS = 150


def under_trace(record: DayRecord) -> DayRecord:
    return dataclasses.replace(record, headers=(*record.headers, ("traceparent", PRODUCERS.encode())))


async def test_one_trace_joins_producer_vendor_and_result_across_a_kill(kafka: KafkaBroker, tmp_path: Path) -> None:
    sandbox = {"quotas": {"tencent_ccc": {"default": 200}}, "faults": [NEVER_ANSWERED]}
    async with (
        collecting() as collector,
        Scene(
            kafka,
            tmp_path,
            tag=".traced",
            settings=SETTINGS | {"traces": {"otlp_endpoint": collector.endpoint}},
            sandbox_settings=sandbox,
        ) as scene,
    ):
        await scene.produce([under_trace(hired(7001))])
        worker = scene.start_worker()
        read = {"operation": "tencent_ccc.DescribeExtensions"}
        await scene.until(lambda: bool(collector.named("vendor call", **read)), seconds=20, what="the read's span")
        await scene.until_async(lambda: _is_there(scene, "7001"), seconds=10, what="the extension at the vendor")
        await scene.kill_worker(worker)
        before = list(collector.spans)
        worker = scene.start_worker()
        await scene.until(
            lambda: (
                bool(scene.events("provisioning.plan.completed")) and _told(scene) <= _span_ids(collector, "publish")
            ),
            seconds=20,
            what="the result, and the spans of all that was told",
        )
        assert await scene.stop_worker(worker) == 0
        after = collector.spans[len(before) :]
        assert {span.trace_id for span in collector.spans} == {TRACE_ID}
        _is_one_tree(collector.spans)
        assert {span.name for span in before} == {"intake", "vendor call"}
        assert {span.name for span in after} - {"intake"} == {"takeover", "vendor call", "settlement", "publish"}
        assert _operations(before) == ["DescribeExtensions"]
        assert _operations(after) == ["DescribeExtensions", "DescribeExtension"]
        (takeover,) = collector.named("takeover")
        assert (takeover.attributes["attempt"], takeover.attributes["outcome"]) == (1, "in_doubt")
        assert [text for text in PERSONAL for body in collector.bodies if text in body] == []


def _told(scene: Scene) -> set[str]:
    """The spans that result events name in header, extension and value alike."""
    told = set()
    for message in scene.messages:
        headers = dict(message.headers)
        assert message.value is not None
        context = headers["traceparent"].decode()
        assert context == headers["ce_traceparent"].decode() == orjson.loads(message.value)["traceparent"]
        version, trace_id, span_id, flags = context.split("-")
        assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
        told.add(span_id)
    return told


def _span_ids(collector: Collector, name: str) -> set[str]:
    return {span.span_id for span in collector.named(name)}


def _is_one_tree(spans: list[CollectedSpan]) -> None:
    """The producer's span above intake's (the record may come again after the kill), and that above all others."""
    intakes = [span for span in spans if span.name == "intake"]
    (intake,) = [span for span in intakes if span.attributes["outcome"] == "planned"]
    assert {span.parent_id for span in intakes} == {PRODUCERS_SPAN}
    assert {span.parent_id for span in spans if span not in intakes} == {intake.span_id}


def _operations(spans: list[CollectedSpan]) -> list[str]:
    calls = sorted((span for span in spans if span.name == "vendor call"), key=lambda span: span.begun)
    return [str(call.attributes["operation"]).partition(".")[2] for call in calls]


def _are_told(scene: Scene, ends: int) -> bool:
    return len(scene.plan_ends()) >= ends


async def _is_there(scene: Scene, extension: str) -> bool:
    state = await scene.ask_sandbox("GET", "state")
    return extension in state["tencent_ccc"]["1400000000"]["extensions"]


async def test_a_collector_that_hangs_holds_up_neither_work_nor_stop(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with (
        hanging() as endpoint,
        Scene(
            kafka,
            tmp_path,
            tag=".hanging",
            settings=SETTINGS | {"traces": {"otlp_endpoint": endpoint}},
            sandbox_settings={"quotas": {"tencent_ccc": {"default": 200}}},
        ) as scene,
    ):
        worker = scene.start_worker()
        await scene.produce(hired(5000 + n) for n in range(20))
        await scene.until(partial(_are_told, scene, 20), seconds=20, what="20 ends")
        asked = time.monotonic()
        assert await scene.stop_worker(worker) == 0
        assert time.monotonic() - asked < 8  # two seconds of it for the collector


def test_nothing_of_it_is_loaded_until_a_collector_is_named() -> None:
    program = (
        "import sys, service.entrypoints.cli; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - our own program


async def test_what_traces_cost_is_reported(
    kafka: KafkaBroker, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox = {"quotas": {"tencent_ccc": {"default": 200}}}
    spent: dict[str, float] = {}
    async with (
        collecting() as collector,
        Scene(kafka, tmp_path, tag=".costs", settings=SETTINGS, sandbox_settings=sandbox) as scene,
    ):
        for number, (name, traces) in enumerate(
            {"without": {}, "with": {"traces": {"otlp_endpoint": collector.endpoint}}}.items(), start=1
        ):
            scene.settings = SETTINGS | traces
            worker = scene.start_worker()
            await scene.until_async(scene.is_ready, seconds=15, what="a worker that is ready")
            before = cpu_seconds(worker.pid)
            await scene.produce(hired(number * 1000 + n) for n in range(EVENTS))
            ends = number * EVENTS
            await scene.until(partial(_are_told, scene, ends), seconds=30, what=f"{ends} ends")
            spent[name] = (cpu_seconds(worker.pid) - before) / EVENTS * 1000
            assert await scene.stop_worker(worker) == 0
        assert len(collector.named("intake")) == EVENTS
    for name, milliseconds in spent.items():
        record_property(f"cpu_ms_per_event_{name}_traces", milliseconds)
    with capsys.disabled():
        sys.stdout.write(
            f"\nCPU per event: {spent['without']:.2f} ms without traces, {spent['with']:.2f} ms with them "
            f"({spent['with'] / spent['without']:.2f} times), {len(collector.spans) / EVENTS:.1f} spans each\n"
        )
