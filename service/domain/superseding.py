"""Superseding: unsent earlier work that a later event makes pointless ends without being sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.domain import announcements as tell
from service.domain.blueprint import Step, StepBlueprint
from service.domain.command import Command, CommandState, Plan
from service.domain.draft import Draft
from service.domain.order import has_begun
from service.domain.settling import complete_plan
from service.domain.wanted import given

SETTING: Final = frozenset({Step.EXTENSION, Step.CALL_IN, Step.ROUTE})
"""Steps that only set a state, so that a later state makes an earlier one pointless. An application is a form of its
own, and a registration is told to whoever asked for it: work that has one of these is never superseded."""


def supersede(draft: Draft, by: Plan, steps: Sequence[StepBlueprint], resource: str) -> None:
    """End the subject's earlier plans that have not begun and want nothing that `by` does not want anew.

    `by` is not in the draft yet. Work that lies in the future makes nothing pointless now.
    """
    if by.effective_at is not None:
        return
    for plan in draft.open_plans(by.subject, ()):
        commands = draft.steps_of(plan.id)
        if plan.order.rank < by.order.rank and not has_begun(commands) and _is_pointless(commands, steps, resource):
            _end(draft, plan, commands, by)


def _is_pointless(commands: Sequence[Command], steps: Sequence[StepBlueprint], resource: str) -> bool:
    return all(
        command.state in {CommandState.PENDING, CommandState.WAITING}
        and command.step in SETTING
        and command.resource == resource
        and any(_covers(step, command) for step in steps)
        for command in commands
    )


def _covers(step: StepBlueprint, command: Command) -> bool:
    """True if the step gives every field that the command gives."""
    if (step.step, step.operation) != (command.step, command.operation):
        return False
    return given(command.wanted).keys() <= given(step.wanted.model_dump(mode="json")).keys()


def _end(draft: Draft, plan: Plan, commands: Sequence[Command], by: Plan) -> None:
    for command in commands:
        ended = draft.move(command, CommandState.SUPERSEDED, why=f"superseded by event {by.event_id}")
        draft.tell(tell.command_ended(plan, ended, draft.now, by_event_id=by.event_id))
    complete_plan(draft, plan)
