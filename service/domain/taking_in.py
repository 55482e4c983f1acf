"""What the ledger writes for a batch of records that were read: events, plans, facts, bindings, dead letters.

Events are decided one after another over one draft, so each sees what the ones before it reserved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from contracts.dead_letter import DeadLetterReason
from service.domain import announcements as tell
from service.domain.blueprint import Blueprint, FactBlueprint, Refusal
from service.domain.command import Lane, Plan, PlanState, WaitCause
from service.domain.dead_letter import DeadLetter
from service.domain.draft import Draft
from service.domain.idempotency_key import fact_id, plan_id
from service.domain.ledger_state import Changes, Fact, Keys, Known, StoredEvent
from service.domain.order import is_overtaken, order_key
from service.domain.outcome import Failure
from service.domain.planning import PlanningPolicy, effective_at, plan_event, subject_of
from service.domain.record_reading import Defect, InboundEvent, Record, Understood
from service.domain.settling import (
    SettlingPolicy,
    apply_fact,
    end_stale,
    is_behind_a_long_wait,
    tell_waiting,
)
from service.domain.starting import begin, reserve
from service.domain.superseding import supersede
from service.domain.value import Value, replace


class ReadRecord(Value, frozen=True):
    """A record with what reading it gave (ignored ones never come here)."""

    record: Record
    reading: Understood | Defect


class IntakePolicy(Value, frozen=True, kw_only=True):
    """What intake decides by. `max_event_bytes` bounds a record whose bytes go to the dead-letter topic."""

    planning: PlanningPolicy
    settling: SettlingPolicy
    max_event_bytes: int = 1_048_576


def keys_of(batch: Iterable[ReadRecord], policy: IntakePolicy) -> Keys:
    """What must be known to decide the batch."""
    events, subjects, resources = set(), set(), set()
    for item in batch:
        if not isinstance(item.reading, Understood):
            continue
        event = item.reading.event
        events.add((event.source, event.id))
        planned = plan_event(event, policy.planning, None)
        subjects |= {planned.subject, subject_of(event, policy.planning)}
        if isinstance(planned, Blueprint):
            resources.add(planned.resource)
    return Keys(events=frozenset(events), subjects=frozenset(subjects), resources=frozenset(resources))


def take_in(known: Known, batch: Sequence[ReadRecord], policy: IntakePolicy, now: float) -> Changes:
    """Decide a batch, in its order."""
    draft = Draft(known, now)
    take_in_draft(draft, batch, policy)
    return draft.changes()


def take_in_draft(draft: Draft, batch: Sequence[ReadRecord], policy: IntakePolicy) -> None:
    """The same, beside whatever else the draft's transaction does."""
    for item in batch:
        match item.reading:
            case Defect() as defect:
                _dead_letter(draft, item.record, defect)
            case Understood(event):
                _take_event(draft, item.record, event, policy)


def _take_event(draft: Draft, record: Record, event: InboundEvent, policy: IntakePolicy) -> None:
    known_digest = draft.digest_of((event.source, event.id))
    if known_digest == event.digest:
        return  # delivered before: nothing to do
    if known_digest is not None:
        message = "source and id were seen before with other content; the first one counts"
        _dead_letter(draft, record, Defect(reason=DeadLetterReason.ID_REUSED, field="id", message=message))
        return
    binding = draft.binding_of(subject_of(event, policy.planning))
    planned = plan_event(event, policy.planning, binding)
    arrival = draft.take_arrival()
    draft.put_event(_stored(event, planned.subject, arrival, draft.now))
    match planned:
        case FactBlueprint():
            _take_fact(draft, event, planned, policy)
        case Refusal():
            _fail_at_once(draft, _plan(draft, event, planned, arrival), planned.failure)
        case Blueprint():
            _take_blueprint(draft, event, planned, arrival)


def _take_fact(draft: Draft, event: InboundEvent, planned: FactBlueprint, policy: IntakePolicy) -> None:
    fact = Fact(
        id=fact_id(event.source, event.id),
        subject=planned.subject,
        kind=planned.kind,
        apply_id=planned.apply_id,
        reason=None,  # a person's free text; nothing needs it
        received_at=draft.now,
    )
    if not apply_fact(draft, fact, policy.settling):
        draft.put_fact(fact)


def _take_blueprint(draft: Draft, event: InboundEvent, planned: Blueprint, arrival: int) -> None:
    plan = _plan(draft, event, planned, arrival)
    refusal = reserve(draft, plan, resource=planned.resource, account=planned.account.name)
    if refusal is not None:
        _fail_at_once(draft, plan, refusal)
        return
    overtaken = is_overtaken(plan, draft.binding_of(plan.subject))
    if not overtaken:
        supersede(draft, plan, planned.steps, planned.resource)
    first = begin(draft, plan, planned, lane=Lane.LIVE)
    if overtaken:
        end_stale(draft, plan)
    elif first.cause is WaitCause.EFFECTIVE_DATE:
        tell_waiting(draft, plan, "effective_date", expected_at=plan.effective_at)
    elif first.cause is WaitCause.EARLIER_WORK and is_behind_a_long_wait(draft, plan, {planned.resource}):
        tell_waiting(draft, plan, "earlier_work", expected_at=None)


def _plan(draft: Draft, event: InboundEvent, planned: Blueprint | Refusal, arrival: int) -> Plan:
    account = planned.account if isinstance(planned, Refusal) else planned.account.name
    zone = planned.account.time_zone if isinstance(planned, Blueprint) else "UTC"
    effective = effective_at(event.data, zone, draft.now)
    resources = {planned.resource} if isinstance(planned, Blueprint) else set[str]()
    order = order_key(
        source=event.source,
        revision=event.revision,
        arrived_at=draft.now,
        effective_at=effective,
        arrival=arrival,
        ahead=draft.open_plans(planned.subject, resources),
    )
    return Plan(
        id=plan_id(event.source, event.id),
        epoch=0,
        state=PlanState.OPEN,
        event_source=event.source,
        event_id=event.id,
        event_type=event.type,
        event_time=None if event.time is None else event.time.isoformat(),
        event_key=event.key,
        event_subject=event.subject_hint,
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        correlation_id=event.correlationid or event.id,
        traceparent=event.traceparent,
        subject=planned.subject,
        account=account,
        order=order,
        effective_at=effective,
        created_at=draft.now,
    )


def _fail_at_once(draft: Draft, plan: Plan, failure: Failure) -> None:
    """A plan without commands: failed as it arrives, replayable once the reason is gone."""
    failed = draft.put_plan(replace(plan, state=PlanState.FAILED, ended_at=draft.now, failure=failure, planned=False))
    draft.tell(tell.plan_failed(failed, [], draft.now))


def _stored(event: InboundEvent, subject: str, arrival: int, now: float) -> StoredEvent:
    return StoredEvent(
        source=event.source,
        id=event.id,
        type=event.type,
        digest=event.digest,
        subject=subject,
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        received_at=now,
        data=event.data.known_fields(),
        arrival=arrival,
    )


def _dead_letter(draft: Draft, record: Record, defect: Defect) -> None:
    value = record.value or b""
    digest = hashlib.sha256(value).hexdigest()
    draft.put_dead_letter(
        DeadLetter(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=defect.reason,
            field=defect.field,
            message=defect.message,
            size=len(value),
            digest=digest,
            seen_at=draft.now,
        )
    )
    draft.tell(tell.dead_letter(record, defect, draft.now))
