"""Keeping this process's session: prolonged in time, and opened anew when another process has ended it.

Called by the worker. Promises that `holds` is false before another process can take over what was claimed here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from service.application.ports import Clock, Ledger, SessionEndedError, UnavailableError
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going
from service.application.telemetry import Telemetry
from service.domain.command import Session

TakeOver = Callable[[Session], Awaitable[object]]


class SessionKeeper:
    """Fulfils the port `OwnSession`.

    A session lasts `seconds` from each time it is prolonged, by the ledger's clock; here they are counted from before
    the ledger was asked, by our monotonic clock. They are infinite where only one process can open the ledger.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        owner: str,
        seconds: float,
        clock: Clock,
        telemetry: Telemetry,
        take_over: TakeOver,
    ) -> None:
        """`take_over` puts in doubt what ended sessions left in flight. Call `open` before anything else."""
        self._ledger = ledger
        self._owner = owner
        self._seconds = seconds
        self._clock = clock
        self._telemetry = telemetry
        self._take_over = take_over
        self._session: Session | None = None
        self._until = -math.inf
        self._fleet = 1

    @property
    def current(self) -> Session:
        """The session to claim under."""
        if self._session is None:
            raise RuntimeError("the session was not opened")
        return self._session

    @property
    def fleet(self) -> int:
        """How many processes share the ledger, when it was last heard of."""
        return self._fleet

    def holds(self) -> bool:
        """Whether the session's time is certainly not over."""
        return self._clock.monotonic() < self._until

    async def open(self) -> Session:
        """Open a session, and look after what others left."""
        await self._begin()
        await self._look_after_orphans()
        return self.current

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Keep the session until asked to stop."""
        if math.isinf(self._seconds):
            return
        await keep_going(
            self._round, name="session", stopping=stopping, clock=self._clock, telemetry=self._telemetry, pulse=pulse
        )

    async def run_once(self) -> None:
        """Prolong the session and take over what others left; open a new one if it was ended by another process."""
        await self._prolong()
        await self._look_after_orphans()

    async def close(self) -> None:
        """End the session in order, if it was opened. If the ledger is away, its time has to run out."""
        self._until = -math.inf
        if self._session is None:
            return
        try:
            await self._ledger.end_session(self._session, self._clock.now())
        except UnavailableError as away:
            self._telemetry.log("warning", "our session could not be ended and runs out", reason=str(away))

    async def _begin(self) -> None:
        begun = self._clock.monotonic()
        self._session = await self._ledger.open_session(self._owner, self._clock.now())
        self._until = begun + self._seconds

    async def _prolong(self) -> None:
        """Prolong the session; begin a new one if it was ended."""
        begun = self._clock.monotonic()
        try:
            self._fleet = await self._ledger.keep_session(self.current)
        except SessionEndedError as ended:
            self._telemetry.count("sessions_lost_total")
            self._telemetry.log("warning", "another process has ended our session", reason=str(ended))
            await self._begin()
            return
        self._until = begun + self._seconds
        self._telemetry.level("fleet", self._fleet)

    async def _look_after_orphans(self) -> None:
        """Take over what others left, and prolong our session meanwhile: there may be more than fits into its time."""
        under = self.current
        looking = asyncio.ensure_future(self._take_over(under))
        try:
            while not await self._is_done_soon(looking):
                await self._prolong()
                if self.current != under:
                    break
        finally:
            if not looking.done():
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
        if self.current != under:
            await self._look_after_orphans()
            return
        looking.result()

    async def _is_done_soon(self, looking: asyncio.Future[Any]) -> bool:
        """Whether it is done before the session should be prolonged again."""
        if math.isinf(self._seconds):
            await looking
            return True
        pausing = asyncio.ensure_future(self._clock.sleep(self._seconds / 3))
        either: set[asyncio.Future[Any]] = {looking, pausing}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pausing.cancel()
        return looking.done()

    async def _round(self) -> None:
        await self.run_once()
        await self._clock.sleep(self._seconds / 3)
