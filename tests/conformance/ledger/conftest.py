"""Which ledgers the suite runs against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.ledger_sqlite import SqliteLedger
from service.application.ports import Ledger
from service.domain.command import Session
from tests.builders import NOW
from tests.conformance.ledger.bench import (
    Bench,
    FakeBench,
    SqliteBench,
)


@pytest.fixture(params=["fake", "sqlite"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made: Bench
    if request.param == "fake":
        made = FakeBench()
    else:
        made = SqliteBench(tmp_path / "ledger.db", await SqliteLedger.open(tmp_path / "ledger.db"))
    yield made
    await made.close()


@pytest.fixture
def ledger(bench: Bench) -> Ledger:
    return bench.ledger


@pytest.fixture
async def session(ledger: Ledger) -> Session:
    return await ledger.open_session("me", NOW)
