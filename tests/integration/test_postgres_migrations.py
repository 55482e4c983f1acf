"""A PostgreSQL ledger that is older than this version is brought up to date with all that it has."""

from __future__ import annotations

import asyncpg
import pytest

from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_postgres.ledger import PostgresLedger
from service.adapters.ledger_postgres.schema import migrate
from service.adapters.ledger_postgres.sql import arrays, insert
from service.adapters.ledger_sql import migrations, rows
from service.application.inquiry import LetterQuery
from service.application.ports import CommandQuery
from service.domain.command import CommandState, PlanState
from service.domain.dead_letter import LetterState
from tests.builders import NOW, make_command, make_plan
from tests.conformance.ledger.bench import make_failure, make_letter

PLAN = rows.PLAN.removesuffix(", planned")
DEAD_LETTER = rows.DEAD_LETTER.removesuffix(", state, closed_at")
"""Columns as they were before the desk."""


async def test_what_a_ledger_had_before_the_desk_is_kept(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = migrations.available("postgres")
    monkeypatch.setattr(migrations, "available", lambda _: shipped[:3])
    await migrate(Database(postgres_url, password=None, connections=1))
    monkeypatch.undo()
    await fill_before_the_desk(postgres_url)

    ledger = await PostgresLedger.open(postgres_url, session_seconds=60.0)
    plans = await ledger.plans(CommandQuery())
    letters = await ledger.dead_letters(LetterQuery())
    tallies = {(t.kind, t.operation, t.state, t.number) for t in await ledger.tallies()}
    await ledger.close()

    assert [plan.planned for plan in plans] == [True, False, True]
    assert {(letter.offset, letter.state) for letter in letters} == {(1, LetterState.OPEN), (2, LetterState.OPEN)}
    assert letters[0].seq > letters[1].seq
    assert {("plan", "planning", "failed", 1), ("plan", "", "failed", 1), ("plan", "", "open", 1)} < tallies


async def fill_before_the_desk(url: str) -> None:
    """A plan that failed at a command, one that failed as it arrived, one that is open; two dead letters."""
    failed = {"state": PlanState.FAILED, "ended_at": NOW, "failure": make_failure()}
    plans = [make_plan(1, **failed), make_plan(2, **failed), make_plan(3)]
    command = make_command(plans[0], state=CommandState.FAILED, ended_at=NOW, failure=make_failure())
    letters = [make_letter(1), make_letter(2)]
    statements = [
        (insert("plans", PLAN), arrays(lambda plan: rows.plan_row(plan)[:-1], plans)),
        (insert("commands", rows.COMMAND, ("live", "true")), arrays(rows.command_row, [command])),
        (insert("dead_letters", DEAD_LETTER), arrays(lambda letter: rows.dead_letter_row(letter)[:-2], letters)),
    ]
    connection = await asyncpg.connect(url)
    for statement, values in statements:
        await connection.execute(statement, *values)
    await connection.close()
