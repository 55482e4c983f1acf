"""What the PostgreSQL ledger shows: pages, one command's story, counts, the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from service.adapters.ledger_postgres.connection import Connection
from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.questions import Walk, in_order
from service.application.ports import CommandStory
from service.domain.ledger_state import OutboxMessage

T = TypeVar("T")

SELECT_COMMAND = f"SELECT {rows.COMMAND} FROM commands WHERE id = $1"  # noqa: S608
SELECT_PLAN = f"SELECT {rows.PLAN} FROM plans WHERE id = $1"  # noqa: S608
SELECT_ATTEMPTS = f"SELECT {rows.ATTEMPT} FROM attempts WHERE command_id = $1 ORDER BY epoch, number"  # noqa: S608
SELECT_HISTORY = f"SELECT {rows.HISTORY} FROM history WHERE command_id = $1 ORDER BY seq"  # noqa: S608
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


async def read(connection: Connection, walks: Sequence[Walk], decode: Callable[[Any], T], limit: int) -> list[T]:
    """One page of what the walks come by."""
    found: list[tuple[Any, T]] = []
    for walk in walks:
        question = walk.page(walk.after, None, limit)
        found += [(row[-1], decode(row)) for row in await connection.fetch(question.statement, *question.values)]
    return in_order(found, limit, newest_first=any(walk.newest_first for walk in walks))


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


async def unpublished(connection: Connection, owner: int | None, limit: int) -> list[OutboxMessage]:
    """The oldest messages that this session has to send."""
    return [rows.outbox(row) for row in await connection.fetch(SELECT_UNPUBLISHED, owner or 0, limit)]


async def mark_published(connection: Connection, ids: Sequence[str], at: float) -> None:
    """These were acknowledged; a second time changes nothing."""
    await connection.execute(MARK_PUBLISHED, at, list(ids))
