"""The SQLite ledger's own promises: one owner, group commit, durability, trouble with the file."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.ledger_sqlite import claims
from service.adapters.ledger_sqlite.file import FileLock, LedgerLockedError
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.application.ports import Claim, UnavailableError
from service.domain.ledger_state import Act, Changes, Keys, Known
from tests.builders import NOW, make_event, make_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    opened = await SqliteLedger.open(path)
    yield opened
    await opened.close()


def taking(number: int) -> Changes:
    return Changes(events=(make_event(number),))


ABOUT_EVENTS = Keys(events=frozenset({("/hr", "any")}))


async def take(ledger: SqliteLedger, number: int) -> None:
    await ledger.transact(ABOUT_EVENTS, lambda _: taking(number))


async def arrivals(ledger: SqliteLedger) -> int:
    seen: list[int] = []

    def look(known: Known) -> Changes:
        seen.append(known.next_arrival - 1)
        return Changes()

    await ledger.transact(ABOUT_EVENTS, look)
    return seen[0]


class Gate:
    """Holds the ledger's thread inside a job, so that a test decides what waits behind it."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._open, self._inside = threading.Event(), threading.Event()
        self._job = asyncio.create_task(ledger.transact(Keys(), self._decide))

    def _decide(self, _: Known) -> Changes:
        self._inside.set()
        assert self._open.wait(10)
        return Changes()

    async def entered(self) -> None:
        assert await asyncio.to_thread(self._inside.wait, 10)

    async def let_go(self) -> None:
        self._open.set()
        await self._job


# ---------------------------------------------------------------------- one owner, private files


