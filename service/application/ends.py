"""What is counted and said of a decision, whichever step took it: ends, and accounts that fall sick or recover."""

from __future__ import annotations

from typing import Final

from service.application.telemetry import Telemetry
from service.domain.command import CommandState, Plan, PlanState
from service.domain.ledger_state import Changes, Hold, HoldKind
from service.domain.outcome import ErrorClass, Failure

HIRED: Final = "hr.agent.hired.v1"
WHOLE_ACCOUNT: Final = "all"
"""The label `operation` of a quarantine that stops everything of its account."""

BY_ITSELF: Final = "the work that waits goes on by itself once the vendor answers a probe"


def count_ends(telemetry: Telemetry, changes: Changes, *, objective: float) -> None:
    """Count the commands and plans that a decision ended, and how hires met the objective.

    `objective`: within how many seconds an agent who is hired shall be ready.
    """
    for command in changes.commands:
        if command.state.ended:
            telemetry.count(
                "commands_ended_total",
                operation=command.operation,
                account=command.account,
                state=command.state,
                result=command.result or "",
                error_class=_class_of(command.failure) if command.state is CommandState.FAILED else "",
            )
            for stage, seconds in (
                ("queue", command.queue_seconds),
                ("quota", command.quota_seconds),
                ("vendor", command.vendor_seconds),
            ):
                telemetry.observe("stage_seconds", max(0.0, seconds), operation=command.operation, stage=stage)
            age = (command.ended_at or command.created_at) - command.created_at
            telemetry.observe("command_age_seconds", max(0.0, age), operation=command.operation)
    for plan in changes.plans:
        if plan.state is not PlanState.OPEN:
            telemetry.count(
                "plans_ended_total", account=plan.account or "", state=plan.state, error_class=_class_of(plan.failure)
            )
            if plan.event_type == HIRED:
                _count_hire(telemetry, plan, objective)


def _class_of(failure: Failure | None) -> str:
    return "" if failure is None else failure.error_class.value


NOT_OURS: Final = frozenset(
    {
        ErrorClass.PERMANENT,
        ErrorClass.CONFLICT,
        ErrorClass.CAPACITY,
        ErrorClass.INCOMPLETE,
        ErrorClass.UNSUPPORTED,
    }
)
"""What no service can mend by being faster: such a hire counts for no objective."""


def _count_hire(telemetry: Telemetry, plan: Plan, objective: float) -> None:
    """Measure how long it took if the agent is ready now; count it as in time, late, failed, or refused for good."""
    took = max(0.0, (plan.ended_at or plan.created_at) - (plan.effective_at or plan.created_at))
    account = plan.account or ""
    if plan.state is PlanState.COMPLETED:
        telemetry.observe("hired_to_ready_seconds", took, account=account)
    telemetry.count("hires_total", account=account, outcome=_in_time(plan, took, objective))


def _in_time(plan: Plan, took: float, objective: float) -> str:
    if plan.state is PlanState.COMPLETED:
        return "in_time" if took <= objective else "late"
    refused = plan.failure is not None and plan.failure.error_class in NOT_OURS
    return "refused" if refused else "failed"


def tell_quarantines(telemetry: Telemetry, changes: Changes, advice: str) -> None:
    """Count and say which accounts fell sick, and which have recovered; a probe that failed is neither.

    `advice` is that of the failure that was decided on.
    """
    begun = {act.at for act in changes.acts if act.kind == "quarantine"}
    for hold in changes.holds:
        if hold.kind is not HoldKind.QUARANTINE:
            continue
        if hold.released_at is not None:
            telemetry.log(
                "info",
                "an account has recovered",
                account=hold.account,
                operation=_operation(hold),
                after_seconds=round(hold.released_at - hold.created_at),
            )
        elif hold.created_at in begun:
            telemetry.count("quarantines_total", account=hold.account or "", operation=_operation(hold))
            telemetry.log(
                "error",
                "an account is quarantined: its work waits, one command probes now and then",
                account=hold.account,
                operation=_operation(hold),
                reason=hold.reason,
                what_to_do=f"{advice.removesuffix(', then replay')}; {BY_ITSELF}",
            )


def _operation(hold: Hold) -> str:
    return WHOLE_ACCOUNT if hold.operation is None else hold.operation
