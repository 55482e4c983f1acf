"""The fleet's slots: reserved in PostgreSQL by its clock, told in the time of ours."""

from __future__ import annotations

from collections import deque
from typing import Final

from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_postgres.sql import NOW
from service.application.ports import Clock, UnavailableError

CLOCK_STEP: Final = 5.0  # seconds: a slot further ahead than this means that the server's clock was set back
COLD_START: Final = 1.0  # seconds: the longest window a quota counts over
SAMPLES: Final = 32  # the quickest of the last so many replies tells best how far apart the clocks are
SAMPLE_SECONDS: Final = 60.0  # in which clocks drift by less than a few milliseconds

# $3 count times spacing; $4 seconds from now that the first may lie; $5 the same for who was never asked for
RESERVE = f"""
INSERT INTO quota_slots AS q (quota_group, operation, next_at) VALUES ($1, $2, {NOW} + $5::float8 + $3::float8)
ON CONFLICT (quota_group, operation) DO UPDATE SET next_at = $3 + CASE
    WHEN q.next_at > {NOW} + $4::float8 + $3 + {CLOCK_STEP} THEN {NOW} + {COLD_START}
    ELSE greatest(q.next_at, {NOW} + $4) END
RETURNING next_at - $3, {NOW}
"""  # noqa: S608


class SlotLedger:
    """Reserves slots and remembers how far the server's clock is from ours.

    After the database was away the first slots lie a window ahead: a standby that took over may have missed the last
    slots that were given out.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        """Nothing is known of the server's clock yet, so the first slots lie a window ahead."""
        self._database = database
        self._clock = clock
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=SAMPLES)  # round trip, ahead of ours, when
        self._warm: set[tuple[str, str]] = set()  # those asked for since it was last away

    async def reserve(
        self, quota_group: str, operation: str, *, count: int, spacing: float, not_before: float
    ) -> float:
        """The time of the first of `count` slots (seconds since the epoch, by our clock). Raises UnavailableError."""
        ahead = max(0.0, not_before - self._clock.now())
        key = (quota_group, operation)
        if key not in self._warm:
            ahead = max(ahead, COLD_START)
        begun = self._clock.monotonic()
        try:
            first, server_now = await self._ask(quota_group, operation, count * spacing, ahead)
        except UnavailableError:
            self._warm.clear()
            raise
        self._note(begun, server_now)
        self._warm.add(key)
        return self._clock.now() + first - (self._clock.monotonic() + self._ahead())

    async def _ask(self, quota_group: str, operation: str, length: float, ahead: float) -> tuple[float, float]:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(RESERVE, quota_group, operation, length, ahead, max(ahead, COLD_START))
            if row is None:
                raise UnavailableError("ledger", "no slot came back")
            return row[0], row[1]

    def _note(self, begun: float, server_now: float) -> None:
        ended = self._clock.monotonic()
        while self._samples and self._samples[0][2] < ended - SAMPLE_SECONDS:
            self._samples.popleft()
        self._samples.append((ended - begun, server_now - (begun + ended) / 2, ended))

    def _ahead(self) -> float:
        """How far the server's clock is ahead of our monotonic one."""
        return min(self._samples)[1]
