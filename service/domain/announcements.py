"""Out-events and dead letters, made from the ledger's nouns; every id is the same every time it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from contracts.dead_letter import dead_letter_headers, dead_letter_topic
from contracts.outbound import (
    CREDENTIALS_TOPIC,
    FAILURES_TOPIC,
    RESULTS_TOPIC,
    AccountQuarantined,
    AccountRecovered,
    AgentResult,
    Cause,
    CommandCancelled,
    CommandFailed,
    CommandInDoubt,
    CommandStale,
    CommandSucceeded,
    CommandSuperseded,
    CredentialSealed,
    NumberResult,
    OutboundEvent,
    OutboundPart,
    PlanCompleted,
    PlanFailed,
    PlanWaiting,
    RouteResult,
    StepReport,
    Timing,
    WaitingCause,
    WhoActs,
)
from service.domain.advice import failure_detail
from service.domain.blueprint import Step
from service.domain.command import Command, CommandState, Plan
from service.domain.idempotency_key import message_id
from service.domain.ledger_state import Hold, OutboxMessage
from service.domain.outcome import Failure
from service.domain.record_reading import Defect, Record
from service.domain.value import replace

MOST_KEY_BYTES: Final = 65_536
OWN_TOPICS: Final = frozenset({RESULTS_TOPIC, FAILURES_TOPIC, CREDENTIALS_TOPIC})
TRACE_HEADERS: Final = frozenset({"ce_traceparent", "traceparent"})

_WHO_ENDS: Final[Mapping[str, WhoActs]] = {
    "approval": "vendor",
    "effective_date": "nobody",
    "in_doubt": "cordboard",
    "hold": "operator",
    "quarantine": "cordboard",
    "earlier_work": "cordboard",
}


def command_ended(
    plan: Plan,
    command: Command,
    now: float,
    *,
    because_step: str | None = None,
    request_id: str | None = None,
    by_event_id: str | None = None,
) -> OutboxMessage:
    """The event of a command's end, whichever of the five it is.

    `because_step` failed before a cancelled one; `request_id` is the vendor's for the last request of a success;
    `by_event_id` made a superseded one pointless.
    """
    shared = _command_fields(plan, command)
    data: OutboundPart
    result: Any = command.result
    match command.state:
        case CommandState.SUCCEEDED:
            data = CommandSucceeded(**shared, result=result, request_id=request_id or None)
        case CommandState.FAILED if command.failure is not None:
            data = CommandFailed(**shared, failure=failure_detail(command.failure))
        case CommandState.CANCELLED:
            data = CommandCancelled(**shared, because="earlier_step", because_step=because_step)
        case CommandState.SUPERSEDED:
            data = CommandSuperseded(**shared, by_event_id=by_event_id)
        case CommandState.STALE:
            data = CommandStale(**shared)
        case _:
            raise AssertionError(f"{command.id} has not ended: {command.state}")
    return _message(plan, command.id, f"provisioning.command.{command.state}.v1", data, now)


def credential_sealed(plan: Plan, command: Command, jwe: str, now: float) -> OutboxMessage:
    """The event with an agent's sealed credential: keyed by the agent, so that a compacted topic keeps the newest."""
    data = CredentialSealed(
        **_command_fields(plan, command),
        agent_id=_agent_id(plan),
        extension=command.wanted["extension"],
        jwe=jwe,
    )
    message = _message(plan, command.id, "provisioning.credential.sealed.v1", data, now)
    return replace(message, key=plan.subject.encode())


def command_in_doubt(plan: Plan, command: Command, now: float, *, who_acts: WhoActs) -> OutboxMessage:
    """The event of a command whose effect is unknown; told once for each attempt that ended so."""
    assert command.failure is not None  # noqa: S101 - a doubt always has its failure
    data = CommandInDoubt(
        **_command_fields(plan, command),
        failure=failure_detail(command.failure),
        since=_moment(now),
        who_acts=who_acts,
    )
    occurrence = str(command.attempts)
    return _message(plan, command.id, "provisioning.command.in_doubt.v1", data, now, occurrence=occurrence)


def plan_completed(plan: Plan, steps: Sequence[Command], now: float) -> OutboxMessage:
    """The event of a plan's good end, with what upstream writes back."""
    facts: dict[str, Any] = {}
    for step in steps:
        facts.update(step.facts)
    data = PlanCompleted(
        **_plan_fields(plan, steps),
        completed_at=_moment(now),
        steps=tuple(_report(step) for step in steps),
        agent=_agent(plan, steps, facts, now),
        number=_number(plan, steps, facts),
        route=_route(steps, now),
    )
    return _message(plan, plan.id, "provisioning.plan.completed.v1", data, now)


