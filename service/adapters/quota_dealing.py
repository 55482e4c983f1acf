"""What every quota does: who waits for a slot and in which order they get them, and how fast it may go now.

Where slots come from is the supply's business: this process's alone, or a fleet's.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Final, Protocol

from aiolimiter import AsyncLimiter

from service.application.ports import Clock, Slot
from service.application.telemetry import Telemetry
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.quota import FULL_PACE, NO_PASSES, look_back, next_lane, spacing, spent_by_others, window

GUARD_SHARE: Final = 0.75  # of the margin that lies at least between a send and the one that a window may hold no more
TELLING_SECONDS: Final = 60.0  # between two lines that say somebody else spends a quota

Key = tuple[str, str]  # quota group, operation
Waiting = Callable[[], int]  # how many wait for a slot now


async def sleep_until(moment: float, clock: Clock) -> None:
    """Sleep to a moment of the monotonic clock; for one that has passed nobody gives way."""
    left = moment - clock.monotonic()
    if left > 0:
        await clock.sleep(left)


class Spending:
    """How fast one operation of one quota group may go, and what it has spent of late."""

    def __init__(self, key: Key, rate: float, *, margin: float, clock: Clock, telemetry: Telemetry) -> None:
        """`rate` requests/s, of which the share `margin` is left for arrivals that jitter."""
        self.group, self.operation = key
        self.margin = margin
        self.change(rate)
        self.sends: list[float] = []  # ascending, monotonic
        self.slowed = 0
        self._clock, self._telemetry = clock, telemetry
        self._pace = FULL_PACE
        self._foreign_told_at = -math.inf

    def change(self, rate: float) -> None:
        """Go by another quota from now on: in another rhythm, behind a bucket of its own.

        What was sent before stays in mind, so that no window holds more than the larger of both.
        """
        self.quota = rate
        self.most, self.span = window(rate)
        self.full_spacing = spacing(self.most / self.span, self.margin)  # 2.5/s means two in any second
        self.guard = self.window(GUARD_SHARE)
        self.bucket = AsyncLimiter(self.most, self.span)

    def share(self) -> float:
        """The share of the quota to go at now."""
        return self._pace.share(self._clock.monotonic())

    def spacing(self) -> float:
        """Seconds between two slots at the present pace."""
        return self.full_spacing / self.share()

    def window(self, share: float) -> float:
        """Seconds of the quota's window and of this share of the margin."""
        return self.span * (1 + self.margin * share)

    def rate(self) -> float:
        """Requests per second it goes at now."""
        return self.share() * self.most / self.span

    def note(self, now: float) -> None:
        """Remember a send as long as guards and the look at our own spending need it."""
        insort(self.sends, now)
        kept = bisect_left(self.sends, now - look_back(self.quota))
        del self.sends[: min(kept, max(0, len(self.sends) - self.most))]

    def unnote(self, at: float) -> bool:
        """Forget a send, which happens at another moment; False if it is no longer known."""
        nth = bisect_left(self.sends, at)
        if nth == len(self.sends) or self.sends[nth] != at:
            return False
        del self.sends[nth]
        return True

    def slow_down(self) -> bool:
        """Take a slower pace; False if the last decrease was for the same window."""
        now = self._clock.monotonic()
        before, self._pace = self._pace, self._pace.throttled(now)
        if self._pace.lowered_at == before.lowered_at:
            return False
        self.slowed += 1
        self._telemetry.log("warning", "a quota is slowed", **self._names(), rate=round(self.rate(), 3))
        return True

    def spent_by_others(self) -> bool:
        """Whether our own sends can't have used up the quota."""
        return spent_by_others(self.sends, self._clock.monotonic(), self.quota)

    def tell_foreign(self) -> None:
        """Say that somebody else spends the quota, once in a while."""
        now = self._clock.monotonic()
        if now - self._foreign_told_at >= TELLING_SECONDS:
            self._foreign_told_at = now
            self._telemetry.log("warning", "somebody else spends this quota", **self._names(), quota=self.quota)

    def _names(self) -> dict[str, str]:
        return {"operation": self.operation, "quota_group": self.group}


class Supply(Protocol):
    """Where the slots of one operation of one quota group come from."""

    async def next(self) -> Slot:
        """The next slot whose moment has not passed. Raises UnavailableError."""
        ...

    def put_back(self, slot: Slot) -> None:
        """Nobody wants it any more."""
        ...

    def slowed(self) -> None:
        """The pace was lowered: slots taken beforehand are too early now."""
        ...

    async def ready(self, slot: Slot) -> bool:
        """Wait for the slot's moment; False if it may not be used any more."""
        ...

    def sent(self, slot: Slot) -> None:
        """The slot's request is written now. Raises HeldBackError if it must not be."""
        ...

    async def close(self) -> None:
        """Let go of what was taken beforehand."""
        ...


