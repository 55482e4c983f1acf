"""The two halves of every PostgreSQL ledger transaction: load what is known, write what was decided.

Both are done for many jobs at once, a statement a table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from service.adapters.ledger_postgres.connection import Connection, Transaction
from service.adapters.ledger_postgres.sql import arrays, insert, upsert
from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.grouping import Loaded, together
from service.domain.binding import Binding
from service.domain.command import Plan, PlanState
from service.domain.ledger_state import Changes, EventKey, Keys

T = TypeVar("T")

# Names are locked in the order of their hashes: two transactions that need some of the same ones can't wait for each
# other. Row locks alone would not do: a plan that another transaction is about to insert has no row yet.
LOCK = """
SELECT pg_current_xact_id()::text, count(pg_advisory_xact_lock(k))
FROM (SELECT k FROM unnest($1::bigint[]) AS t(k) ORDER BY k OFFSET 0) AS keys
"""
SELECT_STANDING_SESSIONS = """
SELECT fence FROM sessions WHERE fence = ANY($1::bigint[]) AND ended_at IS NULL ORDER BY fence FOR KEY SHARE
"""
SELECT_DIGESTS = "SELECT event_hash, digest FROM event_digests WHERE event_hash = ANY($1::text[])"
SELECT_LAST_ARRIVAL = "SELECT coalesce(max(arrival), 0) FROM event_digests"
SELECT_PLANS = f"SELECT {rows.PLAN} FROM plans WHERE id = ANY($1::text[]) ORDER BY id"  # noqa: S608
# the plans named, and those that the subjects and resources may have to wait for
SELECT_PLANS_AROUND = f"""
SELECT {rows.PLAN} FROM plans WHERE id IN (
    SELECT unnest($1::text[])
    UNION SELECT id FROM plans WHERE state = 'open' AND subject = ANY($2::text[])
    UNION SELECT plan_id FROM commands WHERE live AND subject = ANY($2::text[])
    UNION SELECT plan_id FROM commands WHERE live AND resource = ANY($3::text[])
) ORDER BY id
"""  # noqa: S608
# Locked, because claims lock no names: what was not begun when it was read must not be claimed before that is written.
SELECT_COMMANDS_OF_PLANS = f"""
SELECT {rows.COMMAND} FROM commands WHERE plan_id = ANY($1::text[]) ORDER BY plan_id, step_no, id FOR NO KEY UPDATE
"""  # noqa: S608
SELECT_HELD_OF_RESOURCES = f"""
SELECT {rows.BINDING} FROM bindings WHERE state <> 'released' AND resource = ANY($1::text[])
"""  # noqa: S608
SELECT_BINDINGS_OF_SUBJECTS = f"""
SELECT {rows.BINDING} FROM bindings AS b
WHERE subject = ANY($1::text[]) AND (
    state <> 'released'
    OR generation = (SELECT max(generation) FROM bindings AS r WHERE r.subject = b.subject AND r.state = 'released')
)
"""  # noqa: S608
SELECT_WAITING_FACTS = f"""
SELECT {rows.FACT} FROM facts WHERE taken_by IS NULL AND subject = ANY($1::text[]) ORDER BY received_at, id
"""  # noqa: S608
SELECT_QUARANTINES = f"""
SELECT {rows.HOLD} FROM holds
WHERE released_at IS NULL AND kind = 'quarantine' AND account = ANY($1::text[]) ORDER BY id
"""  # noqa: S608

INSERT_EVENTS = f"{insert('events', rows.EVENT)} ON CONFLICT (source, id) DO NOTHING"
INSERT_DIGESTS = f"{insert('event_digests', rows.DIGEST)} ON CONFLICT (event_hash) DO NOTHING"
UPSERT_PLANS = upsert("plans", rows.PLAN, "id")
UPDATE_LIVE = f"""
UPDATE commands AS c SET live = p.open OR c.state IN {rows.UNFINISHED}
FROM unnest($1::text[], $2::boolean[]) AS p(id, open)
WHERE c.plan_id = p.id AND c.live <> (p.open OR c.state IN {rows.UNFINISHED})
"""  # noqa: S608
LIVE = f"r.state IN {rows.UNFINISHED} OR EXISTS (SELECT 1 FROM plans AS p WHERE p.id = r.plan_id AND p.state = 'open')"  # noqa: S608
UPSERT_COMMANDS = upsert("commands", rows.COMMAND, "id", ("live", LIVE))
UPSERT_ATTEMPTS = upsert("attempts", rows.ATTEMPT, "command_id, epoch, number")
INSERT_HISTORY = insert("history", rows.HISTORY)
UPSERT_BINDINGS = upsert("bindings", rows.BINDING, "subject, generation")
UPSERT_FACTS = upsert("facts", rows.FACT, "id")
UPSERT_HOLDS = upsert("holds", rows.HOLD, "id")
INSERT_OUTBOX = f"{insert('outbox', rows.OUTBOX, ('owner', '$8::bigint'))} ON CONFLICT (id) DO NOTHING"
INSERT_DEAD_LETTERS = f"{insert('dead_letters', rows.DEAD_LETTER)} ON CONFLICT DO NOTHING"
INSERT_ACTS = insert("acts", rows.ACT)


def lock_key(name: str) -> int:
    """A name as PostgreSQL's advisory locks take it: 64 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


