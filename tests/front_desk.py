"""A desk over the ledger in memory: events come in, the vendor's answers are settled by hand, an operator acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from service.application.asking import Answer, Asked, Declined, Done
from service.application.desk import Desk
from service.application.hold_telling import HoldTelling
from service.application.inspection import Inspection
from service.application.replaying import ReplayRunner, Replays, Selection
from service.domain.command import Command, Plan, PlanState
from service.domain.draft import Draft
from service.domain.idempotency_key import plan_id
from service.domain.ledger_state import Changes, Hold, Keys
from service.domain.outcome import ErrorClass, Failure, Outcome, Result, Succeeded
from service.domain.record_reading import InboundEvent, Record, read_record
from service.domain.replay import Replay
from service.domain.settling import Settling, settle
from service.domain.taking_in import IntakePolicy, ReadRecord, keys_of, take_in
from service.domain.value import replace
from tests.builders import HIRED, make_inbound, make_intake_policy, make_read, make_record
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry

LOOKS: Final = {"tencent_ccc.CreateExtension": "tencent_ccc.DescribeExtensions"}
FULL: Final = Failure(error_class=ErrorClass.CAPACITY, code="LimitExceeded.Extension", message="no seat is left")
WRONG: Final = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="the vendor refuses it")
LOST: Final = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="no answer came")
BAD_KEY: Final = Failure(error_class=ErrorClass.CREDENTIALS, code="AuthFailure.SecretIdNotFound", message="unknown")
DONE: Final = Succeeded(result=Result.DONE, facts={}, request_id="req-1")
READS: Final = ("registration", "approval")


def asked(actor: str = "ann", reason: str = "because", **fields: Any) -> Asked:
    """What `ann` asks, because."""
    return Asked(actor=actor, reason=reason, **fields)


def hire(number: int = 1, event_id: str | None = None, **data: Any) -> InboundEvent:
    """Agent E`number` is hired, with extension 1000 + `number`; it stood at offset `number`."""
    given = {"agent_id": f"E{number}", "extension": str(1000 + number), "email": f"e{number}@example.com", **data}
    return make_inbound(HIRED, event_id or f"hire-{number}", data=given, offset=number, key=f"E{number}".encode())


def done(answer: Answer) -> Any:
    """What an act was about; it must have been done."""
    assert isinstance(answer, Done), answer
    return answer.about


def declined(answer: object) -> tuple[str, str]:
    """Why an act was declined, and in which words; it must have been."""
    assert isinstance(answer, Declined), answer
    return answer.trouble.value, answer.message


class FrontDesk:
    """Everything an operator can reach, over one ledger. `policy` and `ledger` may be changed between two acts."""

    def __init__(self, clock: VirtualClock, telemetry: RecordingTelemetry, policy: IntakePolicy | None = None) -> None:
        self.clock, self.telemetry = clock, telemetry
        self.policy = policy or make_intake_policy()
        self.ledger = FakeLedger()

    @property
    def inspection(self) -> Inspection:
        return Inspection(ledger=self.ledger, accounts=self.policy.planning.accounts, clock=self.clock)

    @property
    def desk(self) -> Desk:
        return Desk(
            ledger=self.ledger,
            accounts=self.policy.planning.accounts,
            policy=self.policy,
            clock=self.clock,
            telemetry=self.telemetry,
        )

    @property
    def replays(self) -> Replays:
        return Replays(
            ledger=self.ledger,
            accounts=self.policy.planning.accounts,
            policy=self.policy.planning,
            looks=LOOKS,
            clock=self.clock,
            telemetry=self.telemetry,
        )

    @property
    def runner(self) -> ReplayRunner:
        return ReplayRunner(ledger=self.ledger, policy=self.policy.planning, clock=self.clock, telemetry=self.telemetry)

    @property
    def telling(self) -> HoldTelling:
        return HoldTelling(ledger=self.ledger, clock=self.clock, telemetry=self.telemetry)

    # what happens without an operator

    async def take(self, *events: InboundEvent) -> None:
        """Take events in, as intake does, and let a second pass."""
        await self._take([make_read(event) for event in events])

    async def take_record(self, value: object, *, offset: int = 17, key: bytes | None = b"E1") -> str:
        """Take a record in as it stands on hr.events, headers and all; the id of the dead letter it becomes."""
        raw = value if isinstance(value, bytes) else orjson.dumps(value)
        headers = (("content-type", b"application/cloudevents+json"),)
        record: Record = make_record(value=raw, offset=offset, key=key, headers=headers)
        reading: Any = read_record(record, max_event_bytes=self.policy.max_event_bytes)
        await self._take([ReadRecord(record, reading)])
        return f"hr.events:0:{offset}"

    async def _take(self, batch: Sequence[ReadRecord]) -> None:
        keys, now = keys_of(batch, self.policy), self.clock.now()
        await self.ledger.transact(keys, lambda known: take_in(known, batch, self.policy, now))
        self.clock.stall(1.0)

    async def settle(self, event_id: str, step: str, outcome: Outcome, *, run: int = 0) -> None:
        """Send a step of an event's plan and settle the answer, as execution does; a second passes."""
        command, now = self.step(event_id, step), self.clock.now()
        keys = Keys(
            plans=frozenset({command.plan_id}),
            subjects=frozenset({command.subject}),
            resources=frozenset({command.resource}),
            accounts=frozenset({command.account}),
        )

        def decide(known: Any) -> Changes:
            draft, sent = Draft(known, now), command
            if step not in READS:
                sent = draft.move(sent, type(sent.state).IN_FLIGHT, why="sending")
            first = now if sent.first_at is None else sent.first_at
            sent = draft.put_command(replace(sent, attempts=sent.attempts + 1, first_at=first, last_at=now))
            settling = Settling(
                command=sent,
                outcome=outcome,
                writes=step not in READS,
                sent=True,
                created=step == "extension",
                chance=0.5,
                policy=self.policy.settling,
                run=run,
                claimed_at=now,
            )
            settle(draft, settling)
            return draft.changes()

        await self.ledger.transact(keys, decide)
        self.clock.stall(1.0)

    async def fail(self, *numbers: int, failure: Failure = FULL, **data: Any) -> list[str]:
        """Hire these agents, each of which fails; the ids of their plans."""
        for number in numbers:
            await self.take(hire(number, **data))
            await self.settle(f"hire-{number}", "extension", failure)
        return [self.plan(f"hire-{number}").id for number in numbers]

    async def complete(self, event_id: str) -> None:
        """Let every step that is left succeed."""
        for step in self.steps(event_id):
            if not step.state.ended:
                await self.settle(event_id, step.step, DONE)

    async def replay(self, *ids: str, **fields: Any) -> str:
        """Make a replay of these plans and begin all of it; its id."""
        answer = await self.replays.make(asked(), Selection(ids=ids), **fields)
        await self.runner.run_once()
        return str(done(answer)["id"])

    async def begin(self) -> int:
        """One round of the runner, over the ledger as it is now; how many plans were begun or refused."""
        return await self.runner.run_once()

    def forget_contents(self) -> None:
        """Events lose their data, as when their time is over."""
        kept = self.ledger.durable
        kept.events = {key: replace(event, data={}) for key, event in kept.events.items()}

    # what is there

    def plan(self, event_id: str) -> Plan:
        source = "urn:hr" if (hr := plan_id("urn:hr", event_id)) in self.ledger.durable.plans else "urn:crm"
        return self.ledger.durable.plans[hr if source == "urn:hr" else plan_id(source, event_id)]

    def steps(self, event_id: str) -> list[Command]:
        mine = [c for c in self.ledger.durable.commands.values() if c.plan_id == self.plan(event_id).id]
        return sorted(mine, key=lambda command: command.step_no)

    def step(self, event_id: str, step: str) -> Command:
        return next(command for command in self.steps(event_id) if command.step == step)

    def states(self, event_id: str) -> list[str]:
        return [command.state.value for command in self.steps(event_id)]

    def begun(self) -> list[str]:
        """Events whose plans run in a replay's epoch, in the order of their names."""
        plans = self.ledger.durable.plans.values()
        return sorted(p.event_id for p in plans if p.epoch > 0 and p.state is PlanState.OPEN)

    def replay_of(self, replay_id: str) -> Replay:
        return self.ledger.durable.replays[replay_id]

    def items_of(self, replay_id: str) -> list[tuple[str, str, str | None]]:
        """The event, state and reason of each item, in their order."""
        kept = self.ledger.durable
        mine = [item for _, item in sorted(kept.items.items()) if item.replay_id == replay_id]
        return [(kept.plans[i.plan_id].event_id, i.state.value, i.why) for i in mine]

    def acts(self, kind: str | None = None) -> list[tuple[str, str, str, str]]:
        """Kind, who, what and why of the acts that were written down, in their order."""
        found = self.ledger.durable.acts
        return [(a.kind, a.actor, a.object, a.reason) for a in found if kind in {None, a.kind}]

    def holds(self) -> list[Hold]:
        return list(self.ledger.durable.holds.values())

    def told(self, kind: str) -> list[Mapping[str, Any]]:
        """The out-events of a type, in their order."""
        values = [orjson.loads(m.value) for m in self.ledger.durable.outbox.values() if m.value is not None]
        return [value for value in values if value.get("type") == f"provisioning.{kind}.v1"]

    def snapshot(self) -> tuple[Any, ...]:
        """All that a decline must leave as it was."""
        kept = self.ledger.durable
        rows = (kept.events, kept.plans, kept.commands, kept.bindings, kept.holds, kept.dead_letters, kept.outbox)
        desk = (kept.replays, kept.items, kept.answers, kept.rates)
        return (*(dict(row) for row in rows), *(dict(row) for row in desk), list(kept.acts), list(kept.history))
