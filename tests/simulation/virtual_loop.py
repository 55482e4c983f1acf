"""One event loop on virtual time: its order of turns comes from a seed, and everything on it can die between two turns.

No sockets, no threads, no debug mode: a turn costs a microsecond, so that thousands of schedules fit into a minute.
"""

from __future__ import annotations

import asyncio
import heapq
import types
from asyncio import events
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

START = 1_000.0  # what the monotonic clock shows at first, seconds
MOST_TURNS = 30_000


class RunawayError(AssertionError):
    """Something turns without end."""


class Turn:
    """A callback that waits for its turn, or for its time."""

    __slots__ = ("args", "callback", "due")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], due: float = 0.0) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.due = due

    def cancel(self) -> None:
        """Forget it."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """True once it was cancelled."""
        return self.callback is None

    def when(self) -> float:
        """Its time, if it waits for one."""
        return self.due


@types.coroutine
def give_way() -> Generator[None, None, None]:
    """Let others run, once."""
    yield


class VirtualLoop:
    """As much of an event loop as the steps need, and no more: asyncio asks no base class of it.

    What the process under test schedules dies with it in `kill`; what the world schedules with `call_world` (requests
    under way, vendors, brokers, people) lives on. `halt` stops `run` right after the present turn.
    """

    def __init__(self, random: Random, *, shuffled: bool) -> None:
        self._as_loop: Any = self
        self.monotonic = START
        self.turns = 0
        self.halt_at: int = MOST_TURNS
        self.halted = False
        self.troubles: list[str] = []
        self._fraction = random.random
        self._shuffled = shuffled
        self._dead = False
        self._count = 0
        self._ready: list[Turn] = []
        self._timers: list[tuple[float, int, Turn]] = []
        self._world: list[tuple[float, int, Turn]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    # what asyncio asks of a loop

    def time(self) -> float:
        return self.monotonic

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._as_loop)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self._as_loop, name=name)
        self._tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        turn = Turn(callback, args)
        if not self._dead:
            self._ready.append(turn)
        return turn

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.monotonic + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        turn = Turn(callback, args, when)
        if not self._dead:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, turn))
        return turn

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._dead:
            self.troubles.append(f"{context.get('message')}: {context.get('exception')!r}")

    # what the explorer does with it

    def call_world(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        """Schedule something outside the process: no crash takes it back."""
        self._count += 1
        heapq.heappush(self._world, (when, self._count, Turn(callback, args, when)))

    def halt(self) -> None:
        """Stop `run` after this turn."""
        self.halted = True

    def kill(self) -> None:
        """End everything that the process scheduled, without another line of its code having an effect."""
        self._dead = True
        for task in self._tasks:
            if not task.done():
                _close(task)
        self._tasks, self._ready, self._timers = [], [], []
        self._dead, self.halted, self.halt_at = False, False, MOST_TURNS

    def run(self, until: Callable[[], float]) -> bool:
        """Run to the end of time as `until` says it at each jump; True if halted, False if nothing is left to do."""
        while True:
            self._run_ready()
            if self._stopped():
                return True
            at = self._next()
            if at is None or at > until():
                return False
            self.monotonic = max(self.monotonic, at)
            self._wake()
            if self._stopped():
                return True

    def _stopped(self) -> bool:
        return self.halted

    def _run_ready(self) -> None:
        ready, fraction, shuffled = self._ready, self._fraction, self._shuffled
        while ready:
            waiting = len(ready)
            turn = ready.pop(int(fraction() * waiting) if shuffled and waiting > 1 else 0)
            if turn.callback is None:
                continue
            self.turns += 1
            turn.callback(*turn.args)
            if self.halted or self.turns == self.halt_at:
                self.halted = True
                if self.turns >= MOST_TURNS:
                    raise RunawayError("something turns without end")
                return

    def _next(self) -> float | None:
        timers, world = self._timers, self._world
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            return world[0][0] if world else None
        return min(timers[0][0], world[0][0]) if world else timers[0][0]

    def _wake(self) -> None:
        now = self.monotonic
        while self._world and self._world[0][0] <= now:
            turn = heapq.heappop(self._world)[2]
            if turn.callback is not None:
                turn.callback(*turn.args)
        while self._timers and self._timers[0][0] <= now:
            turn = heapq.heappop(self._timers)[2]
            if turn.callback is not None:
                self._ready.append(turn)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Be the running loop of this thread."""
        before = events._get_running_loop()
        events._set_running_loop(self._as_loop)
        try:
            yield
        finally:
            events._set_running_loop(before)

    async def never(self) -> None:
        """Wait for good."""
        await self.create_future()


def _close(task: asyncio.Task[Any]) -> None:
    """End a task's coroutine where it stands; whatever it says on its way out reaches nobody."""
    untyped: Any = task
    untyped._log_destroy_pending = False
    coroutine = task.get_coro()
    if isinstance(coroutine, Coroutine):
        with suppress(Exception):
            coroutine.close()


class SimulatedClock:
    """The port `Clock` on a virtual loop, with a wall clock that can be stepped."""

    def __init__(self, loop: VirtualLoop, now: float) -> None:
        self._loop = loop
        self._ahead = now - loop.monotonic

    def now(self) -> float:
        return self._loop.monotonic + self._ahead

    def monotonic(self) -> float:
        return self._loop.monotonic

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, as a time server does."""
        self._ahead += seconds
