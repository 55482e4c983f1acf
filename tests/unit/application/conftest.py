"""What every step's tests stand on: virtual time, telemetry that remembers, the ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.domain.command import Session
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import FrontDesk
from tests.unit.application.bench import Bench
from tests.unit.application.house import House, World


@pytest.fixture
async def clock() -> AsyncIterator[VirtualClock]:
    with VirtualClock().driving(asyncio.get_running_loop()) as clock:
        yield clock


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
async def session(ledger: FakeLedger, clock: VirtualClock) -> Session:
    return await ledger.open_session("me", clock.now())


@pytest.fixture
def bench(clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger, session: Session) -> Bench:
    return Bench(clock, telemetry, ledger, session)


@pytest.fixture
def front(clock: VirtualClock, telemetry: RecordingTelemetry) -> FrontDesk:
    return FrontDesk(clock, telemetry)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def house(clock: VirtualClock, telemetry: RecordingTelemetry, world: World) -> AsyncIterator[House]:
    house = House(clock, telemetry, world)
    await house.open()
    yield house
    await house.close()
