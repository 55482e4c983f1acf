"""When a request came, as well as the sandbox can tell."""

from __future__ import annotations

from typing import NamedTuple


class Arrival(NamedTuple):
    """When a request's head was read (monotonic seconds), and for how long before that nobody had looked for it."""

    at: float
    unseen: float = 0.0

    @property
    def earliest(self) -> float:
        """When it may have come."""
        return self.at - self.unseen
