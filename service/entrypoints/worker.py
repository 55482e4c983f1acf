"""The worker: one process that takes in, executes and publishes until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Final, TypeVar

from service.adapters.ledger_sqlite.file import LedgerLockedError
from service.adapters.metrics import MeteredTelemetry
from service.adapters.system_clock import SystemClock
from service.application.ports import UnavailableError
from service.application.rounds import FIRST_PAUSE, Stopping, longer_pause
from service.application.watchdog import Watchdog
from service.bootstrap import Office, Workplace, open_window, open_workplace
from service.entrypoints import http_health
from service.entrypoints.callers import Tokens
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_server import listening
from service.entrypoints.routing import Route
from service.settings import Settings

T = TypeVar("T")

REFUSED: Final = 5
KILLED: Final = 1
FLUSH_SECONDS: Final = 5.0


class Front:
    """Fulfils `routing.Process`: what the HTTP side may know, while the workplace opens, works and closes."""

    def __init__(self, *, stopping: Stopping, watchdog: Watchdog) -> None:
        """No ledger is open yet."""
        self._stopping = stopping
        self._watchdog = watchdog
        self._office: Office | None = None

    @property
    def office(self) -> Office:
        """What questions and operators are answered with. Raises UnavailableError while the ledger is not open."""
        if self._office is None:
            raise UnavailableError("ledger", "not open")
        return self._office

    @property
    def stopping(self) -> bool:
        """True once the process was asked to end."""
        return self._stopping.asked

    def standstills(self) -> tuple[str, ...]:
        """What makes no progress."""
        return self._watchdog.standstills()

    @contextmanager
    def showing(self, office: Office) -> Iterator[None]:
        """Answer with this office for as long as its ledger is open."""
        self._office = office
        try:
            yield
        finally:
            self._office = None


async def run_worker(settings: Settings, telemetry: MeteredTelemetry, *, with_api: bool = True) -> int:
    """Run until SIGTERM or SIGINT (a second one ends the process at once, with 1); the exit code.

    Without the API it still tells how it is: whoever runs it must see its health and its own figures.

    0 done, 5 refused because the ledger is held. A ledger that can't be opened is waited for; raises MigrationError
    for one that this program may not use.
    """
    clock, stopping = SystemClock(), Stopping()
    _listen_for_signals(stopping, telemetry)
    watchdog = Watchdog(clock=clock, telemetry=telemetry, policy=settings.liveness_policy())
    front = Front(stopping=stopping, watchdog=watchdog)
    api = partial(serving, front, telemetry, settings, routes=ROUTES if with_api else http_health.ROUTES)
    try:
        async with AsyncExitStack() as opened:
            place = await _open(opened, partial(open_workplace, settings, telemetry), telemetry, stopping, api)
            if place is not None:
                opened.enter_context(front.showing(place.office))
                _spare_the_collector()
                await work(place, stopping, shutdown_seconds=settings.timing.shutdown_seconds, watchdog=watchdog)
    except LedgerLockedError as held:
        telemetry.log("error", "the ledger is held by another process", reason=str(held))
        return REFUSED
    telemetry.log("info", "stopped")
    return 0


def _spare_the_collector() -> None:
    """What stands by now stays: the collector need not look through it, nor come after every few hundred objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _listen_for_signals(stopping: Stopping, telemetry: MeteredTelemetry) -> None:
    """The first signal ends in order, the second at once: what is durable stays, the next start finds the rest."""

    def asked() -> None:
        if stopping.asked:
            telemetry.log("warning", "ended at once by a second signal")
            os._exit(KILLED)
        stopping.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)


async def run_api(settings: Settings, telemetry: MeteredTelemetry) -> int:
    """Only answer, about a ledger that workers elsewhere share; until SIGTERM or SIGINT, as `run_worker`."""
    stopping = Stopping()
    _listen_for_signals(stopping, telemetry)
    watchdog = Watchdog(clock=SystemClock(), telemetry=telemetry, policy=settings.liveness_policy())
    front = Front(stopping=stopping, watchdog=watchdog)
    async with AsyncExitStack() as opened:
        place = partial(open_window, settings, telemetry)
        window = await _open(opened, place, telemetry, stopping, partial(serving, front, telemetry, settings))
        if window is not None:
            opened.enter_context(front.showing(window.office))
            telemetry.log("info", "started")
            await window.watch(stopping, watchdog)
    telemetry.log("info", "stopped")
    return 0


