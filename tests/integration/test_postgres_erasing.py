"""How PostgreSQL erases: row by row through its indexes, never a table as a whole."""

from __future__ import annotations

import re
from itertools import pairwise

import asyncpg
import pytest

from service.adapters.ledger_postgres import erasing
from service.adapters.ledger_postgres.ledger import PostgresLedger

STATEMENTS = {
    **{what.value: erasing.DELETE[what] for what in erasing.DELETE},
    "replays": erasing.LOCK_ENDED_REPLAYS,
    "items": erasing.DELETE_ITEMS,
    "ended replays": erasing.DELETE_REPLAYS,
    "select": erasing.SELECT_ENDED_PLANS,
    "names": erasing.SELECT_NAMES,
    "lock": erasing.LOCK_PLANS,
    "history": erasing.DELETE_HISTORY,
    "attempts": erasing.DELETE_ATTEMPTS,
    "commands": erasing.DELETE_COMMANDS,
    "plans": erasing.DELETE_PLANS,
}


@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_statement_reads_a_table_as_a_whole_where_it_can_use_an_index(postgres_url: str, name: str) -> None:
    await (await PostgresLedger.open(postgres_url, session_seconds=60.0)).close()
    connection = await asyncpg.connect(postgres_url)
    try:
        plan = await generic_plan(connection, STATEMENTS[name])
    finally:
        await connection.close()

    # a join that reads both sides as a whole would be chosen for large tables, whatever stands in its place for empty
    whole = [step for step in plan if re.search(r"Seq Scan|Hash (Anti |Semi )?Join|Merge|hashed", step)]
    assert whole == []
    unbounded = [
        step for step, detail in pairwise([*plan, ""]) if "Index" in step and "Scan" in step and "Cond" not in detail
    ]
    assert unbounded == []


async def generic_plan(connection: asyncpg.Connection[asyncpg.Record], statement: str) -> list[str]:
    """As it is chosen for a prepared statement, whatever its values are; tables are not too small for their indexes."""
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
    await connection.execute(f"PREPARE asked AS {statement}")
    types = await connection.fetchval("SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'asked'")
    values = ", ".join(f"NULL::{kind}" for kind in types)
    return [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE asked({values})")]
