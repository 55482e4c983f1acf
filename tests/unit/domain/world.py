"""A ledger on dictionaries for walking whole plans through the pure rules: load what is named, decide, write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from service.domain.binding import Binding
from service.domain.command import Command, CommandState, HistoryRow, Plan, PlanState
from service.domain.draft import Draft
from service.domain.ledger_state import Act, Changes, EventKey, Fact, Hold, Keys, Known, OutboxMessage, StoredEvent
from service.domain.outcome import ErrorClass, Failure, Outcome, Result, Succeeded
from service.domain.record_reading import InboundEvent
from service.domain.replaying import Verdict, judge, start, subjects_of
from service.domain.settling import Settling, settle
from service.domain.taking_in import IntakePolicy, ReadRecord, keys_of, take_in
from service.domain.value import replace
from tests.builders import NOW, make_intake_policy, make_read

READS = ("registration", "approval")
LOST = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="no answer came")
DOWN = Failure(error_class=ErrorClass.RETRYABLE, code="ConnectTimeout", message="no connection")
WRONG = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="the vendor refuses it")
TAKEN = Failure(error_class=ErrorClass.CONFLICT, code="ExtensionTaken", message="another's")


def done(result: Result = Result.DONE, **facts: Any) -> Succeeded:
    return Succeeded(result=result, facts=facts, request_id="req-1")


class World:
    """Holds every row; loads only what `Keys` names, as a real ledger does."""

    def __init__(self, policy: IntakePolicy | None = None) -> None:
        self.policy = policy or make_intake_policy()
        self.now = NOW
        self.digests: dict[EventKey, str] = {}
        self.plans: dict[str, Plan] = {}
        self.commands: dict[str, Command] = {}
        self.bindings: dict[tuple[str, int], Binding] = {}
        self.facts: dict[str, Fact] = {}
        self.holds: dict[str, Hold] = {}
        self.events: dict[EventKey, StoredEvent] = {}
        self.acts: list[Act] = []
        self.outbox: dict[str, OutboxMessage] = {}
        self.history: list[HistoryRow] = []
        self.arrivals = 0

    def take(self, *events: InboundEvent | ReadRecord) -> Changes:
        """Take in one batch."""
        batch = [make_read(event) if isinstance(event, InboundEvent) else event for event in events]
        known = self.load(keys_of(batch, self.policy))
        return self.write(take_in(known, batch, self.policy, self.now))

    def settle(
        self, command: Command, outcome: Outcome, *, sent: bool = True, created: bool = False, run: int = 0
    ) -> Changes:
        """Mark (if a write was sent) and settle, as the settlement step does."""
        writes = command.step not in READS
        keys = Keys(
            plans=frozenset({command.plan_id}),
            subjects=frozenset({command.subject}),
            resources=frozenset({command.resource}),
            accounts=frozenset({command.account}),
        )
        draft = Draft(self.load(keys), self.now)
        if sent and writes:
            if command.state is not CommandState.IN_FLIGHT:
                command = draft.move(command, CommandState.IN_FLIGHT, why="sending")
            binding = draft.binding_of(command.subject)
            if created and binding is not None:
                draft.put_binding(replace(binding, create_sent=True))
        if sent:
            first = self.now if command.first_at is None else command.first_at
            command = replace(command, attempts=command.attempts + 1, first_at=first, last_at=self.now)
            draft.put_command(command)
        settling = Settling(
            command=command,
            outcome=outcome,
            writes=writes,
            sent=sent,
            created=created,
            chance=0.5,
            policy=self.policy.settling,
            run=run,
            claimed_at=self.now,
        )
        settle(draft, settling)
        return self.write(draft.changes())

    def run(self, event_id: str, step: str, outcome: Outcome, **how: Any) -> Changes:
        """Settle a step of an event's plan."""
        return self.settle(self.step(event_id, step), outcome, **how)

    def judge(self, event_id: str) -> Verdict:
        """What a replay of an event's plan would do."""
        return judge(self._desk_draft(event_id), self.plan(event_id), self._event(event_id), self.policy.planning)

    def replay(self, event_id: str, actor: str = "ann") -> Verdict:
        """Replay an event's plan."""
        draft = self._desk_draft(event_id)
        plan, event = self.plan(event_id), self._event(event_id)
        verdict = start(draft, plan, event, self.policy.planning, actor=actor)
        self.write(draft.changes())
        return verdict

    def _event(self, event_id: str) -> StoredEvent | None:
        plan = self.plan(event_id)
        return self.events.get((plan.event_source, plan.event_id))

    def _desk_draft(self, event_id: str) -> Draft:
        plan, event = self.plan(event_id), self._event(event_id)
        subjects, resources = subjects_of(plan, event if not plan.planned else None, self.policy.planning)
        mine = {c.resource for c in self.commands.values() if c.plan_id == plan.id}
        keys = Keys(plans=frozenset({plan.id}), subjects=subjects, resources=resources | mine)
        return Draft(self.load(keys), self.now)

    def claim(self, event_id: str, step: str) -> Command:
        """Give a step an owner."""
        claimed = replace(self.step(event_id, step), owner=1)
        self.commands[claimed.id] = claimed
        return claimed

    # what is there

    def plan(self, event_id: str) -> Plan:
        return next(p for p in self.plans.values() if p.event_id == event_id)

    def steps(self, event_id: str) -> Sequence[Command]:
        mine = [c for c in self.commands.values() if c.plan_id == self.plan(event_id).id]
        return sorted(mine, key=lambda c: c.step_no)

    def step(self, event_id: str, step: str) -> Command:
        return next(c for c in self.steps(event_id) if c.step == step)

    def states(self, event_id: str) -> list[str]:
        return [str(c.state) for c in self.steps(event_id)]

    def binding(self, subject: str) -> Binding | None:
        return Draft(self.load(Keys(subjects=frozenset({subject}))), self.now).binding_of(subject)

    def told(self, kind: str | None = None, *, about: str | None = None) -> list[Mapping[str, Any]]:
        """The out-events of a type, in order; `about` is the causing event's id."""
        return [e for e in events_of(self.outbox.values()) if _is(e, kind, about)]

    def kinds(self, *, about: str) -> list[str]:
        """The types told about an event, without prefix and version."""
        return [e["type"].removeprefix("provisioning.").removesuffix(".v1") for e in self.told(about=about)]

    def snapshot(self) -> tuple[Any, ...]:
        kept = (self.plans, self.commands, self.bindings, self.facts, self.outbox)
        return (*(dict(rows) for rows in kept), len(self.history))

    # the ledger

    def load(self, keys: Keys) -> Known:
        plans = {i: p for i, p in self.plans.items() if i in keys.plans or self._is_around(p, keys)}
        return Known(
            digests={key: self.digests[key] for key in keys.events if key in self.digests},
            bindings=tuple(
                b
                for b in self.bindings.values()
                if b.subject in keys.subjects or (b.held and b.resource in keys.resources)
            ),
            plans=plans,
            commands=tuple(c for c in self.commands.values() if c.plan_id in plans),
            facts=tuple(f for f in self.facts.values() if f.subject in keys.subjects and f.taken_by is None),
            holds=tuple(
                h
                for h in self.holds.values()
                if (h.account in keys.accounts and h.released_at is None) or h.id in keys.desk.holds
            ),
            next_arrival=self.arrivals + 1,
        )

    def _is_around(self, plan: Plan, keys: Keys) -> bool:
        commands = (c for c in self.commands.values() if c.plan_id == plan.id)
        around = plan.subject in keys.subjects or any(c.resource in keys.resources for c in commands)
        return plan.state is PlanState.OPEN and around

    def write(self, changes: Changes) -> Changes:
        for event in changes.events:
            self.digests[(event.source, event.id)] = event.digest
            self.events[event.source, event.id] = event
            self.arrivals = event.arrival
        self.plans |= {p.id: p for p in changes.plans}
        self.commands |= {c.id: c for c in changes.commands}
        self.bindings |= {(b.subject, b.generation): b for b in changes.bindings}
        self.facts |= {f.id: f for f in changes.facts}
        self.holds |= {h.id: h for h in changes.holds}
        self.history += changes.history
        self.acts += changes.acts
        for message in changes.outbox:
            self.outbox.setdefault(message.id, message)
        held = [b.resource for b in self.bindings.values() if b.held]
        assert len(held) == len(set(held)), "two held bindings on one resource"
        return changes


def events_of(messages: Any) -> list[Mapping[str, Any]]:
    return [json.loads(m.value) for m in messages if m.value and m.topic.startswith("provisioning.")]


def _is(event: Mapping[str, Any], kind: str | None, about: str | None) -> bool:
    return (kind is None or event["type"] == f"provisioning.{kind}.v1") and about in {None, event.get("causationid")}
