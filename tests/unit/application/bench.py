"""A work bench for the steps around the vendor: ledger, quota, vendor and reader are fakes, the rest is real."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from service.application.execution import Execution
from service.application.ports import Claim, ClaimRoom, SentTimes, Slot
from service.application.settlement import Settlement
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.command import Command, CommandState, Lane, Plan, Session, WaitCause
from service.domain.ledger_state import Changes, Keys
from service.domain.outcome import Call
from service.domain.settling import SettlingPolicy
from service.domain.value import replace
from tests.builders import make_binding, make_command, make_plan
from tests.fakes.clock import FixedRandomness, VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.quota import FakeQuota
from tests.fakes.session import FakeOwnSession
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import CREATE, READ, FakeOperation, FakePresentReader, FakeRead, FakeVendor, read_it

ACCOUNT = Account(name="acme_cn", vendor="tencent_ccc", quota_group="acme")
CREATE_CALL = Call(operation=CREATE, account="acme_cn", body={}, creates=True)
SENT = SentTimes(call=CREATE, slot_at=1.0, quota_seconds=2.0, vendor_seconds=0.5, creates=True)


def create_operation(**fields: Any) -> FakeOperation:
    """A write that reads the present first."""
    return FakeOperation(**{"name": CREATE, "present_read": FakeRead(), **fields})


def read_operation(**fields: Any) -> FakeOperation:
    """A read that just calls."""
    return FakeOperation(**{"name": READ, "writes": False, "rule": read_it, **fields})


async def store_hire(
    ledger: FakeLedger, number: int = 1, *, steps: int = 2, binding: Binding | None = None, **fields: Any
) -> Command:
    """Put agent `number`'s hire into the ledger; its first command (`fields` are the command's)."""
    plan = make_plan(number)
    first = make_command(plan, **{"quota_group": ACCOUNT.group(), **fields})
    commands = [first]
    if steps == 2:
        waits: dict[str, Any] = {"state": CommandState.WAITING, "cause": WaitCause.EARLIER_STEP, "due_at": None}
        commands.append(
            make_command(plan, 1, step="registration", operation=READ, quota_group=ACCOUNT.group(), **waits)
        )
    await store(ledger, plan, *commands, binding=binding or make_binding(plan))
    return first


async def store(ledger: FakeLedger, plan: Plan, *commands: Command, binding: Binding | None = None) -> None:
    """Put a plan as it is into the ledger."""
    bindings = () if binding is None else (binding,)
    await ledger.transact(Keys(), lambda _: Changes(plans=(plan,), commands=commands, bindings=bindings))


@dataclass
class Bench:
    """Everything execution works with; `vendor`'s operations may be given."""

    clock: VirtualClock
    telemetry: RecordingTelemetry
    ledger: FakeLedger
    session: Session
    operations: tuple[FakeOperation, ...] = ()
    randomness: FixedRandomness = field(default_factory=FixedRandomness)
    policy: SettlingPolicy = field(default_factory=SettlingPolicy)

    def __post_init__(self) -> None:
        self.operations = self.operations or (create_operation(), read_operation())
        self.own = FakeOwnSession(self.session)
        self.quota = FakeQuota(self.clock)
        self.vendor = FakeVendor(*self.operations, clock=self.clock)
        self.reader = FakePresentReader()
        self.settlement = Settlement(
            ledger=self.ledger,
            clock=self.clock,
            randomness=self.randomness,
            telemetry=self.telemetry,
            policy=self.policy,
        )
        self.execution = Execution(
            ledger=self.ledger,
            own=self.own,
            settlement=self.settlement,
            reader=self.reader,
            quota=self.quota,
            accounts={"acme_cn": ACCOUNT},
            clients={"acme_cn": self.vendor},
            clock=self.clock,
            telemetry=self.telemetry,
            policy=self.policy,
        )

    async def run(self) -> int:
        """One round to its settlements; how many commands were claimed."""
        claimed = await self.clock.finish(self.execution.run_once())
        await self.clock.finish(self.execution.idle())
        return claimed

    async def claim(self, operation: str = CREATE, lane: Lane = Lane.LIVE) -> Claim:
        """Claim the one command that is due."""
        room = ClaimRoom(quota_group=ACCOUNT.group(), operation=operation, lane=lane, room=10)
        (claim,) = await self.ledger.claim(self.session, self.clock.now(), [room])
        return claim

    def slot(self, operation: str = CREATE) -> Slot:
        """A slot for now."""
        return Slot(quota_group=ACCOUNT.group(), operation=operation, at=self.clock.now(), due=self.clock.monotonic())

    def command(self, command: Command | str) -> Command:
        """A command as it now stands."""
        return self.ledger.durable.commands[command if isinstance(command, str) else command.id]

    def binding(self, number: int = 1) -> Binding:
        """The subject's binding as it now stands."""
        return self.ledger.durable.bindings[f"agent:realm/{number}", 1]

    def told(self) -> list[str]:
        """Types of the messages in the outbox, in order, without `provisioning.` and version."""
        values = [m.value for m in self.ledger.durable.outbox.values() if m.value is not None]
        types = [str(orjson.loads(value)["type"]) for value in values]
        return [name.removeprefix("provisioning.").removesuffix(".v1") for name in types]

    def free_rooms(self) -> dict[tuple[str, str], int]:
        """How many more commands execution would claim, by operation and lane."""
        return {(room.operation, room.lane): room.room for room in self.execution._free_rooms()}


def as_another_owners(ledger: FakeLedger, command: Command, **fields: Any) -> None:
    """The ledger's row, changed behind everybody's back."""
    ledger._put_command(replace(ledger.durable.commands[command.id], **fields))
