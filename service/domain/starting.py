"""How a plan begins, at intake and at each replay: its resource is bound to its subject, and its first step stands."""

from __future__ import annotations

from service.domain.binding import Binding, BindingState
from service.domain.blueprint import Blueprint, StepBlueprint
from service.domain.command import Command, CommandState, Lane, Plan, WaitCause
from service.domain.draft import Draft
from service.domain.idempotency_key import command_id
from service.domain.outcome import ErrorClass, Failure
from service.domain.settling import is_blocked
from service.domain.value import Value


class Standing(Value, frozen=True):
    """How a command stands when its plan begins."""

    state: CommandState
    cause: WaitCause | None
    due_at: float | None


AFTER_EARLIER_STEP = Standing(CommandState.WAITING, WaitCause.EARLIER_STEP, None)


def first_standing(draft: Draft, plan: Plan, resource: str) -> Standing:
    """How a plan's first step stands: for its date, behind earlier work, or due now."""
    if plan.effective_at is not None and plan.effective_at > draft.now:
        return Standing(CommandState.WAITING, WaitCause.EFFECTIVE_DATE, plan.effective_at)
    if is_blocked(draft, plan, {resource}):
        return Standing(CommandState.WAITING, WaitCause.EARLIER_WORK, None)
    return Standing(CommandState.PENDING, None, draft.now)


def obstacle(draft: Draft, subject: str, resource: str) -> Failure | None:
    """Why the resource can't be bound to the subject; None if it can, or is."""
    holder = draft.holder_of(resource)
    if holder is None or holder.subject == subject:
        return None
    return Failure(
        error_class=ErrorClass.CONFLICT, code="resource_taken", message=f"{resource} belongs to another subject"
    )


def reserve(draft: Draft, plan: Plan, *, resource: str, account: str) -> Failure | None:
    """Bind the resource to the plan's subject, unless another subject has it."""
    taken = obstacle(draft, plan.subject, resource)
    if taken is not None or draft.holder_of(resource) is not None:
        return taken
    last = draft.binding_of(plan.subject)
    draft.put_binding(
        Binding(
            subject=plan.subject,
            resource=resource,
            account=account,
            generation=1 if last is None else last.generation + 1,
            state=BindingState.RESERVED,
            plan_id=plan.id,
            revisions={} if last is None else last.revisions,
        )
    )
    return None


def begin(draft: Draft, plan: Plan, planned: Blueprint, *, lane: Lane, actor: str = "cordboard") -> Standing:
    """Store the plan with its commands, the first of them as it stands now; how that is."""
    first = first_standing(draft, plan, planned.resource)
    draft.put_plan(plan)
    for number, step in enumerate(planned.steps):
        standing = first if number == 0 else AFTER_EARLIER_STEP
        draft.add_command(_command(plan, planned, step, number, standing, lane), why="planned", actor=actor)
    return first


def _command(  # noqa: PLR0917 - what a command is made of, each of its own type
    plan: Plan, planned: Blueprint, step: StepBlueprint, number: int, standing: Standing, lane: Lane
) -> Command:
    return Command(
        id=command_id(
            source=plan.event_source,
            event_id=plan.event_id,
            step=step.step,
            account=planned.account.name,
            operation=step.operation,
            resource=planned.resource,
        ),
        plan_id=plan.id,
        epoch=plan.epoch,
        step=step.step,
        step_no=number,
        account=planned.account.name,
        operation=step.operation,
        quota_group=planned.account.group(),
        subject=planned.subject,
        resource=planned.resource,
        wanted=step.wanted.model_dump(mode="json"),
        lane=lane,
        state=standing.state,
        cause=standing.cause,
        due_at=standing.due_at,
        order=plan.order,
        created_at=plan.created_at,
        effective_at=plan.effective_at,
        traceparent=plan.traceparent,
    )
