"""How SQLite runs what runs all day: by the partial indexes, however much finished work there is."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.adapters.ledger_sql import questions, rows
from service.adapters.ledger_sqlite import claims, desk, erasing, file, forgetting, inquiries, listings, moves, state
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.adapters.ledger_sqlite.sql import in_sqlite
from service.application.inquiry import ActQuery, EventQuery, LetterQuery
from service.application.ports import ClaimRoom, CommandQuery
from service.domain.command import CommandState, Lane, PlanState
from service.domain.ledger_state import Changes, Keys, Known
from tests.builders import CREATE, GROUP, NOW, make_binding, make_command, make_plan
from tests.conformance.ledger.bench import make_hold

FINISHED = 20_000
DUE = ("commands_due", "commands_live_of_subject", "commands_live_of_resource")
PROBES = ("sqlite_autoindex_commands_1", "commands_live_of_subject", "commands_live_of_resource")
AROUND = ("plans_open", "commands_live_of_subject", "commands_live_of_resource")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 20,000 finished commands and 100 due ones."""
    made = tmp_path_factory.mktemp("plans") / "ledger.db"
    file.migrate(made)
    connection = file.connect(made)
    connection.execute("BEGIN")
    for number in range(FINISHED + 100):
        ended = number < FINISHED
        plan = make_plan(number, state=PlanState.COMPLETED if ended else PlanState.OPEN)
        command = make_command(plan, state=CommandState.SUCCEEDED if ended else CommandState.PENDING)
        connection.execute(state.UPSERT_PLAN, rows.plan_row(plan))
        connection.execute(state.UPSERT_COMMAND, (*rows.command_row(command), int(not ended)))
        connection.execute(state.UPSERT_BINDING, rows.binding_row(make_binding(plan)))
    connection.execute("COMMIT")
    connection.close()
    return made


@pytest.fixture(params=["as grown", "after ANALYZE"])
def connection(request: pytest.FixtureRequest, path: Path) -> Iterator[sqlite3.Connection]:
    opened = file.connect(path)
    opened.execute("BEGIN")
    if request.param == "after ANALYZE":
        opened.execute("ANALYZE")
    yield opened
    opened.execute("ROLLBACK")
    opened.close()


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (claims.SELECT_DUE, DUE),
        (claims.SELECT_NEXT_ACCOUNT, ("commands_due",)),
        (claims.SELECT_ORPHANS, ("commands_in_flight",)),
        (claims.FREE_CLAIMED, ("commands_claimed",)),
        (claims.RELEASE_COMMANDS, ("commands_claimed",)),
        (claims.SELECT_NEXT_SLOT, ("PRIMARY KEY",)),
        (claims.SELECT_RATE, ("PRIMARY KEY",)),
        (claims.REGROUP_COMMANDS, ("commands_live_of_subject",)),
        (claims.SELECT_STANDING, ("holds_standing",)),
        (claims.SELECT_PROBES, PROBES),
        (claims.IS_UNDER_WAY, ("commands_claimed", "commands_in_flight")),
        (listings.SELECT_UNPUBLISHED, ("outbox_unpublished",)),
        (listings.MARK_PUBLISHED, ("sqlite_autoindex_outbox_2", "sqlite_autoindex_outbox_1")),
        (inquiries.OLDEST, ("PRIMARY KEY", "commands_oldest")),
        (state.SELECT_DIGESTS, ("PRIMARY KEY",)),
        (state.SELECT_LAST_ARRIVAL, ("sqlite_autoindex_event_digests_2",)),
        (state.SELECT_PLANS, ("sqlite_autoindex_plans_1",)),
        (state.SELECT_PLANS_AROUND, AROUND),
        (state.SELECT_COMMANDS_OF_PLANS, ("commands_of_plan",)),
        (state.SELECT_HELD_OF_RESOURCES, ("bindings_held",)),
        (state.SELECT_BINDINGS_OF_SUBJECTS, ("sqlite_autoindex_bindings_1",)),
        (state.SELECT_WAITING_FACTS, ("facts_waiting",)),
        (state.SELECT_QUARANTINES, ("holds_standing",)),
        (state.SELECT_COMMANDS, ("sqlite_autoindex_commands_1",)),
        (moves.OF_COMMAND.statement, ("sqlite_autoindex_commands_1",)),
        (moves.OF_PLAN.statement, ("sqlite_autoindex_plans_1",)),
        (state.UPDATE_LIVE, ("commands_of_plan",)),
        (erasing.SELECT_ENDED_PLANS, ("plans_ended",)),
        (erasing.DELETE_HISTORY, ("history_of_command", "commands_of_plan", "INTEGER PRIMARY KEY")),
        (erasing.DELETE_ATTEMPTS, ("commands_of_plan", "PRIMARY KEY")),
        (erasing.DELETE_COMMANDS, ("commands_of_plan",)),
        (erasing.DELETE_PLANS, ("sqlite_autoindex_plans_1",)),
        (erasing.DELETE_EVENTS, ("events_by_age", "plans_of_event", "INTEGER PRIMARY KEY")),
        (erasing.DELETE_FACTS, ("facts_by_age", "sqlite_autoindex_commands_1", "plans_open")),
        (erasing.DELETE_MESSAGES, ("outbox_published",)),
        (erasing.DELETE_DEAD_LETTERS, ("dead_letters_by_age",)),
        (erasing.DELETE_HOLDS, ("holds_released",)),
        (erasing.DELETE_SESSIONS, ("sessions_ended",)),
        (erasing.DELETE_ANSWERS, ("answers_by_age",)),
        (erasing.SELECT_ENDED_REPLAYS, ("replays_ended",)),
        (erasing.DELETE_ITEMS, ("PRIMARY KEY",)),
        (erasing.DELETE_REPLAYS, ("sqlite_autoindex_replays_1",)),
        (erasing.DELETE_IDENTITIES, ("event_digests_by_age", "sqlite_autoindex_events_1", "PRIMARY KEY")),
    ],
)
def test_hot_statements_use_their_indexes(
    connection: sqlite3.Connection, statement: str, indexes: tuple[str, ...]
) -> None:
    steps = query_plan(connection, statement)

    assert any(index in step for index in indexes for step in steps), steps
    for index in indexes if len(indexes) > 2 else ():
        assert any(index in step for step in steps), (index, steps)
    for step in steps:
        whole_table = step.startswith("SCAN") and "INDEX" not in step
        assert not whole_table or re.match(r"SCAN (json_each|g\b|CONSTANT ROW|\(|[0-9])", step), steps


