"""Every ledger of one process alone: slots lie apart. Of a fleet's, whose clock is the server's, tells `test_fleet`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.application.ports import SlotBook
from service.domain.desk import QuotaRate
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW
from tests.conformance.ledger.bench import APPLY, Bench, FakeBench, SqliteBench, put_desk
from tests.fakes.ledger import FakeLedger


@pytest.fixture(params=["fake", "sqlite"])
async def own_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    path = tmp_path / "ledger.db"
    made: Bench = FakeBench() if request.param == "fake" else SqliteBench(path, await SqliteLedger.open(path))
    yield made
    await made.close()


def book(bench: Bench) -> SlotBook:
    assert isinstance(bench.ledger, FakeLedger | SqliteLedger)
    return bench.ledger


async def begin(ledger: SlotBook, operation: str = CREATE, *, count: int = 1) -> float:
    granted = await ledger.reserve_slots(GROUP, operation, count=count, spacing=1.0, not_before=NOW)
    return granted.first


async def test_slots_lie_apart_and_are_remembered_across_a_restart(own_bench: Bench) -> None:
    async def reserve(ledger: SlotBook, count: int, not_before: float = NOW) -> float:
        granted = await ledger.reserve_slots(GROUP, CREATE, count=count, spacing=0.5, not_before=not_before)
        return granted.first

    assert await reserve(book(own_bench), 3) == NOW
    assert await reserve(book(own_bench), 1) == NOW + 1.5
    await own_bench.reopen()
    ledger = book(own_bench)
    assert await reserve(ledger, 2) == NOW + 2.0
    assert await reserve(ledger, 1, NOW + 60) == NOW + 60
    assert await begin(ledger, APPLY) == NOW


async def test_slots_start_cold_when_the_wall_clock_was_set_back(own_bench: Bench) -> None:
    await book(own_bench).reserve_slots(GROUP, CREATE, count=1, spacing=1.0, not_before=NOW + 3600)

    first = await begin(book(own_bench), count=2)

    assert first == NOW + 1.0
    assert await begin(book(own_bench)) == NOW + 3.0


async def test_slots_reserved_ahead_are_not_taken_for_a_step_of_the_clock(own_bench: Bench) -> None:
    await book(own_bench).reserve_slots(GROUP, CREATE, count=6, spacing=1.0, not_before=NOW)

    assert await begin(book(own_bench)) == NOW + 6


async def test_slots_come_with_the_rate_in_force(own_bench: Bench) -> None:
    ledger = own_bench.ledger
    rate = QuotaRate(quota_group=GROUP, operation=CREATE, rate=2.5, changed_at=NOW, actor="ann", reason="asked to")

    async def in_force(operation: str = CREATE) -> float | None:
        granted = await book(own_bench).reserve_slots(GROUP, operation, count=1, spacing=1.0, not_before=NOW)
        return granted.rate

    before = await in_force()
    await put_desk(ledger, rates=[rate])
    changed = [await in_force(), await in_force(APPLY)]
    await own_bench.reopen()
    kept = await in_force()
    await put_desk(own_bench.ledger, rates=[replace(rate, rate=None, changed_at=NOW + 1)])

    assert (before, changed, kept, await in_force()) == (None, [2.5, None], 2.5, None)
