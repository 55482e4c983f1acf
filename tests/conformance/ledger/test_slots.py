"""Every ledger of one process alone: slots lie apart. Of a fleet's, whose clock is the server's, tells `test_fleet`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.application.ports import SlotBook
from tests.builders import CREATE, GROUP, NOW
from tests.conformance.ledger.bench import APPLY, Bench, FakeBench, SqliteBench
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


async def test_slots_lie_apart_and_are_remembered_across_a_restart(own_bench: Bench) -> None:
    async def reserve(ledger: SlotBook, count: int, not_before: float = NOW) -> float:
        return await ledger.reserve_slots(GROUP, CREATE, count=count, spacing=0.5, not_before=not_before)

    assert await reserve(book(own_bench), 3) == NOW
    assert await reserve(book(own_bench), 1) == NOW + 1.5
    await own_bench.reopen()
    ledger = book(own_bench)
    assert await reserve(ledger, 2) == NOW + 2.0
    assert await reserve(ledger, 1, NOW + 60) == NOW + 60
    assert await ledger.reserve_slots(GROUP, APPLY, count=1, spacing=1.0, not_before=NOW) == NOW


async def test_slots_start_cold_when_the_wall_clock_was_set_back(own_bench: Bench) -> None:
    await book(own_bench).reserve_slots(GROUP, CREATE, count=1, spacing=1.0, not_before=NOW + 3600)

    first = await book(own_bench).reserve_slots(GROUP, CREATE, count=2, spacing=1.0, not_before=NOW)

    assert first == NOW + 1.0
    assert await book(own_bench).reserve_slots(GROUP, CREATE, count=1, spacing=1.0, not_before=NOW) == NOW + 3.0


async def test_slots_reserved_ahead_are_not_taken_for_a_step_of_the_clock(own_bench: Bench) -> None:
    await book(own_bench).reserve_slots(GROUP, CREATE, count=6, spacing=1.0, not_before=NOW)

    assert await book(own_bench).reserve_slots(GROUP, CREATE, count=1, spacing=1.0, not_before=NOW) == NOW + 6
