"""The port `TokenBook` in memory: one quota shared by every process of a test."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.application.ports import Clock, Lent, LentToken, UnavailableError
from service.domain.quota import window
from service.domain.quota_tokens import Counter, Wish, cold, lend


@dataclass
class SharedTokens:
    """What the fleet's ledger holds. `owners` counts the processes that joined, `rates` are changed by a person."""

    clock: Clock
    counters: dict[tuple[str, str], Counter] = field(default_factory=lambda: defaultdict(Counter))
    owners: int = 0
    rates: dict[tuple[str, str], float] = field(default_factory=dict)

    def join(self, *, seconds: float = 0.002) -> FakeTokenBook:
        """One more process, to whom a call costs that long."""
        self.owners += 1
        return FakeTokenBook(self, self.owners, seconds)


@dataclass
class FakeTokenBook:
    """One process's view. `away`: the ledger does not answer."""

    shared: SharedTokens
    owner: int
    seconds: float
    away: bool = False
    asked: int = 0

    async def lend_tokens(
        self,
        quota_group: str,
        operation: str,
        *,
        wanted: int,
        returned: Mapping[int, float],
        rate: float,
        gap: float,
    ) -> Lent:
        """As the real one does."""
        await asyncio.sleep(self.seconds / 2)
        if self.away:
            raise UnavailableError("ledger", "away")
        self.asked += 1
        now, key = self.shared.clock.now(), (quota_group, operation)
        counter, rate = self.shared.counters[key], self.shared.rates.get(key, rate)
        most, span = window(rate)
        if not counter.tokens:
            counter = Counter(tokens=cold(most, span, now))
        fewer, more = counter.tokens[:most], cold(most, span, now)[len(counter.tokens) :]
        counter = Counter(tokens=fewer + more, asks=counter.asks)
        wish = Wish(owner=self.owner, wanted=wanted, returned={n: now + free for n, free in returned.items()})
        self.shared.counters[key], share = lend(counter, wish, gap=gap * span, now=now)
        mine = self.shared.counters[key].of(self.owner)
        await asyncio.sleep(self.seconds / 2)
        tokens = tuple(LentToken(number=t.number, free_in=t.free_at - now, lasts=t.until - now) for t in mine)
        return Lent(tokens=tokens, share=share, rate=rate)
