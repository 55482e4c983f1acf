"""A quota that gives slots when the test says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from service.application.ports import Slot
from service.domain.account import Account
from service.domain.command import Lane
from tests.fakes.clock import VirtualClock


@dataclass(frozen=True, slots=True)
class Reserved:
    """One wish for a slot."""

    account: str
    operation: str
    lane: Lane
    since: float


@dataclass(slots=True)
class FakeQuota:
    """The port `Quota`: a slot at once, due at once; `late` of them pass before their request can be sent.

    While `open` is clear nobody gets a slot; `trouble` is raised, once each, instead of giving one.
    `throttles` are the accounts and operations that were said to be throttled; they change nothing here.
    """

    clock: VirtualClock
    late: int = 0
    trouble: list[Exception] = field(default_factory=list)
    journal: list[Reserved] = field(default_factory=list)
    given_up: int = 0
    throttles: list[tuple[str, str]] = field(default_factory=list)
    sends: list[Slot] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()
        self.due.set()

    async def reserve(self, account: Account, operation: str, lane: Lane, *, since: float) -> Slot:
        """A slot for now, once `open` is set."""
        self.journal.append(Reserved(account.name, operation, lane, since))
        await self.open.wait()
        if self.trouble:
            raise self.trouble.pop(0)
        return Slot(quota_group=account.group(), operation=operation, at=self.clock.now(), due=self.clock.monotonic())

    def sent(self, slot: Slot) -> None:
        """Remembered."""
        self.sends.append(slot)

    async def ready(self, slot: Slot) -> bool:
        """True once `due` is set, unless the slot is one of the late ones."""
        await self.due.wait()
        if self.late:
            self.late -= 1
            self.given_up += 1
            return False
        return True

    def throttled(self, account: Account, operation: str) -> None:
        """Remember."""
        self.throttles.append((account.name, operation))