async def test_a_second_opener_is_refused_and_told_whom_to_ask(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(LedgerLockedError, match=f"process {os.getpid()}.*one process"):
        await SqliteLedger.open(path)

    await take(ledger, 1)  # the first is none the worse


async def test_the_lock_ends_with_the_ledger(path: Path) -> None:
    first = await SqliteLedger.open(path)
    await first.close()
    await first.close()

    await (await SqliteLedger.open(path)).close()


async def test_an_opening_that_fails_lets_go_of_the_lock(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"this is not a database, whatever its name says" * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        await SqliteLedger.open(path)

    FileLock(path).release()


async def test_a_ledger_in_a_missing_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No such file"):
        await SqliteLedger.open(tmp_path / "missing" / "ledger.db")


async def test_every_file_is_its_owners_alone(path: Path) -> None:
    await asyncio.to_thread(path.touch, mode=0o644)
    before = os.umask(0)
    try:
        ledger = await SqliteLedger.open(path)
        await take(ledger, 1)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await ledger.close()
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(["ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"], 0o600)


async def test_writes_are_flushed_to_disk_and_references_checked(ledger: SqliteLedger) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys")
    values = await ledger._thread.run(lambda c: [c.execute(f"PRAGMA {name}").fetchone()[0] for name in names])

    assert values == ["wal", 2, 1]


# ---------------------------------------------------------------------- group commit


async def test_claims_alone_are_not_flushed_and_what_comes_after_them_is(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await ledger.open_session("me", NOW)
    levels: list[int] = []

    def level(connection: sqlite3.Connection, *_: object) -> list[Claim]:
        levels.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        return []

    monkeypatch.setattr(claims, "claim", level)
    await ledger.claim(session, NOW, [])
    await ledger._thread.run(level)
    await ledger.claim(session, NOW, [])
    gate = Gate(ledger)
    await gate.entered()
    together = [asyncio.create_task(ledger.claim(session, NOW, [])), asyncio.create_task(take(ledger, 1))]
    await asyncio.sleep(0)
    await gate.let_go()
    await asyncio.gather(*together)

    assert levels == [1, 2, 1, 2], "NORMAL, FULL, NORMAL, and FULL for a claim beside what lasts"


async def test_one_commit_serves_all_that_waits(ledger: SqliteLedger) -> None:
    statements: list[str] = []
    ledger._thread._connection.set_trace_callback(statements.append)
    gate = Gate(ledger)
    await gate.entered()
    waiting = [asyncio.create_task(take(ledger, number)) for number in range(1, 101)]
    await asyncio.sleep(0)

    await gate.let_go()
    await asyncio.gather(*waiting)

    assert statements.count("COMMIT") == 2  # the gate's own, and one for the hundred
    assert await arrivals(ledger) == 100


async def test_a_failing_job_is_undone_alone(ledger: SqliteLedger) -> None:
    def fail(_: Known) -> Changes:
        raise LookupError("mine alone")

    gate = Gate(ledger)
    await gate.entered()
    good = [asyncio.create_task(take(ledger, number)) for number in (1, 2)]
    await asyncio.sleep(0)
    bad = asyncio.create_task(ledger.transact(Keys(), fail))
    refused = asyncio.create_task(ledger.transact(Keys(), lambda _: Changes(events=(make_event(9, arrival=1),))))
    stop = asyncio.create_task(ledger.transact(Keys(), lambda _: next(iter(()))))
    last = asyncio.create_task(take(ledger, 3))
    await asyncio.sleep(0)
    await gate.let_go()

    results = await asyncio.gather(*good, bad, refused, stop, last, return_exceptions=True)

    assert [type(result) for result in results[2:5]] == [LookupError, ValueError, RuntimeError]
    assert results[:2] + results[5:] == [None] * 3
    assert await arrivals(ledger) == 3


async def test_a_commit_that_fails_fails_all_of_its_jobs_and_the_next_one_works(ledger: SqliteLedger) -> None:
    connection = ledger._thread._connection
    await take(ledger, 1)
    gate = Gate(ledger)
    await gate.entered()
    waiting = [asyncio.create_task(take(ledger, number)) for number in (2, 3)]
    # a reference that is broken until the end makes the COMMIT itself fail
    breaking = asyncio.create_task(
        ledger._thread.run(
            lambda c: [
                c.execute("PRAGMA defer_foreign_keys = ON"),
                c.execute("INSERT INTO history VALUES (1, 'none', 0, 0, NULL, 'pending', 'x', 'x')"),
            ]
        )
    )
    await asyncio.sleep(0)
    await gate.let_go()

    results = await asyncio.gather(*waiting, breaking, return_exceptions=True)

    assert [type(result) for result in results] == [UnavailableError] * 3
    assert not connection.in_transaction
    assert await arrivals(ledger) == 1
    await take(ledger, 4)


async def test_a_full_disk_is_unavailable_until_there_is_room_again(ledger: SqliteLedger) -> None:
    async def limit(pages: int) -> int:
        return await ledger._thread.run(lambda c: int(c.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0]))

    big = Act(at=NOW, actor="a", kind="k", object="o", reason="x" * 200_000)
    await limit(await ledger._thread.run(lambda c: int(c.execute("PRAGMA page_count").fetchone()[0])))
    gate = Gate(ledger)
    await gate.entered()
    neighbour = asyncio.create_task(take(ledger, 1))
    await asyncio.sleep(0)
    full = asyncio.create_task(ledger.transact(Keys(), lambda _: Changes(acts=(big,))))
    await asyncio.sleep(0)
    await gate.let_go()

    with pytest.raises(UnavailableError, match="ledger: database or disk is full") as caught:
        await full
    with pytest.raises(UnavailableError):  # SQLite undid the whole transaction: it was not acknowledged
        await neighbour

    assert caught.value.part == "ledger"
    await limit(100_000)
    await take(ledger, 1)
    assert await arrivals(ledger) == 1


async def test_a_read_only_ledger_is_unavailable(ledger: SqliteLedger) -> None:
    await ledger._thread.run(lambda c: c.execute("PRAGMA query_only = ON").close())

    with pytest.raises(UnavailableError, match="readonly"):
        await take(ledger, 1)


async def test_a_mistake_in_sql_is_not_taken_for_trouble_with_the_file(ledger: SqliteLedger) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await ledger._thread.run(lambda c: c.execute("SELECT * FROM missing").fetchall())


async def test_a_cancelled_caller_neither_undoes_nor_wedges_its_job(ledger: SqliteLedger) -> None:
    gate = Gate(ledger)
    await gate.entered()
    abandoned = asyncio.create_task(take(ledger, 1))
    await asyncio.sleep(0)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    await gate.let_go()

    assert await arrivals(ledger) == 1


async def test_a_wakeup_is_told_even_if_the_writer_was_cancelled(ledger: SqliteLedger) -> None:
    woken = ledger.subscribe("commands")
    gate = Gate(ledger)
    await gate.entered()
    abandoned = asyncio.create_task(ledger.open_session("me", NOW))
    await asyncio.sleep(0)
    abandoned.cancel()
    await gate.let_go()

    await asyncio.wait_for(woken(), 0.5)


async def test_closing_finishes_what_waits_and_folds_the_log_into_the_file(path: Path) -> None:
    ledger = await SqliteLedger.open(path)
    gate = Gate(ledger)
    await gate.entered()
    waiting = [asyncio.create_task(take(ledger, number)) for number in range(1, 301)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(ledger.close())
    await asyncio.sleep(0)
    await gate.let_go()
    await asyncio.gather(*waiting, closing)

    assert not path.with_name("ledger.db-wal").exists()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (300,)
    connection.close()
    with pytest.raises(UnavailableError, match="closed"):
        await take(ledger, 999)


# ---------------------------------------------------------------------- durability

ROOT = Path(__file__).parents[3]
WRITER = """
import asyncio, sys
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.domain.ledger_state import Changes, Keys
from tests.builders import make_event

async def main():
    ledger = await SqliteLedger.open(sys.argv[1])
    async def write(number):
        await ledger.transact(Keys(), lambda _: Changes(events=(make_event(number),)))
        print(number, flush=True)
    for start in range(1, 1_000_000, 20):
        await asyncio.gather(*(write(number) for number in range(start, start + 20)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert writer.stdout is not None
    acknowledged = [int(await writer.stdout.readline()) for _ in range(200)]
    with pytest.raises(LedgerLockedError, match=f"process {writer.pid}"):
        await SqliteLedger.open(path)
    writer.kill()
    rest = (await writer.stdout.read()).decode()
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    assert await writer.wait() == -signal.SIGKILL

    ledger = await SqliteLedger.open(path)
    kept = await ledger._thread.run(lambda c: {row[0] for row in c.execute("SELECT id FROM events")})
    sound = await ledger._thread.run(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0])
    await ledger.close()

    assert {f"event-{number}" for number in acknowledged} <= kept
    assert sound == "ok"


# ---------------------------------------------------------------------- schema


async def test_acts_can_be_neither_changed_nor_deleted(ledger: SqliteLedger) -> None:
    act = Act(at=NOW, actor="ann", kind="replay", object="plan-1", reason="fixed")
    await ledger.transact(Keys(), lambda _: Changes(acts=(act,)))

    with pytest.raises(ValueError, match="append-only"):
        await ledger._thread.run(lambda c: c.execute("UPDATE acts SET actor = 'bob'").rowcount)
    with pytest.raises(ValueError, match="append-only"):
        await ledger._thread.run(lambda c: c.execute("DELETE FROM acts").rowcount)


async def test_an_erased_event_is_still_known(ledger: SqliteLedger) -> None:
    plan = make_plan(1)
    await ledger.transact(Keys(), lambda _: Changes(events=(make_event(1),), plans=(plan,)))
    await ledger._thread.run(lambda c: c.execute("DELETE FROM events").rowcount)
    seen: list[Known] = []

    def look(known: Known) -> Changes:
        seen.append(known)
        return Changes()

    await ledger.transact(Keys(events=frozenset({("urn:hr", "event-1")})), look)
    statement = "SELECT digest, arrival, order_source, order_at FROM event_digests"
    kept = await ledger._thread.run(lambda c: c.execute(statement).fetchall())

    assert seen[0].digests == {("urn:hr", "event-1"): "digest-1"}
    assert seen[0].next_arrival == 2
    assert kept == [("digest-1", 1, plan.order.source, plan.order.at)]
