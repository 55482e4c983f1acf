"""The PostgreSQL ledger's schema: migrations, one process at a time."""

from __future__ import annotations

import asyncpg

from service.adapters.ledger_postgres.connection import Connection, Database
from service.adapters.ledger_sql import migrations
from service.adapters.ledger_sql.migrations import Applied, Migration, MigrationError, MigrationStatus

OLDEST_SERVER = 150_000
ONE_AT_A_TIME = 0x_C02D_B0A2D  # the advisory lock of whoever migrates
IS_THERE = "SELECT to_regclass('migrations') IS NOT NULL"
CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (
    number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at double precision NOT NULL
)
"""
SELECT_MIGRATIONS = "SELECT number, name, checksum, applied_at FROM migrations ORDER BY number"
INSERT_MIGRATION = "INSERT INTO migrations VALUES ($1, $2, $3, extract(epoch FROM clock_timestamp()))"


async def prepare(database: Database, *, apply: bool) -> tuple[Migration, ...]:
    """Bring the schema up to date, or only check that it is; what was applied.

    Raises MigrationError for a schema or server this program may not work with, or one that is behind when not
    `apply`; UnavailableError.
    """
    async with database.connection() as connection:
        _check_server(connection)
        if not apply:
            missing = migrations.pending(migrations.available("postgres"), await _applied(connection))
            if missing:
                raise MigrationError(f"the ledger lacks {len(missing)} migration(s): run `cordboard migrate`")
            return ()
        await connection.execute("SELECT pg_advisory_lock($1)", ONE_AT_A_TIME)
        try:
            return await _migrate(connection)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", ONE_AT_A_TIME)


def _check_server(connection: Connection) -> None:
    version = connection.get_server_version()
    if version.major * 10_000 < OLDEST_SERVER:
        raise MigrationError(f"PostgreSQL {version.major} is too old: 15 or newer is needed")


async def _migrate(connection: Connection) -> tuple[Migration, ...]:
    await connection.execute(CREATE_MIGRATIONS)
    missing = migrations.pending(migrations.available("postgres"), await _applied(connection))
    for migration in missing:
        await _apply(connection, migration)
    return missing


async def _applied(connection: Connection) -> tuple[Applied, ...]:
    if not await connection.fetchval(IS_THERE):
        return ()
    found = await connection.fetch(SELECT_MIGRATIONS)
    return tuple(Applied(number=row[0], name=row[1], checksum=row[2], at=row[3]) for row in found)


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(INSERT_MIGRATION, migration.number, migration.name, migration.checksum)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"migration {migration.number:04d}_{migration.name} failed: {error}") from error


async def migrate(database: Database) -> tuple[Migration, ...]:
    """`cordboard migrate`: apply what is pending; what was applied. Raises as opening a ledger does."""
    await database.open()
    try:
        return await prepare(database, apply=True)
    finally:
        await database.close()


async def status(database: Database) -> tuple[MigrationStatus, ...]:
    """`cordboard migrate --status`: every migration and when it was applied. Writes nothing."""
    await database.open()
    try:
        async with database.connection() as connection:
            return migrations.statuses(migrations.available("postgres"), await _applied(connection))
    finally:
        await database.close()
