"""The watchdog: asks now and then how far Kafka is read, and says when a loop or a partition no longer moves.

Called by the worker; `/livez` asks it. It mends nothing: whoever runs the process starts it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from service.application.ports import Clock
from service.application.telemetry import Telemetry
from service.domain.liveness import Liveness, LivenessPolicy, SourceStanding, Standstill

NAME: Final = "watchdog"
LOOK_SECONDS: Final = 5.0
FEEL_SECONDS: Final = 0.5
LOOKS_WITHIN: Final = 6  # so often a partition is looked at before it counts as stalled
TO_DO: Final = "start the process anew (an orchestrator does, on /livez); the ledger keeps everything"


class Source(Protocol):
    """Whoever knows how far the in-topics are read."""

    async def standing(self) -> SourceStanding | None:
        """How far each partition is read; None when the broker does not answer within seconds, or nothing is joined.

        Never raises for what is away, and never disturbs a fetch that is under way.
        """
        ...


class Watchdog:
    """Fulfils `Pulse` for the loops. Without a `source` only they are watched."""

    def __init__(self, *, clock: Clock, telemetry: Telemetry, policy: LivenessPolicy) -> None:
        """Nothing is watched before it has moved once."""
        self._clock = clock
        self._telemetry = telemetry
        self._liveness = Liveness(policy)
        self._every = min(LOOK_SECONDS, policy.stalled_seconds / LOOKS_WITHIN)
        self._told: Mapping[tuple[str, str], Standstill] = {}
        telemetry.level("watchdog_alive", 1)

    def beat(self, loop: str) -> None:
        """A loop begins a round."""
        self._liveness.beat(loop, self._clock.monotonic())

    def rest(self, loop: str) -> None:
        """A loop has ended because it was asked to."""
        self._liveness.rest(loop)

    def standstills(self) -> tuple[str, ...]:
        """What no longer moves, in words; nothing while the process lives."""
        now = self._clock.monotonic()
        return tuple(standstill.told(now) for standstill in self._liveness.standstills(now))

    async def run(self, source: Source) -> None:
        """Look until cancelled. It beats like any loop: were it lost, nobody would watch the partitions."""
        while True:
            self.beat(NAME)
            await self.look(source)
            await self._clock.sleep(self._every)

    async def feel(self) -> None:
        """Measure how late the process wakes up, until cancelled: work that does not give way delays everything."""
        while True:
            asked = self._clock.monotonic()
            await self._clock.sleep(FEEL_SECONDS)
            self._telemetry.observe("loop_lag_seconds", max(0.0, self._clock.monotonic() - asked - FEEL_SECONDS))

    async def look(self, source: Source) -> None:
        """Look once, and tell what changed. A fault in looking is told, and watches no partition meanwhile."""
        try:
            standing = await source.standing()
        except Exception as bug:  # noqa: BLE001 - the watchdog must outlive a bug in one look; it is logged
            self._telemetry.log("error", "the watchdog can't look", exc_info=bug)
            standing = None
        self._show_lag(standing)
        now = self._clock.monotonic()
        self._liveness.stands(standing, now)
        self._tell({(s.kind, s.name): s for s in self._liveness.standstills(now)}, now)

    def _show_lag(self, standing: SourceStanding | None) -> None:
        if standing is not None:
            self._telemetry.show(
                "consumer_lag_records",
                {
                    tuple(name.rsplit("/", 1)): max(0, partition.end - partition.position)
                    for name, partition in standing.partitions.items()
                    if partition.position is not None
                },
            )

    def _tell(self, found: Mapping[tuple[str, str], Standstill], now: float) -> None:
        self._telemetry.level("watchdog_alive", 0 if found else 1)
        for key in found.keys() - self._told.keys():
            standstill = found[key]
            self._telemetry.log(
                "error",
                "the process makes no progress",
                what=standstill.kind,
                name=standstill.name,
                seconds=round(now - standstill.since),
                what_to_do=TO_DO,
            )
        for kind, name in self._told.keys() - found.keys():
            self._telemetry.log("info", "it moves again", what=kind, name=name)
        self._told = found
