"""Replay: what starting a failed plan again would do, and doing it. The same rules decide the preview and the act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from contracts.inbound import INBOUND
from service.domain import announcements as tell
from service.domain.blueprint import Blueprint, Refusal, Step
from service.domain.command import Command, CommandState, Lane, Plan, PlanState, WaitCause
from service.domain.draft import Draft
from service.domain.ledger_state import StoredEvent
from service.domain.order import is_overtaken
from service.domain.planning import PlanningPolicy, effective_at, plan_event
from service.domain.record_reading import InboundEvent
from service.domain.settling import OVERTAKEN, complete_plan, end_stale
from service.domain.starting import begin, first_standing, obstacle, reserve
from service.domain.value import Value, replace
from service.domain.wanted import given

ERASED: Final = "(erased)"
"""What stands in place of a name that was erased on request."""
REFUSED_BY_REVIEW: Final = "refused"
"""The code of a plan whose number the vendor's review refused."""


class Why(StrEnum):
    """Why a plan is not started again."""

    RUNNING = "running"
    SATISFIED = "satisfied"
    OVERTAKEN = "overtaken"
    REPLAYED = "replayed"
    FORGOTTEN = "forgotten"
    STILL_FAILING = "still_failing"
    TAKEN = "taken"
    REVIEWED = "reviewed"
    UNKNOWN = "unknown"


SENTENCES: Final[dict[Why, str]] = {
    Why.RUNNING: "it is unfinished: nothing has to be started again",
    Why.SATISFIED: "what it wants stands already",
    Why.OVERTAKEN: "a later event of its subject was applied since: it ends stale, without effect",
    Why.REPLAYED: "it was started again since it was chosen",
    Why.FORGOTTEN: "its event's data were erased: send the event anew",
    Why.STILL_FAILING: "it would fail again for the same reason: the settings or the event lack what it needs",
    Why.TAKEN: "its resource belongs to another subject now",
    Why.REVIEWED: "the vendor's review refused the number: settle it with the vendor, then purchase it again",
    Why.UNKNOWN: "the ledger has no such plan or command",
}


class Refused(Value, frozen=True, kw_only=True):
    """A plan that a replay leaves as it is, or (overtaken, satisfied) ends without effect."""

    why: Why

    @property
    def ends_stale(self) -> bool:
        """True if a replay closes it: it has nothing left to do."""
        return self.why is Why.OVERTAKEN or self.why is Why.SATISFIED


class Eligible(Value, frozen=True, kw_only=True):
    """A plan that can be started again: the operations of the steps that would run."""

    account: str
    operations: tuple[str, ...]


Verdict = Eligible | Refused


def subjects_of(plan: Plan, event: StoredEvent | None, policy: PlanningPolicy) -> tuple[frozenset[str], frozenset[str]]:
    """The subjects and resources that must be known to judge a plan: planned again it may be about others."""
    planned = None if event is None else _planned(plan, event, policy, None)
    subjects = {plan.subject} if planned is None else {plan.subject, planned.subject}
    resources = {planned.resource} if isinstance(planned, Blueprint) else set()
    return frozenset(subjects), frozenset(resources)


def judge(draft: Draft, plan: Plan, event: StoredEvent | None, policy: PlanningPolicy) -> Verdict:
    """What a replay of the plan would do now. `event` is needed of a plan without commands."""
    if plan.state is PlanState.OPEN:
        return Refused(why=Why.RUNNING)
    if plan.state is PlanState.COMPLETED:
        return Refused(why=Why.SATISFIED)
    steps = draft.steps_of(plan.id)
    return _judge_steps(draft, plan, steps, policy) if steps else _judge_anew(draft, plan, event, policy)


def start(draft: Draft, plan: Plan, event: StoredEvent | None, policy: PlanningPolicy, *, actor: str) -> Verdict:
    """Open the plan's next epoch if it can be; what has nothing left to do ends in it, stale."""
    verdict = judge(draft, plan, event, policy)
    steps = draft.steps_of(plan.id)
    match verdict:
        case Eligible() if steps:
            _reopen(draft, plan, steps, policy, actor)
        case Eligible():
            _plan_again(draft, plan, event, policy, actor)
        case Refused() if verdict.ends_stale and plan.state is PlanState.FAILED:
            _close(draft, plan, steps, actor)
    return verdict


def _judge_steps(draft: Draft, plan: Plan, steps: Sequence[Command], policy: PlanningPolicy) -> Verdict:
    left = _left(steps)
    if left[0].account not in policy.accounts:
        return Refused(why=Why.STILL_FAILING)
    if plan.failure is not None and plan.failure.code == REFUSED_BY_REVIEW:
        return Refused(why=Why.REVIEWED)
    binding = draft.binding_of(plan.subject)
    still_wanted = [step for step in left if step.step == Step.REGISTRATION]
    if is_overtaken(replace(plan, epoch=plan.epoch + 1), binding):
        if still_wanted:
            return _eligible(still_wanted)
        applied = {} if binding is None or binding.applied is None else binding.applied
        stands = all(given(step.wanted).items() <= applied.items() for step in left)
        return Refused(why=Why.SATISFIED if stands else Why.OVERTAKEN)
    why = _hindrance(draft, plan, left)
    return _eligible(left) if why is None else Refused(why=why)


