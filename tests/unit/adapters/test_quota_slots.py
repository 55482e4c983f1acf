"""The quota: absolute slots, evenly apart, shared by lanes and accounts, never too many in a window."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import pairwise

import pytest

from service.adapters.quota_dealing import DealtQuota
from service.adapters.quota_slots import SlotQuota
from service.application.ports import Slot, UnavailableError
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.desk import DeskChanges, QuotaRate
from service.domain.ledger_state import Changes, Keys
from service.domain.quota import MARGIN, spacing, window
from tests.builders import CREATE
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry

ONE = Account(name="one", vendor="tencent_ccc", quota_group="shared")
TWO = Account(name="two", vendor="tencent_ccc", quota_group="shared")
SPACING = spacing(20, MARGIN)


@pytest.fixture
async def clock() -> AsyncIterator[VirtualClock]:
    with VirtualClock().driving(asyncio.get_running_loop()) as clock:
        yield clock


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
def quota(ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry) -> SlotQuota:
    return SlotQuota(ledger=ledger, clock=clock, telemetry=telemetry)


class Crew:
    """Workers who each take a slot, send at its moment, and take the next: work always waits."""

    def __init__(self, quota: DealtQuota, clock: VirtualClock, account: Account = ONE) -> None:
        self._quota, self._clock, self._account = quota, clock, account
        self.sends: list[float] = []
        self.slots: list[Slot] = []
        self.given_up = 0
        self.lanes: Counter[Lane] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, workers: int, lane: Lane = Lane.LIVE, operation: str = CREATE) -> None:
        self._tasks += [asyncio.ensure_future(self._work(lane, operation)) for _ in range(workers)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, lane: Lane, operation: str) -> None:
        while True:
            slot = await self._quota.reserve(self._account, operation, lane, since=self._clock.now())
            self.slots.append(slot)
            if await self._quota.ready(slot):
                self.sends.append(self._clock.monotonic())
                self.lanes[lane] += 1
            else:
                self.given_up += 1


def most_in_a_window(times: Iterable[float], seconds: float = 1.0) -> int:
    """The most of the times that lie within any half-open span."""
    ordered = sorted(times)
    return max(
        sum(start <= t < start + seconds - 1e-9 for t in ordered[i : i + 200]) for i, start in enumerate(ordered)
    )


def utilisation(times: Sequence[float], rate: float) -> float:
    return (len(times) - 1) / (rate * (times[-1] - times[0]))


async def test_slots_lie_evenly_apart_at_absolute_times(quota: SlotQuota, clock: VirtualClock) -> None:
    asked = [asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)) for _ in range(30)]
    slots = await clock.finish(asyncio.gather(*asked))
    assert all(after.at - before.at == pytest.approx(SPACING, abs=1e-6) for before, after in pairwise(slots))
    assert all(slot.at - slot.due == pytest.approx(clock.now() - clock.monotonic()) for slot in slots)


async def test_slot_comes_no_earlier_than_its_lead_time(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    early: list[float] = []
    for _ in range(30):
        slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
        early.append(slot.due - clock.monotonic())
    assert max(early) <= 0.2 + 1e-6
    await crew.stop()


async def test_request_is_sent_at_its_slot_not_before(quota: SlotQuota, clock: VirtualClock) -> None:
    for _ in range(10):
        slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
        assert await clock.finish(quota.ready(slot))
        assert clock.monotonic() == pytest.approx(slot.due, abs=1e-6)


async def test_waiting_work_uses_at_least_97_percent(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(60.0)
    assert utilisation(crew.sends, 20.0) >= 0.97
    assert crew.given_up == 0
    assert most_in_a_window(crew.sends) <= 20
    await crew.stop()


@pytest.mark.parametrize("seed", range(5))
async def test_busy_loop_neither_breaks_the_quota_nor_wastes_it(
    quota: SlotQuota, clock: VirtualClock, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same every time
    clock.lateness = lambda: chance.random() * 0.02
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(60.0)
    assert most_in_a_window(crew.sends) <= 20
    assert utilisation(crew.sends, 20.0) >= 0.97
    await crew.stop()


@pytest.mark.parametrize("seed", range(3))
async def test_stalls_of_the_loop_do_not_break_the_quota(quota: SlotQuota, clock: VirtualClock, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same every time
    clock.lateness = lambda: chance.choice([0.0, 0.001, 0.02, 0.3]) if chance.random() < 0.2 else 0.0
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(60.0)
    assert most_in_a_window(crew.sends) <= 20
    await crew.stop()


@pytest.mark.parametrize("seed", range(5))
async def test_restart_does_not_break_the_quota(clock: VirtualClock, ledger: FakeLedger, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same every time
    clock.lateness = lambda: chance.random() * 0.02
    sends: list[float] = []
    for _ in range(12):
        quota = SlotQuota(ledger=ledger, clock=clock, telemetry=RecordingTelemetry())
        crew = Crew(quota, clock)
        crew.start(40)
        await clock.advance(chance.random() * 3)
        await crew.stop()
        await quota.close()
        ledger = ledger.reopen()
        sends += crew.sends
    assert most_in_a_window(sends) <= 20


async def test_idle_quota_is_not_saved_up_for_a_burst(quota: SlotQuota, clock: VirtualClock) -> None:
    sends = []
    for _ in range(3):
        crew = Crew(quota, clock)
        crew.start(40)
        await clock.advance(1.3)
        await crew.stop()
        sends += crew.sends
        await clock.advance(10.0)
    assert most_in_a_window(sends) <= 20
    assert most_in_a_window(sends, SPACING - 1e-5) == 1


async def test_no_slot_is_dealt_twice(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    for pause in (0.01, 0.06, 0.2, 1.0, 0.05):
        crew.start(7)
        await clock.advance(pause)
        await crew.stop()
        await clock.advance(pause)
    crew.start(3)
    await clock.advance(2.0)
    await crew.stop()
    times = [slot.at for slot in crew.slots]
    assert len(times) == len(set(times))
    assert min(after - before for before, after in pairwise(sorted(times))) >= SPACING - 1e-6


async def test_lanes_get_their_shares_under_load(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    for lane in Lane:
        crew.start(20, lane)
    await clock.advance(60.0)
    total = sum(crew.lanes.values())
    shares = {lane: round(100 * crew.lanes[lane] / total) for lane in Lane}
    assert shares == {Lane.LIVE: 80, Lane.SETTLE: 10, Lane.REPLAY: 5, Lane.SWEEP: 5}
    await crew.stop()


async def test_unused_share_is_lent_to_who_waits(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(20, Lane.SWEEP)
    await clock.advance(30.0)
    assert utilisation(crew.sends, 20.0) >= 0.97
    await crew.stop()


async def test_lane_that_was_idle_has_saved_nothing(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(20, Lane.SWEEP)
    await clock.advance(30.0)
    before = crew.lanes[Lane.SWEEP]
    crew.start(20, Lane.REPLAY)
    await clock.advance(10.0)
    assert abs((crew.lanes[Lane.SWEEP] - before) - crew.lanes[Lane.REPLAY]) <= 6  # the lead time's slots were dealt
    await crew.stop()


async def test_older_work_goes_first_within_a_lane(quota: SlotQuota, clock: VirtualClock) -> None:
    served: list[float] = []

    async def ask(since: float) -> None:
        await quota.reserve(ONE, CREATE, Lane.LIVE, since=since)
        served.append(since)

    tasks = [asyncio.ensure_future(ask(since)) for since in (5.0, 3.0, 9.0, 1.0, 7.0)]
    await clock.finish(asyncio.gather(*tasks))
    assert served == [1.0, 3.0, 5.0, 7.0, 9.0]


async def test_accounts_of_a_group_take_turns(quota: SlotQuota, clock: VirtualClock) -> None:
    served: list[str] = []

    async def ask(account: Account, since: float) -> None:
        await quota.reserve(account, CREATE, Lane.LIVE, since=since)
        served.append(account.name)

    old = [asyncio.ensure_future(ask(ONE, 0.0)) for _ in range(12)]
    young = [asyncio.ensure_future(ask(TWO, 9.0)) for _ in range(4)]
    await clock.finish(asyncio.gather(*old, *young))
    assert served[:8] == ["one", "two"] * 4


async def test_accounts_of_a_group_share_one_quota(quota: SlotQuota, clock: VirtualClock) -> None:
    crews = [Crew(quota, clock, account) for account in (ONE, TWO)]
    for crew in crews:
        crew.start(20)
    await clock.advance(20.0)
    assert most_in_a_window([*crews[0].sends, *crews[1].sends]) <= 20
    assert abs(len(crews[0].sends) - len(crews[1].sends)) <= 1
    for crew in crews:
        await crew.stop()


async def test_operations_have_quotas_of_their_own(quota: SlotQuota, clock: VirtualClock) -> None:
    crews = {name: Crew(quota, clock) for name in (CREATE, "tencent_ccc.ModifyExtension")}
    for name, crew in crews.items():
        crew.start(20, operation=name)
    await clock.advance(10.0)
    assert all(utilisation(crew.sends, 20.0) >= 0.97 for crew in crews.values())
    for crew in crews.values():
        await crew.stop()


@pytest.mark.parametrize(("rate", "most", "seconds"), [(0.5, 1, 2.0), (1.0, 1, 1.0), (2.5, 2, 1.0), (5.0, 5, 1.0)])
async def test_any_rate_is_kept_and_used(
    ledger: FakeLedger, clock: VirtualClock, rate: float, most: int, seconds: float
) -> None:
    account = Account(name="one", vendor="tencent_ccc", quotas={"default": rate})
    crew = Crew(SlotQuota(ledger=ledger, clock=clock, telemetry=RecordingTelemetry()), clock, account)
    crew.start(10)
    await clock.advance(120.0)
    assert most_in_a_window(crew.sends, seconds) <= most
    assert utilisation(crew.sends, most / seconds) >= 0.97
    assert crew.given_up == 0
    await crew.stop()


async def test_slot_whose_moment_has_passed_is_given_up(quota: SlotQuota, clock: VirtualClock) -> None:
    slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
    await clock.advance(0.3)
    assert not await clock.finish(quota.ready(slot))


async def test_slots_that_passed_while_nobody_asked_are_dropped(quota: SlotQuota, clock: VirtualClock) -> None:
    asked = [asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)) for _ in range(10)]
    await clock.settle()
    for task in asked:
        task.cancel()
    await clock.advance(5.0)
    slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
    assert slot.at >= clock.now() - 1e-6


async def test_slot_of_a_waiter_that_left_goes_to_the_next(quota: SlotQuota, clock: VirtualClock) -> None:
    leaving = [asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)) for _ in range(20)]
    staying = asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=9.0))
    await clock.advance(0.01)
    for task in leaving:
        task.cancel()
    begun = clock.monotonic()
    await clock.finish(staying)
    assert clock.monotonic() - begun <= SPACING * 2


async def test_ledger_away_is_told_to_waiters_and_later_ones_are_served(clock: VirtualClock) -> None:
    away = True

    async def step(moment: str) -> None:
        await asyncio.sleep(0)
        if away and moment == "before reserve_slots":
            raise UnavailableError("ledger", "disk full")

    quota = SlotQuota(ledger=FakeLedger(step=step), clock=clock, telemetry=RecordingTelemetry())
    asked = [asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)) for _ in range(5)]
    answers = await clock.finish(asyncio.gather(*asked, return_exceptions=True))
    assert all(isinstance(answer, UnavailableError) for answer in answers)
    away = False
    slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
    assert await clock.finish(quota.ready(slot))


async def test_close_cancels_who_waits(quota: SlotQuota, clock: VirtualClock) -> None:
    asked = [asyncio.ensure_future(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0)) for _ in range(50)]
    await clock.advance(0.5)
    await quota.close()
    await clock.settle()
    assert all(task.done() for task in asked)
    assert sum(task.cancelled() for task in asked) > 30
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("step", [3.0, -3.0, 0.04, -3600.0, 3600.0])
async def test_wall_clock_that_is_set_breaks_no_window(quota: SlotQuota, clock: VirtualClock, step: float) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(3.0)
    clock.step_wall(step)
    await clock.advance(10.0)
    assert most_in_a_window(crew.sends) <= 20
    recovered = [at for at in crew.sends if at > clock.monotonic() - 5.0]
    assert utilisation(recovered, 20.0) >= 0.97
    await crew.stop()


async def test_restart_keeps_a_slow_quota_too(ledger: FakeLedger, clock: VirtualClock) -> None:
    account = Account(name="one", vendor="tencent_ccc", quotas={"default": 0.5})
    first = Crew(SlotQuota(ledger=ledger, clock=clock, telemetry=RecordingTelemetry()), clock, account)
    first.start(10)
    await clock.advance(4.1)
    await first.stop()
    second = Crew(SlotQuota(ledger=ledger.reopen(), clock=clock, telemetry=RecordingTelemetry()), clock, account)
    second.start(1)
    await clock.advance(60.0)
    await second.stop()
    assert most_in_a_window([*first.sends, *second.sends], 2.0) == 1
    assert second.sends[0] - first.sends[-1] <= 5.0


def sent_between(crew: Crew, begin: float, end: float) -> int:
    return sum(begin <= at < end for at in crew.sends)


def rate_of(telemetry: RecordingTelemetry, account: Account) -> float:
    return telemetry.levels["quota_rate", (("account", account.name), ("operation", CREATE))]


async def test_throttling_slows_the_quota_at_once_and_it_recovers_slowly(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(10.0)
    begun = clock.monotonic()
    quota.throttled(ONE, CREATE)
    assert rate_of(telemetry, ONE) == 10.0
    await clock.advance(40.0)
    assert sent_between(crew, begun, begun + 2.0) <= 24  # the lead time's slots were dealt already
    assert sent_between(crew, begun + 10.0, begun + 11.0) <= 14
    assert sent_between(crew, begun + 35.0, begun + 40.0) >= 97
    assert most_in_a_window(crew.sends) <= 20
    assert rate_of(telemetry, ONE) == 20.0
    assert crew.given_up == 0
    await crew.stop()


async def test_slots_taken_beforehand_follow_the_slower_pace(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(10.0)
    begun = clock.monotonic()
    for _ in range(5):
        quota.throttled(ONE, CREATE)
        await clock.advance(1.0)
    slowed = [slot.due for slot in crew.slots if slot.due > begun + 0.2 + SPACING]
    assert min(after - before for before, after in pairwise(slowed)) >= SPACING * 1.9
    await crew.stop()


async def test_throttled_while_slots_are_being_taken_follows_the_slower_pace(clock: VirtualClock) -> None:
    quota: SlotQuota
    reserved = 0

    async def step(moment: str) -> None:
        nonlocal reserved
        await asyncio.sleep(0)
        if moment == "after reserve_slots":
            reserved += 1
            if reserved == 3:
                quota.throttled(ONE, CREATE)

    quota = SlotQuota(ledger=FakeLedger(step=step), clock=clock, telemetry=RecordingTelemetry())
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.until(lambda: reserved >= 3)
    begun = clock.monotonic()
    await clock.advance(5.0)
    after = [slot.due for slot in crew.slots if slot.due > begun + 0.2 + SPACING]
    assert min(later - earlier for earlier, later in pairwise(after)) >= SPACING * 1.7
    await crew.stop()


async def test_ceaseless_throttling_still_tries_and_the_quota_comes_back(quota: SlotQuota, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    for _ in range(30):
        await clock.advance(1.0)
        quota.throttled(ONE, CREATE)
    slow = clock.monotonic()
    await clock.advance(5.0)
    assert 2 <= sent_between(crew, slow, slow + 5.0) <= 12
    await clock.advance(60.0)
    assert utilisation([at for at in crew.sends if at > clock.monotonic() - 5.0], 20.0) >= 0.97
    await crew.stop()


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
async def test_slow_quota_that_was_throttled_comes_back_too(
    ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry, rate: float
) -> None:
    account = Account(name="one", vendor="tencent_ccc", quotas={"default": rate})
    quota = SlotQuota(ledger=ledger, clock=clock, telemetry=telemetry)
    crew = Crew(quota, clock, account)
    crew.start(10)
    for _ in range(5):
        await clock.advance(2.0)
        quota.throttled(account, CREATE)
    await clock.advance(1_000.0)
    late = [at for at in crew.sends if at > clock.monotonic() - 500.0]
    assert utilisation(late, rate) >= 0.97
    assert most_in_a_window(crew.sends, 1.0 / rate) == 1
    await crew.stop()


async def change(ledger: FakeLedger, rate: float | None) -> None:
    """A person changes the quota of all these tests' accounts."""
    changed = QuotaRate(
        quota_group=ONE.group(), operation=CREATE, rate=rate, changed_at=0.0, actor="ann", reason="asked to"
    )
    await ledger.transact(Keys(), lambda _: Changes(desk=(DeskChanges(rates=(changed,)),)))


