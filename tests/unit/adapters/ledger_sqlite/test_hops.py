"""Whatever operators ask, the one connection is held for a moment only, beside 50,000 commands that have finished."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from service.adapters.ledger_sql import desk_rows
from service.adapters.ledger_sqlite import file, state
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.adapters.ledger_sqlite.thread import LedgerThread
from service.application.inquiry import ActQuery, EventQuery, LetterQuery
from service.application.ports import CommandQuery
from service.domain.command import CommandState, PlanState
from service.domain.ledger_state import Changes
from tests.builders import NOW, make_command, make_event, make_plan
from tests.conformance.ledger.bench import make_act, make_failure, make_item, make_letter

FINISHED: Final = 50_000
STEPS: Final = 100  # of SQLite's machine, between two looks at how many it made: some 7 to 25 for a row looked at
MOST_STEPS: Final = 60_000  # of one hop; one that looked at all there is would make more than 300,000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with 50,000 finished plans, of which each hundredth has failed, all about one agent and one resource."""
    made = tmp_path_factory.mktemp("hops") / "ledger.db"
    file.migrate(made)
    connection = file.connect(made)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for start in range(0, FINISHED, 1000):
        _fill(connection, range(start, start + 1000))
    connection.execute(
        "INSERT INTO outbox (id, topic, headers, order_by, created_at, published_at) "
        "SELECT 'm-' || number, 'provisioning.results', '[]', 'x', 0, 1 FROM replay_items"
    )
    connection.execute("COMMIT")
    connection.close()
    return made


def _fill(connection: sqlite3.Connection, numbers: range) -> None:
    plans, commands = [], []
    for number in numbers:
        about: dict[str, Any] = {"ended_at": NOW + number, "subject": "agent:realm/1"}
        about |= {"failure": make_failure()} if number % 100 == 0 else {}
        plans.append(make_plan(number, state=PlanState.FAILED if "failure" in about else PlanState.COMPLETED, **about))
        ended = CommandState.FAILED if "failure" in about else CommandState.SUCCEEDED
        commands.append(make_command(plans[-1], state=ended, resource="extension:acme_cn/1", **about))
    seen = Changes(
        plans=tuple(plans),
        commands=tuple(commands),
        events=tuple(make_event(n, arrival=n + 1, subject="agent:realm/1", received_at=NOW + n) for n in numbers),
        dead_letters=tuple(make_letter(n) for n in numbers),
        acts=tuple(make_act(n) for n in numbers),
    )
    state.write(connection, seen)
    connection.executemany(desk_insert(), (desk_rows.item_row(make_item(n + 1)) for n in numbers))


def desk_insert() -> str:
    """Items of one replay."""
    return f"INSERT INTO replay_items ({desk_rows.ITEM}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608


class Counted:
    """Counts the steps that SQLite makes in each hop of a ledger's thread."""

    def __init__(self) -> None:
        self.hops: list[int] = []

    def __call__(self, run: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(thread: LedgerThread, work: Callable[[sqlite3.Connection], Any], *rest: Any) -> Any:
            return await run(thread, lambda connection: self._count(connection, work), *rest)

        return counted

    def _count(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> Any:
        self.hops.append(0)

        def step() -> None:
            self.hops[-1] += STEPS

        connection.set_progress_handler(step, STEPS)
        try:
            return work(connection)
        finally:
            connection.set_progress_handler(None, 0)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counter = Counted()
    monkeypatch.setattr(LedgerThread, "run", counter(LedgerThread.run))
    return counter


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = await SqliteLedger.open(path)
    yield opened
    await opened.close()


QUESTIONS: Final[dict[str, tuple[Callable[[SqliteLedger], Awaitable[Sequence[Any]]], int]]] = {
    "commands": (lambda ledger: ledger.commands(CommandQuery(limit=1000)), 1000),
    "commands of no account": (lambda ledger: ledger.commands(CommandQuery(account="none")), 0),
    "commands of a code": (lambda ledger: ledger.commands(CommandQuery(code="Internal*", limit=600)), 500),
    "commands of a subject": (
        lambda ledger: ledger.commands(CommandQuery(subject="agent:realm/1", operation="none")),
        0,
    ),
    "commands of a resource": (
        lambda ledger: ledger.commands(CommandQuery(resource="extension:acme_cn/1", states=("failed",), limit=600)),
        500,
    ),
    "commands of states": (
        lambda ledger: ledger.commands(CommandQuery(states=tuple(CommandState), since=NOW + FINISHED - 2)),
        2,
    ),
    "commands of no time": (lambda ledger: ledger.commands(CommandQuery(until=NOW)), 0),
    "plans": (lambda ledger: ledger.plans(CommandQuery(limit=1000)), 1000),
    "plans of an operation": (lambda ledger: ledger.plans(CommandQuery(operation="none")), 0),
    "plans of a code": (lambda ledger: ledger.plans(CommandQuery(states=("failed",), code="none")), 0),
    "plans of a subject": (lambda ledger: ledger.plans(CommandQuery(subject="agent:realm/1", account="none")), 0),
    "events": (lambda ledger: ledger.events(EventQuery(limit=1000)), 1000),
    "events of no type": (lambda ledger: ledger.events(EventQuery(type="none")), 0),
    "events of a subject": (lambda ledger: ledger.events(EventQuery(subject="agent:realm/1", until=NOW + 3)), 3),
    "dead letters": (lambda ledger: ledger.dead_letters(LetterQuery(reason="none")), 0),
    "acts": (lambda ledger: ledger.acts(ActQuery(object="hold-1")), 1),
    "tallies": (lambda ledger: ledger.tallies(), 4),
    "items": (lambda ledger: ledger.replay_items("replay-1", pending=True), 1000),
}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_no_hop_of_a_question_is_long(ledger: SqliteLedger, counted: Counted, question: str) -> None:
    ask, number = QUESTIONS[question]

    assert len(await ask(ledger)) == number

    assert counted.hops
    assert max(counted.hops) <= MOST_STEPS, max(counted.hops)


async def test_no_hop_of_other_answers_is_long(ledger: SqliteLedger, counted: Counted) -> None:
    assert await ledger.begun("replay-1") == 0
    assert len(await ledger.told([f"m-{number}" for number in range(1, 3001)])) == 3000
    assert await ledger.letter_bytes("m-1") is None
    assert await ledger.oldest() == {}
    assert (await ledger.replays(unfinished=True), await ledger.holds(standing=True)) == ([], [])

    assert max(counted.hops) <= MOST_STEPS, max(counted.hops)


async def test_a_short_answer_is_one_hop(ledger: SqliteLedger, counted: Counted) -> None:
    await ledger.commands(CommandQuery(limit=50))
    await ledger.commands(CommandQuery(plan_id="plan-000007", operation="none"))
    await ledger.plans(CommandQuery(plan_id="plan-000007"))
    await ledger.events(EventQuery(id="event-7"))

    assert len(counted.hops) == 4
    assert max(counted.hops) <= MOST_STEPS // 10
