"""The quota of this process alone: absolute slots taken from the ledger, guarded by a token bucket.

Slots do the pacing and survive restarts (the ledger remembers up to when they were taken). aiolimiter's bucket and a
log of the last sends stand behind them, so that a busy loop can't push more than the quota into one window.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from service.adapters.quota_dealing import DealtQuota, Spending, sleep_until
from service.application.ports import Clock, HeldBackError, Slot, SlotBook
from service.application.telemetry import Telemetry
from service.domain.quota import MARGIN

TAKEN_SECONDS: Final = 0.5  # so long a time's slots are taken from the ledger at once
MOST_TAKING_SECONDS: Final = 0.1  # a ledger that is slower than this for once must not delay the next slots by it
SET_BACK_SECONDS: Final = 5.0  # slots farther ahead than this were taken before the wall clock was set back
LATE_SECONDS: Final = 0.045  # a slot is given up when its moment passed by more


class SlotQuota(DealtQuota):
    """The port `Quota` for a process that has its ledger for itself."""

    def __init__(
        self,
        *,
        ledger: SlotBook,
        clock: Clock,
        telemetry: Telemetry,
        margin: float = MARGIN,
        lead_seconds: float = 0.2,
    ) -> None:
        """`margin` is the share of the quota given up for arrivals that jitter (seconds of each second)."""
        super().__init__(
            open_supply=lambda spending, _: SlotSupply(spending, ledger=ledger, clock=clock),
            clock=clock,
            telemetry=telemetry,
            margin=margin,
            lead_seconds=lead_seconds,
        )


class SlotSupply:
    """Takes the slots of one operation of one quota group from the ledger, half a second's at a time."""

    def __init__(self, spending: Spending, *, ledger: SlotBook, clock: Clock) -> None:
        """Nothing is taken yet."""
        self._spending, self._ledger, self._clock = spending, ledger, clock
        self._configured = spending.quota
        self._noted: dict[float, float] = {}  # slot → the send noted for it
        self._passing = asyncio.Lock()
        self._upcoming = self._end = -math.inf  # of the time whose slots are ours: its next slot, and its end
        self._dealt = self._last_due = self._not_before = -math.inf
        self._given_up_to = -math.inf  # what is due by then was dealt at a pace that is too fast now
        self._taking = 0.0  # seconds that the ledger took for the last ones

    async def next(self) -> Slot:
        """The next slot that has not passed, nor gone far ahead with the wall clock set back."""
        at = await self._next_at()
        due = self._clock.monotonic() + (at - self._clock.now())
        self._last_due = due
        return Slot(quota_group=self._spending.group, operation=self._spending.operation, at=at, due=due)

    async def _next_at(self) -> float:
        now, apart = self._clock.now(), self._spending.spacing()
        at = max(now + self._mark_seconds(), self._upcoming)
        if at >= self._end or at > now + SET_BACK_SECONDS + 2 * _taken_at_once(apart) * apart:
            at = await self._take()
        self._upcoming, self._dealt = at + self._spending.spacing(), at
        return at

    async def _take(self) -> float:
        """Make a time's slots ours; the first of them. What nobody wants of them passes, as time does.

        Slots of a quota that was changed meanwhile pass as well: others are taken, at its pace.
        """
        while True:
            begun, apart = self._clock.monotonic(), self._spending.spacing()
            count = _taken_at_once(apart)
            ahead = max(self._taking + self._mark_seconds(), self._not_before - begun)  # it takes as long now
            granted = await self._ledger.reserve_slots(
                self._spending.group,
                self._spending.operation,
                count=count,
                spacing=apart,
                not_before=self._clock.now() + ahead,
            )
            self._taking = min(MOST_TAKING_SECONDS, self._clock.monotonic() - begun)
            rate = self._configured if granted.rate is None else granted.rate
            if rate == self._spending.quota:
                self._end = granted.first + (count - 0.5) * apart
                return granted.first
            self._go_by(rate)

    def _go_by(self, rate: float) -> None:
        """The quota is another now. After a faster pace nothing is sent until its last window has room again."""
        apart = self._spending.spacing()
        self._spending.change(rate)
        room_in = self._spending.window(1.0) - (self._spending.most - 1) * apart
        if room_in > 0:
            self._given_up_to = self._last_due
            self._not_before = max(self._not_before, self._last_due + room_in)

    def _mark_seconds(self) -> float:
        """How long before its moment a slot is wanted, so that its mark is written by then: what a slow ledger takes.

        One that is quick makes nobody late.
        """
        return self._taking if self._taking > LATE_SECONDS / 2 else 0.0

    def put_back(self, slot: Slot) -> None:
        """Nobody wants it: the next may have it, unless the pace has changed since."""
        if slot.due >= self._not_before and slot.at == self._dealt:
            self._upcoming = slot.at

    def slowed(self) -> None:
        """Those taken beforehand are too early now."""
        self._end = -math.inf
        self._not_before = max(self._clock.monotonic(), self._last_due) + self._spending.spacing()

    async def ready(self, slot: Slot) -> bool:
        """Sleep to the slot's moment, then through the guards, one send at a time."""
        sends = self._spending.sends
        await sleep_until(slot.due, self._clock)
        async with self._passing:
            if slot.due <= self._given_up_to:
                return False
            if len(sends) >= self._spending.most:
                await sleep_until(sends[-self._spending.most] + self._spending.guard, self._clock)
            if self._clock.monotonic() - slot.due > LATE_SECONDS + self._spending.full_spacing:
                return False
            await self._spending.bucket.acquire()
            now = self._clock.monotonic()
            self._noted[slot.at] = now
            self._spending.note(now)
            if len(self._noted) > 2 * self._spending.most:  # sends that nobody reported
                self._noted = {at: when for at, when in self._noted.items() if when in sends}
            return True

    def sent(self, slot: Slot) -> None:
        """The request leaves now: later than it was let through if its connection had to be made first.

        Raises HeldBackError when so many others left meanwhile that the window is full.
        """
        noted = self._noted.pop(slot.at, None)
        if noted is None or not self._spending.unnote(noted):
            return
        sends, now, most = self._spending.sends, self._clock.monotonic(), self._spending.most
        if len(sends) >= most and sends[-most] > now - self._spending.span:
            raise HeldBackError("the quota was used up before the connection stood")
        self._spending.note(now)
        asyncio.get_running_loop().call_soon(self._left, now)  # the system may let us wait before the write itself

    def _left(self, noted: float) -> None:
        """By now the request has left: no later than now counts, so that the guards keep clear of it."""
        if self._spending.unnote(noted):
            self._spending.note(self._clock.monotonic())

    async def close(self) -> None:
        """The ledger remembers what was granted."""


def _taken_at_once(apart: float) -> int:
    """How many slots so far apart are taken from the ledger at once."""
    return max(1, round(TAKEN_SECONDS / apart))
