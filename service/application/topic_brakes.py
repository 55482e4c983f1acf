"""The brakes of the topics that are read: which records intake may take in, and which wait until their topic is well.

Intake owns it; what it holds back is given back to the source, so that its offset is never let go.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from service.application.ports import Clock, EventSource
from service.application.telemetry import Telemetry
from service.domain.brake import Brake, BrakePolicy
from service.domain.record_reading import Defect, Ignored, Reading, Record

TO_DO: Final = (
    "look at the reasons of the dead letters above and mend whoever writes them; records that are sound are tried "
    "again by themselves; to let the bad ones go to the dead-letter topic, restart with brake.share: 1"
)


class TopicBrakes:
    """Pauses a topic when too many of its records are bad, and tries a few again later."""

    def __init__(self, *, source: EventSource, clock: Clock, telemetry: Telemetry, policy: BrakePolicy) -> None:
        """Nothing is paused after a start."""
        self._source = source
        self._clock = clock
        self._telemetry = telemetry
        self._policy = policy
        self._brakes: defaultdict[str, Brake] = defaultdict(Brake)

    def admit(self, readings: Sequence[tuple[Record, Reading]]) -> Sequence[tuple[Record, Reading]]:
        """What may be taken in, in its order; the rest is given back and comes again when its topic is well."""
        admitted: list[tuple[Record, Reading]] = []
        held_back: list[Record] = []
        for record, reading in readings:
            if self._passes(record.topic, reading):
                admitted.append((record, reading))
            else:
                held_back.append(record)
        if held_back:
            self._source.give_back(held_back)
        return admitted

    def found_bad(self, topics: Iterable[str]) -> None:
        """A record of each of these topics turned out to be a dead letter only when it was taken in."""
        for topic, count in Counter(topics).items():
            self._brakes[topic] = self._brakes[topic].found_bad(count)

    def resume_due(self) -> None:
        """Let the topics that have waited long enough be fetched again, for a probe."""
        now = self._clock.monotonic()
        for topic, brake in self._brakes.items():
            if brake.resumes_at is not None and brake.resumes_at <= now:
                self._brakes[topic] = brake.probe()
                self._source.resume(topic)
                self._telemetry.log("info", "a paused topic is tried again", topic=topic)

    def detail(self) -> str:
        """What `/readyz` says of it; nothing while no topic is paused."""
        paused = sorted(topic for topic, brake in self._brakes.items() if brake.paused or brake.probing)
        return f"paused for too many bad records: {', '.join(paused)}" if paused else ""

    def _passes(self, topic: str, reading: Reading) -> bool:
        brake = self._brakes[topic]
        if brake.paused or isinstance(reading, Ignored):
            return not brake.paused
        after = brake.note(self._policy, bad=isinstance(reading, Defect), now=self._clock.monotonic())
        self._brakes[topic] = after
        if after.paused:
            self._pause(topic, after)
        elif brake.probing and not after.probing:
            self._telemetry.level("topic_paused", 0, topic=topic)
            self._telemetry.log("info", "a paused topic reads well again", topic=topic)
        return not after.paused

    def _pause(self, topic: str, brake: Brake) -> None:
        self._source.pause(topic)
        self._telemetry.count("topic_pauses_total", topic=topic)
        self._telemetry.level("topic_paused", 1, topic=topic)
        self._telemetry.log(
            "error",
            "a topic is paused: too many of its records are bad",
            topic=topic,
            bad=brake.bad,
            seen=brake.seen,
            tried_again_in_seconds=self._policy.resume_seconds,
            what_to_do=TO_DO,
        )
