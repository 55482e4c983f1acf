"""What is counted and said of a decision, whichever step took it: ends, and accounts that fall sick or recover."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from service.application.ports import Ledger
from service.application.telemetry import Telemetry
from service.domain.command import PlanState
from service.domain.ledger_state import Changes, Hold, HoldKind, Keys, Known

WHOLE_ACCOUNT: Final = "all"
"""The label `operation` of a quarantine that stops everything of its account."""

BY_ITSELF: Final = "the work that waits goes on by itself once the vendor answers a probe"


def count_ends(telemetry: Telemetry, changes: Changes) -> None:
    """Count the commands and plans that a decision ended."""
    for command in changes.commands:
        if command.state.ended:
            telemetry.count(
                "commands_ended_total",
                operation=command.operation,
                state=command.state,
                result=command.result or "",
            )
            age = (command.ended_at or command.created_at) - command.created_at
            telemetry.observe("command_age_seconds", max(0.0, age), operation=command.operation)
    for plan in changes.plans:
        if plan.state is not PlanState.OPEN:
            telemetry.count("plans_ended_total", state=plan.state)


def tell_quarantines(telemetry: Telemetry, changes: Changes, advice: str) -> None:
    """Count and say which accounts fell sick, and which have recovered; a probe that failed is neither.

    `advice` is that of the failure that was decided on.
    """
    begun = {act.at for act in changes.acts if act.kind == "quarantine"}
    for hold in changes.holds:
        if hold.kind is not HoldKind.QUARANTINE:
            continue
        if hold.released_at is not None:
            _show(telemetry, hold)
            telemetry.log(
                "info",
                "an account has recovered",
                account=hold.account,
                operation=_operation(hold),
                after_seconds=round(hold.released_at - hold.created_at),
            )
        elif hold.created_at in begun:
            _show(telemetry, hold)
            telemetry.count("quarantines_total", account=hold.account or "", operation=_operation(hold))
            telemetry.log(
                "error",
                "an account is quarantined: its work waits, one command probes now and then",
                account=hold.account,
                operation=_operation(hold),
                reason=hold.reason,
                what_to_do=f"{advice.removesuffix(', then replay')}; {BY_ITSELF}",
            )


async def show_quarantines(telemetry: Telemetry, ledger: Ledger, accounts: Iterable[str]) -> None:
    """Set the gauge for quarantines that an earlier process began: they outlive it."""
    standing: list[Hold] = []

    def look(known: Known) -> Changes:
        standing[:] = known.holds
        return Changes()

    await ledger.transact(Keys(accounts=frozenset(accounts)), look)
    for hold in standing:
        if hold.kind is HoldKind.QUARANTINE:
            _show(telemetry, hold)


def _show(telemetry: Telemetry, hold: Hold) -> None:
    value = 1 if hold.released_at is None else 0
    telemetry.level("quarantined", value, account=hold.account or "", operation=_operation(hold))


def _operation(hold: Hold) -> str:
    return WHOLE_ACCOUNT if hold.operation is None else hold.operation
