"""The states of a command and the only ways between them."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.command import Command, CommandState, HistoryRow, WaitCause
from service.domain.value import replace

_S = CommandState

ALLOWED: Mapping[CommandState, frozenset[CommandState]] = {
    _S.PENDING: frozenset({_S.IN_FLIGHT, _S.WAITING, _S.SUCCEEDED, _S.FAILED, _S.SUPERSEDED, _S.STALE, _S.CANCELLED}),
    _S.WAITING: frozenset(
        {_S.PENDING, _S.WAITING, _S.IN_FLIGHT, _S.SUCCEEDED, _S.FAILED, _S.SUPERSEDED, _S.STALE, _S.CANCELLED}
    ),
    _S.IN_FLIGHT: frozenset({_S.IN_FLIGHT, _S.SUCCEEDED, _S.FAILED, _S.IN_DOUBT, _S.WAITING}),
    _S.IN_DOUBT: frozenset({_S.IN_FLIGHT, _S.SUCCEEDED, _S.FAILED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.SUPERSEDED: frozenset(),
    _S.STALE: frozenset(),
}


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
