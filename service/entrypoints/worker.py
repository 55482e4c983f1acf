"""The worker: one process that takes in, executes and publishes until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from service.adapters.ledger_sqlite_file import LedgerLockedError
from service.adapters.metrics import MeteredTelemetry
from service.application.ports import UnavailableError
from service.application.rounds import Stopping
from service.bootstrap import Workplace, open_workplace
from service.entrypoints.http_api import build_app
from service.settings import Settings

REFUSED: Final = 5
FLUSH_SECONDS: Final = 5.0
HEARTBEAT_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 15.0


async def run_worker(settings: Settings, telemetry: MeteredTelemetry, *, with_api: bool = True) -> int:
    """Run until SIGTERM or SIGINT; the exit code (0 done, 5 refused because the ledger is held)."""
    stopping = Stopping()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.ask)
    try:
        async with open_workplace(settings, telemetry) as place, serving(place, settings) if with_api else nothing():
            await work(place, stopping, shutdown_seconds=settings.timing.shutdown_seconds)
    except LedgerLockedError as held:
        telemetry.log("error", "the ledger is held by another process", reason=str(held))
        return REFUSED
    telemetry.log("info", "stopped")
    return 0


async def work(workplace: Workplace, stopping: Stopping, *, shutdown_seconds: float) -> None:
    """Run the loops; when asked to stop, let calls in flight end, tell what ended, commit, and leave the group."""
    taking_in = asyncio.create_task(workplace.intake.run(stopping))
    executing = asyncio.create_task(workplace.execution.run(stopping))
    relaying = Stopping()
    telling = asyncio.create_task(workplace.relay.run(relaying))
    workplace.telemetry.log("info", "started")
    await stopping.wait()
    workplace.telemetry.log("info", "stopping")
    await asyncio.wait({taking_in}, timeout=shutdown_seconds)
    await asyncio.wait({executing}, timeout=shutdown_seconds)
    await workplace.execution.drain(shutdown_seconds)
    relaying.ask()
    await asyncio.gather(_tell_the_rest(workplace, telling), workplace.source.commit_durable())
    for task in (taking_in, executing, telling):
        task.cancel()
    await asyncio.gather(taking_in, executing, telling, return_exceptions=True)


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
async def serving(workplace: Workplace, settings: Settings) -> AsyncIterator[int]:
    """Serve health, metrics and the read-only API; the port it listens on."""
    heart = _Heart()
    app = build_app(workplace.ledger, workplace.telemetry, heart.beats)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, settings.http.host, settings.http.port)
    await site.start()
    beating = asyncio.create_task(heart.run())
    try:
        port: int = runner.addresses[0][1]
        workplace.telemetry.log("info", "listening", host=settings.http.host, port=port)
        yield port
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        await runner.cleanup()


@asynccontextmanager
async def nothing() -> AsyncIterator[int]:
    """Serve nothing."""
    yield 0


class _Heart:
    """Beats while the event loop turns; `/livez` asks it."""

    def __init__(self) -> None:
        self._last = asyncio.get_running_loop().time()

    async def run(self) -> None:
        while True:
            self._last = asyncio.get_running_loop().time()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def beats(self) -> bool:
        return asyncio.get_running_loop().time() - self._last < STALLED_SECONDS
