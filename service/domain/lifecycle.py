"""The states of a command and the only ways between them."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.command import Command, CommandState, HistoryRow, Lane, WaitCause
from service.domain.value import replace

_S = CommandState

ALLOWED: Mapping[CommandState, frozenset[CommandState]] = {
    _S.PENDING: frozenset({_S.IN_FLIGHT, _S.WAITING, _S.SUCCEEDED, _S.FAILED, _S.SUPERSEDED, _S.STALE, _S.CANCELLED}),
    _S.WAITING: frozenset(
        {_S.PENDING, _S.WAITING, _S.IN_FLIGHT, _S.SUCCEEDED, _S.FAILED, _S.SUPERSEDED, _S.STALE, _S.CANCELLED}
    ),
    _S.IN_FLIGHT: frozenset({_S.SUCCEEDED, _S.FAILED, _S.IN_DOUBT, _S.WAITING}),
    _S.IN_DOUBT: frozenset({_S.IN_FLIGHT, _S.SUCCEEDED, _S.FAILED, _S.PENDING}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.SUPERSEDED: frozenset(),
    _S.STALE: frozenset(),
}


REOPENED: Mapping[CommandState, frozenset[CommandState]] = {
    _S.FAILED: frozenset({_S.PENDING, _S.WAITING, _S.STALE}),
    _S.CANCELLED: frozenset({_S.PENDING, _S.WAITING, _S.STALE}),
}
"""What a replay does to ends, and nothing else may: each opens the command's next epoch."""


class ForbiddenTransitionError(AssertionError):
    """A bug: a command was moved along an arrow that does not exist."""


def move(
    command: Command,
    to: CommandState,
    *,
    at: float,
    why: str,
    cause: WaitCause | None = None,
    due_at: float | None = None,
    actor: str = "cordboard",
) -> tuple[Command, HistoryRow]:
    """The command in its new state, and the row of history that says so.

    `cause` and `due_at` belong to the new state: a waiting command has a cause; a command that time makes
    runnable has a due time. Ending or doubting a command takes it from its owner.
    """
    if to not in ALLOWED[command.state]:
        raise ForbiddenTransitionError(f"{command.id}: {command.state} -> {to}")
    moved = replace(
        command,
        state=to,
        cause=cause,
        due_at=due_at,
        owner=command.owner if to is CommandState.IN_FLIGHT else None,
        ended_at=at if to.ended else None,
    )
    row = HistoryRow(
        command_id=command.id, epoch=command.epoch, at=at, before=command.state, after=to, cause=why, actor=actor
    )
    return moved, row


def reopen(
    command: Command,
    to: CommandState,
    *,
    epoch: int,
    at: float,
    why: str,
    actor: str,
    cause: WaitCause | None = None,
    due_at: float | None = None,
) -> tuple[Command, HistoryRow]:
    """A command that failed, or was cancelled after one that did, in its next epoch: as if nothing had been tried.

    What it cost before stays with it, as its attempts do under their own epoch.
    """
    if to not in REOPENED.get(command.state, frozenset()):
        raise ForbiddenTransitionError(f"{command.id}: {command.state} -> {to} by replay")
    anew = replace(
        command,
        epoch=epoch,
        state=to,
        cause=cause,
        due_at=due_at,
        owner=None,
        lane=Lane.REPLAY,
        attempts=0,
        retries=0,
        first_at=None,
        last_at=None,
        ended_at=at if to.ended else None,
        result=None,
        facts={},
        failure=None,
        absent_at=None,
    )
    row = HistoryRow(command_id=command.id, epoch=epoch, at=at, before=command.state, after=to, cause=why, actor=actor)
    return anew, row


def born(command: Command, why: str, actor: str = "cordboard") -> HistoryRow:
    """The first row of a command's history."""
    return HistoryRow(
        command_id=command.id,
        epoch=command.epoch,
        at=command.created_at,
        before=None,
        after=command.state,
        cause=why,
        actor=actor,
    )
