"""Migrations: numbered, applied once, and never quietly other than they were."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.adapters.ledger_sql import migrations, rows
from service.adapters.ledger_sql.migrations import Migration, MigrationError
from service.adapters.ledger_sqlite import file
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.adapters.ledger_sqlite.sql import insert
from service.application.inquiry import LetterQuery
from service.application.ports import CommandQuery
from service.domain.command import CommandState, PlanState
from service.domain.dead_letter import LetterState
from tests.builders import CREATE, NOW, make_command, make_plan
from tests.conformance.ledger.bench import make_failure, make_letter

PLAN = rows.PLAN.removesuffix(", planned")
DEAD_LETTER = rows.DEAD_LETTER.removesuffix(", state, closed_at")
"""Columns as they were before the desk."""


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
    assert (
        [row.name for row in before]
        == [row.name for row in after]
        == ["first_schema", "claims", "erasing", "desk", "oldest", "tallies_of_batches"]
    )


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


async def test_what_a_ledger_had_before_is_counted_and_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = migrations.available("sqlite")
    monkeypatch.setattr(migrations, "available", lambda _: shipped[:3])
    file.migrate(path)
    monkeypatch.undo()
    fill_before_the_desk(path)

    ledger = await SqliteLedger.open(path)
    plans = await ledger.plans(CommandQuery())
    letters = await ledger.dead_letters(LetterQuery())
    tallies = {
        (t.kind, t.operation, t.state, t.error_class, t.code): (t.number, t.first_at, t.last_at)
        for t in await ledger.tallies()
    }
    await ledger.close()

    assert [plan.planned for plan in plans] == [True, True, False, True]
    assert [(letter.offset, letter.state, letter.closed_at) for letter in letters] == [
        (2, LetterState.OPEN, None),
        (1, LetterState.OPEN, None),
    ]
    assert letters[0].seq > letters[1].seq
    about = ("failed", "retryable", "InternalError.DBError")
    assert tallies == {
        ("command", CREATE, *about): (2, NOW, NOW + 1),
        ("command", CREATE, "pending", "", ""): (1, None, None),
        ("plan", "", *about): (2, NOW, NOW + 1),
        ("plan", "planning", *about): (1, NOW + 2, NOW + 2),
        ("plan", "", "open", "", ""): (1, None, None),
    }


def fill_before_the_desk(path: Path) -> None:
    """Two plans that failed at a command, one that failed as it arrived, one that is open; two dead letters."""
    plans = [make_plan(n + 1, state=PlanState.FAILED, ended_at=NOW + n, failure=make_failure()) for n in range(3)]
    failed = [
        make_command(plan, state=CommandState.FAILED, ended_at=plan.ended_at, failure=plan.failure)
        for plan in plans[:2]
    ]
    plans.append(make_plan(4))
    commands = [*failed, make_command(plans[-1])]
    letters = [rows.dead_letter_row(make_letter(offset))[:-2] for offset in (1, 2)]
    connection = file.connect(path)
    connection.executemany(insert("plans", PLAN), [rows.plan_row(plan)[:-1] for plan in plans])
    connection.executemany(insert("commands", f"{rows.COMMAND}, live"), [(*rows.command_row(c), 1) for c in commands])
    connection.executemany(insert("dead_letters", DEAD_LETTER), letters)
    connection.close()