RATES = [(20.0, 5.0), (5.0, 20.0), (20.0, 0.5), (0.5, 20.0), (20.0, 19.0), (2.5, 7.5), (0.4, 0.8), (3.0, 0.1)]


@pytest.mark.parametrize(("old", "new"), RATES)
async def test_changed_quota_is_gone_by_at_once_and_without_a_burst(
    ledger: FakeLedger, clock: VirtualClock, old: float, new: float
) -> None:
    account = Account(name="one", vendor="tencent_ccc", quota_group="shared", quotas={"default": old})
    crew = Crew(SlotQuota(ledger=ledger, clock=clock, telemetry=RecordingTelemetry()), clock, account)
    crew.start(40)
    await clock.advance(30.0)
    await change(ledger, new)
    changed = clock.monotonic()
    await clock.advance(120.0)
    await crew.stop()

    (fewer, of_fewer), (more, of_more) = sorted((window(old), window(new)), key=lambda one: one[0] / one[1])
    assert most_in_a_window(crew.sends, min(of_fewer, of_more)) <= more
    begun = changed + (of_fewer + of_more if new < old else 0.0) + 0.5
    most, seconds = window(new)
    assert most_in_a_window([at for at in crew.sends if at >= begun], seconds) <= most
    settled = [at for at in crew.sends if at >= changed + 2 * of_fewer + 5.0]
    assert utilisation(settled, most / seconds) >= 0.97
    assert fewer <= more


