"""How many commands and plans stand how: what a transaction changes of it, written once for all of its rows.

Rows that are deleted are counted by triggers of the schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from service.adapters.ledger_sql.desk_rows import TALLY
from service.adapters.ledger_sqlite.sql import insert
from service.domain.command import Command, CommandState, Plan, PlanState
from service.domain.outcome import Failure

Key = tuple[str, ...]

ADD: Final = f"""
{insert("tallies", TALLY)} ON CONFLICT DO UPDATE SET
    number = number + excluded.number,
    first_at = coalesce(min(first_at, excluded.first_at), first_at, excluded.first_at),
    last_at = coalesce(max(last_at, excluded.last_at), last_at, excluded.last_at)
"""


class Standing(NamedTuple):
    """Under what a row is counted; of one that has failed also why and when."""

    key: Key
    failure: Failure | None
    failed_at: float | None


@dataclass(slots=True)
class _Change:
    number: int = 0
    first_at: float | None = None
    last_at: float | None = None


def count_written(connection: sqlite3.Connection, rows: Iterable[tuple[Standing | None, Standing]]) -> None:
    """Count rows that were written, each as it stood (None: it is new) and as it stands."""
    changes: dict[Key, _Change] = {}
    for was, now in rows:
        if was != now:
            _turn(changes, was, now)
    turned = {key: change for key, change in changes.items() if change.number or change.last_at is not None}
    if turned:
        connection.executemany(ADD, [(*key, c.number, c.first_at, c.last_at) for key, c in turned.items()])


def _turn(changes: dict[Key, _Change], was: Standing | None, now: Standing) -> None:
    """One fewer as it stood, one more as it stands."""
    if was is not None:
        changes.setdefault(was.key, _Change()).number -= 1
    more = changes.setdefault(now.key, _Change())
    more.number += 1
    if now.failed_at is not None:
        more.first_at = now.failed_at if more.first_at is None else min(more.first_at, now.failed_at)
        more.last_at = now.failed_at if more.last_at is None else max(more.last_at, now.failed_at)


def of_command(command: Command) -> Standing:
    """How a command is counted."""
    c, failed = command, command.state is CommandState.FAILED
    key = ("command", c.account, c.operation, c.lane, c.state, c.cause or "")
    return _standing(key, c.failure if failed else None, c.ended_at if failed else None)


def of_plan(plan: Plan) -> Standing:
    """How a plan is counted; one that failed as it arrived failed while it was planned."""
    p, failed = plan, plan.state is PlanState.FAILED
    key = ("plan", p.account or "", "planning" if failed and not p.planned else "", "", p.state, "")
    return _standing(key, p.failure if failed else None, p.ended_at if failed else None)


def _standing(key: Key, failure: Failure | None, failed_at: float | None) -> Standing:
    why = ("", "") if failure is None else (failure.error_class, failure.code)
    return Standing((*key, *why), failure, failed_at)
