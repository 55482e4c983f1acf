import hashlib
import json
from typing import Any

import pytest

from contracts.dead_letter import DeadLetterReason
from service.domain import announcements as tell
from service.domain.command import CommandState, PlanState
from service.domain.ledger_state import OutboxMessage
from service.domain.outcome import ErrorClass, Failure
from service.domain.record_reading import Defect
from service.domain.value import replace
from tests.builders import NOW, make_command, make_plan, make_record

FAILURE = Failure(error_class=ErrorClass.CAPACITY, code="LimitExceeded", message="no seats", request_id="r-1")
PLAN = make_plan(
    event_subject="E1", correlation_id="case-1", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)
COMMAND = make_command(
    PLAN,
    result="done",
    failure=FAILURE,
    attempts=2,
    first_at=NOW + 1,
    last_at=NOW + 3,
    queue_seconds=1.5,
    quota_seconds=0.25,
    vendor_seconds=0.5,
)
ENDS = [s for s in CommandState if s.ended]


def ended(state: CommandState, **fields: Any) -> OutboxMessage:
    return tell.command_ended(PLAN, replace(COMMAND, state=state, **fields), NOW + 3)


def read(message: OutboxMessage) -> dict[str, Any]:
    assert message.value is not None
    event: dict[str, Any] = json.loads(message.value)
    return event


@pytest.mark.parametrize("state", ENDS)
def test_every_end_has_an_event_of_its_own(state: CommandState) -> None:
    message = ended(state)
    failed = state is CommandState.FAILED
    assert read(message)["type"] == f"provisioning.command.{state}.v1"
    assert message.topic == ("provisioning.failures" if failed else "provisioning.results")


@pytest.mark.parametrize("state", [s for s in CommandState if not s.ended])
def test_what_has_not_ended_has_no_end_to_tell(state: CommandState) -> None:
    with pytest.raises(AssertionError):
        ended(state)


def test_command_event_says_what_caused_it_and_where_the_time_went() -> None:
    event = read(ended(CommandState.SUCCEEDED))
    data = event["data"]
    assert data["caused_by"] == {
        "event_id": "event-1",
        "source": "urn:hr",
        "topic": "hr.events",
        "partition": 0,
        "offset": 1,
    }
    assert data["timing"] == {
        "attempts": 2,
        "first_at": "2027-01-15T08:00:01Z",
        "last_at": "2027-01-15T08:00:03Z",
        "queue_seconds": 1.5,
        "quota_seconds": 0.25,
        "vendor_seconds": 0.5,
    }
    assert (data["operation"], data["account"], data["resource"], data["epoch"]) == (
        "tencent_ccc.CreateExtension",
        "acme_cn",
        "extension:acme_cn/1001",
        0,
    )


def test_context_is_that_of_the_causing_event() -> None:
    message = ended(CommandState.SUCCEEDED)
    event = read(message)
    assert (event["subject"], event["correlationid"], event["causationid"]) == ("E1", "case-1", "event-1")
    assert event["traceparent"] == PLAN.traceparent
    assert (message.key, message.order_by) == (b"1", PLAN.subject)


def test_subject_is_cordboards_own_where_the_event_had_none() -> None:
    plan = replace(PLAN, event_subject=None)
    message = tell.command_ended(plan, replace(COMMAND, state=CommandState.STALE), NOW)
    assert read(message)["subject"] == PLAN.subject


def test_headers_repeat_the_attributes() -> None:
    message = ended(CommandState.SUCCEEDED)
    headers, event = dict(message.headers), read(message)
    for name in ("id", "type", "source", "subject", "correlationid", "causationid", "traceparent"):
        assert headers[f"ce_{name}"] == event[name].encode()


def test_failure_carries_class_code_request_and_advice() -> None:
    failure = read(ended(CommandState.FAILED))["data"]["failure"]
    assert (failure["error_class"], failure["code"], failure["request_id"]) == ("capacity", "LimitExceeded", "r-1")
    assert failure["replay_can_help"]
    assert failure["advice"]


def test_ids_are_the_same_whenever_they_are_made_and_differ_by_epoch_type_and_attempt() -> None:
    state = CommandState.SUCCEEDED
    assert ended(state).id == tell.command_ended(PLAN, replace(COMMAND, state=state), NOW + 99).id
    again = tell.command_ended(replace(PLAN, epoch=1), replace(COMMAND, state=state, epoch=1), NOW)
    doubts = [tell.command_in_doubt(PLAN, replace(COMMAND, attempts=n), NOW, who_acts="cordboard").id for n in (1, 2)]
    assert len({ended(state).id, ended(CommandState.FAILED).id, again.id, *doubts}) == 5
    assert read(ended(state))["id"] == ended(state).id


def test_plan_event_adds_up_its_commands() -> None:
    steps = [replace(COMMAND, state=CommandState.SUCCEEDED), make_command(PLAN, 1, state=CommandState.STALE)]
    data = read(tell.plan_completed(replace(PLAN, state=PlanState.COMPLETED), steps, NOW))["data"]
    assert data["timing"]["attempts"] == 2
    assert [(s["outcome"], s["result"]) for s in data["steps"]] == [("succeeded", "done"), ("stale", None)]


