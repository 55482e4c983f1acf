"""Telling holds: while a person holds work back, every plan that meets the hold says so, once in its epoch.

Called by the worker. A hold rewrites no commands, so somebody has to look; it costs nothing while nothing is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.application.inspection import DeskLedger
from service.application.ports import Clock, CommandQuery
from service.application.rounds import REST_SHARE, UNWATCHED, Pulse, Stopping, keep_going
from service.application.telemetry import Telemetry
from service.domain.command import Plan, PlanState
from service.domain.draft import Draft
from service.domain.holding import tell_held
from service.domain.ledger_state import Changes, Hold, HoldKind, Keys, Known

PAGE: Final = 200
PAUSE_SECONDS: Final = 0.05  # after a page: others' transactions come first
LOOK_SECONDS: Final = 2.0  # for a hold, and between two walks at least


class HoldTelling:
    """Walks through the open plans again and again while a hold stands."""

    def __init__(self, *, ledger: DeskLedger, clock: Clock, telemetry: Telemetry) -> None:
        """Everything it needs, as ports."""
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._after: str | None = None
        self._begun = clock.monotonic()

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Tell until asked to stop."""
        await keep_going(
            self._round, name="holds", stopping=stopping, clock=self._clock, telemetry=self._telemetry, pulse=pulse
        )

    async def run_once(self) -> bool:
        """Look at one page of plans; True while the walk goes on, False at its end, or if nothing is held."""
        holds = [hold for hold in await self._ledger.holds(standing=True) if hold.kind is HoldKind.HOLD]
        if not holds:
            self._after = None
            return False
        query = CommandQuery(states=(PlanState.OPEN.value,), after=self._after, limit=PAGE)
        plans = await self._ledger.plans(query)
        untold = [plan for plan in plans if not plan.waiting_told]
        if untold:
            await self._tell(untold, holds)
        self._after = plans[-1].id if len(plans) == PAGE else None
        return self._after is not None

    async def _round(self) -> None:
        if await self.run_once():
            await self._clock.sleep(PAUSE_SECONDS)
            return
        took = self._clock.monotonic() - self._begun
        await self._clock.sleep(min(max(LOOK_SECONDS, REST_SHARE * took), 10 * LOOK_SECONDS))
        self._begun = self._clock.monotonic()

    async def _tell(self, plans: Sequence[Plan], holds: Sequence[Hold]) -> None:
        now = self._clock.now()

        def decide(known: Known) -> Changes:
            draft = Draft(known, now)
            for plan in known.plans.values():
                tell_held(draft, plan, holds)
            return draft.changes()

        await self._ledger.transact(Keys(plans=frozenset(plan.id for plan in plans)), decide)