WALKS = {
    "commands": questions.commands(CommandQuery(account="a")),
    "commands of a state": questions.commands(CommandQuery(states=("failed",), code="a*")),
    "commands of a subject": questions.commands(CommandQuery(subject="a", states=("failed", "stale"), since=1.0)),
    "commands of a resource": questions.commands(CommandQuery(resource="a", error_class="retryable")),
    "plans": questions.plans(CommandQuery(operation="a")),
    "plans of a state": questions.plans(CommandQuery(states=("failed",), until=1.0)),
    "plans of a subject": questions.plans(CommandQuery(subject="a", account="a")),
    "events": [questions.events(EventQuery(type="a"))],
    "events of an id": [questions.events(EventQuery(id="a", source="a"))],
    "events of a subject": [questions.events(EventQuery(subject="a", since=1.0))],
    "dead letters": [questions.dead_letters(LetterQuery(state="open"))],
    "acts": [questions.acts(ActQuery(actor="a"))],
}


@pytest.mark.parametrize("name", WALKS)
def test_walks_go_along_their_indexes_and_sort_nothing(connection: sqlite3.Connection, name: str) -> None:
    (walk,) = WALKS[name]
    by = "NOT INDEXED" if walk.index is None else f"INDEXED BY {walk.index}"

    page = query_plan(connection, in_sqlite(walk.page(walk.after, None, 1, by=by).statement))
    ahead = query_plan(connection, in_sqlite(walk.ahead(walk.after, 1, by=by).statement))

    assert not [step for step in (*page, *ahead) if "TEMP B-TREE" in step], (page, ahead)
    assert page[0].startswith(f"SEARCH {walk.table} USING"), page
    assert ahead[0].startswith(f"SEARCH {walk.table} USING {'INTEGER' if walk.index is None else 'COVERING'}"), ahead
    assert not [step for step in page if step.startswith("SCAN") and "json_each" not in step], page


