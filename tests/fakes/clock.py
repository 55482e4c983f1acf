"""Time that stands still until a test moves it, and chance that is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

NOW = 1_800_000_000.0  # as in tests/builders.py
MOST_TURNS = 100_000


class StuckError(AssertionError):
    """Everything waits for a time that nobody brings about, or something turns without ever waiting."""


class VirtualClock:
    """The port `Clock`, and the event loop's own time while it is `driving` one.

    Every timer of the loop then follows: `asyncio.timeout`, limiters, the fake ledger's waits. Times are seconds.
    `lateness` says how late the loop comes to each timer, as a busy one does.
    """

    def __init__(self, now: float = NOW, monotonic: float = 1_000.0) -> None:
        self._monotonic = monotonic
        self._ahead = now - monotonic
        self.lateness: Callable[[], float] = lambda: 0.0

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return self._monotonic + self._ahead

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Give way until a test has moved the time that far; zero or less gives way once."""
        await asyncio.sleep(max(0.0, seconds))

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, as an operator or a time server does; the monotonic one goes on."""
        self._ahead += seconds

    @contextmanager
    def driving(self, loop: asyncio.AbstractEventLoop) -> Iterator[VirtualClock]:
        """Make this the loop's time; a loop that would wait for real time raises StuckError instead."""
        anyloop: Any = loop
        selector = anyloop._selector
        select = selector.select

        def select_now(timeout: float | None = None) -> Any:
            if timeout is None or timeout > 0:
                selector.select = select  # the run that follows has to end somehow
                raise StuckError("everything waits and nobody moves the clock")
            return select(0)

        anyloop.time, selector.select = self.monotonic, select_now
        try:
            yield self
        finally:
            selector.select = select
            del anyloop.time

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(0)
        for _ in range(MOST_TURNS):
            if not loop._ready:
                return
            await asyncio.sleep(0)
        raise StuckError("something turns without ever waiting")

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, timer by timer."""
        target = self._monotonic + seconds
        await self.settle()
        while (at := self._next_timer()) is not None and at <= target:
            await self._go_to(at)
        self._monotonic = max(self._monotonic, target)
        await self.settle()

    def stall(self, seconds: float) -> None:
        """Let time pass while nothing runs, as in a process that the system has stopped."""
        self._monotonic += seconds

    async def until(self, condition: Callable[[], bool], *, within: float = 60.0) -> None:
        """Let time pass, timer by timer, until the condition holds; StuckError if it does not within the seconds."""
        limit = self._monotonic + within
        await self.settle()
        while not condition():
            at = self._next_timer()
            if at is None or at > limit:
                raise StuckError(f"not so within {within} s")
            await self._go_to(at)

    async def finish(self, work: Awaitable[T], *, within: float = 60.0) -> T:
        """Let time pass, timer by timer, until the work is done; its result."""
        task = asyncio.ensure_future(work)
        try:
            await self.until(task.done, within=within)
        except StuckError:
            task.cancel()
            raise
        return await task

    async def _go_to(self, at: float) -> None:
        self._monotonic = max(self._monotonic, at + self.lateness())
        await self.settle()

    def _next_timer(self) -> float | None:
        loop: Any = asyncio.get_running_loop()
        return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=None)


class FixedRandomness:
    """The port `Randomness` that always says the same."""

    def __init__(self, fraction: float = 0.5) -> None:
        self._fraction = fraction

    def fraction(self) -> float:
        """The number given."""
        return self._fraction
