"""The process that the HTTP API speaks for, without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.adapters.metrics import MeteredTelemetry
from service.adapters.system_clock import SystemClock
from service.application.inspection import DeskLedger
from service.application.ports import Clock
from service.bootstrap import Office, make_office
from service.domain.taking_in import IntakePolicy
from tests.builders import make_intake_policy


@dataclass
class FakeProcess:
    """The Protocol `routing.Process`, set by hand."""

    ledger: DeskLedger
    stopping: bool = False
    standing_still: tuple[str, ...] = ()
    policy: IntakePolicy = field(default_factory=make_intake_policy)
    clock: Clock = field(default_factory=SystemClock)

    @property
    def office(self) -> Office:
        """The office of a real process, over the ledger that was given."""
        accounts = self.policy.planning.accounts
        return make_office(self.ledger, accounts, self.policy, self.clock, MeteredTelemetry())

    def standstills(self) -> tuple[str, ...]:
        """What was set."""
        return self.standing_still
