"""Which ledgers the suite runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.domain.command import Session
from tests.builders import NOW
from tests.conformance.ledger.bench import (
    Bench,
    DeskLedger,
    FakeBench,
    PostgresBench,
    SqliteBench,
)


@pytest.fixture(params=["fake", "sqlite", "postgres"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A ledger of each kind, as a process has it for itself."""
    made: Bench
    if request.param == "fake":
        made = FakeBench()
    elif request.param == "postgres":
        made = await PostgresBench.open(request.getfixturevalue("postgres_url"))
    else:
        made = SqliteBench(tmp_path / "ledger.db", await SqliteLedger.open(tmp_path / "ledger.db"))
    yield made
    await made.close()


@pytest.fixture
def ledger(bench: Bench) -> DeskLedger:
    return bench.ledger


@pytest.fixture
async def session(ledger: DeskLedger) -> Session:
    return await ledger.open_session("me", NOW)
