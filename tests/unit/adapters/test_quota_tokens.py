"""A fleet's quota: however the processes come and go, stall and die, no window holds more than it may."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from service.adapters.quota_tokens import TokenQuota
from service.application.ports import HeldBackError
from service.domain.command import Lane
from service.domain.quota import window
from service.domain.quota_tokens import LEASE_SECONDS
from tests.builders import CREATE
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.tokens import FakeTokenBook, SharedTokens
from tests.unit.adapters.test_quota_slots import ONE, Crew, most_in_a_window, utilisation


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
        self.books: list[FakeTokenBook] = []
        self.quotas: list[TokenQuota] = []
        self.crews: list[Crew] = []

    def join(self, workers: int = 40) -> Crew:
        self.books.append(self.shared.join())
        quota = TokenQuota(book=self.books[-1], clock=self.clock, telemetry=self.telemetry)
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
    assert utilisation(sends, 20.0) >= 0.98


@pytest.mark.parametrize("seed", range(3))
async def test_busy_loops_break_no_window_and_waste_little(fleet: Fleet, clock: VirtualClock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same every time
    clock.lateness = lambda: chance.random() * 0.02
    for _ in range(3):
        fleet.join()
    await clock.advance(60.0)

    assert most_in_a_window(fleet.sends) <= 20
    assert utilisation(fleet.sends, 20.0) >= 0.95


@pytest.mark.parametrize("seed", range(3))
async def test_processes_that_come_die_and_leave_break_no_window(fleet: Fleet, clock: VirtualClock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for _ in range(12):
        crew = fleet.join(chance.randint(1, 40))
        await clock.advance(chance.random() * 4)
        if chance.random() < 0.6:
            await crew.stop()  # its tokens are returned, or their time runs out
        if chance.random() < 0.3:
            await clock.finish(fleet.quotas[-1].close())

    assert most_in_a_window(fleet.sends) <= 20


async def test_without_the_ledger_tokens_run_out_and_nothing_is_sent(fleet: Fleet, clock: VirtualClock) -> None:
    fleet.join()
    await clock.advance(5.0)
    fleet.books[0].away = True
    before = len(fleet.sends)
    await clock.advance(LEASE_SECONDS + 0.1)
    run_out = len(fleet.sends)
    await clock.advance(5.0)
    assert run_out - before <= 41
    assert len(fleet.sends) == run_out

    fleet.books[0].away = False
    fleet.crews[0].start(40)
    await clock.advance(5.0)
    assert len(fleet.sends) > run_out + 40
    assert most_in_a_window(fleet.sends) <= 20


async def test_nobody_starves_beside_somebody_with_more_work(fleet: Fleet, clock: VirtualClock) -> None:
    many, few = fleet.join(200), fleet.join(40)
    await clock.advance(30.0)

    assert len(few.sends) / len(many.sends) == pytest.approx(1.0, abs=0.1)


async def test_what_one_does_not_use_the_other_gets(fleet: Fleet, clock: VirtualClock) -> None:
    idle, busy = fleet.join(), fleet.join()
    await clock.advance(10.0)
    await idle.stop()
    await clock.advance(5.0)
    before = len(busy.sends)
    await clock.advance(20.0)

    assert (len(busy.sends) - before) / 20 >= 19


async def test_tokens_that_lay_idle_make_no_burst(fleet: Fleet, clock: VirtualClock) -> None:
    crew = fleet.join()
    await clock.advance(3.0)
    await crew.stop()
    await clock.advance(10.0)
    begun = clock.monotonic()
    crew.start(40)
    await clock.advance(2.0)

    late = [at for at in crew.sends if at > begun]
    assert min(after - before for before, after in pairwise(late)) >= 0.04 - 1e-6


async def test_a_pace_that_begins_waits_for_no_token_to_be_free_again(fleet: Fleet, clock: VirtualClock) -> None:
    quota = TokenQuota(book=fleet.shared.join(), clock=clock, telemetry=fleet.telemetry)
    waits: list[float] = []

    async def send() -> None:
        asked = clock.monotonic()
        slot = await quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)
        assert await quota.ready(slot)
        quota.sent(slot)
        waits.append(clock.monotonic() - asked)

    await clock.finish(send())
    await clock.advance(10.0)  # nothing is held any more
    for _ in range(8):
        await clock.finish(send())
        await clock.advance(0.1)

    assert max(waits[1:]) <= 0.2
    await clock.finish(quota.close())


async def test_throttling_slows_and_the_pace_comes_back(fleet: Fleet, clock: VirtualClock) -> None:
    crew = fleet.join()
    await clock.advance(5.0)
    fleet.quotas[0].throttled(ONE, CREATE)
    begun = clock.monotonic()
    await clock.advance(3.0)
    slow = sum(at > begun + 0.5 for at in crew.sends) / 2.5
    await clock.advance(60.0)
    recovered = sum(at > clock.monotonic() - 5 for at in crew.sends) / 5

    assert slow <= 13
    assert recovered >= 19


async def test_a_slowed_pace_asks_for_tokens_no_more_often(fleet: Fleet, clock: VirtualClock) -> None:
    fleet.join(workers=1)
    await clock.advance(5.0)
    for _ in range(4):
        fleet.quotas[0].throttled(ONE, CREATE)
        await clock.advance(1.1)
    asked = fleet.books[0].asked
    await clock.advance(3.0)

    assert fleet.books[0].asked - asked <= 3 * 4


async def test_a_quota_that_is_changed_is_gone_by_within_two_seconds(fleet: Fleet, clock: VirtualClock) -> None:
    for _ in range(2):
        fleet.join()
    await clock.advance(5.0)
    fleet.shared.rates[ONE.group(), CREATE] = 5.0
    await clock.advance(LEASE_SECONDS)
    changed = clock.monotonic()
    await clock.advance(20.0)

    since = [at for at in fleet.sends if at > changed]
    assert most_in_a_window(since) <= 5
    assert len(since) / 20 >= 4.5
    assert most_in_a_window(fleet.sends) <= 20


@pytest.mark.parametrize(("first", "then"), [(5.0, 20.0), (20.0, 0.5), (0.5, 5.0), (0.4, 0.8)])
async def test_no_change_of_a_quota_makes_a_burst(fleet: Fleet, clock: VirtualClock, first: float, then: float) -> None:
    fleet.shared.rates[ONE.group(), CREATE] = first
    for _ in range(2):
        fleet.join()
    await clock.advance(20.0)
    fleet.shared.rates[ONE.group(), CREATE] = then
    await clock.advance(20.0)
    changed = clock.monotonic()
    await clock.advance(40.0)

    (most, span), (_, other) = window(max(first, then)), window(min(first, then))
    assert most_in_a_window(fleet.sends, min(span, other)) <= most
    most, span = window(then)
    since = [at for at in fleet.sends if at > changed]
    assert most_in_a_window(since, span) <= most
    assert len(since) * span / most / 40 >= 0.9


async def test_request_whose_token_is_over_is_held_back(fleet: Fleet, clock: VirtualClock) -> None:
    quota = TokenQuota(book=fleet.shared.join(), clock=clock, telemetry=fleet.telemetry)
    slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
    assert await clock.finish(quota.ready(slot))
    await clock.advance(60.0)  # the connection took its time

    with pytest.raises(HeldBackError):
        quota.sent(slot)
    await clock.finish(quota.close())


async def test_an_idle_process_returns_what_it_holds(fleet: Fleet, clock: VirtualClock) -> None:
    crew = fleet.join()
    await clock.advance(3.0)
    await crew.stop()
    await clock.advance(6.0)

    (counter,) = fleet.shared.counters.values()
    assert {token.owner for token in counter.tokens} == {None}
