"""A fleet's quota: however the processes come and go, stall and die, no window holds more than it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.adapters.quota_tokens import TokenQuota
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.tokens import SharedTokens
from tests.unit.adapters.test_quota_slots import Crew, most_in_a_window


@pytest.fixture
async def clock() -> AsyncIterator[VirtualClock]:
    with VirtualClock().driving(asyncio.get_running_loop()) as clock:
        yield clock


class Fleet:
    """Processes that share one quota, each with a crew that always has work."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.shared = SharedTokens(clock)
        self.telemetry = RecordingTelemetry()
        self.quotas: list[TokenQuota] = []
        self.crews: list[Crew] = []

    def join(self, workers: int = 40) -> Crew:
        quota = TokenQuota(book=self.shared.join(), clock=self.clock, telemetry=self.telemetry)
        crew = Crew(quota, self.clock)
        crew.start(workers)
        self.quotas.append(quota)
        self.crews.append(crew)
        return crew

    @property
    def sends(self) -> list[float]:
        return sorted(at for crew in self.crews for at in crew.sends)


@pytest.fixture
async def fleet(clock: VirtualClock) -> AsyncIterator[Fleet]:
    fleet = Fleet(clock)
    yield fleet
    for crew in fleet.crews:
        await crew.stop()
    await clock.finish(asyncio.gather(*(quota.close() for quota in fleet.quotas)))


@pytest.mark.parametrize("replicas", [1, 2, 4])
async def test_waiting_work_uses_98_percent_and_no_window_holds_more(
    fleet: Fleet, clock: VirtualClock, replicas: int
) -> None:
    for _ in range(replicas):
        fleet.join()
    await clock.advance(60.0)

    sends = fleet.sends
    assert most_in_a_window(sends) <= 20
    used = (len(sends) - 1) / (20 * (sends[-1] - sends[0]))
    assert used >= 0.98
