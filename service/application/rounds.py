"""Loops that survive what is away: a round fails, it is said, and after a growing pause it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from service.application.ports import Clock, UnavailableError
from service.application.telemetry import Telemetry

T = TypeVar("T")

REST_SHARE: Final = 3.0
FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 2.0  # what was away is back within five seconds: this pause, a claim, a look and a slot


class Stopping:
    """A loop's way to be told to end: set once, looked at and waited for."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Ask the loop to end after its current round."""
        self._asked.set()

    @property
    def asked(self) -> bool:
        """True once somebody asked."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Return when somebody has asked."""
        await self._asked.wait()


class Pulse(Protocol):
    """Who watches that loops turn."""

    def beat(self, loop: str) -> None:
        """A loop begins a round."""
        ...

    def rest(self, loop: str) -> None:
        """A loop has ended because it was asked to."""
        ...


class Unwatched:
    """The pulse that nobody feels."""

    def beat(self, loop: str) -> None:
        """Ignore it."""

    def rest(self, loop: str) -> None:
        """Ignore it."""


UNWATCHED: Final = Unwatched()


async def keep_going(
    round_: Callable[[], Awaitable[object]],
    *,
    name: str,
    stopping: Stopping,
    clock: Clock,
    telemetry: Telemetry,
    pulse: Pulse = UNWATCHED,
) -> None:
    """Run rounds until asked to stop. A failing round is logged, counted and tried again after a pause.

    A cancellation that nobody asked this loop for (a client's own task had ended) is such a failure too.
    """
    pause = FIRST_PAUSE
    while not stopping.asked:
        pulse.beat(name)
        try:
            await round_()
            pause = FIRST_PAUSE
        except UnavailableError as away:
            telemetry.health(away.part, ready=False, detail=str(away))
            telemetry.count("loop_failures_total", loop=name, part=away.part)
            telemetry.log("warning", "waiting for something that is away", loop=name, part=away.part, reason=str(away))
            pause = await longer_pause(pause, clock, stopping)
        except (Exception, asyncio.CancelledError) as bug:
            if _is_cancelled(bug):
                raise
            telemetry.count("loop_failures_total", loop=name, part="bug")
            telemetry.log("error", "a round failed unexpectedly", loop=name, error=repr(type(bug)), exc_info=bug)
            pause = await longer_pause(pause, clock, stopping)
    pulse.rest(name)


def _is_cancelled(trouble: BaseException) -> bool:
    """True if somebody wants this very task to end."""
    task = asyncio.current_task()
    return isinstance(trouble, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


async def insist(write: Callable[[], Awaitable[T]], *, name: str, clock: Clock, telemetry: Telemetry) -> T:
    """Repeat a write that must not be lost until the ledger takes it."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await write()
        except UnavailableError as away:
            telemetry.health(away.part, ready=False, detail=str(away))
            telemetry.count("loop_failures_total", loop=name, part=away.part)
            telemetry.log("warning", "waiting for something that is away", loop=name, part=away.part, reason=str(away))
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def rest(begun: float, *, most: float, clock: Clock) -> None:
    """Sleep three times as long as what began then (monotonic) has taken, at most so many seconds.

    What comes meanwhile goes with the next; who is alone is quick, those who get in each other's way take turns.
    """
    await clock.sleep(min(most, REST_SHARE * (clock.monotonic() - begun)))


async def longer_pause(pause: float, clock: Clock, stopping: Stopping) -> float:
    """Sleep, but not past a request to stop; the next pause."""
    sleeping = asyncio.ensure_future(clock.sleep(pause))
    asked = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({sleeping, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:  # also when the loop itself is cancelled
        sleeping.cancel()
        asked.cancel()
    return min(pause * 2, LONGEST_PAUSE)