@pytest.mark.parametrize("seed", range(5))
async def test_quota_changed_again_and_again_under_a_busy_loop_is_kept(
    quota: SlotQuota, ledger: FakeLedger, clock: VirtualClock, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a seed makes it the same every time
    clock.lateness = lambda: chance.random() * 0.02
    crew = Crew(quota, clock)
    crew.start(40)
    for _ in range(20):
        await change(ledger, chance.choice([None, 0.5, 2.0, 5.0, 12.0]))
        await clock.advance(chance.random() * 4)
    await crew.stop()
    assert most_in_a_window(crew.sends) <= 20


async def test_quota_lowered_pauses_no_longer_than_its_window_needs(
    quota: SlotQuota, ledger: FakeLedger, clock: VirtualClock
) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(10.0)
    await change(ledger, 5.0)
    await clock.advance(10.0)
    await crew.stop()
    assert max(after - before for before, after in pairwise(sorted(crew.sends))) <= 1.5
    assert crew.given_up <= 5  # those that were dealt ahead


async def test_quota_changed_back_is_as_configured(quota: SlotQuota, ledger: FakeLedger, clock: VirtualClock) -> None:
    await change(ledger, 2.0)
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(10.0)
    assert utilisation(crew.sends, 2.0) >= 0.97
    assert most_in_a_window(crew.sends) <= 2
    await change(ledger, None)
    await clock.advance(2.0)
    begun = clock.monotonic()
    await clock.advance(10.0)
    assert utilisation([at for at in crew.sends if at >= begun], 20.0) >= 0.97
    await crew.stop()


async def test_changed_quota_is_shown(
    quota: SlotQuota, ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    crew = Crew(quota, clock)
    crew.start(3)
    await clock.advance(2.0)
    await change(ledger, 5.0)
    await clock.advance(3.0)
    await crew.stop()
    assert rate_of(telemetry, ONE) == 5.0


async def test_changed_quota_holds_after_a_restart(quota: SlotQuota, ledger: FakeLedger, clock: VirtualClock) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(5.0)
    await crew.stop()
    await change(ledger, 5.0)
    again = Crew(SlotQuota(ledger=ledger.reopen(), clock=clock, telemetry=RecordingTelemetry()), clock)
    again.start(40)
    await clock.advance(10.0)
    await again.stop()
    assert most_in_a_window(again.sends) <= 5
    assert most_in_a_window([*crew.sends, *again.sends]) <= 20


async def test_throttling_slows_its_own_operation_only(quota: SlotQuota, clock: VirtualClock) -> None:
    other = Crew(quota, clock)
    other.start(20, operation="tencent_ccc.ModifyExtension")
    quota.throttled(ONE, CREATE)
    await clock.advance(10.0)
    assert utilisation(other.sends, 20.0) >= 0.97
    await other.stop()


async def test_accounts_of_a_group_are_slowed_together(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    quota.throttled(ONE, CREATE)
    crew = Crew(quota, clock, TWO)
    crew.start(40)
    await clock.advance(5.0)
    assert len(crew.sends) <= 5 * 12
    assert telemetry.counted("throttled_total", operation=CREATE) == 1
    await crew.stop()


async def test_throttled_at_our_own_full_rate_blames_nobody(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    crew = Crew(quota, clock)
    crew.start(40)
    await clock.advance(10.0)
    quota.throttled(ONE, CREATE)
    assert telemetry.counted("throttled_total") == 1
    assert telemetry.counted("foreign_spending_total") == 0
    assert "somebody else spends this quota" not in telemetry.events()
    await crew.stop()


async def test_throttled_below_our_own_rate_says_that_somebody_else_spends_the_quota(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    for _ in range(5):
        slot = await clock.finish(quota.reserve(ONE, CREATE, Lane.LIVE, since=0.0))
        assert await clock.finish(quota.ready(slot))
        await clock.advance(1.0)
        quota.throttled(ONE, CREATE)
    assert telemetry.counted("foreign_spending_total", operation=CREATE) == 5
    assert telemetry.events("warning").count("somebody else spends this quota") == 1
    await clock.advance(61.0)
    quota.throttled(ONE, CREATE)
    assert telemetry.events("warning").count("somebody else spends this quota") == 2


async def test_rate_is_shown_of_each_account_that_shares_a_quota_and_of_no_other(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    elsewhere = Account(name="three", vendor="tencent_ccc", quota_group="its_own")
    for account in (ONE, TWO, elsewhere):
        await clock.finish(quota.reserve(account, CREATE, Lane.LIVE, since=0.0))
    quota.throttled(ONE, CREATE)
    assert rate_of(telemetry, ONE) == rate_of(telemetry, TWO) == pytest.approx(10.0, abs=0.1)
    assert rate_of(telemetry, elsewhere) == pytest.approx(20.0)


class SharedVendor:
    """A vendor that takes 20 requests of an account in any second, of which somebody else sends some, evenly."""

    def __init__(self, quota: SlotQuota, clock: VirtualClock) -> None:
        self._quota, self._clock = quota, clock
        self.foreign = 0.0  # requests per second
        self.accepted: list[float] = []
        self.throttled: list[float] = []

    async def work(self) -> None:
        while True:
            slot = await self._quota.reserve(ONE, CREATE, Lane.LIVE, since=self._clock.now())
            if await self._quota.ready(slot):
                now = self._clock.monotonic()
                refused = sum(at > now - 1.0 for at in self.accepted) + self.foreign >= 20
                (self.throttled if refused else self.accepted).append(now)
                await self._clock.sleep(0.1)
                if refused:
                    self._quota.throttled(ONE, CREATE)


async def test_two_spenders_of_one_quota_find_a_pace_and_the_quota_comes_back_when_one_ends(
    quota: SlotQuota, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    vendor = SharedVendor(quota, clock)
    workers = [asyncio.ensure_future(vendor.work()) for _ in range(40)]
    await clock.advance(10.0)
    assert vendor.throttled == []
    vendor.foreign = 10.0
    await clock.advance(10.0)
    begun = clock.monotonic()
    await clock.advance(60.0)
    accepted = sum(at >= begun for at in vendor.accepted)
    assert accepted >= 0.6 * 10 * 60
    assert sum(at >= begun for at in vendor.throttled) <= 0.03 * accepted
    assert telemetry.counted("foreign_spending_total") >= 1
    vendor.foreign = 0.0
    await clock.advance(60.0)
    ended = clock.monotonic()
    await clock.advance(10.0)
    assert utilisation([at for at in vendor.accepted if at >= ended], 20.0) >= 0.97
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@pytest.mark.parametrize(("connecting", "stopped"), [(0.15, 0.0), (0.0, 0.04)])
async def test_request_written_late_counts_when_it_was_written(
    clock: VirtualClock, telemetry: RecordingTelemetry, connecting: float, stopped: float
) -> None:
    """The one a quota later must not come on time after one that is late, for its connection had to be made first.

    Or because the system stopped the process when the request was as good as written.
    """
    quota = SlotQuota(ledger=FakeLedger(), clock=clock, telemetry=telemetry)
    written: list[float] = []

    async def send(*, late: bool) -> None:
        slot = await quota.reserve(Account(name="acme", vendor="tencent_ccc"), CREATE, Lane.LIVE, since=0.0)
        assert await quota.ready(slot)
        if late:
            await clock.sleep(connecting)
        quota.sent(slot)
        if late:
            clock.stall(stopped)
        written.append(clock.monotonic())

    loop = asyncio.ensure_future(asyncio.gather(*[send(late=n == 0) for n in range(45)]))
    await clock.finish(loop, within=10.0)
    await quota.close()
    times = sorted(written)
    assert all(later - first >= 1.0 for first, later in zip(times, times[20:], strict=False))
