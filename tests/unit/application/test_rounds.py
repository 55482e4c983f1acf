"""Loops survive what is away and what is broken, say so, and stop when asked."""

from __future__ import annotations

import asyncio

import pytest

from service.application.ports import UnavailableError
from service.application.rounds import FIRST_PAUSE, LONGEST_PAUSE, Stopping, insist, keep_going
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry

AWAY = UnavailableError("ledger", "disk full")


class Rounds:
    """Rounds that go as scripted: an exception is raised, None is a good round; afterwards all are good and slow."""

    def __init__(self, clock: VirtualClock, *script: Exception | None) -> None:
        self._clock = clock
        self._script = list(script)
        self.times: list[float] = []

    async def __call__(self) -> None:
        self.times.append(self._clock.monotonic())
        step = self._script.pop(0) if self._script else None
        if isinstance(step, Exception):
            raise step
        await self._clock.sleep(1.0 if not self._script else 0.0)

    def gaps(self) -> list[float]:
        return [round(after - before, 6) for before, after in zip(self.times, self.times[1:], strict=False)]


@pytest.fixture
def stopping(clock: VirtualClock) -> Stopping:
    return Stopping()


async def test_pause_grows_while_something_is_away_and_is_bounded(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, *[AWAY] * 8)
    loop = asyncio.ensure_future(keep_going(rounds, name="x", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.until(lambda: len(rounds.times) > 8)
    assert rounds.gaps()[:8] == [0.2, 0.4, 0.8, 1.6, *[LONGEST_PAUSE] * 4]
    stopping.ask()
    await clock.finish(loop)


def test_work_goes_on_within_five_seconds_of_the_return_of_what_was_away() -> None:
    claim_look_and_slot = 2.0
    assert LONGEST_PAUSE + claim_look_and_slot < 5.0


async def test_pause_starts_small_again_after_a_good_round(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, AWAY, AWAY, None, AWAY, None)
    loop = asyncio.ensure_future(keep_going(rounds, name="x", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.until(lambda: len(rounds.times) > 4)
    assert rounds.gaps() == [FIRST_PAUSE, 0.4, 0.0, FIRST_PAUSE]
    stopping.ask()
    await clock.finish(loop)


async def test_what_is_away_is_told_to_readiness_counter_and_log(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, AWAY)
    loop = asyncio.ensure_future(keep_going(rounds, name="intake", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.settle()
    assert telemetry.parts == {"ledger": (False, "ledger: disk full")}
    assert telemetry.counted("loop_failures_total", loop="intake", part="ledger") == 1
    assert telemetry.lines[0].level == "warning"
    stopping.ask()
    await clock.finish(loop)


async def test_bug_in_a_round_is_counted_and_the_loop_goes_on(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, KeyError("x"), None)
    loop = asyncio.ensure_future(keep_going(rounds, name="intake", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.until(lambda: len(rounds.times) > 1)
    assert telemetry.counted("loop_failures_total", loop="intake", part="bug") == 1
    assert telemetry.lines[0].level == "error"
    assert telemetry.parts == {}
    stopping.ask()
    await clock.finish(loop)


async def test_stop_does_not_wait_for_the_pause_to_end(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, *[AWAY] * 20)
    loop = asyncio.ensure_future(keep_going(rounds, name="x", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.advance(20.0)
    stopping.ask()
    await clock.settle()
    assert loop.done()


async def test_stop_lets_the_round_end(clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping) -> None:
    ended = asyncio.Event()

    async def round_() -> None:
        await clock.sleep(3.0)
        ended.set()

    loop = asyncio.ensure_future(keep_going(round_, name="x", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.advance(1.0)
    stopping.ask()
    await clock.finish(loop)
    assert ended.is_set()


async def test_cancelled_loop_leaves_nothing_behind(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    rounds = Rounds(clock, AWAY)
    loop = asyncio.ensure_future(keep_going(rounds, name="x", stopping=stopping, clock=clock, telemetry=telemetry))
    await clock.settle()
    loop.cancel()
    await clock.settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_insisting_repeats_a_write_until_it_is_taken(clock: VirtualClock, telemetry: RecordingTelemetry) -> None:
    script: list[Exception | str] = [AWAY, AWAY, "taken"]

    async def write() -> str:
        step = script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    started = clock.monotonic()
    assert await clock.finish(insist(write, name="s", clock=clock, telemetry=telemetry)) == "taken"
    assert clock.monotonic() - started == pytest.approx(0.6)
    assert telemetry.counted("loop_failures_total", loop="s", part="ledger") == 2


async def test_insisting_does_not_repeat_a_bug(clock: VirtualClock, telemetry: RecordingTelemetry) -> None:
    async def write() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await clock.finish(insist(write, name="s", clock=clock, telemetry=telemetry))


async def test_cancellation_that_nobody_asked_for_is_a_failed_round(
    clock: VirtualClock, telemetry: RecordingTelemetry, stopping: Stopping
) -> None:
    async def waits_for_what_was_cancelled() -> None:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    loop = asyncio.ensure_future(
        keep_going(waits_for_what_was_cancelled, name="relay", stopping=stopping, clock=clock, telemetry=telemetry)
    )
    await clock.advance(1.0)
    assert telemetry.counted("loop_failures_total", loop="relay", part="bug") > 1
    loop.cancel()
    await clock.settle()
    assert loop.cancelled()