@pytest.mark.parametrize(
    ("statement", "indexes"),
    [
        (desk.SELECT_ANSWERS, ("sqlite_autoindex_answers_1",)),
        (desk.SELECT_REPLAYS, ("sqlite_autoindex_replays_1",)),
        (desk.SELECT_HOLDS, ("sqlite_autoindex_holds_1",)),
        (desk.SELECT_LETTERS, ("sqlite_autoindex_dead_letters_1",)),
        (desk.SELECT_CONTENTS, ("events_",)),
        (desk.CLOSE_LETTER, ("sqlite_autoindex_dead_letters_1",)),
        (in_sqlite(questions.HOLDS_STANDING), ("holds_standing",)),
        (in_sqlite(questions.HOLDS_RELEASED), ("holds_released",)),
        (in_sqlite(questions.TOLD), ("sqlite_autoindex_outbox_1",)),
        (in_sqlite(questions.LETTER_BYTES), ("sqlite_autoindex_outbox_1",)),
        (in_sqlite(questions.REPLAYS), ("replays_by_age",)),
        (in_sqlite(questions.REPLAYS_UNFINISHED), ("replays_unfinished",)),
        (in_sqlite(questions.ITEMS), ("PRIMARY KEY",)),
        (in_sqlite(questions.ITEMS_PENDING), ("replay_items_pending",)),
        (in_sqlite(questions.BEGUN), ("PRIMARY KEY",)),
        (forgetting.HAS_OPEN_PLAN, ("plans_open",)),
        (forgetting.EVENTS, ("events_of_subject",)),
        (forgetting.COMMANDS, ("commands_of_subject",)),
        (forgetting.BINDINGS, ("sqlite_autoindex_bindings_1",)),
        (forgetting.MESSAGES, ("outbox_of_letters",)),
    ],
)
def test_what_operators_do_and_ask_uses_its_indexes(
    connection: sqlite3.Connection, statement: str, indexes: tuple[str, ...]
) -> None:
    steps = query_plan(connection, statement)

    assert any(index in step for index in indexes for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") and not re.match(WHOLE, step)], steps


WHOLE = r"SCAN (json_each|CONSTANT ROW|next|replays USING INDEX|holds USING INDEX|\(|[0-9])"


def query_plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of EXPLAIN QUERY PLAN, with every value absent."""
    named = dict.fromkeys(re.findall(r":(\w+)", statement))
    numbers = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values = named or (None,) * max(numbers, default=statement.count("?"))
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


async def test_finished_work_costs_claims_and_intake_nothing(path: Path) -> None:
    ledger = await SqliteLedger.open(path)
    session = await ledger.open_session("me", NOW)
    room = ClaimRoom(quota_group=GROUP, operation=CREATE, lane=Lane.LIVE, room=20)
    new = make_command(make_plan(FINISHED + 50))
    keys = Keys(subjects=frozenset({new.subject}), resources=frozenset({new.resource}))

    def look(known: Known) -> Changes:
        assert len(known.commands) == 1
        return Changes()

    started = time.perf_counter()
    taken = [len(await ledger.claim(session, NOW, (room,))) for _ in range(6)]
    for _ in range(20):
        await ledger.transact(keys, look)
    took = time.perf_counter() - started
    await ledger.close()
    await asyncio.sleep(0)

    assert taken == [20, 20, 20, 20, 20, 0]
    assert took < 1.0  # about 0.02 s; reading every finished row once a call would take more than this


async def test_the_stopped_work_of_an_account_costs_claims_nothing(tmp_path: Path) -> None:
    ledger = await SqliteLedger.open(tmp_path / "ledger.db")
    session = await ledger.open_session("me", NOW)
    plans = [make_plan(number) for number in range(5_000)]
    stopped = tuple(make_command(plan) for plan in plans)
    hold = make_hold(account=stopped[0].account, probe=stopped[-1].id)
    await ledger.transact(Keys(), lambda _: Changes(plans=tuple(plans), commands=stopped, holds=(hold,)))
    room = ClaimRoom(quota_group=GROUP, operation=CREATE, lane=Lane.LIVE, room=200)

    started = time.perf_counter()
    taken = [[claim.command.id for claim in await ledger.claim(session, NOW, (room,))] for _ in range(100)]
    took = time.perf_counter() - started
    await ledger.close()

    assert taken == [[hold.probe]] + [[]] * 99
    assert took < 0.5  # about 0.03 s; reading a page of stopped work for every claim would take more than this
