"""This process's part of a fleet's quota: tokens lent by the ledger, each used once in any window.

The tokens do the pacing. A send that comes late delays its own token and nothing else, so that neither a busy loop nor
a slow ledger can push more than the quota into one window, and no slot is lost to it. What a call costs is no round
trip: tokens are asked for beforehand, and prolonged while anybody waits.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.adapters.quota_dealing import GUARD_SHARE, DealtQuota, Spending, Waiting
from service.application.ports import Clock, HeldBackError, Lent, Slot, TokenBook, UnavailableError
from service.application.telemetry import Telemetry
from service.domain.quota import MARGIN

STRICT_SHARE: Final = 0.5  # less than this share of it, and the request is held back
RENEW_SECONDS: Final = 0.5  # tokens are prolonged so often while they are used
ASK_SECONDS: Final = 0.1  # between two asks for more
LEAST_SECONDS: Final = 0.001
SOON_SECONDS: Final = 0.25  # a token that is free later than this is worth an ask for another
WISHES: Final = 3
SPARE_SHARE: Final = 0.25  # of the tokens in use, held beside them
LEAST_SPARE_SHARE: Final = 0.05  # of all tokens there are: a pace that begins need not ask for each
HANDOVER_SECONDS: Final = 0.3  # a token that is free sooner lies idle on its way to another process
LOST_SECONDS: Final = 1.0  # who was dealt a slot and has not come for so long has gone
EVENNESS: Final = 0.8  # of the even distance between sends, kept at least: the rest is for catching up


class TokenQuota(DealtQuota):
    """The port `Quota` for a process of a fleet."""

    def __init__(
        self,
        *,
        book: TokenBook,
        clock: Clock,
        telemetry: Telemetry,
        margin: float = MARGIN,
        lead_seconds: float = 0.2,
    ) -> None:
        """`margin` is the share of the quota given up for arrivals that jitter (seconds of each second)."""
        super().__init__(
            open_supply=lambda spending, waiting: TokenSupply(
                spending, waiting, book=book, clock=clock, telemetry=telemetry
            ),
            clock=clock,
            telemetry=telemetry,
            margin=margin,
            lead_seconds=lead_seconds,
        )


@dataclass(slots=True, eq=False)
class _Token:
    """A token we hold. Times are of our monotonic clock.

    `nominal` is when it would be used next if nobody was ever late; `wrote_at` when a request last left with it.
    """

    number: int
    free_at: float
    until: float
    nominal: float
    wrote_at: float = -math.inf
    dealt: float | None = None  # the moment it was dealt for

    def use(self, now: float, period: float, gap: float) -> None:
        """A request is let through now."""
        self.dealt = None
        self.nominal = max(self.nominal, now - period) + period
        self.free_at = max(self.nominal, now + gap)


class TokenSupply:
    """Holds the tokens of one operation of one quota group."""

    def __init__(
        self,
        spending: Spending,
        waiting: Waiting,
        *,
        book: TokenBook,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Nothing is held yet."""
        self._waiting = waiting
        self._spending, self._book, self._clock, self._telemetry = spending, book, clock, telemetry
        self._configured = spending.quota
        self._tokens: dict[int, _Token] = {}
        self._share = self._wished = spending.most  # the last share that we heard of, and the wish it answers
        self._idle: list[tuple[float, int]] = []  # when it was to be free, and its number: may be behind what is known
        self._slots: dict[float, _Token] = {}  # by the moment it was dealt for
        self._asking = asyncio.Lock()
        self._asked_at = self._last_due = -math.inf
        self._wishes: deque[int] = deque(maxlen=WISHES)
        self._keeping: asyncio.Task[None] | None = None

    @property
    def _period(self) -> float:
        """Seconds between two uses of a token, by the quota in force."""
        return self._spending.full_spacing * self._spending.most

    @property
    def _strict(self) -> float:
        """Seconds between two uses of a token at the very least."""
        return self._spending.window(STRICT_SHARE)

    async def next(self) -> Slot:
        """The slot of the token that is free next; asks for more where that helps. Raises UnavailableError."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.get_running_loop().create_task(self._keep())
        while True:
            now = self._clock.monotonic()
            token = self._next_free(now)
            due = math.inf if token is None else max(token.free_at, self._not_before(now))
            if token is not None and (due <= now + SOON_SECONDS or not self._might_get_sooner(token, due)):
                return self._deal(token, due)
            if now - self._asked_at >= ASK_SECONDS:
                await self._ask()
            else:
                await self._clock.sleep(max(LEAST_SECONDS, self._asked_at + ASK_SECONDS - now))

    def _might_get_sooner(self, token: _Token, due: float) -> bool:
        """Whether an ask could bring a token that is free sooner than this one.

        A share that is all we wished for was that of the last ask, and may grow. Where it is our turn that comes late
        and not the token, no other helps.
        """
        if len(self._tokens) < self._share:
            return True
        return self._share >= self._wished and len(self._tokens) < self._spending.most and token.free_at >= due

    def _next_free(self, now: float) -> _Token | None:
        """The token that is free first, of those that nobody was dealt and that will still be ours at their moment."""
        not_before = self._not_before(now)
        while self._idle:
            free_at, number = self._idle[0]
            token = self._tokens.get(number)
            if token is None or token.dealt is not None or max(free_at, not_before) >= token.until:
                heapq.heappop(self._idle)  # comes back when it is, or when its time is prolonged
            elif token.free_at > free_at:
                heapq.heapreplace(self._idle, (token.free_at, number))
            else:
                return token
        return None

    def _not_before(self, now: float) -> float:
        """When any token may be used again: not in a bunch with our others."""
        share = self._spending.share()
        ours = self._period / max(1, len(self._tokens))
        apart = self._spending.full_spacing * EVENNESS if share >= 1 else ours / share
        return max(self._last_due + apart, now)

    def _deal(self, token: _Token, due: float) -> Slot:
        self._last_due = token.dealt = due
        at = self._clock.now() + due - self._clock.monotonic()
        self._slots[at] = token
        return Slot(quota_group=self._spending.group, operation=self._spending.operation, at=at, due=due)

    def put_back(self, slot: Slot) -> None:
        """Nobody wants it: its token is free again."""
        token = self._slots.pop(slot.at, None)
        if token is not None:
            token.dealt = None
            heapq.heappush(self._idle, (token.free_at, token.number))

    def slowed(self) -> None:
        """Nothing is taken beforehand but tokens, and those are used at the new pace."""

    async def ready(self, slot: Slot) -> bool:
        """Sleep to the slot's moment; False if its token is not ours any more."""
        await self._clock.sleep(slot.due - self._clock.monotonic())
        token = self._usable(slot)
        if token is not None:  # else the bucket would be emptied by those who may not send
            token.dealt = self._clock.monotonic() + self._spending.span  # has come, and is not lost while it waits now
            await self._spending.bucket.acquire()
            token = self._usable(slot)
        if token is None:
            self.put_back(slot)
            return False
        now = self._clock.monotonic()
        token.use(now, self._period, self._spending.guard)
        heapq.heappush(self._idle, (token.free_at, token.number))
        self._spending.note(now)
        return True

    def _usable(self, slot: Slot) -> _Token | None:
        """The slot's token, if a request may leave with it now."""
        token, now = self._slots.get(slot.at), self._clock.monotonic()
        return token if token and token.wrote_at + self._strict <= now < token.until else None

    def sent(self, slot: Slot) -> None:
        """The request leaves now: later than it was let through if its connection had to be made first.

        Raises HeldBackError if the token is not ours any more, or was used again meanwhile.
        """
        token, now = self._slots.pop(slot.at, None), self._clock.monotonic()
        if token is None or now >= token.until:
            raise HeldBackError("the slot was lent for a time that is over")
        if now < token.wrote_at + self._strict:
            raise HeldBackError("the slot's turn was over before the connection stood")
        self._wrote(token)
        asyncio.get_running_loop().call_soon(self._wrote, token)  # the system may let us wait before the write itself

    def _wrote(self, token: _Token) -> None:
        """By now the request has left, or is about to."""
        now = self._clock.monotonic()
        token.wrote_at = now
        token.free_at = max(token.free_at, now + self._spending.guard)

    async def close(self) -> None:
        """Return every token: others need not wait until their time is over."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._tokens:
            try:
                await self._lend(0, list(self._tokens.values()))
            except UnavailableError:
                return  # their time runs out

    async def _keep(self) -> None:
        """Prolong the tokens while they are used; return them when nobody waits any more."""
        while self._tokens or self._waiting() > 0:
            await self._clock.sleep(RENEW_SECONDS)
            try:
                await self._ask()
            except UnavailableError as away:
                self._telemetry.count("loop_failures_total", loop="quota", part=away.part)
                self._tokens = {n: t for n, t in self._tokens.items() if t.until > self._clock.monotonic()}

    async def _ask(self) -> None:
        """Say how many we could use now, and give back what exceeds our share of that."""
        async with self._asking:
            now = self._clock.monotonic()
            self._asked_at = now
            for at, token in list(self._slots.items()):
                if token.dealt is not None and token.dealt < now - LOST_SECONDS:
                    del self._slots[at]
                    token.dealt = None
            wanted = self._wanted(now)
            await self._lend(wanted, ())
            excess = self._excess(wanted)
            if excess:
                await self._lend(wanted, excess)

    def _wanted(self, now: float) -> int:
        """How many we could use at once, and some for what comes next, so that it need not wait until one is free.

        Of the last few asks the most, as work comes in batches.
        """
        busy = sum(token.dealt is not None or token.free_at > now for token in self._tokens.values())
        wanted = self._waiting() + busy
        spare = math.ceil(max(wanted * SPARE_SHARE, self._spending.most * LEAST_SPARE_SHARE)) if wanted else 0
        self._wishes.append(min(self._spending.most, wanted + spare))
        return max(self._wishes)

    def _excess(self, wanted: int) -> list[_Token]:
        """What exceeds our share: every so manieth of those that nobody could use at once, so that ours stay spread."""
        count = len(self._tokens) - self._share
        soon = self._clock.monotonic() + (HANDOVER_SECONDS if wanted else -math.inf)
        spare = sorted(
            (token for token in self._tokens.values() if token.dealt is None and token.free_at >= soon),
            key=lambda token: token.free_at,
        )
        count = min(count, len(spare))
        return [spare[(2 * nth + 1) * len(spare) // (2 * count)] for nth in range(count)]

    async def _lend(self, wanted: int, returned: Iterable[_Token]) -> None:
        begun = self._clock.monotonic()
        given_up, free = list(returned), dict[int, float]()
        for token in given_up:
            del self._tokens[token.number]
            free[token.number] = max(token.free_at, begun) - begun
            token.until = -math.inf  # whoever was dealt a slot of it may not use it any more
        lent = await self._book.lend_tokens(
            self._spending.group,
            self._spending.operation,
            wanted=wanted,
            returned=free,
            rate=self._configured,
            gap=1 + self._spending.margin * GUARD_SHARE,
        )
        if lent.rate != self._spending.quota:
            self._spending.change(lent.rate)
        self._wished = wanted
        self._take(lent, begun)

    def _take(self, lent: Lent, begun: float) -> None:
        """Hold what is ours: its end counted from before we asked, its beginning from after."""
        ended = self._clock.monotonic()
        held: dict[int, _Token] = {}
        for one in lent.tokens:
            token = self._tokens.get(one.number)
            if token is None:
                free_at = ended + max(0.0, one.free_in)
                token = _Token(number=one.number, free_at=free_at, until=0.0, nominal=free_at)
            token.until = begun + one.lasts
            held[one.number] = token
        for lost in self._tokens.keys() - held.keys():
            self._tokens[lost].until = -math.inf
        self._tokens, self._share = held, lent.share
        self._idle = sorted((token.free_at, token.number) for token in held.values() if token.dealt is None)
