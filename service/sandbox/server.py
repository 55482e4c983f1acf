"""The sandbox as a server: put together, started on a port, closed; or run until a signal comes."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.sandbox.administration import Administration
from service.sandbox.arrival import Arrival
from service.sandbox.attention import Attention
from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import HUAWEI, TENCENT, SandboxConfiguration
from service.sandbox.faults import FaultBoard
from service.sandbox.huawei_api import ROUTE_PATH, TOKEN_PATH, HuaweiApi
from service.sandbox.huawei_routes import OPERATIONS as HUAWEI_OPERATIONS
from service.sandbox.journal import Journal
from service.sandbox.quota_window import QuotaBook
from service.sandbox.reception import Reception, arrived_from
from service.sandbox.tencent_api import MAX_BODY_BYTES, TencentApi

_CLOSING_SECONDS = 1.0
_SPARE_BYTES = 2 * 1024 * 1024  # so that the vendor, not the server, says what is too large
_ARRIVAL = web.RequestKey("arrival", Arrival)


@dataclass(frozen=True, kw_only=True)
class RunningSandbox:
    """A sandbox that answers. Tests in the same process may use its parts directly."""

    base_url: str
    port: int
    journal: Journal
    faults: FaultBoard
    quotas: QuotaBook
    administration: Administration
    attention: Attention
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop answering; requests still being delayed by a fault are dropped, and journalled as such."""
        await self.runner.cleanup()
        self.journal.close()


async def start_sandbox(
    configuration: SandboxConfiguration,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    journal_path: Path | None = None,
    clock: SandboxClock | None = None,
) -> RunningSandbox:
    """Start both vendors on one port (0: a free one).

    Raises:
        OSError: the port or the journal file can't be had.
    """
    journal = Journal(journal_path)
    application, parts = build_application(configuration, journal, clock or SandboxClock())
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
    except BaseException:
        await runner.cleanup()
        journal.close()
        raise
    bound = int(runner.addresses[0][1])
    shown = f"[{host}]" if ":" in host else host
    return RunningSandbox(
        base_url=f"http://{shown}:{bound}",
        port=bound,
        journal=journal,
        faults=parts.faults,
        quotas=parts.quotas,
        administration=parts.administration,
        attention=parts.attention,
        runner=runner,
    )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an application is made of."""

    faults: FaultBoard
    quotas: QuotaBook
    administration: Administration
    attention: Attention


def build_application(
    configuration: SandboxConfiguration, journal: Journal, clock: SandboxClock
) -> tuple[web.Application, Parts]:
    """The aiohttp application and its parts."""
    attention = Attention(clock.monotonic)
    quotas, faults = QuotaBook(configuration.quotas), FaultBoard(configuration.faults, seed=configuration.seed)
    tencent, huawei = TencentApi(configuration, clock), HuaweiApi(configuration, clock)
    reception = Reception(quotas=quotas, faults=faults, journal=journal, clock=clock)
    administration = Administration(
        configuration=configuration,
        tencent=tencent,
        huawei=huawei,
        quotas=quotas,
        faults=faults,
        journal=journal,
        clock=clock,
    )

    async def to_tencent(request: web.Request) -> web.StreamResponse:
        return await reception.serve(request, TENCENT, tencent, request[_ARRIVAL])

    async def to_huawei(request: web.Request) -> web.StreamResponse:
        return await reception.serve(request, HUAWEI, huawei, request[_ARRIVAL])

    application = web.Application(
        middlewares=[_clocked(clock, attention, reception)], client_max_size=MAX_BODY_BYTES + _SPARE_BYTES
    )
    application.router.add_post("/", to_tencent)
    application.router.add_post(TOKEN_PATH, to_huawei)
    for action in HUAWEI_OPERATIONS:
        application.router.add_post(ROUTE_PATH + action, to_huawei)
    application.router.add_routes(administration.routes())
    return application, Parts(faults=faults, quotas=quotas, administration=administration, attention=attention)


def run_sandbox(
    host: str,
    port: int,
    configuration: SandboxConfiguration,
    *,
    journal_path: Path | None = None,
    on_ready: Callable[[RunningSandbox], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` is called once the port answers. For a command line.

    Raises:
        OSError: as :func:`start_sandbox`.
    """
    asyncio.run(_serve_until_signalled(host, port, configuration, journal_path=journal_path, on_ready=on_ready))


async def _serve_until_signalled(
    host: str,
    port: int,
    configuration: SandboxConfiguration,
    *,
    journal_path: Path | None,
    on_ready: Callable[[RunningSandbox], None] | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # not on every platform
            loop.add_signal_handler(number, stop.set)
    sandbox = await start_sandbox(configuration, host, port, journal_path=journal_path)
    sandbox.attention.start()
    gc.freeze()
    gc.set_threshold(2_000, 10, 100_000)  # the journal only grows: looking through all of it would note arrivals late
    try:
        if on_ready is not None:
            on_ready(sandbox)
        await stop.wait()
    finally:
        await sandbox.close()


def _clocked(clock: SandboxClock, attention: Attention, reception: Reception) -> Middleware:
    monotonic, unseen = clock.monotonic, attention.unseen

    @web.middleware
    async def take_arrival(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = monotonic()
        arrival = request[_ARRIVAL] = Arrival(now, unseen(now))
        try:
            return await handler(request)
        except web.HTTPException as refused:
            status = refused.status
        except (ConnectionError, web.RequestPayloadError):  # the caller left before its body was complete
            status = 400
        arrived = arrived_from(request, body=b"", arrival=arrival, wall=clock.wall())
        answer = reception.note_unserved(arrived, status)
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    return take_arrival
