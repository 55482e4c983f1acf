"""The quota of this process: absolute slots taken from the ledger, dealt to lanes, guarded by a token bucket.

Slots do the pacing and survive restarts (the ledger remembers the last one granted). aiolimiter's bucket and a log
of the last sends stand behind them, so that a busy loop can't push more than the quota into one window.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aiolimiter import AsyncLimiter

from service.application.ports import Clock, Ledger, Slot
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.quota import NO_PASSES, next_lane, spacing, window

BATCH: Final = 10  # slots taken from the ledger at once while work waits, at most a second's worth
SET_BACK_SECONDS: Final = 5.0  # slots farther ahead than this were taken before the wall clock was set back
GUARD_SHARE: Final = 0.75  # of the margin that must lie between a send and the one a window later
LATE_SECONDS: Final = 0.045  # a slot is given up when its moment passed by more


@dataclass(order=True)
class _Waiter:
    since: float
    ticket: int
    slot: asyncio.Future[Slot] = field(compare=False)


class SlotQuota:
    """Fulfils the Quota port for every quota group and operation."""

    def __init__(self, *, ledger: Ledger, clock: Clock, margin: float = 0.02, lead_seconds: float = 0.2) -> None:
        """`margin` is the share of the quota given up for arrivals that jitter (seconds of each second)."""
        self._ledger = ledger
        self._clock = clock
        self._margin = margin
        self._lead = lead_seconds
        self._desks: dict[tuple[str, str], _Desk] = {}

    async def reserve(self, account: Account, operation: str, lane: Lane, *, since: float) -> Slot:
        """Wait in the lane until a slot lies within the lead time; take it."""
        return await self._desk(account, operation).wait(account.name, lane, since)

    async def ready(self, slot: Slot) -> bool:
        """Wait for the slot's moment; False if it has passed."""
        return await self._desks[(slot.quota_group, slot.operation)].ready(slot)

    async def close(self) -> None:
        """Stop dealing slots; those who wait are cancelled."""
        for desk in self._desks.values():
            await desk.close()

    def _desk(self, account: Account, operation: str) -> _Desk:
        key = (account.group(), operation)
        if key not in self._desks:
            rate = account.rate(operation)
            self._desks[key] = _Desk(key, rate, self._ledger, self._clock, margin=self._margin, lead=self._lead)
        return self._desks[key]


class _Desk:
    """Deals the slots of one operation of one quota group."""

    def __init__(
        self, key: tuple[str, str], rate: float, ledger: Ledger, clock: Clock, *, margin: float, lead: float
    ) -> None:
        self._group, self._operation = key
        self._ledger, self._clock, self._lead = ledger, clock, lead
        self._most, self._span = window(rate)
        self._spacing = spacing(self._most / self._span, margin)  # 2.5/s means two in any second
        self._batch = max(1, min(BATCH, math.floor(1.0 / self._spacing)))
        self._farthest = SET_BACK_SECONDS + 2 * self._batch * self._spacing
        self._guard = self._span + margin * GUARD_SHARE
        self._bucket = AsyncLimiter(self._most, self._span)
        self._sends: deque[float] = deque(maxlen=self._most)
        self._passing = asyncio.Lock()
        self._lanes: dict[Lane, dict[str, list[_Waiter]]] = {lane: {} for lane in Lane}
        self._passes = NO_PASSES
        self._granted: deque[float] = deque()
        self._tickets = 0
        self._dealing: asyncio.Task[None] | None = None

    async def wait(self, account: str, lane: Lane, since: float) -> Slot:
        self._tickets += 1
        waiter = _Waiter(since, self._tickets, asyncio.get_running_loop().create_future())
        heapq.heappush(self._lanes[lane].setdefault(account, []), waiter)
        if self._dealing is None or self._dealing.done():
            self._dealing = asyncio.get_running_loop().create_task(self._deal())
        return await waiter.slot

    async def ready(self, slot: Slot) -> bool:
        """Sleep to the slot's moment, then through the guards, one send at a time."""
        await self._clock.sleep(slot.due - self._clock.monotonic())
        async with self._passing:
            if len(self._sends) == self._most:
                await self._clock.sleep(self._sends[0] + self._guard - self._clock.monotonic())
            if self._clock.monotonic() - slot.due > LATE_SECONDS + self._spacing:
                return False
            await self._bucket.acquire()
            self._sends.append(self._clock.monotonic())
            return True

    async def close(self) -> None:
        if self._dealing is not None:
            self._dealing.cancel()
            await asyncio.gather(self._dealing, return_exceptions=True)
        for accounts in self._lanes.values():
            for waiters in accounts.values():
                for waiter in waiters:
                    waiter.slot.cancel()

    async def _deal(self) -> None:
        """Give each slot, as it comes within the lead time, to whoever is next by then."""
        while self._count() > 0:
            try:
                at = await self._next_slot()
            except Exception as away:  # noqa: BLE001 - no slot can be had: everybody who waits learns why
                self._refuse(away)
                return
            due = self._clock.monotonic() + (at - self._clock.now())
            await self._clock.sleep(due - self._lead - self._clock.monotonic())
            waiter = self._pick()
            if waiter is None:
                self._granted.appendleft(at)
                return
            slot = Slot(quota_group=self._group, operation=self._operation, at=at, due=due)
            waiter.slot.set_result(slot)

    async def _next_slot(self) -> float:
        """The absolute time of the next slot that has not passed, nor gone far ahead with the wall clock set back."""
        now = self._clock.now()
        while self._granted:
            at = self._granted.popleft()
            if now <= at <= now + self._farthest:
                return at
        count = min(self._batch, max(1, self._count()))
        first = await self._ledger.reserve_slots(
            self._group, self._operation, count=count, spacing=self._spacing, not_before=now
        )
        self._granted.extend(first + self._spacing * nth for nth in range(count))
        return self._granted.popleft()

    def _pick(self) -> _Waiter | None:
        """The next waiter: by the lanes' shares, then accounts in turn, then age."""
        while waiting := [lane for lane in Lane if self._lanes[lane]]:
            lane, passes = next_lane(self._passes, waiting)
            accounts = self._lanes[lane]
            account = next(iter(accounts))
            waiters = accounts.pop(account)
            waiter = heapq.heappop(waiters)
            if waiters:
                accounts[account] = waiters  # goes to the end: accounts take turns
            if not waiter.slot.done():
                self._passes = passes
                return waiter
        return None

    def _count(self) -> int:
        return sum(len(waiters) for accounts in self._lanes.values() for waiters in accounts.values())

    def _refuse(self, away: Exception) -> None:
        for accounts in self._lanes.values():
            for waiters in accounts.values():
                for waiter in waiters:
                    if not waiter.slot.done():
                        waiter.slot.set_exception(away)
            accounts.clear()
