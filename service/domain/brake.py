"""The brake: when bad records among those that claim to be ours are so many that their topic had better wait."""

from __future__ import annotations

from typing import Final

from service.domain.value import Value

PROBE_RECORDS: Final = 10  # after a pause: so many are judged before the topic counts as good again


class BrakePolicy(Value, frozen=True, kw_only=True):
    """When a topic is paused: of its last `window` records, of which `least` were seen, more than `share` are bad.

    After `resume_seconds` a few records are tried. A share of 1 never pauses.
    """

    window: int = 200
    least: int = 50
    share: float = 0.3
    resume_seconds: float = 60.0


DEFAULT_BRAKE: Final = BrakePolicy()


class Brake(Value, frozen=True, kw_only=True):
    """What a topic's last records were, newest first in the bits of `marks` (1: bad), and whether they are a probe.

    Records of foreign types are never noted. `resumes_at` (monotonic seconds) is set while the topic is paused.
    """

    marks: int = 0
    seen: int = 0
    probing: bool = False
    resumes_at: float | None = None

    @property
    def paused(self) -> bool:
        """True while nothing may be taken in."""
        return self.resumes_at is not None

    @property
    def bad(self) -> int:
        """How many of the records seen were bad."""
        return self.marks.bit_count()

    def note(self, policy: BrakePolicy, *, bad: bool, now: float) -> Brake:
        """The brake after one more record; if it is `paused` then, that record had better not be taken in."""
        marks = (self.marks << 1 | bad) & ((1 << policy.window) - 1)
        after = Brake(marks=marks, seen=min(self.seen + 1, policy.window), probing=self.probing)
        if after._too_bad(policy):
            return Brake(marks=marks, seen=after.seen, resumes_at=now + policy.resume_seconds)
        if after.probing and after.seen >= PROBE_RECORDS:
            return Brake(marks=marks, seen=after.seen)
        return after

    def found_bad(self, count: int) -> Brake:
        """Records that were noted as good turned out bad later: it is the next record that may pause the topic."""
        marks = self.marks
        for _ in range(min(count, self.seen - self.bad)):
            marks |= marks + 1  # the lowest bit that is not set
        return Brake(marks=marks, seen=self.seen, probing=self.probing, resumes_at=self.resumes_at)

    def probe(self) -> Brake:
        """The brake after its pause: the next few records alone decide."""
        return Brake(probing=True)

    def _too_bad(self, policy: BrakePolicy) -> bool:
        """A probe is over as soon as it can only end badly; otherwise a few records decide nothing."""
        if self.probing:
            return self.bad > policy.share * PROBE_RECORDS
        return self.seen >= policy.least and self.bad > policy.share * self.seen
