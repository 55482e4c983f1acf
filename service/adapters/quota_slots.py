"""The quota of this process: absolute slots taken from the ledger, dealt to lanes, guarded by a token bucket.

Slots do the pacing and survive restarts (the ledger remembers the last one granted). aiolimiter's bucket and a log
of the last sends stand behind them, so that a busy loop can't push more than the quota into one window.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiolimiter import AsyncLimiter

from service.application.ports import Clock, Ledger, Slot
from service.application.telemetry import Telemetry
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.quota import FULL_PACE, NO_PASSES, look_back, next_lane, spacing, spent_by_others, window

BATCH: Final = 10  # slots taken from the ledger at once while work waits, at most a second's worth
SET_BACK_SECONDS: Final = 5.0  # slots farther ahead than this were taken before the wall clock was set back
GUARD_SHARE: Final = 0.75  # of the margin that must lie between a send and the one a window later
LATE_SECONDS: Final = 0.045  # a slot is given up when its moment passed by more
TELLING_SECONDS: Final = 60.0  # between two lines that say somebody else spends a quota


@dataclass(order=True)
class _Waiter:
    since: float
    ticket: int
    slot: asyncio.Future[Slot] = field(compare=False)


class SlotQuota:
    """Fulfils the Quota port for every quota group and operation."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        margin: float = 0.02,
        lead_seconds: float = 0.2,
    ) -> None:
        """`margin` is the share of the quota given up for arrivals that jitter (seconds of each second)."""
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._margin = margin
        self._lead = lead_seconds
        self._desks: dict[tuple[str, str], _Desk] = {}

    async def reserve(self, account: Account, operation: str, lane: Lane, *, since: float) -> Slot:
        """Wait in the lane until a slot lies within the lead time; take it."""
        return await self._desk(account, operation).wait(account.name, lane, since)

    async def ready(self, slot: Slot) -> bool:
        """Wait for the slot's moment; False if it has passed."""
        return await self._desks[(slot.quota_group, slot.operation)].ready(slot)

    def throttled(self, account: Account, operation: str) -> None:
        """Slow the quota at once; notice if it can't have been us who overspent it."""
        self._telemetry.count("throttled_total", operation=operation)
        desk = self._desk(account, operation)
        desk.slow_down()
        if desk.spent_by_others():
            self._telemetry.count("foreign_spending_total", operation=operation)
            desk.tell_foreign()

    def sent(self, slot: Slot) -> None:
        """The slot's request has just been written."""
        self._desks[(slot.quota_group, slot.operation)].sent(slot)

    async def close(self) -> None:
        """Stop dealing slots; those who wait are cancelled."""
        for desk in self._desks.values():
            await desk.close()

    def _desk(self, account: Account, operation: str) -> _Desk:
        key = (account.group(), operation)
        if key not in self._desks:
            self._desks[key] = _Desk(
                key,
                account.rate(operation),
                ledger=self._ledger,
                clock=self._clock,
                telemetry=self._telemetry,
                margin=self._margin,
                lead=self._lead,
                tell_rate=lambda: self._tell_rate(operation),
            )
        return self._desks[key]

    def _tell_rate(self, operation: str) -> None:
        slowest = min(desk.rate() for (_, name), desk in self._desks.items() if name == operation)
        self._telemetry.level("quota_rate", slowest, operation=operation)


