"""The arithmetic of quotas: how far slots lie apart, which lane the next goes to, how a throttled quota slows."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from service.domain.command import Lane
from service.domain.value import Value

SHARES: Final[Mapping[Lane, int]] = {Lane.LIVE: 80, Lane.SETTLE: 10, Lane.REPLAY: 5, Lane.SWEEP: 5}

MARGIN: Final = 0.015
"""The share of a quota that is left unused unless told otherwise: 98.5 % are used, or 98 % with what little a start,
a handover or a busy moment loses."""

LOWERED_TO: Final = 0.5  # of the share that was, with each decrease
LEAST_SHARE: Final = 0.05  # of the quota: so much is always tried, else nothing could tell that it is better
RECOVERY_SECONDS: Final = 60.0  # from nothing to the whole quota
DECREASE_SECONDS: Final = 1.0  # calls of one window are throttled for one reason: they lower the pace once
FOREIGN_SENDS: Final = 5  # the fewest sends at the whole quota that a look at our own spending must cover
FOREIGN_SHARE: Final = 0.9  # of those: a rate this close to the quota could be our own fault
REPLY_SECONDS: Final = 3.0  # how long ago a call that is said to be throttled may have been sent

Passes = Mapping[Lane, float]
NO_PASSES: Final[Passes] = dict.fromkeys(SHARES, 0.0)


def spacing(rate: float, margin: float) -> float:
    """Seconds between two slots of an operation with `rate` requests/s; `margin` is a share of the window.

    Slots that far apart put exactly as many of them as a window may hold into `1 + margin` windows: a request may
    arrive up to `margin` windows late, the one a window's count after it on time, and still none holds more.
    """
    most, seconds = window(rate)
    return (1.0 + margin) * seconds / most


def window(rate: float) -> tuple[int, float]:
    """How many sends a span of how many seconds may hold: (20, 1.0) for 20/s, (1, 2.0) for one in two seconds.

    No second holds a part of a request, so 2.5/s is (2, 1.0).
    """
    return (math.floor(rate), 1.0) if rate >= 1 else (1, 1.0 / rate)


def next_lane(passes: Passes, waiting: Collection[Lane]) -> tuple[Lane, Passes]:
    """Stride scheduling: the waiting lane that has had least for its share, and the counts after serving it.

    A lane that was idle starts level with the least served of those that waited, so an unused share is lent
    and never saved up for a burst. Raises ValueError when nothing waits.
    """
    if not waiting:
        raise ValueError("no lane waits")
    chosen = min((lane for lane in SHARES if lane in waiting), key=passes.__getitem__)
    level = passes[chosen]
    after = {lane: max(served, level) for lane, served in passes.items()}
    after[chosen] = level + 1.0 / SHARES[chosen]
    return chosen, after


class Pace(Value, frozen=True, kw_only=True):
    """The share of its quota that an operation goes at: lowered by throttling, then growing with time.

    `rate_share` held at `changed_at`; the last decrease was at `lowered_at` (seconds of one monotonic clock).
    """

    rate_share: float = 1.0
    changed_at: float = 0.0
    lowered_at: float = -math.inf

    def share(self, now: float) -> float:
        """The share of the quota to go at now: linear growth, a whole quota in `RECOVERY_SECONDS`."""
        return min(1.0, self.rate_share + max(0.0, now - self.changed_at) / RECOVERY_SECONDS)

    def throttled(self, now: float) -> Pace:
        """The pace after a reply that said "too fast": half of what it was, and growing anew from there.

        Further such replies within a second lower nothing more, but the growth begins with the last of them.
        """
        share = self.share(now)
        if now - self.lowered_at < DECREASE_SECONDS:
            return Pace(rate_share=share, changed_at=now, lowered_at=self.lowered_at)
        return Pace(rate_share=max(LEAST_SHARE, share * LOWERED_TO), changed_at=now, lowered_at=now)


FULL_PACE: Final = Pace()


def look_back(rate: float) -> float:
    """How many seconds of our own sends `spent_by_others` needs to know."""
    return _looked_at(rate)[1] + REPLY_SECONDS


def spent_by_others(sends: Sequence[float], now: float, rate: float) -> bool:
    """Whether a throttled reply at `now` can't be our own doing: none of the last windows held our whole quota.

    `sends` are the moments of our own, ascending, of at least the last `look_back` seconds. Quotas of a few requests
    a second are judged over several windows, as one request there already is the whole of one.
    """
    most, seconds = _looked_at(rate)
    recent = [at for at in sends if at > now - look_back(rate)]
    busiest = max((bisect_left(recent, first + seconds) - nth for nth, first in enumerate(recent)), default=0)
    return busiest < FOREIGN_SHARE * most


def _looked_at(rate: float) -> tuple[int, float]:
    """How many sends so many seconds may hold: whole windows, and at least `FOREIGN_SENDS`."""
    most, seconds = window(rate)
    windows = math.ceil(FOREIGN_SENDS / most)
    return most * windows, seconds * windows
