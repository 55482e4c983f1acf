"""The process that the HTTP API speaks for, without one."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.ports import Ledger


@dataclass
class FakeProcess:
    """The Protocol `routing.Process`, set by hand."""

    ledger: Ledger
    stopping: bool = False
    standing_still: tuple[str, ...] = ()

    def standstills(self) -> tuple[str, ...]:
        """What was set."""
        return self.standing_still
