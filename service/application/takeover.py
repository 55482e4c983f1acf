"""Takeover: what a process that died left in flight becomes in doubt before anything else is claimed.

Called once by the worker, after its session was opened and before execution starts.
"""

from __future__ import annotations

from service.application.ports import Clock, Ledger
from service.application.telemetry import Telemetry
from service.domain.command import Command, CommandState, Session
from service.domain.draft import Draft
from service.domain.ledger_state import Changes, Keys, Known
from service.domain.outcome import ErrorClass, Failure
from service.domain.settling import doubt

LEFT_BEHIND = Failure(
    error_class=ErrorClass.AMBIGUOUS,
    code="ProcessEnded",
    message="the process ended between sending and learning the outcome",
)


async def take_over(*, ledger: Ledger, session: Session, clock: Clock, telemetry: Telemetry) -> int:
    """Put every orphan in doubt; how many there were."""
    orphans = await ledger.orphans(session)
    for orphan in orphans:
        await _put_in_doubt(orphan, ledger, clock)
        telemetry.log(
            "warning",
            "left in flight by a process that ended",
            command_id=orphan.id,
            operation=orphan.operation,
            attempt=orphan.attempts,
        )
    return len(orphans)


async def _put_in_doubt(orphan: Command, ledger: Ledger, clock: Clock) -> None:
    now = clock.now()

    def decide(known: Known) -> Changes:
        draft = Draft(known, now)
        command = draft.command(orphan.id)
        if command is None or command.state is not CommandState.IN_FLIGHT:
            return Changes()
        doubt(draft, command, LEFT_BEHIND)
        return draft.changes()

    keys = Keys(
        plans=frozenset({orphan.plan_id}),
        subjects=frozenset({orphan.subject}),
        resources=frozenset({orphan.resource}),
    )
    await ledger.transact(keys, decide)
