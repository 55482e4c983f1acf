"""Forecast: when work that waits for a quota is done, lane by lane, if nothing else comes."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.command import Lane
from service.domain.quota import MARGIN, SHARES, spacing


def usable_rate(quota: float, margin: float = MARGIN) -> float:
    """Requests per second that a quota of so many is really used at."""
    return 1.0 / spacing(quota, margin)


def seconds_until_empty(backlog: Mapping[Lane, int], rate: float) -> dict[Lane, float]:
    """For each lane that holds work, the seconds until its last call is sent, at `rate` calls/s together.

    Lanes that wait share the rate by their weights; whoever is done leaves its share to the others.
    """
    left = {lane: float(number) for lane, number in backlog.items() if number > 0}
    done: dict[Lane, float] = {}
    now = 0.0
    while left:
        weight = sum(SHARES[lane] for lane in left)
        pace = {lane: rate * SHARES[lane] / weight for lane in left}
        step = min(left[lane] / pace[lane] for lane in left)
        now += step
        for lane in list(left):
            left[lane] -= pace[lane] * step
            if left[lane] <= 1e-9:
                done[lane] = now
                del left[lane]
    return done


def longest(seconds: Mapping[Lane, float]) -> float:
    """When the last lane is empty; 0 if none holds work."""
    return max(seconds.values(), default=0.0)


def sure_rate(rate: float, lane: Lane) -> float:
    """Calls per second that a lane is sure of, of `rate`, while all others have work."""
    return rate * SHARES[lane] / sum(SHARES.values())
