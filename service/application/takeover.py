"""Takeover: what a session that has ended left in flight becomes in doubt.

Called when a session is opened, before execution starts, and again whenever it is prolonged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from service.application.ports import Clock, Ledger
from service.application.telemetry import Telemetry
from service.application.tracing import Tracer, of_command
from service.domain.command import Command, CommandState, Session
from service.domain.draft import Draft
from service.domain.ledger_state import Changes, Keys, Known
from service.domain.outcome import ErrorClass, Failure, WhenUnclear
from service.domain.settling import SettlingPolicy, doubt

TOGETHER: Final = 64
"""Orphans at a time: a ledger writes those that wait at one moment with one commit."""
LEFT_BEHIND = Failure(
    error_class=ErrorClass.AMBIGUOUS,
    code="ProcessEnded",
    message="the process ended between sending and learning the outcome",
)


async def take_over(
    session: Session,
    *,
    ledger: Ledger,
    clock: Clock,
    telemetry: Telemetry,
    policy: SettlingPolicy,
    rules: Mapping[str, WhenUnclear],
    tracer: Tracer | None = None,
) -> int:
    """Put every orphan in doubt, to be settled by its operation's rule (by name); how many there were."""
    orphans = await ledger.orphans(session)
    for first in range(0, len(orphans), TOGETHER):
        some = orphans[first : first + TOGETHER]
        doubts = [
            _put_in_doubt(o, ledger, clock.now(), rules.get(o.operation, WhenUnclear.WATCH), policy) for o in some
        ]
        written = await asyncio.gather(*doubts, return_exceptions=True)
        for orphan, changes in zip(some, written, strict=True):
            if isinstance(changes, BaseException):
                raise changes
            if changes.commands:
                _tell(telemetry, orphan)
                if tracer is not None:
                    _trace(tracer, orphan, clock.now())
    return len(orphans)


def _tell(telemetry: Telemetry, orphan: Command) -> None:
    telemetry.log(
        "warning",
        "left in flight by a process that ended",
        command_id=orphan.id,
        operation=orphan.operation,
        attempt=orphan.attempts,
    )


def _trace(tracer: Tracer, orphan: Command, now: float) -> None:
    """The call whose own span went with its process."""
    begun = now if orphan.last_at is None else min(orphan.last_at, now)
    about = of_command(orphan)
    tracer.record("takeover", parent=orphan.traceparent, begun=begun, ended=now, **about, outcome="in_doubt")


async def _put_in_doubt(
    orphan: Command, ledger: Ledger, now: float, rule: WhenUnclear, policy: SettlingPolicy
) -> Changes:
    def decide(known: Known) -> Changes:
        draft = Draft(known, now)
        command = draft.command(orphan.id)
        if command is None or (command.state, command.owner) != (CommandState.IN_FLIGHT, orphan.owner):
            return Changes()  # another process was faster, and may have sent it again since
        doubt(draft, command, LEFT_BEHIND, when_unclear=rule, policy=policy)
        return draft.changes()

    keys = Keys(
        plans=frozenset({orphan.plan_id}),
        subjects=frozenset({orphan.subject}),
        resources=frozenset({orphan.resource}),
    )
    return await ledger.transact(keys, decide)