def plan_failed(plan: Plan, steps: Sequence[Command], now: float) -> OutboxMessage:
    """The event of a plan's bad end; `steps` is empty if planning itself failed."""
    assert plan.failure is not None  # noqa: S101 - a failed plan always has its failure
    failed = next((step.step for step in steps if step.state is CommandState.FAILED), None)
    data = PlanFailed(
        **_plan_fields(plan, steps),
        failed_at=_moment(now),
        steps=tuple(_report(step) for step in steps),
        failed_step=failed,
        failure=failure_detail(plan.failure),
    )
    return _message(plan, plan.id, "provisioning.plan.failed.v1", data, now)


def plan_waiting(
    plan: Plan,
    steps: Sequence[Command],
    cause: WaitingCause,
    *,
    since: float,
    expected_at: float | None,
    who_acts: WhoActs | None = None,
) -> OutboxMessage:
    """The event that a plan can't go on for now."""
    data = PlanWaiting(
        **_plan_fields(plan, steps),
        cause=cause,
        since=_moment(since),
        expected_at=None if expected_at is None else _moment(expected_at),
        who_acts=who_acts or _WHO_ENDS[cause],
    )
    return _message(plan, plan.id, "provisioning.plan.waiting.v1", data, since)


def account_quarantined(hold: Hold, plan: Plan, command: Command, failure: Failure) -> OutboxMessage:
    """The event of an account, or one operation of it, that was stopped because it is sick."""
    data = AccountQuarantined(
        account=command.account,
        vendor=vendor_of(command.operation),
        operation=hold.operation,
        since=_moment(hold.created_at),
        failure=failure_detail(failure),
        caused_by=_cause(plan),
    )
    return _about_account(hold, "provisioning.account.quarantined.v1", data, hold.created_at)


def account_recovered(hold: Hold, vendor: str, now: float) -> OutboxMessage:
    """The event of an account, or one operation of it, that works again, or is believed to by a person."""
    data = AccountRecovered(
        account=hold.account or "",
        vendor=vendor,
        operation=hold.operation,
        since=_moment(hold.created_at),
        recovered_at=_moment(now),
    )
    return _about_account(hold, "provisioning.account.recovered.v1", data, now)


def vendor_of(operation: str) -> str:
    """The vendor whose operation it is."""
    return operation.partition(".")[0]


def _about_account(hold: Hold, kind: str, data: OutboundPart, now: float) -> OutboxMessage:
    subject = f"account:{hold.account}"
    event = OutboundEvent(
        type=kind,
        id=message_id(hold.id, 0, kind),
        subject=subject,
        time=_moment(now),
        correlationid=hold.id,
        causationid=None,
        data=data,
    )
    return OutboxMessage(
        id=event.id,
        topic=event.topic,
        key=subject.encode(),
        value=event.to_structured(),
        headers=tuple(event.kafka_headers()),
        order_by=subject,
        created_at=now,
    )


def dead_letter(record: Record, defect: Defect, now: float) -> OutboxMessage:
    """A record on its way to the dead-letter topic, byte for byte."""
    headers = dead_letter_headers(
        record.headers,
        reason=defect.reason,
        field=defect.field,
        message=defect.message,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        first_seen=_moment(now),
    )
    place = f"{record.topic}/{record.partition}"
    return OutboxMessage(
        id=dead_letter_id(record.topic, record.partition, record.offset),
        topic=dead_letter_topic(record.topic),
        key=record.key,
        value=record.value,
        headers=tuple(headers),
        order_by=place,
        created_at=now,
    )


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """The id of the message that carries the record which stood there."""
    return message_id(f"{topic}/{partition}/{offset}", 0, "dead_letter")


