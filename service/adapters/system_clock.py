"""The machine's clock and chance."""

from __future__ import annotations

import asyncio
import random
import time


class SystemClock:
    """Wall time, monotonic time and sleep of this machine."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Give way for that long."""
        await asyncio.sleep(max(0.0, seconds))


class SystemRandomness:
    """Chance from the operating system's seed; it spreads retries and guards nothing."""

    def __init__(self) -> None:
        """Seed once."""
        self._random = random.Random()  # noqa: S311 - jitter, not cryptography

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
