"""Traces: one event's way is one trace, whatever happens to processes; without a tracer nothing of it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from service.application.ports import UnavailableError
from service.application.tracing import ATTRIBUTES, SPANS, SpanAttributes
from service.domain.ledger_state import OutboxMessage
from service.domain.outcome import Call
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.tracer import RecordingTracer
from tests.unit.application.events import event, hired, purchased
from tests.unit.application.house import APPLY, CREATE, LIST_NUMBERS, House, World

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PRODUCERS = f"00-{TRACE_ID}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE_ID}-b7ad6b7169203331-00"
PERSONAL = ("Ada Example", "e1@example.com", "E1", "1001", "8675512345678")


@pytest.fixture
def tracer() -> RecordingTracer:
    return RecordingTracer()


@pytest.fixture
async def traced(
    clock: VirtualClock, telemetry: RecordingTelemetry, world: World, tracer: RecordingTracer
) -> AsyncIterator[House]:
    house = House(clock, telemetry, world, tracer)
    await house.open()
    yield house
    await house.close()


def header(message: OutboxMessage, name: str = "traceparent") -> str | None:
    found = dict(message.headers).get(name)
    return None if found is None else found.decode()


def test_catalogue_says_what_every_attribute_holds() -> None:
    used = {attribute for entry in SPANS.values() for attribute in entry.attributes}
    assert used == set(ATTRIBUTES) == set(SpanAttributes.__annotations__)


async def test_log_lines_name_the_trace_of_the_producer_whether_or_not_spans_are_recorded(house: House) -> None:
    await house.take(hired(1) | {"traceparent": PRODUCERS})
    told = {line.event: line.fields.get("trace_id") for line in house.telemetry.lines if "plan_id" in line.fields}
    assert told == dict.fromkeys(("event taken in", "command succeeded"), TRACE_ID)


async def test_an_event_is_one_trace_from_its_producer_to_its_results(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(hired(1) | {"traceparent": PRODUCERS})
    assert {span.trace_id for span in tracer.spans} == {TRACE_ID}
    (intake,) = tracer.named("intake")
    assert intake.parent == PRODUCERS
    assert {span.parent for span in tracer.spans if span is not intake} == {intake.traceparent}
    assert Counter(span.name for span in tracer.spans) == {"intake": 1, "vendor call": 3, "settlement": 2, "publish": 3}
    assert {header(message) for message in traced.publisher.log} == {s.traceparent for s in tracer.named("publish")}


async def test_spans_say_what_was_done_and_how_it_came_out(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(hired(1) | {"traceparent": PRODUCERS})
    (intake,), calls = tracer.named("intake"), tracer.named("vendor call")
    (plan,) = traced.ledger.durable.plans.values()
    assert intake.attributes == {
        "topic": "hr.events",
        "partition": 0,
        "outcome": "planned",
        "plan_id": plan.id,
        "account": "acme_cn",
    }
    assert [(c.attributes["operation"].partition(".")[2], c.attributes["attempt"]) for c in calls] == [
        ("DescribeExtensions", 0),
        ("CreateExtension", 1),
        ("DescribeExtension", 1),
    ]
    assert [c.attributes["vendor_request_id"] for c in calls] == ["req-1", "req-2", "req-3"]
    assert all(c.ended is not None and c.ended - c.begun == pytest.approx(0.05) for c in calls)
    assert all(c.attributes["queue_seconds"] >= 0 and c.attributes["quota_seconds"] >= 0 for c in calls)
    assert [s.attributes["outcome"] for s in tracer.named("settlement")] == ["succeeded", "succeeded"]
    assert {s.attributes["outcome"] for s in tracer.named("publish")} == {"acknowledged"}


async def test_no_span_tells_whom_it_is_about(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(hired(1), hired(1, event_id="again"))
    await traced.take(purchased(), topic="crm.events")
    told = orjson.dumps([span.attributes for span in tracer.spans], default=str).decode()
    assert len(tracer.spans) > 10
    assert [text for text in PERSONAL if text in told] == []


async def test_an_event_without_a_trace_begins_one(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(hired(1), hired(2))
    first, second = tracer.named("intake")
    assert (first.parent, second.parent) == (None, None)
    assert first.trace_id != second.trace_id
    assert {span.trace_id for span in tracer.spans} == {first.trace_id, second.trace_id}


async def test_trace_that_its_producer_does_not_record_is_handed_on_as_it_is(
    traced: House, tracer: RecordingTracer
) -> None:
    await traced.take(hired(1) | {"traceparent": UNSAMPLED})
    assert tracer.spans == []
    assert {header(message) for message in traced.publisher.log} == {UNSAMPLED}


async def test_event_that_is_not_sampled_begins_no_trace_later(traced: House, tracer: RecordingTracer) -> None:
    tracer.sampled = False
    await traced.take(hired(1))
    tracer.sampled = True
    await traced.take(hired(1, event_id="again"))
    plans = {plan.id for plan in traced.ledger.durable.plans.values() if plan.traceparent is not None}
    assert {span.attributes["plan_id"] for span in tracer.spans if "plan_id" in span.attributes} == plans
    assert len(plans) == 1


async def test_trace_goes_on_in_another_process(traced: House, tracer: RecordingTracer) -> None:
    traced.source.add(hired(1) | {"traceparent": PRODUCERS})
    await traced.clock.finish(traced.intake.run_once())
    vendor = traced.vendors["acme_cn"]

    def answer_no_write(call: Call) -> None:
        if call.operation == CREATE:
            vendor.answering.clear()

    vendor.on_arrival = answer_no_write
    await traced.execution.run_once()
    await traced.clock.until(lambda: not vendor.answering.is_set())
    before = [span.name for span in tracer.spans]
    await traced.restart()
    vendor.on_arrival = lambda _: None
    vendor.answering.set()
    while "plan.completed" not in traced.types():
        await traced.work()
        await traced.clock.advance(5.0)
    assert before == ["intake", "vendor call"]
    assert {span.trace_id for span in tracer.spans} == {TRACE_ID}
    (takeover,) = tracer.named("takeover")
    assert (takeover.attributes["operation"], takeover.attributes["outcome"]) == (CREATE, "in_doubt")
    assert takeover.ended is not None
    assert takeover.ended >= takeover.begun
    assert traced.types()[-1] == "plan.completed"
    assert header(traced.publisher.log[-1]) == tracer.named("publish")[-1].traceparent


async def test_one_read_for_several_events_is_in_the_trace_of_each(traced: House, tracer: RecordingTracer) -> None:
    for number in (1, 2, 3):
        traced.source.add(hired(number))
    await traced.work()
    reads = [s for s in tracer.named("vendor call") if s.attributes["operation"].endswith("DescribeExtensions")]
    assert [read.attributes["shared_by"] for read in reads] == [3, 3, 3]
    assert len({read.trace_id for read in reads}) == 3
    assert len({read.attributes["vendor_request_id"] for read in reads}) == 1


async def test_results_carry_their_span_in_headers_and_value_alike(traced: House) -> None:
    await traced.take(hired(1) | {"traceparent": PRODUCERS})
    for message in traced.publisher.log:
        assert message.value is not None
        document = orjson.loads(message.value)
        assert document["traceparent"] == header(message) == header(message, "ce_traceparent") != PRODUCERS


async def test_a_dead_letter_keeps_its_senders_trace_byte_for_byte(traced: House, tracer: RecordingTracer) -> None:
    broken: dict[str, Any] = event("hr.agent.hired.v1", "broken") | {"traceparent": PRODUCERS}
    await traced.take(broken)
    (letter,) = traced.publisher.log
    assert letter.topic == "dlq.hr.events"
    assert letter.value == orjson.dumps(broken)
    assert tracer.spans == []


@pytest.mark.parametrize(("second", "outcome"), [({}, "delivered_before"), ({"name": "Another Name"}, "id_reused")])
async def test_intake_says_what_became_of_an_event_that_is_not_taken(
    traced: House, tracer: RecordingTracer, second: dict[str, str], outcome: str
) -> None:
    await traced.take(hired(1))
    await traced.take(hired(1, **second))
    assert [span.attributes["outcome"] for span in tracer.named("intake")] == ["planned", outcome]


async def test_a_failure_names_its_class(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(hired(1, account="nobody"))
    (intake,) = tracer.named("intake")
    assert (intake.attributes["outcome"], intake.attributes["error_class"]) == ("incomplete", "incomplete")


async def test_a_message_that_kafka_did_not_take_is_a_span_each_time(traced: House, tracer: RecordingTracer) -> None:
    traced.source.add(hired(1))
    traced.publisher.away = 1
    with pytest.raises(UnavailableError):
        await traced.work()
    lost = {span.attributes["outcome"] for span in tracer.named("publish")}
    await traced.work()
    assert lost == {"lost"}
    assert {header(message) for message in traced.publisher.log} == {
        span.traceparent for span in tracer.named("publish") if span.attributes["outcome"] == "acknowledged"
    }


async def test_what_the_ledger_did_not_take_is_a_span_too(
    traced: House, tracer: RecordingTracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced.source.add(hired(1))
    with monkeypatch.context() as broken:

        async def away(*_: object) -> None:
            raise UnavailableError("ledger", "disk full")

        broken.setattr(traced.ledger, "transact", away)
        with pytest.raises(UnavailableError):
            await traced.clock.finish(traced.intake.run_once())
    await traced.work()
    assert [span.attributes["outcome"] for span in tracer.named("intake")] == ["lost", "planned"]


async def test_without_a_tracer_the_producers_trace_is_handed_on(house: House) -> None:
    await house.take(hired(1) | {"traceparent": PRODUCERS})
    assert {header(message) for message in house.publisher.log} == {PRODUCERS}


async def test_a_number_is_traced_through_its_application(traced: House, tracer: RecordingTracer) -> None:
    await traced.take(purchased() | {"traceparent": PRODUCERS}, topic="crm.events")
    operations = [span.attributes["operation"] for span in tracer.named("vendor call")]
    assert operations[:2] == [LIST_NUMBERS, APPLY]
    assert CREATE not in operations
