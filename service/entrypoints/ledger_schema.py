"""The schema of the ledger that the settings name, whichever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.adapters.ledger_postgres import schema
from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_sql.migrations import Migration, MigrationStatus
from service.adapters.ledger_sqlite import file
from service.settings import Settings


def migrate(settings: Settings) -> Sequence[Migration]:
    """Apply what is pending; what was applied.

    Raises LedgerLockedError, MigrationError, UnavailableError.
    """
    return (
        asyncio.run(schema.migrate(_database(settings))) if settings.is_shared else file.migrate(settings.ledger_path)
    )


def status(settings: Settings) -> Sequence[MigrationStatus]:
    """Every migration and when it was applied; writes nothing. Raises as `migrate`."""
    if settings.is_shared:
        return asyncio.run(schema.status(_database(settings)))
    return file.status(settings.ledger_path)


def _database(settings: Settings) -> Database:
    return Database(settings.ledger, password=settings.ledger_password, connections=1)
