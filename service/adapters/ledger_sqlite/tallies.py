"""How many commands and plans stand how: what a transaction changes of it, written once for all of its rows.

Rows that are inserted or deleted are counted by triggers of the schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.adapters.ledger_sql.desk_rows import TALLY
from service.adapters.ledger_sqlite.sql import insert
from service.domain.command import Command, CommandState, Plan, PlanState

Key = tuple[str, ...]

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


def count_anew(
    connection: sqlite3.Connection, commands: Iterable[tuple[Command, Command]], plans: Iterable[tuple[Plan, Plan]]
) -> None:
    """Count rows that were replaced, each as it was and as it is; after they are written."""
    changes: dict[Key, _Change] = {}
    for was, now in commands:
        key = _of_command(now)
        failed = now.state is CommandState.FAILED
        changed = failed and (was.failure, was.ended_at) != (now.failure, now.ended_at)
        _turn(changes, _of_command(was), key, at=now.ended_at if failed else None, changed=changed)
    for before, after in plans:
        key = _of_plan(after)
        failed = after.state is PlanState.FAILED
        changed = failed and (before.failure, before.ended_at) != (after.failure, after.ended_at)
        _turn(changes, _of_plan(before), key, at=after.ended_at if failed else None, changed=changed)
    rows = [(*key, c.number, c.first_at, c.last_at) for key, c in changes.items() if c.number or c.last_at is not None]
    if rows:
        connection.executemany(ADD, rows)


def _turn(changes: dict[Key, _Change], was: Key, now: Key, *, at: float | None, changed: bool) -> None:
    """One fewer as it was, one more as it is; `at` is when it failed."""
    if was == now and not changed:
        return
    changes.setdefault(was, _Change()).number -= 1
    more = changes.setdefault(now, _Change())
    more.number += 1
    if at is not None:
        more.first_at = at if more.first_at is None else min(more.first_at, at)
        more.last_at = at if more.last_at is None else max(more.last_at, at)


def _of_command(command: Command) -> Key:
    c = command
    if c.state is CommandState.FAILED and c.failure is not None:
        return (
            "command", c.account, c.operation, c.lane, c.state, c.cause or "", c.failure.error_class, c.failure.code
        )  # fmt: skip
    return "command", c.account, c.operation, c.lane, c.state, c.cause or "", "", ""


def _of_plan(plan: Plan) -> Key:
    failure = plan.failure if plan.state is PlanState.FAILED else None
    operation = "planning" if plan.state is PlanState.FAILED and not plan.planned else ""
    why = ("", "") if failure is None else (failure.error_class, failure.code)
    return "plan", plan.account or "", operation, "", plan.state, "", *why
