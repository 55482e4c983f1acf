import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.outbound import (
    CREDENTIALS_TOPIC,
    FAILURES_TOPIC,
    OUTBOUND,
    RESULTS_TOPIC,
    AccountRecovered,
    Cause,
    CommandSucceeded,
    ErrorClass,
    FailureDetail,
    OutboundEvent,
    Timing,
)

NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def succeeded(**changes: Any) -> CommandSucceeded:
    fields: dict[str, Any] = {
        "caused_by": Cause(event_id="hire-1", source="/hr", topic="hr.events", partition=3, offset=7),
        "plan_id": "p",
        "command_id": "c",
        "epoch": 0,
        "step": "extension",
        "operation": "tencent_ccc.CreateExtension",
        "account": "acme_cn",
        "resource": "extension:acme_cn/1001",
        "timing": Timing(),
        "result": "done",
    }
    return CommandSucceeded(**(fields | changes))


def event(**changes: Any) -> OutboundEvent:
    fields: dict[str, Any] = {
        "type": "provisioning.command.succeeded.v1",
        "id": "3c9d",
        "subject": "Åse",
        "time": NOW,
        "correlationid": "case-1",
        "causationid": "hire-1",
        "data": succeeded(),
    }
    return OutboundEvent(**(fields | changes))


def test_structured_form_is_a_whole_cloudevent() -> None:
    written = json.loads(event().to_structured())
    data = written.pop("data")
    assert written == {
        "specversion": "1.0",
        "id": "3c9d",
        "source": "/cordboard",
        "type": "provisioning.command.succeeded.v1",
        "subject": "Åse",
        "time": "2026-03-01T10:00:00Z",
        "datacontenttype": "application/json",
        "correlationid": "case-1",
        "causationid": "hire-1",
    }
    assert CommandSucceeded.model_validate_json(json.dumps(data)) == succeeded()


def test_writing_twice_gives_the_same_bytes() -> None:
    assert event().to_structured() == event().to_structured()


def test_headers_say_structured_and_repeat_the_attributes() -> None:
    traced = event(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert dict(traced.kafka_headers()) == {
        "content-type": b"application/cloudevents+json",
        "ce_specversion": b"1.0",
        "ce_id": b"3c9d",
        "ce_source": b"/cordboard",
        "ce_type": b"provisioning.command.succeeded.v1",
        "ce_subject": "Åse".encode(),
        "ce_time": b"2026-03-01T10:00:00Z",
        "ce_correlationid": b"case-1",
        "ce_causationid": b"hire-1",
        "ce_traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


def test_an_attribute_without_value_is_left_out() -> None:
    assert not {"causationid", "traceparent"} & event(causationid=None).attributes().keys()


def test_times_are_written_in_utc() -> None:
    moment = datetime(2026, 3, 1, 18, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=8)))
    assert event(time=moment).attributes()["time"] == "2026-03-01T10:00:00.250000Z"
    assert Timing(first_at=moment).model_dump(mode="json")["first_at"] == "2026-03-01T10:00:00.250000Z"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "provisioning.command.succeeded.v2"},
        {"type": "provisioning.command.failed.v1"},
        {"data": AccountRecovered(account="a", vendor="v", since=NOW, recovered_at=NOW)},
        {"time": datetime(2026, 3, 1)},  # noqa: DTZ001  # the missing zone is the point
    ],
)
def test_an_event_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not the data of|offset"):
        event(**changes)


def test_an_undeclared_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        succeeded(agent_name="Li Na")


def test_a_span_over_a_clock_that_stepped_back_is_written_as_0() -> None:
    assert Timing(queue_seconds=-3.5, vendor_seconds=2).model_dump()["queue_seconds"] == 0


def test_failure_takes_the_class_by_its_word() -> None:
    word: Any = "throttled"
    detail = FailureDetail(error_class=word, message="m", replay_can_help=True, advice="a")
    assert detail.error_class is ErrorClass.THROTTLED
    assert detail.model_dump(mode="json")["error_class"] == "throttled"


def test_failures_quarantines_and_credentials_have_their_topics_and_the_rest_go_to_results() -> None:
    failures = {name for name, known in OUTBOUND.items() if known.topic == FAILURES_TOPIC}
    assert failures == {
        "provisioning.command.failed.v1",
        "provisioning.command.in_doubt.v1",
        "provisioning.plan.failed.v1",
        "provisioning.account.quarantined.v1",
        "provisioning.account.recovered.v1",
    }
    sealed = {name for name, known in OUTBOUND.items() if known.topic == CREDENTIALS_TOPIC}
    assert sealed == {"provisioning.credential.sealed.v1"}
    assert {known.topic for name, known in OUTBOUND.items() if name not in failures | sealed} == {RESULTS_TOPIC}
    assert event().topic == RESULTS_TOPIC
