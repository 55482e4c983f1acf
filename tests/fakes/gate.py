"""What holds let through while one call of the fake ledger claims."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.domain.command import Command
from service.domain.ledger_state import Hold


@dataclass(slots=True)
class Gate:
    """The holds that stand: closed ones let only their probe through, those ajar one command, which closes them."""

    closed: list[Hold] = field(default_factory=list)
    ajar: list[Hold] = field(default_factory=list)
    probes: set[str | None] = field(default_factory=set)

    def passes(self, command: Command) -> bool:
        """True if no hold stops the command now."""
        return not any(hold.stops(command) for hold in self.closed)

    def taken(self, command: Command) -> None:
        """Close what was ajar for the command."""
        self.closed += [hold for hold in self.ajar if hold.stops(command)]
        self.ajar = [hold for hold in self.ajar if not hold.stops(command)]
