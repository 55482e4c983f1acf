"""What the PostgreSQL ledger shows: pages of commands and plans, one command's story, counts, the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.adapters.ledger_postgres.connection import Connection
from service.adapters.ledger_sql import rows
from service.application.ports import CommandQuery, CommandStory
from service.domain.command import Command, Plan
from service.domain.ledger_state import OutboxMessage

SELECT_COMMANDS = f"SELECT {rows.COMMAND} FROM commands WHERE "  # noqa: S608
SELECT_PLANS = f"SELECT {rows.PLAN} FROM plans WHERE "  # noqa: S608
SELECT_COMMAND = f"SELECT {rows.COMMAND} FROM commands WHERE id = $1"  # noqa: S608
SELECT_PLAN = f"SELECT {rows.PLAN} FROM plans WHERE id = $1"  # noqa: S608
SELECT_ATTEMPTS = f"SELECT {rows.ATTEMPT} FROM attempts WHERE command_id = $1 ORDER BY epoch, number"  # noqa: S608
SELECT_HISTORY = f"SELECT {rows.HISTORY} FROM history WHERE command_id = $1 ORDER BY seq"  # noqa: S608
COUNT_UNFINISHED = f"""
SELECT operation, state, count(*) FROM commands
WHERE state || '' IN {rows.UNFINISHED} GROUP BY operation, state
"""  # noqa: S608
COUNT_ENDED_PLANS = "SELECT 'plan', state, count(*) FROM plans WHERE state IN ('completed', 'failed') GROUP BY state"
# What this session wrote and what sessions left that have ended; nothing before an earlier message about the same
# subject that another session still has to publish.
SELECT_UNPUBLISHED = f"""
SELECT {rows.OUTBOX}, seq FROM outbox AS m
WHERE published_at IS NULL AND (
    owner = $1 OR owner IS NULL
    OR NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.fence = m.owner AND s.ended_at IS NULL)
) AND (
    SELECT true FROM outbox AS e JOIN sessions AS s ON s.fence = e.owner AND s.ended_at IS NULL
    WHERE coalesce(e.published_at, -1) = -1 AND e.order_by = m.order_by AND e.seq < m.seq AND e.owner <> $1 LIMIT 1
) IS NULL
ORDER BY seq LIMIT $2
"""  # noqa: S608
MARK_PUBLISHED = "UPDATE outbox SET published_at = $1 WHERE id = ANY($2::text[]) AND published_at + 0 IS NULL"


async def commands(connection: Connection, query: CommandQuery) -> list[Command]:
    """One page of commands by id."""
    columns = {
        "operation": query.operation,
        "account": query.account,
        "subject": query.subject,
        "resource": query.resource,
        "plan_id": query.plan_id,
    }
    where, values = _filters(query, columns)
    return [rows.command(row) for row in await connection.fetch(SELECT_COMMANDS + where, *values)]


async def plans(connection: Connection, query: CommandQuery) -> list[Plan]:
    """One page of plans by id."""
    where, values = _filters(query, {"account": query.account, "subject": query.subject, "id": query.plan_id})
    return [rows.plan(row) for row in await connection.fetch(SELECT_PLANS + where, *values)]


def _filters(query: CommandQuery, columns: dict[str, str | None]) -> tuple[str, list[Any]]:
    """The conditions, order and size of a page, and all its values. Column names are this module's own."""
    clauses, values = ["id > $1"], [query.after or "", query.limit]
    if query.states:
        values.append(list(query.states))
        clauses.append(f"state = ANY(${len(values)}::text[])")
    for column, value in columns.items():
        if value is not None:
            values.append(value)
            clauses.append(f"{column} = ${len(values)}")
    return f"{' AND '.join(clauses)} ORDER BY id LIMIT $2", values


async def story(connection: Connection, command_id: str) -> CommandStory | None:
    """One command with all that happened to it."""
    row = await connection.fetchrow(SELECT_COMMAND, command_id)
    if row is None:
        return None
    command = rows.command(row)
    plan = await connection.fetchrow(SELECT_PLAN, command.plan_id)
    if plan is None:
        return None
    return CommandStory(
        command=command,
        plan=rows.plan(plan),
        attempts=tuple(rows.attempt(one) for one in await connection.fetch(SELECT_ATTEMPTS, command_id)),
        history=tuple(rows.history(one) for one in await connection.fetch(SELECT_HISTORY, command_id)),
    )


async def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """Unfinished commands by operation and state, ended plans by state."""
    unfinished = await connection.fetch(COUNT_UNFINISHED)
    ended = await connection.fetch(COUNT_ENDED_PLANS)
    return {(what, state): number for what, state, number in [*unfinished, *ended]}


async def unpublished(connection: Connection, owner: int | None, limit: int) -> list[OutboxMessage]:
    """The oldest messages that this session has to send."""
    return [rows.outbox(row) for row in await connection.fetch(SELECT_UNPUBLISHED, owner or 0, limit)]


async def mark_published(connection: Connection, ids: Sequence[str], at: float) -> None:
    """These were acknowledged; a second time changes nothing."""
    await connection.execute(MARK_PUBLISHED, at, list(ids))
