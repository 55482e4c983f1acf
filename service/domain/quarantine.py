"""Quarantine: an account that is sick is left alone; its work waits, one command looks whether it has recovered."""

from __future__ import annotations

from typing import Final

from service.domain import announcements as tell
from service.domain.command import Command
from service.domain.draft import Draft
from service.domain.idempotency_key import quarantine_id
from service.domain.ledger_state import Act, Hold, HoldKind
from service.domain.outcome import ErrorClass, Failure, Outcome, StillUnknown
from service.domain.retry import RULES
from service.domain.value import Value, replace

ACTOR: Final = "cordboard"
SICK: Final = frozenset({ErrorClass.RETRYABLE, ErrorClass.AMBIGUOUS})
"""What a long run of makes an account sick; the vendor's clear refusals never do."""


class QuarantinePolicy(Value, frozen=True, kw_only=True):
    """When an account is sick, and how it is probed.

    `run`: how many commands fail in a row without any verdict of the vendor. Probes come after `probe_seconds`, then
    after ever longer pauses up to `longest_probe_seconds`.
    """

    run: int = 20
    probe_seconds: float = 5.0
    longest_probe_seconds: float = 60.0

    def pause(self, probes: int) -> float:
        """Seconds until the next probe after so many that failed."""
        return min(self.longest_probe_seconds, self.probe_seconds * 2.0 ** min(probes, 20))


def is_verdict(outcome: Outcome) -> bool:
    """True if the vendor answered as a healthy one does, be it with a refusal of this one thing."""
    match outcome:
        case Failure():
            return outcome.error_class not in RULES and outcome.error_class is not ErrorClass.CREDENTIALS
        case StillUnknown():
            return outcome.absent
        case _:
            return True


def standing(draft: Draft, command: Command) -> Hold | None:
    """The quarantine that covers a command."""
    return next((hold for hold in draft.quarantines() if _covers(hold, command)), None)


def fall_sick(draft: Draft, command: Command, failure: Failure) -> Hold:
    """Stop the command's account (for a missing right: this operation of it), and say so."""
    operation = command.operation if failure.operation_only else None
    hold = Hold(
        id=quarantine_id(command.account, operation, draft.now),
        kind=HoldKind.QUARANTINE,
        reason=f"{failure.error_class}:{failure.code}",
        actor=ACTOR,
        created_at=draft.now,
        account=command.account,
        operation=operation,
        probe=command.id,
    )
    draft.put_act(Act(at=draft.now, actor=ACTOR, kind="quarantine", object=_object(hold), reason=hold.reason))
    draft.tell(tell.account_quarantined(hold, draft.plan(command.plan_id), command, failure))
    return draft.put_hold(hold)


def recover(draft: Draft, hold: Hold, command: Command) -> None:
    """The vendor answers again: let the account's work go on, and say so."""
    draft.put_hold(replace(hold, released_at=draft.now))
    draft.put_act(
        Act(at=draft.now, actor=ACTOR, kind="recovered", object=_object(hold), reason=f"{command.id} was answered")
    )
    draft.tell(tell.account_recovered(hold, tell.vendor_of(command.operation), draft.now))


def was_let_through(hold: Hold, command: Command, claimed_at: float) -> bool:
    """True if the command was claimed although the account was stopped: what it meets is news.

    What was claimed before the account fell sick may still be answered; that says nothing.
    """
    return hold.probe == command.id or claimed_at > hold.created_at


def _covers(hold: Hold, command: Command) -> bool:
    return hold.account == command.account and hold.operation in {None, command.operation}


def _object(hold: Hold) -> str:
    return f"account:{hold.account}" if hold.operation is None else f"account:{hold.account}/{hold.operation}"
