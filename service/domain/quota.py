"""The arithmetic of quotas: how far slots lie apart, and which lane the next slot goes to."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from service.domain.command import Lane

SHARES: Final[Mapping[Lane, int]] = {Lane.LIVE: 80, Lane.SETTLE: 10, Lane.REPLAY: 5, Lane.SWEEP: 5}

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
    order = list(SHARES)
    chosen = min(waiting, key=lambda lane: (passes[lane], order.index(lane)))
    level = passes[chosen]
    after = {lane: max(served, level) for lane, served in passes.items()}
    after[chosen] = level + 1.0 / SHARES[chosen]
    return chosen, after
