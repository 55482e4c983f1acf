"""The port `OwnSession` with what a test says."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.command import Session


@dataclass
class FakeOwnSession:
    """A session that stands until a test says otherwise."""

    current: Session
    fleet: int = 1
    stands: bool = True

    def holds(self) -> bool:
        """As the test says."""
        return self.stands
