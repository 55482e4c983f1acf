"""Whether a process still makes progress: its loops turn, and what Kafka holds for it is fetched."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.value import Value


class PartitionStanding(Value, frozen=True, kw_only=True):
    """How far one partition is read: the offset fetched next (None: not known yet), and the end of what is there."""

    position: int | None
    end: int
    paused: bool = False

    @property
    def behind(self) -> bool:
        """True if there is something to fetch, and it may be fetched."""
        return not self.paused and self.end > (self.position or 0)


class SourceStanding(Value, frozen=True, kw_only=True):
    """What the broker and the group's member say of each other, by partition (`topic/number`).

    `asked` counts the fetches that met no trouble, whether or not they brought anything: who does not ask can't
    expect to move.
    """

    asked: int
    partitions: Mapping[str, PartitionStanding]


class LivenessPolicy(Value, frozen=True, kw_only=True):
    """How long a loop's round may take, and how long a partition may stand still with records waiting (seconds)."""

    loop_seconds: float = 60.0
    stalled_seconds: float = 120.0


class Standstill(Value, frozen=True, kw_only=True):
    """Something that no longer moves: a `loop` by its name, or a `partition` as `topic/number`."""

    kind: str
    name: str
    since: float

    def told(self, now: float) -> str:
        """In words, with how long it has been so."""
        what = "has not turned" if self.kind == "loop" else "has records that are not fetched"
        return f"{self.kind} {self.name} {what} for {now - self.since:.0f} s"


class _Still(Value, frozen=True):
    """Where a partition that is behind stands, since when, on the monotonic clock."""

    position: int | None
    since: float


class Liveness:
    """Fed with beats and standings, asked with the time; all times are of the monotonic clock.

    Work that is not due, a vendor or a ledger that is away, a paused topic, a member without partitions and a broker
    that does not answer are no standstill: starting the process anew would mend none of them.
    """

    def __init__(self, policy: LivenessPolicy) -> None:
        """Nothing is watched before it has moved once."""
        self._policy = policy
        self._beats: dict[str, float] = {}
        self._still: dict[str, _Still] = {}
        self._asked = 0
        self._looked_at = 0.0

    def beat(self, loop: str, now: float) -> None:
        """A loop begins a round."""
        self._beats[loop] = now

    def rest(self, loop: str) -> None:
        """A loop has ended because it was asked to."""
        self._beats.pop(loop, None)

    def stands(self, source: SourceStanding | None, now: float) -> None:
        """How far the partitions are read; None: the broker does not answer, or there is no member yet."""
        self._looked_at = now
        if source is None or source.asked == self._asked:
            self._still = {}  # nobody could have moved
            return
        self._asked = source.asked
        still: dict[str, _Still] = {}
        for name, partition in source.partitions.items():
            if partition.behind:
                before = self._still.get(name)
                stayed = before is not None and before.position == partition.position
                still[name] = before if stayed and before is not None else _Still(partition.position, now)
        self._still = still

    def standstills(self, now: float) -> tuple[Standstill, ...]:
        """What no longer moves: loops as of now, partitions as of the last look. Nothing while the process lives."""
        loops = (
            Standstill(kind="loop", name=name, since=at)
            for name, at in self._beats.items()
            if now - at > self._policy.loop_seconds
        )
        partitions = (
            Standstill(kind="partition", name=name, since=still.since)
            for name, still in self._still.items()
            if self._looked_at - still.since > self._policy.stalled_seconds
        )
        return (*loops, *partitions)
