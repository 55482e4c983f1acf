"""Migrations: numbered, applied once, and never quietly other than they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.adapters.ledger_sql import migrations
from service.adapters.ledger_sql.migrations import Migration, MigrationError
from service.adapters.ledger_sqlite import file
from service.adapters.ledger_sqlite.ledger import SqliteLedger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_migrations_are_applied_once_in_order(path: Path) -> None:
    shipped = migrations.available("sqlite")

    assert file.migrate(path) == shipped
    assert file.migrate(path) == ()
    assert [m.number for m in shipped] == list(range(1, len(shipped) + 1))


def test_status_says_what_is_pending_and_makes_no_file(path: Path) -> None:
    before = file.status(path)
    assert not path.exists()

    file.migrate(path)
    after = file.status(path)

    assert [row.applied_at for row in before] == [None] * len(before)
    assert all(row.applied_at is not None for row in after)
    assert [row.name for row in before] == [row.name for row in after] == ["first_schema", "claims", "erasing", "desk"]


async def test_a_ledger_that_is_behind_is_refused_without_migrate(path: Path) -> None:
    with pytest.raises(MigrationError, match="cordboard migrate"):
        await SqliteLedger.open(path, migrate=False)

    file.migrate(path)
    await (await SqliteLedger.open(path, migrate=False)).close()


async def test_a_migration_changed_after_it_was_applied_is_refused(path: Path) -> None:
    file.migrate(path)
    change(path, "UPDATE migrations SET checksum = 'other'")

    with pytest.raises(MigrationError, match="0001_first_schema was changed"):
        await SqliteLedger.open(path)
    with pytest.raises(MigrationError, match="0001_first_schema was changed"):
        file.status(path)


async def test_an_unknown_newer_schema_is_refused(path: Path) -> None:
    file.migrate(path)
    change(path, "INSERT INTO migrations VALUES (9999, 'from_the_future', 'x', 0)")

    with pytest.raises(MigrationError, match="9999_from_the_future, unknown"):
        await SqliteLedger.open(path)


def test_a_migration_that_fails_leaves_nothing_of_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration(
        number=1, name="broken", sql="CREATE TABLE a (x TEXT);\nCREATE TABLE a (x TEXT);\n", checksum="c"
    )
    monkeypatch.setattr(migrations, "available", lambda _: (broken,))

    with pytest.raises(MigrationError, match="0001_broken failed"):
        file.migrate(path)

    monkeypatch.undo()
    assert file.migrate(path) == migrations.available("sqlite")


def test_two_files_of_one_number_are_refused(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0001_b.sql"):
        (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(MigrationError, match="one number"):
        migrations.read_folder(tmp_path)


async def test_migrating_waits_for_nobody_while_the_ledger_is_in_use(path: Path) -> None:
    ledger = await SqliteLedger.open(path)

    with pytest.raises(file.LedgerLockedError):
        file.migrate(path)
    await ledger.close()
