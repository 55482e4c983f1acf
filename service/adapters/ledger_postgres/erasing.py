"""Erasing in PostgreSQL: small batches; what others have locked is left to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.adapters.ledger_postgres.claims import affected
from service.adapters.ledger_postgres.connection import Connection, Transaction
from service.adapters.ledger_postgres.state import lock
from service.adapters.ledger_sql import rows
from service.domain.retention import HISTORY_OF_A_PLAN, ITEMS_OF_A_REPLAY, Erasable

# OFFSET 0 has each row asked about by itself, through an index. Left to itself the planner would rather read whole
# tables into a hash, for it cannot know that a batch is small.
IS_OVER = f"""
state <> 'open' AND ended_at <= $1
AND NOT EXISTS (SELECT 1 FROM commands AS c WHERE c.plan_id = p.id AND c.state IN {rows.UNFINISHED} OFFSET 0)
"""  # noqa: S608
SELECT_ENDED_PLANS = f"SELECT id FROM plans AS p WHERE {IS_OVER} ORDER BY ended_at, id LIMIT $2"  # noqa: S608
SELECT_NAMES = """
SELECT subject FROM plans WHERE id = ANY($1::text[])
UNION SELECT subject FROM commands WHERE plan_id = ANY($1::text[])
UNION SELECT resource FROM commands WHERE plan_id = ANY($1::text[])
"""
LOCK_PLANS = f"""
SELECT id FROM plans AS p WHERE id = ANY($2::text[]) AND {IS_OVER} ORDER BY id FOR UPDATE SKIP LOCKED
"""  # noqa: S608
THEIR_COMMANDS = "SELECT id FROM commands WHERE plan_id = ANY($1::text[])"
DELETE_HISTORY = """
DELETE FROM history WHERE seq = ANY(ARRAY(
    SELECT h.seq FROM commands AS c CROSS JOIN LATERAL (
        SELECT seq FROM history WHERE command_id = c.id OFFSET 0
    ) AS h WHERE c.plan_id = ANY($1::text[]) LIMIT $2
))
"""
DELETE_ATTEMPTS = f"DELETE FROM attempts WHERE command_id = ANY(ARRAY({THEIR_COMMANDS}))"  # noqa: S608
DELETE_COMMANDS = "DELETE FROM commands WHERE plan_id = ANY($1::text[])"
DELETE_PLANS = "DELETE FROM plans WHERE id = ANY($1::text[])"


def oldest(table: str, alias: str, over: str, age: str) -> str:
    """Delete a table's oldest rows that are over, by their places: a plan that no statistics can mislead."""
    return (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} AS {alias} "  # noqa: S608  constants of this package
        f"WHERE {age} <= $1 AND {over} ORDER BY {age} LIMIT $2 FOR UPDATE SKIP LOCKED))"
    )


# an index is asked in its own collation only: these columns of `plans` have the database's
HAS_PLAN = """EXISTS (
    SELECT 1 FROM plans AS p
    WHERE p.event_source = e.source COLLATE "default" AND p.event_id = e.id COLLATE "default" OFFSET 0
)"""
IS_WANTED = """CASE
    WHEN f.taken_by IS NOT NULL THEN EXISTS (SELECT 1 FROM commands AS c WHERE c.id = f.taken_by OFFSET 0)
    ELSE EXISTS (SELECT 1 FROM plans AS p WHERE p.state || '' = 'open' AND p.subject = f.subject OFFSET 0)
END"""
# An event and its identity have one arrival. The newest stays: the next event is numbered after it.
IS_ALONE = """
d.arrival < (SELECT max(arrival) FROM event_digests)
AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.arrival = d.arrival OFFSET 0)
"""
LOCK_ENDED_REPLAYS = """
SELECT id FROM replays WHERE ended_at IS NOT NULL AND ended_at <= $1
ORDER BY ended_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
"""
DELETE_ITEMS = """
DELETE FROM replay_items WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM replay_items WHERE replay_id = ANY($1::text[]) LIMIT $2
))
"""
DELETE_REPLAYS = "DELETE FROM replays WHERE id = ANY($1::text[])"
DELETE: Final[Mapping[Erasable, str]] = {
    Erasable.EVENTS: oldest("events", "e", f"NOT {HAS_PLAN}", "received_at"),
    Erasable.FACTS: oldest("facts", "f", f"NOT {IS_WANTED}", "received_at"),
    Erasable.MESSAGES: oldest("outbox", "m", "published_at IS NOT NULL", "published_at"),
    Erasable.DEAD_LETTERS: oldest("dead_letters", "n", "true", "seen_at"),
    Erasable.HOLDS: oldest("holds", "h", "released_at IS NOT NULL", "released_at"),
    Erasable.SESSIONS: oldest("sessions", "s", "ended_at IS NOT NULL", "ended_at"),
    Erasable.ANSWERS: oldest("answers", "a", "true", "given_at"),
    Erasable.IDENTITIES: oldest("event_digests", "d", IS_ALONE, "received_at"),
}


async def erase(transaction: Transaction, what: Erasable, before: float, limit: int) -> int:
    """Erase a batch; how many rows went."""
    if what is Erasable.PLANS:
        return await _erase_plans(transaction, before, limit)
    if what is Erasable.REPLAYS:
        return await _erase_replays(transaction.connection, before, limit)
    return affected(await transaction.connection.execute(DELETE[what], before, limit))


async def _erase_plans(transaction: Transaction, before: float, limit: int) -> int:
    """Plans with all that refers to them, children first. While there is more history, that alone.

    Their subjects and resources are locked as by every decision, so that nobody decides on a plan while it goes.
    """
    connection = transaction.connection
    found = [row[0] for row in await connection.fetch(SELECT_ENDED_PLANS, before, limit)]
    if not found:
        return 0
    await lock(transaction, {row[0] for row in await connection.fetch(SELECT_NAMES, found)})
    plans = [row[0] for row in await connection.fetch(LOCK_PLANS, before, found)]
    most = limit * HISTORY_OF_A_PLAN
    erased = affected(await connection.execute(DELETE_HISTORY, plans, most))
    return erased if erased == most else erased + await _erase_the_rest(connection, plans)


async def _erase_the_rest(connection: Connection, plans: list[str]) -> int:
    statements = (DELETE_ATTEMPTS, DELETE_COMMANDS, DELETE_PLANS)
    return sum([affected(await connection.execute(statement, plans)) for statement in statements])


async def _erase_replays(connection: Connection, before: float, limit: int) -> int:
    """Replays with their items, those first. While there are more of them, they alone."""
    replays = [row[0] for row in await connection.fetch(LOCK_ENDED_REPLAYS, before, limit)]
    most = limit * ITEMS_OF_A_REPLAY
    erased = affected(await connection.execute(DELETE_ITEMS, replays, most))
    return erased if erased == most else erased + affected(await connection.execute(DELETE_REPLAYS, replays))