def _message(
    plan: Plan, about: str, kind: str, data: OutboundPart, now: float, *, occurrence: str = ""
) -> OutboxMessage:
    event = OutboundEvent(
        type=kind,
        id=message_id(about, plan.epoch, kind, occurrence),
        subject=plan.event_subject or plan.subject,
        time=_moment(now),
        correlationid=plan.correlation_id,
        causationid=plan.event_id,
        data=data,
        traceparent=plan.traceparent,
    )
    return OutboxMessage(
        id=event.id,
        topic=event.topic,
        key=plan.event_key,
        value=event.to_structured(),
        headers=tuple(event.kafka_headers()),
        order_by=plan.subject,
        created_at=now,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _cause(plan: Plan) -> Cause:
    return Cause(
        event_id=plan.event_id,
        source=plan.event_source,
        topic=plan.topic,
        partition=plan.partition,
        offset=plan.offset,
    )


def _command_fields(plan: Plan, command: Command) -> dict[str, Any]:
    return {
        "caused_by": _cause(plan),
        "plan_id": plan.id,
        "command_id": command.id,
        "epoch": command.epoch,
        "step": command.step,
        "operation": command.operation,
        "account": command.account,
        "resource": command.resource,
        "timing": _timing([command]),
    }


def _plan_fields(plan: Plan, steps: Sequence[Command]) -> dict[str, Any]:
    return {
        "caused_by": _cause(plan),
        "plan_id": plan.id,
        "epoch": plan.epoch,
        "account": plan.account,
        "resource": steps[0].resource if steps else None,
        "timing": _timing(steps),
    }


def _timing(commands: Sequence[Command]) -> Timing:
    first = min((c.first_at for c in commands if c.first_at is not None), default=None)
    last = max((c.last_at for c in commands if c.last_at is not None), default=None)
    return Timing(
        attempts=sum(c.attempts for c in commands),
        first_at=None if first is None else _moment(first),
        last_at=None if last is None else _moment(last),
        queue_seconds=round(sum(c.queue_seconds for c in commands), 6),
        quota_seconds=round(sum(c.quota_seconds for c in commands), 6),
        vendor_seconds=round(sum(c.vendor_seconds for c in commands), 6),
    )


def _report(step: Command) -> StepReport:
    outcome: Any = step.state.value
    result: Any = step.result
    return StepReport(step=step.step, operation=step.operation, outcome=outcome, result=result)


def _agent(plan: Plan, steps: Sequence[Command], facts: Mapping[str, Any], now: float) -> AgentResult | None:
    extension = next((step for step in steps if step.step == Step.EXTENSION), None)
    if extension is None or extension.state is not CommandState.SUCCEEDED:
        return None
    credential: Literal["delivered", "none"] = "delivered" if facts.get("credential") == "delivered" else "none"
    return AgentResult(
        agent_id=_agent_id(plan),
        account=extension.account,
        extension=extension.wanted["extension"],
        full_extension=facts.get("full_extension"),
        domain=facts.get("domain"),
        outbound_proxy=facts.get("outbound_proxy"),
        transport=facts.get("transport"),
        ready_at=_moment(now),
        credential=credential,
    )


def _agent_id(plan: Plan) -> str:
    return plan.subject.partition("/")[2]


def _number(plan: Plan, steps: Sequence[Command], facts: Mapping[str, Any]) -> NumberResult | None:
    """The number once it is live; of a plan that only binds it, once it is bound."""
    named = {step.step: step for step in steps}
    approval, call_in = named.get(Step.APPROVAL), named.get(Step.CALL_IN)
    told = approval or call_in
    if told is None or told.state is not CommandState.SUCCEEDED:
        return None
    apply_id = facts.get("apply_id")
    live_at = None if approval is None else facts.get("live_at") or approval.ended_at
    return NumberResult(
        number=plan.subject.rpartition("/")[2],
        account=told.account,
        apply_id=None if apply_id is None else int(apply_id),
        live_at=None if live_at is None else _moment(live_at),
        bound=call_in is not None and call_in.state is CommandState.SUCCEEDED,
    )


def _route(steps: Sequence[Command], now: float) -> RouteResult | None:
    route = next((step for step in steps if step.step == Step.ROUTE), None)
    if route is None or route.state is not CommandState.SUCCEEDED:
        return None
    wanted = route.wanted
    return RouteResult(
        account=route.account,
        access_code=wanted["access_code"],
        ext_code=wanted["ext_code"],
        media_type=wanted["media_type"],
        skill_queue=wanted["device_id"] if wanted["device_type"] == "skill_queue" else None,
        ivr=wanted["device_id"] if wanted["device_type"] == "ivr" else None,
        ready_at=_moment(now),
    )


def trace_of(message: OutboxMessage) -> str | None:
    """The trace context of an out-event; None for a dead letter, whose headers are its sender's."""
    if message.topic not in OWN_TOPICS:
        return None
    found = next((value for name, value in message.headers if name == "ce_traceparent"), None)
    return None if found is None else found.decode()


def retraced(message: OutboxMessage, traceparent: str) -> OutboxMessage:
    """An out-event that has a trace context, under another one: in its headers and in its value."""
    before, after = (trace_of(message) or "").encode(), traceparent.encode()
    headers = tuple((n, after if n in TRACE_HEADERS else value) for n, value in message.headers)
    if message.value is None:
        return replace(message, headers=headers)
    value = message.value.replace(b'"traceparent":"%b"' % before, b'"traceparent":"%b"' % after, 1)
    return replace(message, headers=headers, value=value)


def bare(message: OutboxMessage) -> OutboxMessage:
    """A message that is too large even without its value: only Cordboard's own headers, and a key of sane size."""
    ours = ("cordboard_", "__dlq.", "ce_", "content-type")
    headers = tuple((name, value) for name, value in without_value(message).headers if name.startswith(ours))
    key = message.key if message.key is not None and len(message.key) <= MOST_KEY_BYTES else None
    return replace(message, key=key, value=_nothing(key), headers=headers)


def without_value(message: OutboxMessage) -> OutboxMessage:
    """A message that the broker finds too large, as digest and size of its value."""
    value = message.value or b""
    headers = (
        *message.headers,
        ("cordboard_value_sha256", hashlib.sha256(value).hexdigest().encode()),
        ("cordboard_value_size", str(len(value)).encode()),
    )
    return replace(message, value=_nothing(message.key), headers=headers)


def _nothing(key: bytes | None) -> bytes | None:
    """No value; a message without a key carries an empty one, since it must have something."""
    return None if key is not None else b""