async def lock(transaction: Transaction, names: Iterable[str]) -> None:
    """Wait until no other transaction holds any of the names; they come free with the transaction's end."""
    row = await transaction.connection.fetchrow(LOCK, [lock_key(name) for name in names])
    transaction.xid = None if row is None else row[0]


async def standing(transaction: Transaction, fences: Iterable[int]) -> frozenset[int]:
    """Those of the sessions that have not ended, and will not before the transaction does."""
    wanted = sorted(set(fences))
    if not wanted:
        return frozenset()
    return frozenset(row[0] for row in await transaction.connection.fetch(SELECT_STANDING_SESSIONS, wanted))


async def load(connection: Connection, keys: Keys) -> Loaded:
    """What the ledger holds for the keys."""
    plans = await _load_plans(connection, keys)
    return Loaded(
        digests=await _load_digests(connection, keys.events),
        bindings=await load_bindings(connection, keys.subjects, keys.resources),
        plans=plans,
        commands=await _load_all(connection, SELECT_COMMANDS_OF_PLANS, rows.command, [plan.id for plan in plans]),
        facts=await _load_all(connection, SELECT_WAITING_FACTS, rows.fact, keys.subjects),
        holds=await _load_all(connection, SELECT_QUARANTINES, rows.hold, keys.accounts),
        next_arrival=(await connection.fetchval(SELECT_LAST_ARRIVAL)) + 1,
    )


async def _load_plans(connection: Connection, keys: Keys) -> list[Plan]:
    if keys.subjects or keys.resources:
        arguments = (list(keys.plans), list(keys.subjects), list(keys.resources))
        return [rows.plan(row) for row in await connection.fetch(SELECT_PLANS_AROUND, *arguments)]
    return list(await _load_all(connection, SELECT_PLANS, rows.plan, keys.plans))


async def _load_digests(connection: Connection, events: Iterable[EventKey]) -> dict[EventKey, str]:
    hashes = {rows.event_hash(key): key for key in events}
    if not hashes:
        return {}
    return {hashes[hashed]: digest for hashed, digest in await connection.fetch(SELECT_DIGESTS, list(hashes))}


async def load_bindings(connection: Connection, subjects: Iterable[str], resources: Iterable[str]) -> Sequence[Binding]:
    """All held ones of the subjects and resources, and each subject's last released one."""
    return [
        *await _load_all(connection, SELECT_BINDINGS_OF_SUBJECTS, rows.binding, subjects),
        *await _load_all(connection, SELECT_HELD_OF_RESOURCES, rows.binding, resources),
    ]


async def _load_all(
    connection: Connection, statement: str, value: Callable[[rows.Cells], T], names: Iterable[str]
) -> Sequence[T]:
    wanted = sorted(names)
    return [value(row) for row in await connection.fetch(statement, wanted)] if wanted else ()


async def write(connection: Connection, many: Sequence[Changes], owner: int | None) -> None:
    """Write whole rows of several jobs, in an order that the schema's references and uniqueness allow.

    No two jobs may change the same row. `owner` is the session that will publish the messages.
    """
    changes = together(many)
    orders = {(plan.event_source, plan.event_id): plan.order for plan in changes.plans}
    released_first = sorted(changes.bindings, key=lambda binding: binding.held)
    await _write_all(connection, INSERT_EVENTS, rows.event_row, changes.events)
    await _write_all(connection, INSERT_DIGESTS, partial(rows.digest_row, orders=orders), changes.events)
    await _write_all(connection, UPSERT_PLANS, rows.plan_row, changes.plans)
    if changes.plans:
        is_open = [plan.state is PlanState.OPEN for plan in changes.plans]
        await connection.execute(UPDATE_LIVE, [plan.id for plan in changes.plans], is_open)
    await _write_all(connection, UPSERT_COMMANDS, rows.command_row, changes.commands)
    await _write_all(connection, UPSERT_ATTEMPTS, rows.attempt_row, changes.attempts)
    await _write_all(connection, INSERT_HISTORY, rows.history_row, changes.history)
    await _write_all(connection, UPSERT_BINDINGS, rows.binding_row, released_first)
    await _write_all(connection, UPSERT_FACTS, rows.fact_row, changes.facts)
    await _write_all(connection, UPSERT_HOLDS, rows.hold_row, changes.holds)
    if changes.outbox:
        await connection.execute(INSERT_OUTBOX, *arrays(rows.outbox_row, changes.outbox), owner)
    await _write_all(connection, INSERT_DEAD_LETTERS, rows.dead_letter_row, changes.dead_letters)
    await _write_all(connection, INSERT_ACTS, rows.act_row, changes.acts)


async def _write_all(connection: Connection, statement: str, row: Callable[[T], rows.Row], values: Sequence[T]) -> None:
    if values:
        await connection.execute(statement, *arrays(row, values))
