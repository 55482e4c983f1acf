"""How long the sandbox had not looked at its sockets when it took a request: so long the request may have lain there.

A busy machine stops any process now and then for tens of milliseconds, the sandbox too. What came meanwhile is noted
late and in a bunch, and a caller who kept to the quota would seem to have broken it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

TICK_SECONDS = 0.002
LEAST_SECONDS = 0.004
"""Less than this beyond a tick is the ordinary work of the loop."""
AFTERMATH_SECONDS = 0.005
"""A request that came during a stall is noted within this after its end: accepted, read and parsed, turn by turn."""


class Attention:
    """Notes every other millisecond that the loop turns."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ticked_at: float | None = None
        self._stalled_since = self._stalled_until = -math.inf

    def start(self) -> None:
        """Tick from now on, for as long as the loop runs."""
        now = self._monotonic()
        if self._gap(now) >= LEAST_SECONDS:
            self._stalled_since, self._stalled_until = now - self._gap(now), now
        self._ticked_at = now
        asyncio.get_running_loop().call_later(TICK_SECONDS, self.start)

    def unseen(self, now: float) -> float:
        """For how many seconds before ``now`` nobody looked; 0 when that is ordinary, or nobody ticks."""
        if now - self._stalled_until <= AFTERMATH_SECONDS:
            return now - self._stalled_since
        gap = self._gap(now)
        return gap if gap >= LEAST_SECONDS else 0.0

    def _gap(self, now: float) -> float:
        return 0.0 if self._ticked_at is None else now - self._ticked_at - TICK_SECONDS
