"""Rows of the ledgers in SQL: how each domain value lies in its table, and back. SQLite and PostgreSQL agree on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from service.domain.binding import Binding, BindingState
from service.domain.command import (
    Attempt,
    Command,
    CommandState,
    HistoryRow,
    Lane,
    OrderKey,
    Plan,
    PlanState,
    WaitCause,
)
from service.domain.dead_letter import DeadLetter, LetterState
from service.domain.ledger_state import Act, EventKey, Fact, Hold, HoldKind, OutboxMessage, StoredEvent
from service.domain.outcome import ErrorClass, Failure, Json

Row = tuple[Any, ...]


class Cells(Protocol):
    """A row as a driver gives it back."""

    def __getitem__(self, place: int, /) -> Any:
        """One column."""
        ...


UNFINISHED = "('pending', 'waiting', 'in_flight', 'in_doubt')"
PLAN = (
    "id, epoch, state, event_source, event_id, event_type, event_time, event_key, event_subject, topic,"
    ' "partition", "offset", correlation_id, traceparent, subject, account, order_source, order_revision,'
    " order_at, arrival, effective_at, created_at, ended_at, waiting_told, failure, planned"
)
COMMAND = (
    "id, plan_id, epoch, step, step_no, account, operation, quota_group, subject, resource, wanted, lane, state,"
    " order_source, order_revision, order_at, arrival, created_at, cause, effective_at, due_at, owner, attempts,"
    " retries, first_at, last_at, ended_at, queue_seconds, quota_seconds, vendor_seconds, result, facts, failure,"
    " traceparent, absent_at, claims"
)
ATTEMPT = "command_id, epoch, number, call, slot_at, marked_at, ended_at, outcome, code, request_id"
HISTORY = "command_id, epoch, at, before, after, cause, actor"
BINDING = (
    "subject, generation, resource, account, state, plan_id, applied, applied_at, revisions, create_sent, updated_at"
)
FACT = "id, subject, kind, apply_id, reason, received_at, taken_by"
HOLD = "id, kind, account, operation, subject, resource, reason, actor, created_at, released_at, probe"
OUTBOX = 'id, topic, "key", value, headers, order_by, created_at'
EVENT = 'source, id, type, digest, subject, topic, "partition", "offset", received_at, data, arrival'
DIGEST = "event_hash, digest, arrival, received_at, order_source, order_revision, order_at"
DEAD_LETTER = 'topic, "partition", "offset", reason, field, message, size, digest, seen_at, state, closed_at'
ACT = "at, actor, kind, object, reason, detail"


def to_json(value: Json) -> str:
    """JSON as text; a mapping of any kind becomes an object."""
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not JSON: {type(value).__name__}")


def _failure_json(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return to_json({name: getattr(failure, name) for name in Failure.__struct_fields__})


def _failure(text: str | None) -> Failure | None:
    if text is None:
        return None
    fields = orjson.loads(text)
    fields["error_class"] = ErrorClass(fields["error_class"])
    fields["afterwards"] = ErrorClass(fields["afterwards"])
    return Failure(**fields)


def plan_row(plan: Plan) -> Row:
    """The columns of PLAN."""
    order = plan.order
    return (
        plan.id, plan.epoch, plan.state, plan.event_source, plan.event_id, plan.event_type, plan.event_time,
        plan.event_key, plan.event_subject, plan.topic, plan.partition, plan.offset, plan.correlation_id,
        plan.traceparent, plan.subject, plan.account, order.source, order.revision, order.at, order.arrival,
        plan.effective_at, plan.created_at, plan.ended_at, int(plan.waiting_told), _failure_json(plan.failure),
        int(plan.planned),
    )  # fmt: skip


def plan(row: Cells) -> Plan:
    """Back from the columns of PLAN."""
    return Plan(
        id=row[0],
        epoch=row[1],
        state=PlanState(row[2]),
        event_source=row[3],
        event_id=row[4],
        event_type=row[5],
        event_time=row[6],
        event_key=row[7],
        event_subject=row[8],
        topic=row[9],
        partition=row[10],
        offset=row[11],
        correlation_id=row[12],
        traceparent=row[13],
        subject=row[14],
        account=row[15],
        order=OrderKey(source=row[16], revision=row[17], at=row[18], arrival=row[19]),
        effective_at=row[20],
        created_at=row[21],
        ended_at=row[22],
        waiting_told=bool(row[23]),
        failure=_failure(row[24]),
        planned=bool(row[25]),
    )


def command_row(command: Command) -> Row:
    """The columns of COMMAND."""
    c, order = command, command.order
    return (
        c.id, c.plan_id, c.epoch, c.step, c.step_no, c.account, c.operation, c.quota_group, c.subject, c.resource,
        to_json(c.wanted), c.lane, c.state, order.source, order.revision, order.at, order.arrival, c.created_at,
        c.cause, c.effective_at, c.due_at, c.owner, c.attempts, c.retries, c.first_at, c.last_at, c.ended_at,
        c.queue_seconds, c.quota_seconds, c.vendor_seconds, c.result, to_json(c.facts), _failure_json(c.failure),
        c.traceparent, c.absent_at, c.claims,
    )  # fmt: skip


def command(row: Cells) -> Command:
    """Back from the columns of COMMAND."""
    return Command(
        id=row[0],
        plan_id=row[1],
        epoch=row[2],
        step=row[3],
        step_no=row[4],
        account=row[5],
        operation=row[6],
        quota_group=row[7],
        subject=row[8],
        resource=row[9],
        wanted=orjson.loads(row[10]),
        lane=Lane(row[11]),
        state=CommandState(row[12]),
        order=OrderKey(source=row[13], revision=row[14], at=row[15], arrival=row[16]),
        created_at=row[17],
        cause=None if row[18] is None else WaitCause(row[18]),
        effective_at=row[19],
        due_at=row[20],
        owner=row[21],
        attempts=row[22],
        retries=row[23],
        first_at=row[24],
        last_at=row[25],
        ended_at=row[26],
        queue_seconds=row[27],
        quota_seconds=row[28],
        vendor_seconds=row[29],
        result=row[30],
        facts=orjson.loads(row[31]),
        failure=_failure(row[32]),
        traceparent=row[33],
        absent_at=row[34],
        claims=row[35],
    )


def attempt_row(attempt: Attempt) -> Row:
    """The columns of ATTEMPT."""
    a = attempt
    return (
        a.command_id,
        a.epoch,
        a.number,
        a.call,
        a.slot_at,
        a.marked_at,
        a.ended_at,
        a.outcome,
        a.code,
        a.request_id,
    )


def attempt(row: Cells) -> Attempt:
    """Back from the columns of ATTEMPT."""
    return Attempt(
        command_id=row[0],
        epoch=row[1],
        number=row[2],
        call=row[3],
        slot_at=row[4],
        marked_at=row[5],
        ended_at=row[6],
        outcome=row[7],
        code=row[8],
        request_id=row[9],
    )


def history_row(change: HistoryRow) -> Row:
    """The columns of HISTORY."""
    return (change.command_id, change.epoch, change.at, change.before, change.after, change.cause, change.actor)


def history(row: Cells) -> HistoryRow:
    """Back from the columns of HISTORY."""
    return HistoryRow(
        command_id=row[0],
        epoch=row[1],
        at=row[2],
        before=None if row[3] is None else CommandState(row[3]),
        after=CommandState(row[4]),
        cause=row[5],
        actor=row[6],
    )


def binding_row(binding: Binding) -> Row:
    """The columns of BINDING."""
    b = binding
    return (
        b.subject, b.generation, b.resource, b.account, b.state, b.plan_id,
        None if b.applied is None else to_json(b.applied), b.applied_at, to_json(b.revisions),
        int(b.create_sent), b.updated_at,
    )  # fmt: skip


def binding(row: Cells) -> Binding:
    """Back from the columns of BINDING."""
    return Binding(
        subject=row[0],
        generation=row[1],
        resource=row[2],
        account=row[3],
        state=BindingState(row[4]),
        plan_id=row[5],
        applied=None if row[6] is None else orjson.loads(row[6]),
        applied_at=row[7],
        revisions=orjson.loads(row[8]),
        create_sent=bool(row[9]),
        updated_at=row[10],
    )


def fact_row(fact: Fact) -> Row:
    """The columns of FACT."""
    return (fact.id, fact.subject, fact.kind, fact.apply_id, fact.reason, fact.received_at, fact.taken_by)


def fact(row: Cells) -> Fact:
    """Back from the columns of FACT."""
    return Fact(
        id=row[0],
        subject=row[1],
        kind=row[2],
        apply_id=row[3],
        reason=row[4],
        received_at=row[5],
        taken_by=row[6],
    )


def hold_row(hold: Hold) -> Row:
    """The columns of HOLD."""
    h = hold
    return (
        h.id, h.kind, h.account, h.operation, h.subject, h.resource, h.reason, h.actor, h.created_at, h.released_at,
        h.probe,
    )  # fmt: skip


def hold(row: Cells) -> Hold:
    """Back from the columns of HOLD."""
    return Hold(
        id=row[0],
        kind=HoldKind(row[1]),
        account=row[2],
        operation=row[3],
        subject=row[4],
        resource=row[5],
        reason=row[6],
        actor=row[7],
        created_at=row[8],
        released_at=row[9],
        probe=row[10],
    )


def outbox_row(message: OutboxMessage) -> Row:
    """The columns of OUTBOX; header bytes are kept one character per byte."""
    headers = [[name, None if value is None else value.decode("latin-1")] for name, value in message.headers]
    m = message
    return (m.id, m.topic, m.key, m.value, to_json(headers), m.order_by, m.created_at)


def outbox(row: Cells) -> OutboxMessage:
    """Back from the columns of OUTBOX followed by seq."""
    headers: Sequence[tuple[str, str | None]] = orjson.loads(row[4])
    return OutboxMessage(
        id=row[0],
        topic=row[1],
        key=row[2],
        value=row[3],
        headers=tuple((name, None if value is None else value.encode("latin-1")) for name, value in headers),
        order_by=row[5],
        created_at=row[6],
        seq=row[7],
    )


def event_row(event: StoredEvent) -> Row:
    """The columns of EVENT."""
    e = event
    return (
        e.source, e.id, e.type, e.digest, e.subject, e.topic, e.partition, e.offset, e.received_at, to_json(e.data),
        e.arrival,
    )  # fmt: skip


def event(row: Cells) -> StoredEvent:
    """Back from the columns of EVENT."""
    return StoredEvent(
        source=row[0],
        id=row[1],
        type=row[2],
        digest=row[3],
        subject=row[4],
        topic=row[5],
        partition=row[6],
        offset=row[7],
        received_at=row[8],
        data=orjson.loads(row[9]),
        arrival=row[10],
    )


def event_hash(key: EventKey) -> str:
    """How an event is known again after it has been erased."""
    return hashlib.sha256("\x00".join(key).encode()).hexdigest()


def digest_row(event: StoredEvent, orders: Mapping[EventKey, OrderKey]) -> Row:
    """The columns of DIGEST; `orders` are those of the events that were planned."""
    key = (event.source, event.id)
    order = orders.get(key)
    place = (None, None, None) if order is None else (order.source, order.revision, order.at)
    return (event_hash(key), event.digest, event.arrival, event.received_at, *place)


def dead_letter_row(letter: DeadLetter) -> Row:
    """The columns of DEAD_LETTER."""
    d = letter
    return (
        d.topic, d.partition, d.offset, d.reason, d.field, d.message, d.size, d.digest, d.seen_at, d.state, d.closed_at,
    )  # fmt: skip


def dead_letter(row: Cells) -> DeadLetter:
    """Back from the columns of DEAD_LETTER followed by seq."""
    return DeadLetter(
        topic=row[0],
        partition=row[1],
        offset=row[2],
        reason=row[3],
        field=row[4],
        message=row[5],
        size=row[6],
        digest=row[7],
        seen_at=row[8],
        state=LetterState(row[9]),
        closed_at=row[10],
        seq=row[11],
    )


def act_row(act: Act) -> Row:
    """The columns of ACT."""
    return (act.at, act.actor, act.kind, act.object, act.reason, to_json(act.detail))


def act(row: Cells) -> Act:
    """Back from the columns of ACT followed by seq."""
    return Act(
        at=row[0],
        actor=row[1],
        kind=row[2],
        object=row[3],
        reason=row[4],
        detail=orjson.loads(row[5]),
        seq=row[6],
    )
