"""The SQLite ledger's file: one owner through an OS lock, private permissions, pragmas, migrations."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.adapters.ledger_sql import migrations
from service.adapters.ledger_sql.migrations import Applied, Migration, MigrationError, MigrationStatus
from service.application.ports import UnavailableError

OLDEST_SQLITE = (3, 38, 0)  # STRICT tables (3.37) and unixepoch() (3.38)
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 1000",  # nobody else should be there; a backup tool may be
    "PRAGMA wal_autocheckpoint = 4000",  # pages of 4 KiB
    "PRAGMA cache_size = -4096",  # KiB; the system keeps the rest of the file in memory
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA secure_delete = ON",  # what is erased is overwritten, not only let go; many builds have it so anyway
)
CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at REAL NOT NULL
) STRICT
"""
SELECT_MIGRATIONS = "SELECT number, name, checksum, applied_at FROM migrations ORDER BY number"
INSERT_MIGRATION = "INSERT INTO migrations VALUES (?, ?, ?, unixepoch())"


class LedgerLockedError(Exception):
    """Another process has the ledger's file open."""


class FileLock:
    """The OS lock beside the file; the system lets go of it when the process ends, however it ends."""

    def __init__(self, ledger: Path) -> None:
        """Take it at once; raises LedgerLockedError when it is held, UnavailableError when it can't be made."""
        path = ledger.with_name(ledger.name + ".lock")
        self._file = _open_private(path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise LedgerLockedError(_locked(ledger, holder)) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, so that nobody locks a file that is being removed."""
        os.ftruncate(self._file, 0)
        os.close(self._file)


def _locked(ledger: Path, holder: str) -> str:
    who = f"process {holder}" if holder.isdigit() else "another process"
    return (
        f"ledger {ledger} is open in {who}: a SQLite ledger has one process at a time. "
        "Stop that one, or talk to it (`cordboard list` and `show` ask the running server)."
    )


def _open_private(path: Path) -> int:
    """A descriptor of a file that only its owner may read, made if need be."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise UnavailableError("ledger", f"cannot open {path}: {error.strerror}") from error
    return descriptor


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, private and with every pragma set. The caller holds the lock."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise UnavailableError("ledger", f"SQLite {sqlite3.sqlite_version} is too old: 3.38 or newer is needed")
    os.close(_open_private(path))
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error as error:
        raise UnavailableError("ledger", f"cannot open {path}: {error}") from error
    return connection


def prepare(connection: sqlite3.Connection, *, apply: bool) -> tuple[Migration, ...]:
    """Bring the schema up to date, or only check that it is; what was applied.

    Raises MigrationError for a schema this program may not work with, or one that is behind when not `apply`.
    """
    missing = migrations.pending(migrations.available("sqlite"), _applied(connection))
    if missing and not apply:
        raise MigrationError(f"the ledger lacks {len(missing)} migration(s): run `cordboard migrate`")
    for migration in missing:
        _apply(connection, migration)
    return missing


def _applied(connection: sqlite3.Connection) -> tuple[Applied, ...]:
    connection.execute(CREATE_MIGRATIONS)
    rows = connection.execute(SELECT_MIGRATIONS).fetchall()
    return tuple(Applied(number=row[0], name=row[1], checksum=row[2], at=row[3]) for row in rows)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(migration.sql):
            connection.execute(statement)
        connection.execute(INSERT_MIGRATION, (migration.number, migration.name, migration.checksum))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise MigrationError(f"migration {migration.number:04d}_{migration.name} failed: {error}") from error


def _statements(script: str) -> Iterator[str]:
    """Cut a script where SQLite itself says that a statement is complete (a trigger holds semicolons)."""
    buffer = ""
    for line in script.splitlines(keepends=True):
        buffer += line
        if sqlite3.complete_statement(buffer):
            yield buffer
            buffer = ""
    if buffer.strip():
        yield buffer


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    lock = FileLock(path)
    try:
        connection = connect(path)
        try:
            yield connection
        finally:
            connection.close()
    finally:
        lock.release()


def migrate(path: str | Path) -> tuple[Migration, ...]:
    """`cordboard migrate`: apply what is pending; what was applied. Raises as opening a ledger does."""
    with _alone(Path(path)) as connection:
        return prepare(connection, apply=True)


def status(path: str | Path) -> tuple[MigrationStatus, ...]:
    """`cordboard migrate --status`: every migration and when it was applied. Makes no file."""
    shipped = migrations.available("sqlite")
    if not Path(path).exists():
        return migrations.statuses(shipped, ())
    with _alone(Path(path)) as connection:
        return migrations.statuses(shipped, _applied(connection))
