"""What the SQLite ledger shows: pages of commands and plans, one command's story, counts, the outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sqlite.sql import json_list
from service.application.ports import CommandQuery, CommandStory
from service.domain.command import Command, Plan
from service.domain.ledger_state import OutboxMessage

SELECT_COMMANDS = f"SELECT {rows.COMMAND} FROM commands WHERE "  # noqa: S608
SELECT_PLANS = f"SELECT {rows.PLAN} FROM plans WHERE "  # noqa: S608
ONE_PAGE = " ORDER BY id LIMIT ?"
IN_LIST = "state IN (SELECT value FROM json_each(?))"
SELECT_COMMAND = f"SELECT {rows.COMMAND} FROM commands WHERE id = ?"  # noqa: S608
SELECT_PLAN = f"SELECT {rows.PLAN} FROM plans WHERE id = ?"  # noqa: S608
SELECT_ATTEMPTS = f"SELECT {rows.ATTEMPT} FROM attempts WHERE command_id = ? ORDER BY epoch, number"  # noqa: S608
SELECT_HISTORY = f"SELECT {rows.HISTORY} FROM history WHERE command_id = ? ORDER BY seq"  # noqa: S608
COUNT_UNFINISHED = f"""
SELECT operation, state, count(*) FROM commands
WHERE state IN {rows.UNFINISHED} GROUP BY operation, state
"""  # noqa: S608
COUNT_ENDED_PLANS = "SELECT 'plan', state, count(*) FROM plans WHERE state IN ('completed', 'failed') GROUP BY state"
SELECT_UNPUBLISHED = f"""
SELECT {rows.OUTBOX}, seq FROM outbox INDEXED BY outbox_unpublished WHERE published_at IS NULL ORDER BY seq LIMIT ?
"""  # noqa: S608
MARK_PUBLISHED = """
UPDATE outbox SET published_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND published_at IS NULL
"""


def commands(connection: sqlite3.Connection, query: CommandQuery) -> list[Command]:
    """One page of commands by id."""
    where, values = _filters(
        query,
        {
            "operation": query.operation,
            "account": query.account,
            "subject": query.subject,
            "resource": query.resource,
            "plan_id": query.plan_id,
        },
    )
    return [rows.command(row) for row in connection.execute(SELECT_COMMANDS + where + ONE_PAGE, values)]


def plans(connection: sqlite3.Connection, query: CommandQuery) -> list[Plan]:
    """One page of plans by id."""
    where, values = _filters(query, {"account": query.account, "subject": query.subject, "id": query.plan_id})
    return [rows.plan(row) for row in connection.execute(SELECT_PLANS + where + ONE_PAGE, values)]


def _filters(query: CommandQuery, columns: dict[str, str | None]) -> tuple[str, list[str | int]]:
    """The conditions of a page, and all its values. Column names are this module's own."""
    clauses, values = ["id > ?"], [query.after or ""]
    if query.states:
        clauses.append(IN_LIST)
        values.append(json_list(query.states))
    for column, value in columns.items():
        if value is not None:
            clauses.append(f"{column} = ?")
            values.append(value)
    return " AND ".join(clauses), [*values, query.limit]


def story(connection: sqlite3.Connection, command_id: str) -> CommandStory | None:
    """One command with all that happened to it."""
    row = connection.execute(SELECT_COMMAND, (command_id,)).fetchone()
    if row is None:
        return None
    command = rows.command(row)
    return CommandStory(
        command=command,
        plan=rows.plan(connection.execute(SELECT_PLAN, (command.plan_id,)).fetchone()),
        attempts=tuple(map(rows.attempt, connection.execute(SELECT_ATTEMPTS, (command_id,)))),
        history=tuple(map(rows.history, connection.execute(SELECT_HISTORY, (command_id,)))),
    )


def counts(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
    """Unfinished commands by operation and state, ended plans by state."""
    unfinished = connection.execute(COUNT_UNFINISHED).fetchall()
    ended = connection.execute(COUNT_ENDED_PLANS).fetchall()
    return {(what, state): number for what, state, number in unfinished + ended}


def unpublished(connection: sqlite3.Connection, limit: int) -> list[OutboxMessage]:
    """The oldest messages still to be sent."""
    return [rows.outbox(row) for row in connection.execute(SELECT_UNPUBLISHED, (limit,))]


def mark_published(connection: sqlite3.Connection, ids: Sequence[str], at: float) -> None:
    """These were acknowledged; a second time changes nothing."""
    connection.execute(MARK_PUBLISHED, (at, json_list(ids)))