class _Desk:
    """Deals the slots of one operation of one quota group."""

    def __init__(
        self,
        key: tuple[str, str],
        rate: float,
        *,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        margin: float,
        lead: float,
        tell_rate: Callable[[], None],
    ) -> None:
        self._group, self._operation = key
        self._ledger, self._clock, self._telemetry, self._lead = ledger, clock, telemetry, lead
        self._rate, self._tell_rate = rate, tell_rate
        self._most, self._span = window(rate)
        self._full_spacing = spacing(self._most / self._span, margin)  # 2.5/s means two in any second
        self._guard = self._span + margin * GUARD_SHARE
        self._bucket = AsyncLimiter(self._most, self._span)
        self._sends: list[float] = []  # ascending
        self._noted: dict[float, float] = {}  # slot → the send noted for it
        self._passing = asyncio.Lock()
        self._lanes: dict[Lane, dict[str, list[_Waiter]]] = {lane: {} for lane in Lane}
        self._passes = NO_PASSES
        self._granted: deque[float] = deque()
        self._pace = FULL_PACE
        self._slowed = 0
        self._last_due = self._not_before = -math.inf
        self._foreign_told_at = -math.inf
        self._tickets = 0
        self._dealing: asyncio.Task[None] | None = None

    def slow_down(self) -> None:
        """Take a new, slower pace, for the slots that were taken from the ledger beforehand as well."""
        now = self._clock.monotonic()
        before, self._pace = self._pace, self._pace.throttled(now)
        if self._pace.lowered_at != before.lowered_at:
            self._slowed += 1
            self._granted.clear()
            self._not_before = max(now, self._last_due) + self._spacing()
            self._telemetry.log("warning", "a quota is slowed", **self._names(), rate=round(self.rate(), 3))
        self._tell_rate()

    def spent_by_others(self) -> bool:
        """Whether our own sends can't have used up the quota."""
        return spent_by_others(self._sends, self._clock.monotonic(), self._rate)

    def tell_foreign(self) -> None:
        """Say that somebody else spends the quota, once in a while."""
        now = self._clock.monotonic()
        if now - self._foreign_told_at >= TELLING_SECONDS:
            self._foreign_told_at = now
            self._telemetry.log("warning", "somebody else spends this quota", **self._names(), quota=self._rate)

    def rate(self) -> float:
        """Requests per second it goes at now."""
        return self._pace.share(self._clock.monotonic()) * self._most / self._span

    def _names(self) -> dict[str, str]:
        return {"operation": self._operation, "quota_group": self._group}

    def _spacing(self) -> float:
        """Seconds between two slots at the present pace."""
        return self._full_spacing / self._pace.share(self._clock.monotonic())

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
            if len(self._sends) >= self._most:
                await self._clock.sleep(self._sends[-self._most] + self._guard - self._clock.monotonic())
            if self._clock.monotonic() - slot.due > LATE_SECONDS + self._full_spacing:
                return False
            await self._bucket.acquire()
            now = self._clock.monotonic()
            self._noted[slot.at] = now
            self._note_send(now)
            return True

    def sent(self, slot: Slot) -> None:
        """The request left now: later than it was let through if its connection had to be made first."""
        noted = self._noted.pop(slot.at, None)
        if noted in self._sends:
            self._sends.remove(noted)
            self._note_send(self._clock.monotonic())

    def _note_send(self, now: float) -> None:
        """Remember sends as long as the guard and the look at our own spending need them."""
        insort(self._sends, now)
        kept = bisect_left(self._sends, now - look_back(self._rate))
        del self._sends[: min(kept, len(self._sends) - self._most if len(self._sends) > self._most else 0)]
        if len(self._noted) > 2 * self._most:  # sends that nobody reported
            self._noted = {at: when for at, when in self._noted.items() if when in self._sends}

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
            slowed = self._slowed
            try:
                at = await self._next_slot()
            except Exception as away:  # noqa: BLE001 - no slot can be had: everybody who waits learns why
                self._refuse(away)
                return
            due = self._clock.monotonic() + (at - self._clock.now())
            await self._clock.sleep(due - self._lead - self._clock.monotonic())
            if slowed != self._slowed:
                self._granted.clear()
                continue  # the slot was taken at a pace that is too fast by now
            waiter = self._pick()
            if waiter is None:
                self._granted.appendleft(at)
                return
            self._last_due = due
            slot = Slot(quota_group=self._group, operation=self._operation, at=at, due=due)
            waiter.slot.set_result(slot)

    async def _next_slot(self) -> float:
        """The absolute time of the next slot that has not passed, nor gone far ahead with the wall clock set back."""
        now, apart = self._clock.now(), self._spacing()
        most = max(1, min(BATCH, math.floor(1.0 / apart)))
        while self._granted:
            at = self._granted.popleft()
            if now <= at <= now + SET_BACK_SECONDS + 2 * most * apart:
                return at
        count = min(most, max(1, self._count()))
        not_before = now + max(0.0, self._not_before - self._clock.monotonic())
        first = await self._ledger.reserve_slots(
            self._group, self._operation, count=count, spacing=apart, not_before=not_before
        )
        self._tell_rate()
        self._granted.extend(first + apart * nth for nth in range(count))
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
