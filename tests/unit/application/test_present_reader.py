"""Reading the present: one call for many who ask at the same time, paid by the most urgent of them."""

from __future__ import annotations

import asyncio

import pytest

from service.application.ports import Claim, UnavailableError
from service.application.present_reader import BatchingPresentReader
from service.domain.command import Lane
from service.domain.outcome import ErrorClass, Failure, Look, Seen
from tests.builders import NOW, make_command, make_plan
from tests.fakes.clock import VirtualClock
from tests.fakes.quota import FakeQuota
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import LIST, LOST, NUMBERS, THROTTLED, FakeRead, FakeVendor
from tests.unit.application.bench import ACCOUNT

AWAY = UnavailableError("ledger", "disk full")


@pytest.fixture
def quota(clock: VirtualClock) -> FakeQuota:
    return FakeQuota(clock)


@pytest.fixture
def vendor(clock: VirtualClock) -> FakeVendor:
    return FakeVendor(clock=clock, seconds=0.1)


@pytest.fixture
def reader(
    clock: VirtualClock, quota: FakeQuota, vendor: FakeVendor, telemetry: RecordingTelemetry
) -> BatchingPresentReader:
    accounts, clients = {"acme_cn": ACCOUNT, "acme_sg": ACCOUNT}, {"acme_cn": vendor, "acme_sg": vendor}
    return BatchingPresentReader(quota=quota, accounts=accounts, clients=clients, clock=clock, telemetry=telemetry)


def a_claim(number: int = 1, *, lane: Lane = Lane.LIVE, age: float = 0.0, account: str = "acme_cn") -> Claim:
    plan = make_plan(number, account=account)
    return Claim(command=make_command(plan, lane=lane, created_at=NOW - age), plan=plan, binding=None)


def ask(reader: BatchingPresentReader, read: FakeRead, *claims: Claim) -> list[asyncio.Task[Look]]:
    return [asyncio.ensure_future(reader.look(claim, read)) for claim in claims]


async def test_who_asks_at_the_same_time_shares_one_call(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor, quota: FakeQuota
) -> None:
    read = FakeRead(present={"1003": {"name": "Three"}})
    looks = await clock.finish(asyncio.gather(*ask(reader, read, *[a_claim(n) for n in range(1, 8)])))
    assert len(vendor.journal) == len(quota.journal) == 1
    assert looks == [Seen({"name": "Three"}) if n == 3 else Seen(None) for n in range(1, 8)]


async def test_call_serves_no_more_than_the_batch(reader: BatchingPresentReader, clock: VirtualClock) -> None:
    read = FakeRead(batch=20)
    await clock.finish(asyncio.gather(*ask(reader, read, *[a_claim(n) for n in range(1, 46)])))
    assert read.looks == [20, 20, 5]


async def test_who_comes_while_a_slot_is_awaited_joins(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    read = FakeRead()
    quota.open.clear()
    early = ask(reader, read, a_claim(1))
    await clock.advance(1.0)
    late = ask(reader, read, a_claim(2))
    await clock.settle()
    quota.open.set()
    await clock.finish(asyncio.gather(*early, *late))
    assert read.looks == [2]


async def test_who_comes_while_a_call_is_out_waits_for_the_next(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor
) -> None:
    read = FakeRead()
    vendor.answering.clear()
    early = ask(reader, read, a_claim(1))
    await clock.advance(1.0)
    late = ask(reader, read, a_claim(2))
    await clock.advance(1.0)
    assert len(vendor.journal) == 2
    vendor.answering.set()
    await clock.finish(asyncio.gather(*early, *late))
    assert read.looks == [1, 1]


async def test_accounts_and_reads_are_kept_apart(reader: BatchingPresentReader, clock: VirtualClock) -> None:
    extensions, numbers = FakeRead(), FakeRead(operation=NUMBERS)
    tasks = ask(reader, extensions, a_claim(1), a_claim(2, account="acme_sg")) + ask(reader, numbers, a_claim(3))
    await clock.finish(asyncio.gather(*tasks))
    assert (extensions.looks, numbers.looks) == ([1, 1], [1])


async def test_each_page_pays_a_slot(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor, quota: FakeQuota
) -> None:
    await clock.finish(asyncio.gather(*ask(reader, FakeRead(pages=4), a_claim(1), a_claim(2))))
    assert len(vendor.journal) == len(quota.journal) == 4
    assert {reserved.operation for reserved in quota.journal} == {LIST}


async def test_slot_that_passed_is_given_up_for_another_and_counted(
    reader: BatchingPresentReader,
    clock: VirtualClock,
    vendor: FakeVendor,
    quota: FakeQuota,
    telemetry: RecordingTelemetry,
) -> None:
    quota.late = 2
    await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim())))
    assert (len(vendor.journal), len(quota.journal)) == (1, 3)
    assert telemetry.counted("slots_given_up_total", operation=LIST) == 2


