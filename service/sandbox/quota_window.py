"""The vendor's rate limit: at most so many accepted arrivals of one account and operation in any one second."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping

from service.sandbox.arrival import Arrival

WINDOW_SECONDS = 1.0
_REMEMBERED_SECONDS = 30.0  # far longer than a body takes to arrive
DEFAULT_QUOTAS: Mapping[str, int] = {"tencent_ccc": 20, "huawei_aicc": 5}


class QuotaWindow:
    """Accepted arrivals of one account and operation; an arrival exactly one second later is in another window."""

    def __init__(self) -> None:
        self._accepted: list[Arrival] = []

    def admit(self, arrival: Arrival, quota: int) -> bool:
        """Accept the arrival unless some one-second window then holds more than ``quota`` accepted ones for sure.

        Requests are judged when their body has been read: arrivals may come slightly out of order, the rule holds.
        What may have been seen late is taken for the caller's best.
        """
        self._forget(arrival.at - _REMEMBERED_SECONDS)
        insort(self._accepted, arrival)
        if self._overfull(arrival, quota):
            self._accepted.remove(arrival)
            return False
        return True

    def _overfull(self, arrival: Arrival, quota: int) -> bool:
        first = bisect_right(self._accepted, arrival.at - WINDOW_SECONDS, key=_at)
        near = self._accepted[first : bisect_left(self._accepted, arrival.at + WINDOW_SECONDS, key=_at)]
        return any(near[i + quota].at - near[i].earliest < WINDOW_SECONDS for i in range(len(near) - quota))

    def _forget(self, horizon: float) -> None:
        if self._accepted and self._accepted[0].at < horizon - _REMEMBERED_SECONDS:
            del self._accepted[: bisect_left(self._accepted, horizon, key=_at)]


def _at(arrival: Arrival) -> float:
    return arrival.at


class QuotaBook:
    """The quota of every operation, and who has used how much of it."""

    def __init__(self, overrides: Mapping[str, Mapping[str, int]]) -> None:
        self._quotas = {vendor: {"default": quota} for vendor, quota in DEFAULT_QUOTAS.items()}
        self._windows: dict[tuple[str, str, str], QuotaWindow] = {}
        self.change(overrides)

    def change(self, overrides: Mapping[str, Mapping[str, int]]) -> None:
        """Set quotas of a vendor's operations from now on; those not named stay."""
        for vendor, quotas in overrides.items():
            self._quotas[vendor].update(quotas)

    def quota(self, vendor: str, action: str) -> int:
        """Requests per sliding second allowed for one account."""
        quotas = self._quotas[vendor]
        return quotas.get(action, quotas["default"])

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Every quota in force, in the shape of the configuration."""
        return {vendor: dict(quotas) for vendor, quotas in self._quotas.items()}

    def admit(self, vendor: str, account: str, action: str, *, arrival: Arrival) -> bool:
        """Judge one arrival; an accepted one is remembered."""
        window = self._windows.setdefault((vendor, account, action), QuotaWindow())
        return window.admit(arrival, self.quota(vendor, action))
