"""How many commands and plans stand how: what a transaction changes of it, written once for all of its rows.

Rows that are deleted are counted by triggers of the schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.adapters.ledger_sql.desk_rows import TALLY
from service.adapters.ledger_sqlite.sql import insert
from service.domain.command import Command, CommandState, Plan, PlanState
from service.domain.outcome import Failure

Key = tuple[str, ...]
_Standing = tuple[Key, Failure | None, float | None]  # under what it is counted, why it failed and when it ended
FAILED: Final = CommandState.FAILED

ADD: Final = f"""
{insert("tallies", TALLY)} ON CONFLICT DO UPDATE SET
    number = number + excluded.number,
    first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
    last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at)
"""


@dataclass(slots=True)
class _Change:
    number: int = 0
    first_at: float | None = None
    last_at: float | None = None


def count_written(
    connection: sqlite3.Connection,
    commands: Iterable[tuple[Command | None, Command]],
    plans: Iterable[tuple[Plan | None, Plan]],
) -> None:
    """Count rows that were written, each as it was (None: it is new) and as it is."""
    changes: dict[Key, _Change] = {}
    for was, now in commands:
        before = None if was is None else (_of_command(was), was.failure, was.ended_at)
        _turn(changes, before, (_of_command(now), now.failure, now.ended_at), is_failed=now.state is FAILED)
    for old, new in plans:
        before = None if old is None else (_of_plan(old), old.failure, old.ended_at)
        _turn(changes, before, (_of_plan(new), new.failure, new.ended_at), is_failed=new.state is PlanState.FAILED)
    rows = [(*key, c.number, c.first_at, c.last_at) for key, c in changes.items() if c.number or c.last_at is not None]
    if rows:
        connection.executemany(ADD, rows)


def _turn(changes: dict[Key, _Change], was: _Standing | None, now: _Standing, *, is_failed: bool) -> None:
    """One fewer as it was, one more as it is."""
    if was is not None:
        if was == now or (was[0] == now[0] and not is_failed):
            return
        changes.setdefault(was[0], _Change()).number -= 1
    more = changes.setdefault(now[0], _Change())
    more.number += 1
    failed_at = now[2] if is_failed else None
    if failed_at is not None:
        more.first_at = failed_at if more.first_at is None else min(more.first_at, failed_at)
        more.last_at = failed_at if more.last_at is None else max(more.last_at, failed_at)


def _of_command(command: Command) -> Key:
    c = command
    if c.state is FAILED and c.failure is not None:
        return (
            "command", c.account, c.operation, c.lane, c.state, c.cause or "", c.failure.error_class, c.failure.code
        )  # fmt: skip
    return "command", c.account, c.operation, c.lane, c.state, c.cause or "", "", ""


def _of_plan(plan: Plan) -> Key:
    failure = plan.failure if plan.state is PlanState.FAILED else None
    operation = "planning" if plan.state is PlanState.FAILED and not plan.planned else ""
    why = ("", "") if failure is None else (failure.error_class, failure.code)
    return "plan", plan.account or "", operation, "", plan.state, "", *why