async def test_lane_is_the_most_urgent_members_and_age_the_oldests(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    members = (a_claim(1, lane=Lane.SWEEP, age=50.0), a_claim(2, lane=Lane.SETTLE), a_claim(3, lane=Lane.REPLAY))
    await clock.finish(asyncio.gather(*ask(reader, FakeRead(), *members)))
    (reserved,) = quota.journal
    assert (reserved.lane, reserved.since) == (Lane.SETTLE, NOW - 50.0)


async def test_more_urgent_member_that_joins_takes_the_read_into_its_lane(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    read = FakeRead()
    quota.open.clear()
    slow = ask(reader, read, a_claim(1, lane=Lane.SWEEP))
    await clock.advance(1.0)
    urgent = ask(reader, read, a_claim(2, lane=Lane.LIVE), a_claim(3, lane=Lane.REPLAY))
    await clock.settle()
    assert [reserved.lane for reserved in quota.journal] == [Lane.SWEEP, Lane.LIVE]
    quota.open.set()
    await clock.finish(asyncio.gather(*slow, *urgent))
    assert read.looks == [3]


async def test_most_urgent_go_first_when_not_all_fit(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    read = FakeRead(batch=2)
    slow = ask(reader, read, *[a_claim(n, lane=Lane.SWEEP) for n in range(1, 6)])
    urgent = ask(reader, read, a_claim(9, lane=Lane.LIVE))
    await clock.finish(asyncio.gather(*slow, *urgent))
    assert read.asked == [["1009", "1001"], ["1002", "1003"], ["1004", "1005"]]
    assert [reserved.lane for reserved in quota.journal] == [Lane.LIVE, Lane.SWEEP, Lane.SWEEP]


async def test_failing_read_answers_everybody(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor
) -> None:
    vendor.script(LIST, LOST)
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1), a_claim(2)))) == [LOST, LOST]


async def test_read_that_is_throttled_slows_its_quota_and_other_trouble_does_not(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor, quota: FakeQuota
) -> None:
    vendor.script(LIST, LOST, THROTTLED)
    for _ in range(2):
        await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1))))
    assert quota.throttles == [("acme_cn", LIST)]


async def test_read_that_cannot_be_prepared_answers_everybody_and_takes_no_slot(
    reader: BatchingPresentReader, clock: VirtualClock, vendor: FakeVendor, quota: FakeQuota
) -> None:
    vendor.unprepared = LOST
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1), a_claim(2)))) == [LOST, LOST]
    assert quota.journal == []


async def test_bug_in_a_read_answers_everybody_and_the_next_read_works(
    reader: BatchingPresentReader, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    broken = FakeRead(bug=KeyError("x"))
    for look in await clock.finish(asyncio.gather(*ask(reader, broken, a_claim(1), a_claim(2)))):
        assert isinstance(look, Failure)
        assert (look.error_class, look.code) == (ErrorClass.RETRYABLE, "bug:KeyError")
    assert telemetry.events("error") == ["a read failed unexpectedly"]
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1)))) == [Seen(None)]


async def test_read_that_answers_too_few_leaves_nobody_waiting(
    reader: BatchingPresentReader, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FakeRead()

    async def too_few(*_: object) -> list[Look]:
        return [Seen(None)]

    monkeypatch.setattr(read, "look", too_few)
    looks = await clock.finish(asyncio.gather(*ask(reader, read, a_claim(1), a_claim(2))))
    assert isinstance(looks[1], Failure)


async def test_bug_in_getting_a_slot_answers_everybody_and_the_next_read_works(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    quota.trouble = [KeyError("x")]
    looks = await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1), a_claim(2))))
    assert [type(look) for look in looks] == [Failure, Failure]
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1)))) == [Seen(None)]


@pytest.mark.parametrize("page", [1, 2])
async def test_ledger_away_is_told_to_everybody_and_the_next_read_works(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota, vendor: FakeVendor, page: int
) -> None:
    if page == 1:
        quota.trouble = [AWAY]
    else:
        vendor.on_arrival = lambda call: quota.trouble.append(AWAY)
    tasks = ask(reader, FakeRead(pages=page), a_claim(1), a_claim(2))
    answers = await clock.finish(asyncio.gather(*tasks, return_exceptions=True))
    assert answers == [AWAY, AWAY]
    vendor.on_arrival = lambda call: None
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1)))) == [Seen(None)]


async def test_who_has_left_is_not_read_for(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota
) -> None:
    read = FakeRead()
    quota.open.clear()
    tasks = ask(reader, read, a_claim(1), a_claim(2), a_claim(3))
    await clock.settle()
    tasks[0].cancel()
    quota.open.set()
    await clock.finish(asyncio.gather(*tasks[1:]))
    assert read.looks == [2]


async def test_nobody_left_means_no_call(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota, vendor: FakeVendor
) -> None:
    quota.open.clear()
    (task,) = ask(reader, FakeRead(), a_claim(1))
    await clock.settle()
    task.cancel()
    await clock.settle()
    quota.open.set()
    await clock.settle()
    assert vendor.journal == []
    assert await clock.finish(asyncio.gather(*ask(reader, FakeRead(), a_claim(1)))) == [Seen(None)]


@pytest.mark.parametrize("where", ["slot", "call"])
async def test_close_cancels_who_waits(
    reader: BatchingPresentReader, clock: VirtualClock, quota: FakeQuota, vendor: FakeVendor, where: str
) -> None:
    (quota.open if where == "slot" else vendor.answering).clear()
    tasks = ask(reader, FakeRead(), a_claim(1), a_claim(2))
    await clock.advance(1.0)
    await reader.close()
    await clock.settle()
    assert all(task.cancelled() for task in tasks)
    assert asyncio.all_tasks() == {asyncio.current_task()}
