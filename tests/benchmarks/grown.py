# ruff: noqa: S608 - statements from this file and the ledger's own names
"""Ledgers that have seen much: made by the database itself, finished work only, as a worker would have left it."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg

from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_postgres.schema import migrate
from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.migrations import available
from service.adapters.ledger_sqlite.file import migrate as migrate_file
from service.adapters.ledger_sqlite.tallies import ADD
from tests.postgres.server import PostgresServer

FALSE: Final = "0::int::boolean"
CACHE: Final = Path(".cache/bench")
COMMANDS_A_PLAN: Final = 2
STEPS: Final = (("extension", "tencent_ccc.CreateExtension"), ("credentials", "tencent_ccc.DescribeExtension"))
WANTED: Final = '{"extension":"old","name":"Agent","email":"agent@acme.example","sdk_app_id":1400000000}'


def fill() -> Iterator[str]:
    """What writes it all, from `numbers`; an hour old, so that nothing is due to be erased."""
    at = time.time() - 3600
    yield f"""
        INSERT INTO plans ({rows.PLAN})
        SELECT 'old-plan-' || n, 0, 'completed', '/hr', 'old-' || n, 'hr.agent.hired.v1', NULL, NULL, NULL, 'hires', 0,
            n, 'old-' || n, NULL, 'agent:workday/old-' || n, 'acme', '/hr', NULL, n, n, NULL, {at}, {at} + 1, 0, NULL, 1
        FROM numbers"""
    for number, (step, operation) in enumerate(STEPS):
        yield f"""
        INSERT INTO commands ({rows.COMMAND}, live)
        SELECT 'old-{step}-' || n, 'old-plan-' || n, 0, '{step}', {number}, 'acme', '{operation}', 'acme',
            'agent:workday/old-' || n, 'extension:acme/old-' || n, '{WANTED}', 'live', 'succeeded',
            '/hr', NULL, n, n, {at}, NULL, NULL, NULL, 1, 1, 0, {at}, {at}, {at} + 1, 0.1, 0.1, 0.1, 'done',
            '{{"extension_domain":"1400000000.tccc.example"}}', NULL, NULL, NULL, 1, {FALSE}
        FROM numbers"""
        yield f"""
        INSERT INTO attempts ({rows.ATTEMPT})
        SELECT 'old-{step}-' || n, 0, 1, '{operation}', {at}, {at}, {at} + 1, 'succeeded', NULL, 'old-request'
        FROM numbers"""
    yield f"""
        INSERT INTO bindings ({rows.BINDING})
        SELECT 'agent:workday/old-' || n, 1, 'extension:acme/old-' || n, 'acme', 'live', 'old-plan-' || n,
            '{{"name":"Agent"}}', n, '{{}}', 1, {at}
        FROM numbers"""
    yield f"""
        INSERT INTO event_digests ({rows.DIGEST})
        SELECT 'old-' || n, 'old', n, {at}, '/hr', NULL, n FROM numbers"""


INDEXES_OF_THEIR_OWN: Final = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND indexdef NOT LIKE 'CREATE UNIQUE%'
"""


def of_sqlite(commands: int, target: Path) -> None:
    """A ledger file with so many finished commands, made once and copied."""
    made = CACHE / f"grown-{commands}-{len(available('sqlite'))}.db"  # one for each schema
    if not made.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = made.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        _fill_sqlite(draft, commands // COMMANDS_A_PLAN)
        draft.rename(made)
    shutil.copyfile(made, target)


def _fill_sqlite(path: Path, plans: int) -> None:
    migrate_file(path)
    connection = sqlite3.connect(path, isolation_level=None)
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {plans})"
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for statement in fill():
        connection.execute(f"{numbers} {statement.replace(FALSE, '0')}")
    for kind, operation, state in (("plan", "", "completed"), *(("command", step, "succeeded") for _, step in STEPS)):
        lane = "live" if kind == "command" else ""
        counted = (kind, "acme", operation, lane, state, "", "", "", plans, None, None)
        connection.execute(ADD, counted)
    connection.execute("COMMIT")
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def of_postgres(server: PostgresServer, commands: int) -> str:
    """A database with so many finished commands; its name."""
    name = server.create_database()
    asyncio.run(_fill_postgres(server.url(name), commands // COMMANDS_A_PLAN))
    return name


async def _fill_postgres(url: str, plans: int) -> None:
    """Indexes are made when the rows are there: a tenth of the time."""
    await migrate(Database(url, password=None, connections=1))
    connection = await asyncpg.connect(
        url, server_settings={"synchronous_commit": "off", "maintenance_work_mem": "1GB"}
    )
    try:
        indexes = await connection.fetch(INDEXES_OF_THEIR_OWN)
        for name, _ in indexes:
            await connection.execute(f"DROP INDEX {name}")
        for statement in fill():
            await connection.execute(f"WITH numbers AS (SELECT generate_series(1, {plans}) AS n) {statement}")
        for _, definition in indexes:
            await connection.execute(definition)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
