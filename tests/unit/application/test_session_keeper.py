"""Keeping a session: prolonged in time, taken for over before it is, opened anew when it was lost."""

from __future__ import annotations

import asyncio

import pytest

from service.application.ports import UnavailableError
from service.application.session_keeper import SessionKeeper
from service.domain.command import Session
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry

SECONDS = 15.0


class Bench:
    """A keeper over the fake ledger; `taken_over` are the sessions under which it looked after orphans."""

    def __init__(self, clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger) -> None:
        self.taken_over: list[int] = []
        self.clock = clock
        self.seconds_for_orphans = 0.0
        self.keeper = SessionKeeper(
            ledger=ledger, owner="me", seconds=SECONDS, clock=clock, telemetry=telemetry, take_over=self.take_over
        )

    async def take_over(self, session: Session) -> None:
        await self.clock.sleep(self.seconds_for_orphans)
        self.taken_over.append(session.fence)


@pytest.fixture
async def bench(clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger) -> Bench:
    bench = Bench(clock, telemetry, ledger)
    await bench.keeper.open()
    return bench


async def test_session_holds_until_its_time_is_over_and_not_a_moment_longer(clock: VirtualClock, bench: Bench) -> None:
    assert bench.keeper.holds()
    await clock.advance(SECONDS - 0.001)
    assert bench.keeper.holds()
    await clock.advance(0.001)
    assert not bench.keeper.holds()


async def test_each_round_prolongs_the_session_and_looks_for_orphans(clock: VirtualClock, bench: Bench) -> None:
    await clock.advance(SECONDS - 1)
    await bench.keeper.run_once()
    await clock.advance(SECONDS - 1)

    assert bench.keeper.holds()
    assert bench.taken_over == [1, 1]


async def test_session_is_prolonged_however_long_it_takes_to_look_after_orphans(
    clock: VirtualClock, bench: Bench
) -> None:
    bench.seconds_for_orphans = 3 * SECONDS
    round_ = asyncio.create_task(bench.keeper.run_once())
    for _ in range(12):
        await clock.advance(SECONDS / 4)
        assert bench.keeper.holds()

    await round_
    assert bench.taken_over == [1, 1]


async def test_orphans_of_a_session_lost_meanwhile_are_looked_after_under_the_next(
    clock: VirtualClock, bench: Bench, ledger: FakeLedger
) -> None:
    bench.seconds_for_orphans = SECONDS
    round_ = asyncio.create_task(bench.keeper.run_once())
    await clock.advance(1.0)
    await ledger.open_session("another", clock.now())
    bench.seconds_for_orphans = 0.0
    await clock.advance(SECONDS / 3)

    await round_
    assert bench.keeper.current == Session(3, "me")
    assert bench.taken_over == [1, 3]


async def test_orphans_that_cannot_be_looked_after_are_no_secret(
    clock: VirtualClock, bench: Bench, ledger: FakeLedger
) -> None:
    bench.seconds_for_orphans = SECONDS
    round_ = asyncio.create_task(bench.keeper.run_once())
    await clock.advance(1.0)
    await ledger.close()
    await clock.advance(SECONDS)

    with pytest.raises(UnavailableError):
        await round_
    assert bench.taken_over == [1]


async def test_ledger_that_is_away_prolongs_nothing(clock: VirtualClock, bench: Bench, ledger: FakeLedger) -> None:
    await ledger.close()
    await clock.advance(SECONDS - 1)
    with pytest.raises(UnavailableError):
        await bench.keeper.run_once()
    await clock.advance(1)

    assert not bench.keeper.holds()


async def test_session_that_was_ended_by_another_is_opened_anew_and_told(
    clock: VirtualClock, telemetry: RecordingTelemetry, bench: Bench, ledger: FakeLedger
) -> None:
    await ledger.open_session("another", clock.now())
    await bench.keeper.run_once()

    assert bench.keeper.current == Session(3, "me")
    assert bench.taken_over == [1, 3]
    assert telemetry.counted("sessions_lost_total") == 1


async def test_closed_session_lets_nothing_out_and_leaves_nothing_claimed(bench: Bench, ledger: FakeLedger) -> None:
    await bench.keeper.close()

    assert not bench.keeper.holds()
    with pytest.raises(UnavailableError):
        await ledger.keep_session(bench.keeper.current)


async def test_session_that_cannot_be_ended_runs_out_by_itself(
    telemetry: RecordingTelemetry, bench: Bench, ledger: FakeLedger
) -> None:
    await ledger.close()
    await bench.keeper.close()

    assert "our session could not be ended and runs out" in telemetry.events("warning")
