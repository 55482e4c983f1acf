"""The watchdog: feels the loops' pulse, looks at the source, and says once what no longer moves."""

from __future__ import annotations

import asyncio

import pytest

from service.application.rounds import Stopping, keep_going
from service.application.watchdog import Watchdog
from service.domain.liveness import LivenessPolicy, PartitionStanding, SourceStanding
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry


class Partitions:
    """A source whose loop asks all the time, and gets nothing while `standing_still`."""

    def __init__(self) -> None:
        self.asked = 0
        self.standing_still = False
        self.trouble: Exception | None = None

    async def standing(self) -> SourceStanding | None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        position = 5 if self.standing_still else self.asked
        return SourceStanding(
            asked=self.asked, partitions={"hr.events/0": PartitionStanding(position=position, end=1_000_000)}
        )


@pytest.fixture
def watchdog(clock: VirtualClock, telemetry: RecordingTelemetry) -> Watchdog:
    return Watchdog(clock=clock, telemetry=telemetry, policy=LivenessPolicy(loop_seconds=60.0, stalled_seconds=120.0))


@pytest.fixture
def stopping() -> Stopping:
    return Stopping()


def alive(telemetry: RecordingTelemetry) -> float:
    return telemetry.levels["watchdog_alive", ()]


async def test_partition_that_stands_still_is_told_once_and_so_is_that_it_moves_again(
    clock: VirtualClock, telemetry: RecordingTelemetry, watchdog: Watchdog
) -> None:
    source = Partitions()
    watching = asyncio.ensure_future(watchdog.run(source))
    await clock.advance(300.0)
    assert (watchdog.standstills(), alive(telemetry)) == ((), 1)

    source.standing_still = True
    await clock.advance(300.0)
    assert watchdog.standstills()[0].startswith("partition hr.events/0 has records that are not fetched")
    assert alive(telemetry) == 0
    (line,) = telemetry.lines
    assert (line.level, line.fields["what"], line.fields["name"]) == ("error", "partition", "hr.events/0")
    assert line.fields["what_to_do"]

    source.standing_still = False
    await clock.advance(10.0)
    assert (watchdog.standstills(), alive(telemetry)) == ((), 1)
    assert telemetry.events() == ["the process makes no progress", "it moves again"]
    watching.cancel()


async def test_loop_that_hangs_in_a_round_is_told(
    clock: VirtualClock, telemetry: RecordingTelemetry, watchdog: Watchdog, stopping: Stopping
) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    loop = asyncio.ensure_future(
        keep_going(hangs, name="intake", stopping=stopping, clock=clock, telemetry=telemetry, pulse=watchdog)
    )
    watching = asyncio.ensure_future(watchdog.run(Partitions()))
    await clock.advance(59.0)
    assert watchdog.standstills() == ()
    await clock.advance(10.0)
    assert watchdog.standstills() == ("loop intake has not turned for 69 s",)
    assert telemetry.lines[-1].fields["name"] == "intake"
    loop.cancel()
    watching.cancel()


async def test_loop_that_was_cancelled_from_nowhere_is_missed_and_one_that_was_stopped_is_not(
    clock: VirtualClock, telemetry: RecordingTelemetry, watchdog: Watchdog, stopping: Stopping
) -> None:
    async def turns() -> None:
        await clock.sleep(1.0)

    loops = [
        asyncio.ensure_future(
            keep_going(turns, name=name, stopping=asked, clock=clock, telemetry=telemetry, pulse=watchdog)
        )
        for name, asked in (("lost", Stopping()), ("stopped", stopping))
    ]
    await clock.advance(5.0)
    loops[0].cancel()
    stopping.ask()
    await clock.advance(100.0)
    assert [told.split(" has")[0] for told in watchdog.standstills()] == ["loop lost"]


async def test_rounds_that_fail_turn_all_the_same(
    clock: VirtualClock, telemetry: RecordingTelemetry, watchdog: Watchdog, stopping: Stopping
) -> None:
    async def fails() -> None:
        raise KeyError

    loop = asyncio.ensure_future(
        keep_going(fails, name="intake", stopping=stopping, clock=clock, telemetry=telemetry, pulse=watchdog)
    )
    await clock.advance(600.0)
    assert watchdog.standstills() == ()
    loop.cancel()


async def test_fault_in_looking_is_told_and_ends_nothing(
    clock: VirtualClock, telemetry: RecordingTelemetry, watchdog: Watchdog
) -> None:
    source = Partitions()
    source.standing_still, source.trouble = True, KeyError("x")
    watching = asyncio.ensure_future(watchdog.run(source))
    await clock.advance(300.0)
    assert watchdog.standstills() == ()
    assert set(telemetry.events("error")) == {"the watchdog can't look"}
    source.trouble = None
    await clock.advance(130.0)
    assert len(watchdog.standstills()) == 1
    watching.cancel()


async def test_watchdog_that_was_lost_is_missed_like_any_loop(clock: VirtualClock, watchdog: Watchdog) -> None:
    watching = asyncio.ensure_future(watchdog.run(Partitions()))
    await clock.advance(10.0)
    watching.cancel()
    await clock.advance(100.0)
    assert [told.split(" has")[0] for told in watchdog.standstills()] == ["loop watchdog"]
