"""Retention: erases what is finished when its time is over, and identities of events when no topic can bring them back.

Called by the worker. Promises that nothing unfinished goes, and that no event is forgotten that its topic may still
hold: while a topic keeps its records for longer than identities are kept, no identity is erased. Stopping the whole
service would be worse, and so would erasing: what is read again would be worked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from service.application.ports import Clock, Ledger, TopicTimes, UnavailableError
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going
from service.application.telemetry import Telemetry
from service.domain.retention import FINISHED, Erasable, Objection, RetentionPolicy, TopicKeeping, objections

EVERY_SECONDS: Final = 3600.0  # a pass
ASK_AGAIN_SECONDS: Final = 60.0  # Kafka, while it is away
BATCH: Final = 50
PAUSE_SECONDS: Final = 0.25  # after a batch: others' transactions come first
LOOK_SECONDS: Final = 5.0  # whether a pass is due; shorter than the watchdog's patience


class Retention:
    """Every process of a fleet has one; what they do beside each other does no harm."""

    def __init__(
        self, *, ledger: Ledger, topics: TopicTimes, clock: Clock, telemetry: Telemetry, policy: RetentionPolicy
    ) -> None:
        """The first pass is due at once."""
        self._ledger = ledger
        self._topics = topics
        self._clock = clock
        self._telemetry = telemetry
        self._policy = policy
        self._due = clock.monotonic()
        self._left: list[Erasable] = []
        self._erased: Counter[Erasable] = Counter()
        self._told: Sequence[Objection] = ()

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Erase until asked to stop."""
        await keep_going(
            self._round, name="retention", stopping=stopping, clock=self._clock, telemetry=self._telemetry, pulse=pulse
        )

    async def run_once(self) -> int:
        """Erase one batch if a pass is due or under way; how many rows, 0 once there is nothing to do for now."""
        if not self._left and not await self._begin():
            return 0
        while self._left:
            what = self._left[0]
            erased = await self._ledger.erase(what, before=self._before(what), limit=BATCH)
            if erased:
                self._erased[what] += erased
                self._telemetry.count("erased_rows_total", erased, what=what)
                return erased
            self._left.pop(0)
        self._end()
        return 0

    async def _round(self) -> None:
        erased = await self.run_once()
        await self._clock.sleep(PAUSE_SECONDS if erased else LOOK_SECONDS)

    def _before(self, what: Erasable) -> float:
        keep = self._policy.identity if what is Erasable.IDENTITIES else self._policy.finished
        return self._clock.now() - keep

    async def _begin(self) -> bool:
        """Begin a pass if one is due and Kafka says how long its topics keep their records."""
        now = self._clock.monotonic()
        if now < self._due:
            return False
        try:
            topics = await self._topics.keeping()
        except UnavailableError as away:
            self._due = now + ASK_AGAIN_SECONDS
            self._telemetry.count("loop_failures_total", loop="retention", part=away.part)
            self._telemetry.log("warning", "nothing is erased until Kafka says how long it keeps", reason=str(away))
            return False
        self._due = now + EVERY_SECONDS
        self._left = [*FINISHED, *(() if self._speaks_against(topics) else (Erasable.IDENTITIES,))]
        return True

    def _speaks_against(self, topics: Sequence[TopicKeeping]) -> bool:
        """Whether identities have to stay; what changed since the last pass is told."""
        found = objections(topics, self._policy)
        self._telemetry.level("identities_kept", 1 if found else 0)
        for objection in found:
            if objection not in self._told:
                self._telemetry.log(
                    "error" if objection.certain else "warning",
                    "no identity of an event is erased",
                    topic=objection.topic,
                    reason=objection.found,
                    what_to_do=objection.advice,
                )
        if self._told and not found:
            self._telemetry.log("info", "identities of events are erased again when their time is over")
        self._told = found
        return bool(found)

    def _end(self) -> None:
        if self._erased:
            self._telemetry.log("info", "erased what was over", **{kind.value: n for kind, n in self._erased.items()})
        self._erased.clear()