def test_plan_that_could_not_be_planned_has_no_steps_and_no_failed_step() -> None:
    data = read(tell.plan_failed(replace(PLAN, failure=FAILURE, account=None), [], NOW))["data"]
    assert (data["steps"], data["failed_step"], data["resource"], data["account"]) == ([], None, None, None)


@pytest.mark.parametrize("state", [CommandState.STALE, CommandState.SUPERSEDED])
def test_agent_whose_extension_was_left_alone_has_nothing_to_write_back(state: CommandState) -> None:
    data = read(tell.plan_completed(PLAN, [replace(COMMAND, state=state)], NOW))["data"]
    assert data["agent"] is None


def test_delivered_credential_is_told_but_never_carried() -> None:
    facts = {"credential": "delivered", "domain": "d"}
    done = replace(COMMAND, state=CommandState.SUCCEEDED, facts=facts)
    assert read(tell.plan_completed(PLAN, [done], NOW))["data"]["agent"]["credential"] == "delivered"


def test_sealed_credential_is_keyed_by_its_agent_and_has_one_id_however_often_it_is_sealed() -> None:
    plan = replace(PLAN, event_key=None)
    command = replace(COMMAND, wanted={"extension": "1001"})
    message, again = (tell.credential_sealed(plan, command, jwe, NOW) for jwe in ("a.b.c.d.e", "f.g.h.i.j"))
    assert (message.topic, message.key) == ("provisioning.credentials", PLAN.subject.encode())
    assert (message.id, message.order_by) == (again.id, PLAN.subject)
    assert message.id != tell.credential_sealed(replace(plan, epoch=1), command, "a.b.c.d.e", NOW).id
    event = read(message)
    assert (event["data"]["extension"], event["data"]["jwe"], event["subject"]) == ("1001", "a.b.c.d.e", "E1")
    assert tell.trace_of(message) == PLAN.traceparent


@pytest.mark.parametrize(
    ("cause", "who"),
    [
        ("approval", "vendor"),
        ("effective_date", "nobody"),
        ("in_doubt", "cordboard"),
        ("hold", "operator"),
        ("quarantine", "cordboard"),
        ("earlier_work", "cordboard"),
    ],
)
def test_wait_says_who_ends_it(cause: Any, who: str) -> None:
    data = read(tell.plan_waiting(PLAN, [COMMAND], cause, since=NOW, expected_at=NOW + 60))["data"]
    assert (data["cause"], data["who_acts"]) == (cause, who)
    assert (data["since"], data["expected_at"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z")


def test_dead_letter_is_the_record_with_the_reason_in_headers() -> None:
    record = make_record(value=b"\x00\xff", headers=(("a", b"1"), ("a", None)))
    defect = Defect(reason=DeadLetterReason.NOT_JSON, field="data.name", message="no")
    message = tell.dead_letter(record, defect, NOW)
    assert (message.topic, message.key, message.value) == ("dlq.hr.events", record.key, record.value)
    assert message.headers[:2] == record.headers
    headers = dict(message.headers)
    assert headers["__dlq.errors.topic"] == b"hr.events"
    assert any(value == b"not_json" for value in headers.values())
    assert tell.dead_letter(record, defect, NOW + 99).id == message.id
    assert (
        tell.dead_letter(make_record(value=b"\x00\xff", headers=record.headers, offset=8), defect, NOW).id != message.id
    )


def test_message_the_broker_finds_too_large_goes_as_digest_and_size() -> None:
    defect = Defect(reason=DeadLetterReason.TOO_LARGE, field=None, message="no")
    whole = tell.dead_letter(make_record(value=b"x" * 10), defect, NOW)
    short = tell.without_value(whole)
    headers = dict(short.headers)
    assert (short.id, short.key, short.value) == (whole.id, whole.key, None)
    assert headers["cordboard_value_size"] == b"10"
    assert headers["cordboard_value_sha256"] == hashlib.sha256(b"x" * 10).hexdigest().encode()


@pytest.mark.parametrize(("key", "value"), [(b"k", None), (None, b""), (b"k" * 70_000, b"")])
def test_message_reduced_as_far_as_can_be_still_has_key_or_value(key: bytes | None, value: bytes | None) -> None:
    whole = tell.command_ended(PLAN, replace(COMMAND, state=CommandState.STALE), NOW)
    reduced = tell.bare(replace(whole, key=key))
    assert reduced.value == value
    assert reduced.key is not None or reduced.value is not None


def test_another_trace_context_changes_nothing_else() -> None:
    plan = replace(PLAN, event_subject=f'"traceparent":"{PLAN.traceparent}"')
    message = tell.command_ended(plan, replace(COMMAND, state=CommandState.SUCCEEDED), NOW)
    ours = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    retraced = tell.retraced(message, ours)
    assert tell.trace_of(message) == PLAN.traceparent
    assert tell.trace_of(retraced) == ours
    assert read(retraced) == read(message) | {"traceparent": ours}
    headers = dict(message.headers) | {"ce_traceparent": ours.encode(), "traceparent": ours.encode()}
    assert dict(retraced.headers) == headers


def test_a_dead_letters_trace_context_is_its_senders_business() -> None:
    defect = Defect(reason=DeadLetterReason.INVALID_FIELD, field=None, message="m")
    record = make_record(headers=(("ce_traceparent", b"not one"),))
    assert tell.trace_of(tell.dead_letter(record, defect, NOW)) is None