def _hindrance(draft: Draft, plan: Plan, left: Sequence[Command]) -> Why | None:
    if obstacle(draft, plan.subject, left[0].resource) is not None or _is_bound_elsewhere(draft, plan, left[0]):
        return Why.TAKEN
    forgotten = any(step.wanted.get("name") == ERASED for step in left)
    return Why.FORGOTTEN if forgotten else None


def _eligible(left: Sequence[Command]) -> Eligible:
    return Eligible(account=left[0].account, operations=tuple(step.operation for step in left))


def _left(steps: Sequence[Command]) -> list[Command]:
    """The failed step and those that were cancelled after it."""
    return [step for step in steps if step.state in {CommandState.FAILED, CommandState.CANCELLED}]


def _is_bound_elsewhere(draft: Draft, plan: Plan, step: Command) -> bool:
    binding = draft.binding_of(plan.subject)
    return binding is not None and binding.held and binding.resource != step.resource


def _judge_anew(draft: Draft, plan: Plan, event: StoredEvent | None, policy: PlanningPolicy) -> Verdict:
    if event is None:
        return Refused(why=Why.FORGOTTEN)
    planned = _planned(plan, event, policy, draft)
    if isinstance(planned, Refusal):
        return Refused(why=Why.STILL_FAILING)
    if is_overtaken(replace(plan, epoch=plan.epoch + 1), draft.binding_of(planned.subject)):
        return Refused(why=Why.OVERTAKEN)
    if obstacle(draft, planned.subject, planned.resource) is not None:
        return Refused(why=Why.TAKEN)
    return Eligible(account=planned.account.name, operations=tuple(step.operation for step in planned.steps))


def _reopen(draft: Draft, plan: Plan, steps: Sequence[Command], policy: PlanningPolicy, actor: str) -> None:
    left = _left(steps)
    opened = _opened(draft, plan)
    overtaken = is_overtaken(opened, draft.binding_of(plan.subject))
    first = first_standing(draft, opened, left[0].resource)
    if not overtaken:
        reserve(draft, opened, resource=left[0].resource, account=left[0].account)
    for step in left:
        begins = step.id == left[0].id
        draft.reopen(
            replace(step, quota_group=policy.accounts[step.account].group()),
            first.state if begins else CommandState.WAITING,
            epoch=opened.epoch,
            why="replayed",
            actor=actor,
            cause=first.cause if begins else WaitCause.EARLIER_STEP,
            due_at=first.due_at if begins else None,
        )
    if overtaken:
        end_stale(draft, draft.plan(plan.id))


def _plan_again(draft: Draft, plan: Plan, event: StoredEvent | None, policy: PlanningPolicy, actor: str) -> None:
    assert event is not None, "judged before"  # noqa: S101
    planned = _planned(plan, event, policy, draft)
    assert isinstance(planned, Blueprint), "judged before"  # noqa: S101
    read = _read(plan, event)
    opened = replace(
        plan,
        epoch=plan.epoch + 1,
        state=PlanState.OPEN,
        ended_at=None,
        waiting_told=False,
        failure=None,
        planned=True,
        subject=planned.subject,
        account=planned.account.name,
        effective_at=plan.effective_at or effective_at(read.data, planned.account.time_zone, draft.now),
    )
    reserve(draft, opened, resource=planned.resource, account=planned.account.name)
    begin(draft, opened, planned, lane=Lane.REPLAY, actor=actor)


def _close(draft: Draft, plan: Plan, steps: Iterable[Command], actor: str) -> None:
    """A plan that is overtaken ends in its next epoch, as everybody is told."""
    opened = _opened(draft, plan)
    for step in _left(list(steps)):
        stale = draft.reopen(step, CommandState.STALE, epoch=opened.epoch, why=OVERTAKEN, actor=actor)
        draft.tell(tell.command_ended(opened, stale, draft.now))
    draft.release_reservation(opened)
    complete_plan(draft, draft.plan(plan.id))


def _opened(draft: Draft, plan: Plan) -> Plan:
    return draft.put_plan(
        replace(plan, epoch=plan.epoch + 1, state=PlanState.OPEN, ended_at=None, waiting_told=False, failure=None)
    )


def _planned(plan: Plan, event: StoredEvent, policy: PlanningPolicy, draft: Draft | None) -> Blueprint | Refusal:
    """The event planned again, by the settings of today."""
    read = _read(plan, event)
    binding = None if draft is None else draft.binding_of(plan.subject)
    planned = plan_event(read, policy, binding)
    if not isinstance(planned, Blueprint | Refusal):
        raise TypeError(f"{plan.id}: an event with a plan has become a fact")
    return planned


def _read(plan: Plan, event: StoredEvent) -> InboundEvent:
    """The stored event as it was when it was read."""
    return InboundEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        data=INBOUND[event.type].model_validate(event.data),
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        subject_hint=plan.event_subject,
        time=None if plan.event_time is None else datetime.fromisoformat(plan.event_time),
        correlationid=plan.correlation_id,
        traceparent=plan.traceparent,
        sequence=plan.order.revision,
        digest=event.digest,
        key=plan.event_key,
    )


def is_parked(plan: Plan) -> bool:
    """True of a plan that failed although it was replayed: choosing many by a filter leaves it alone."""
    return plan.state is PlanState.FAILED and plan.epoch > 0