async def _open(
    opened: AsyncExitStack,
    open_place: Callable[[], AbstractAsyncContextManager[T]],
    telemetry: MeteredTelemetry,
    stopping: Stopping,
    api: Callable[[], AbstractAsyncContextManager[object]],
) -> T | None:
    """The place, with the API beside it; None if asked to stop before its ledger could be opened.

    The ledger is tried before a port is taken: whoever finds it held is told just that.
    """
    pause, serves = FIRST_PAUSE, False
    while not stopping.asked:
        place: T | None
        try:
            place = await opened.enter_async_context(open_place())
        except UnavailableError as away:
            telemetry.health(away.part, ready=False, detail=str(away))
            telemetry.count("loop_failures_total", loop="opening", part=away.part)
            telemetry.log("warning", "waiting for something that is away", loop="opening", reason=str(away))
            place = None
        if not serves:
            await opened.enter_async_context(api())
            serves = True
        if place is not None:
            return place
        pause = await longer_pause(pause, SystemClock(), stopping)
    return None


async def work(workplace: Workplace, stopping: Stopping, *, shutdown_seconds: float, watchdog: Watchdog) -> None:
    """Run the loops; when asked to stop, let calls in flight end, tell what ended, commit, and leave the group."""
    taking_in = asyncio.create_task(workplace.intake.run(stopping, watchdog))
    executing = asyncio.create_task(workplace.execution.run(stopping, watchdog))
    relaying = Stopping()
    telling = asyncio.create_task(workplace.relay.run(relaying, watchdog))
    keeping = asyncio.create_task(workplace.keeper.run(relaying, watchdog))
    erasing = asyncio.create_task(workplace.retention.run(stopping, watchdog))
    replaying = asyncio.create_task(workplace.replaying.run(stopping, watchdog))
    holding = asyncio.create_task(workplace.hold_telling.run(stopping, watchdog))
    watching = asyncio.create_task(watchdog.run(workplace.source))
    feeling = asyncio.create_task(watchdog.feel())
    workplace.telemetry.log("info", "started")
    await stopping.wait()
    workplace.telemetry.log("info", "stopping")
    await asyncio.wait({taking_in}, timeout=shutdown_seconds)
    await asyncio.wait({executing}, timeout=shutdown_seconds)
    await workplace.execution.drain(shutdown_seconds)
    relaying.ask()
    await asyncio.gather(_tell_the_rest(workplace, telling), workplace.source.commit_durable())
    tasks = (taking_in, executing, telling, keeping, erasing, replaying, holding, watching, feeling)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _tell_the_rest(workplace: Workplace, telling: asyncio.Task[None]) -> None:
    """Publish what the last settlements left, within a few seconds; the rest is told after the next start."""
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await asyncio.wait({telling})
            while await workplace.relay.run_once() > 0:
                pass
    except (TimeoutError, UnavailableError) as away:
        workplace.telemetry.log("warning", "messages are left for the next start", reason=type(away).__name__)


@asynccontextmanager
async def serving(
    front: Front, telemetry: MeteredTelemetry, settings: Settings, *, routes: tuple[Route, ...] = ROUTES
) -> AsyncIterator[int]:
    """Serve health, metrics and the API, or those of its `routes`; the port it listens on."""
    http = settings.http
    tokens = Tokens(http.tokens)
    if tokens.off and routes is ROUTES:
        telemetry.log("warning", "the HTTP API asks nobody for a token: whoever is on this host is an operator")
    async with listening(build_app(front, telemetry, tokens, routes=routes), host=http.host, port=http.port) as port:
        telemetry.log("info", "listening", host=http.host, port=port)
        yield port