class DealtQuota:
    """Fulfils the Quota port for every quota group and operation."""

    def __init__(
        self,
        *,
        open_supply: Callable[[Spending, Waiting], Supply],
        clock: Clock,
        telemetry: Telemetry,
        margin: float,
        lead_seconds: float,
    ) -> None:
        """A slot is dealt `lead_seconds` before its moment, so that who is most urgent by then gets it."""
        self._open_supply = open_supply
        self._clock = clock
        self._telemetry = telemetry
        self._margin = margin
        self._lead = lead_seconds
        self._desks: dict[Key, _Desk] = {}

    async def reserve(self, account: Account, operation: str, lane: Lane, *, since: float) -> Slot:
        """Wait in the lane until a slot lies within the lead time; take it."""
        desk = self._desk(account, operation)
        slot = await desk.wait(account.name, lane, since)
        self._telemetry.count("slots_granted_total", operation=operation, account=account.name, lane=lane)
        self._tell_rate(desk, account.name)
        return slot

    async def ready(self, slot: Slot) -> bool:
        """Wait for the slot's moment; False if it has passed."""
        return await self._desks[slot.quota_group, slot.operation].supply.ready(slot)

    def sent(self, slot: Slot) -> None:
        """The slot's request is written now. Raises HeldBackError if it must not be."""
        self._desks[slot.quota_group, slot.operation].supply.sent(slot)

    def throttled(self, account: Account, operation: str) -> None:
        """Slow the quota at once; notice if it can't have been us who overspent it."""
        self._telemetry.count("throttled_total", operation=operation, account=account.name)
        desk = self._desk(account, operation)
        if desk.spending.slow_down():
            desk.supply.slowed()
        self._tell_rate(desk, account.name)
        if desk.spending.spent_by_others():
            self._telemetry.count("foreign_spending_total", operation=operation, account=account.name)
            desk.spending.tell_foreign()

    async def close(self) -> None:
        """Stop dealing slots; those who wait are cancelled."""
        for desk in self._desks.values():
            await desk.close()

    def _desk(self, account: Account, operation: str) -> _Desk:
        key = (account.group(), operation)
        if key not in self._desks:
            spending = Spending(
                key, account.rate(operation), margin=self._margin, clock=self._clock, telemetry=self._telemetry
            )
            queue = _Queue()
            supply = self._open_supply(spending, queue.__len__)
            self._desks[key] = _Desk(spending, supply, queue, clock=self._clock, lead=self._lead)
        return self._desks[key]

    def _tell_rate(self, desk: _Desk, account: str) -> None:
        """Show how fast each account of the quota's group goes now, if that has changed or is news of this one."""
        rate = desk.spending.rate()
        if rate == desk.told_rate and account in desk.accounts:
            return
        desk.told_rate = rate
        desk.accounts.add(account)
        for name in desk.accounts:
            self._telemetry.level("quota_rate", rate, account=name, operation=desk.spending.operation)


_Waiter = tuple[float, int, asyncio.Future[Slot]]  # since when, its ticket, what it waits for: compared in this order


class _Queue:
    """Who waits: by the lanes' shares, then accounts in turn, then age."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[str, list[_Waiter]]] = {lane: {} for lane in Lane}
        self._passes = NO_PASSES
        self._tickets = 0

    def join(self, account: str, lane: Lane, since: float) -> asyncio.Future[Slot]:
        self._tickets += 1
        slot: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._lanes[lane].setdefault(account, []), (since, self._tickets, slot))
        return slot

    def pick(self) -> asyncio.Future[Slot] | None:
        """The next one; who has left is forgotten."""
        while waiting := [lane for lane in Lane if self._lanes[lane]]:
            lane, passes = next_lane(self._passes, waiting)
            accounts = self._lanes[lane]
            account = next(iter(accounts))
            waiters = accounts.pop(account)
            _, _, slot = heapq.heappop(waiters)
            if waiters:
                accounts[account] = waiters  # goes to the end: accounts take turns
            if not slot.done():
                self._passes = passes
                return slot
        return None

    def __len__(self) -> int:
        return sum(len(waiters) for accounts in self._lanes.values() for waiters in accounts.values())

    def empty(self) -> list[asyncio.Future[Slot]]:
        """Everybody leaves."""
        left = [slot for accounts in self._lanes.values() for waiters in accounts.values() for _, _, slot in waiters]
        for accounts in self._lanes.values():
            accounts.clear()
        return [slot for slot in left if not slot.done()]


class _Desk:
    """Deals the slots of one operation of one quota group."""

    def __init__(self, spending: Spending, supply: Supply, queue: _Queue, *, clock: Clock, lead: float) -> None:
        self.spending, self.supply = spending, supply
        self._queue, self._clock, self._lead = queue, clock, lead
        self._dealing: asyncio.Task[None] | None = None
        self.told_rate = -1.0
        self.accounts: set[str] = set()  # those that the rate was told of

    async def wait(self, account: str, lane: Lane, since: float) -> Slot:
        waiting = self._queue.join(account, lane, since)
        if self._dealing is None or self._dealing.done():
            self._dealing = asyncio.get_running_loop().create_task(self._deal())
        return await waiting

    async def close(self) -> None:
        if self._dealing is not None:
            self._dealing.cancel()
            await asyncio.gather(self._dealing, return_exceptions=True)
        for waiting in self._queue.empty():
            waiting.cancel()
        await self.supply.close()

    async def _deal(self) -> None:
        """Give each slot, as it comes within the lead time, to whoever is next by then."""
        while len(self._queue) > 0:
            slowed = self.spending.slowed
            try:
                slot = await self.supply.next()
            except Exception as away:  # noqa: BLE001 - no slot can be had: everybody who waits learns why
                for waiting in self._queue.empty():
                    waiting.set_exception(away)
                return
            await sleep_until(slot.due - self._lead, self._clock)
            if slowed != self.spending.slowed:
                self.supply.slowed()
                self.supply.put_back(slot)
                continue  # the slot was taken at a pace that is too fast by now
            picked = self._queue.pick()
            if picked is None:
                self.supply.put_back(slot)
                return
            picked.set_result(slot)
