"""The ledger in memory: the same rules as the real ones, no I/O, deterministic, and it can crash."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import orjson

from service.application.ports import (
    Claim,
    ClaimRoom,
    CommandQuery,
    CommandStory,
    Granted,
    LostClaimError,
    SessionEndedError,
    UnavailableError,
)
from service.domain.binding import Binding
from service.domain.command import Command, CommandState, Plan, PlanState, Session, WaitCause
from service.domain.dead_letter import DeadLetter, LetterPlace
from service.domain.desk import DeskChanges, DeskKeys, DeskKnown
from service.domain.ledger_state import (
    Changes,
    EventKey,
    Fact,
    Hold,
    HoldKind,
    Keys,
    Known,
    OutboxMessage,
    StoredEvent,
    latest_bindings,
)
from service.domain.outcome import Json
from service.domain.replay import ItemState
from service.domain.retention import HISTORY_OF_A_PLAN, ITEMS_OF_A_REPLAY, Erasable
from service.domain.value import replace
from tests.fakes.durable import Durable, Identity
from tests.fakes.gate import Gate
from tests.fakes.inquiries import FakeInquiries, matches

T = TypeVar("T")
V = TypeVar("V", StoredEvent, Command, Binding)
Step = Callable[[str], Awaitable[None]]

CLAIMABLE = (CommandState.PENDING, CommandState.WAITING, CommandState.IN_DOUBT)
SENT = (CommandState.IN_FLIGHT, CommandState.IN_DOUBT)
RoomKey = tuple[str, str, str]


async def give_way(_moment: str) -> None:
    """The default step: let others run, as a real ledger does while it writes."""
    await asyncio.sleep(0)


class FakeLedger(FakeInquiries):
    """The ports `Ledger` and `Inquiries` on dictionaries.

    `step` is awaited before and after every transaction with "before transact", "after transact", and so on:
    a test can crash, delay or order there. `durable` may be looked at.
    """

    def __init__(self, *, step: Step = give_way, durable: Durable | None = None) -> None:
        super().__init__(durable or Durable(), self._read)
        self._step = step
        self._closed = False
        self._session: Session | None = None
        self._gate = Gate()
        self._last_served: dict[RoomKey, str] = {}
        self._touched: Counter[str] = Counter({"commands": 0, "outbox": 0})
        self._events = {topic: asyncio.Event() for topic in self._touched}
        self._steps: dict[str, dict[str, None]] = defaultdict(dict)
        self._open = {plan.id for plan in self.durable.plans.values() if plan.state is PlanState.OPEN}
        self._unfinished = {c.id: c for c in self.durable.commands.values() if not c.state.ended}
        self._waiting_facts = {f.id for f in self.durable.facts.values() if f.taken_by is None}
        self._unpublished = {m.id: m for m in self.durable.outbox.values() if m.id not in self.durable.published}
        for command in self.durable.commands.values():
            self._steps[command.plan_id][command.id] = None

    def reopen(self, *, step: Step | None = None) -> FakeLedger:
        """Crash: a new ledger over what is durable. The old one answers nobody any more, sessions are gone."""
        self._closed = True
        return FakeLedger(step=step or self._step, durable=self.durable)

    async def close(self) -> None:
        """Every later call raises UnavailableError."""
        self._closed = True

    async def _transaction(self, name: str, work: Callable[[], T]) -> T:
        await self._step(f"before {name}")
        if self._closed:
            raise UnavailableError("ledger", "closed")
        result = work()
        await self._step(f"after {name}")
        if self._closed:
            raise UnavailableError("ledger", "closed")
        return result

    async def _read(self, name: str, work: Callable[[Durable], T]) -> T:
        return await self._transaction(name, lambda: work(self.durable))

    def _touch(self, topic: str) -> None:
        self._touched[topic] += 1
        self._events[topic].set()
        self._events[topic] = asyncio.Event()

    # ------------------------------------------------------------------ sessions and claims

    async def open_session(self, owner: str, now: float) -> Session:
        """End whatever session stood before and start this process's own."""

        def work() -> Session:
            self.durable.fence += 1
            self._end_sessions(now)
            self.durable.sessions[self.durable.fence] = None
            self._free_claimed()
            self._session = Session(self.durable.fence, owner)
            self._touch("commands")
            return self._session

        return await self._transaction("open_session", work)

    async def keep_session(self, session: Session) -> int:
        """1: nobody else can have it. Raises SessionEndedError when a later session was opened."""

        def work() -> int:
            self._insist_on(session)
            return 1

        return await self._transaction("keep_session", work)

    def _insist_on(self, session: Session) -> None:
        if self._session != session:
            raise SessionEndedError(session)

    async def end_session(self, session: Session, now: float) -> None:
        """End it in order; what it had claimed and not marked is free again."""

        def work() -> None:
            if self._session == session:
                self._session = None
                self._end_sessions(now)
                self._free_claimed()
                self._touch("commands")

        await self._transaction("end_session", work)

    def _end_sessions(self, now: float) -> None:
        ended = self.durable.sessions
        ended |= {fence: now for fence, at in ended.items() if at is None}

    def _free_claimed(self) -> None:
        for command in list(self._unfinished.values()):
            if command.owner is not None and command.state in CLAIMABLE:
                self._put_command(replace(command, owner=None))

    async def claim(self, session: Session, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """Take due commands, oldest first, whose subject and resource have no earlier or running work."""

        def work() -> list[Claim]:
            self._insist_on(session)
            claimed: list[Command] = []
            self._gate = self._open_gate(now)
            for room in rooms:
                taken = self._fill(now, room)
                claimed += [
                    self._put_command(replace(command, owner=session.fence, claims=command.claims + 1))
                    for command in taken
                ]
            bindings = latest_bindings(self._bindings({c.subject for c in claimed}, frozenset()))
            return [
                Claim(command=c, plan=self.durable.plans[c.plan_id], binding=bindings.get(c.subject)) for c in claimed
            ]

        return await self._transaction("claim", work)

    def _open_gate(self, now: float) -> Gate:
        """A hold's probe is lost when it has ended or can't come; one matching command at a time stands in for it."""
        gate = Gate()
        for hold in self.durable.holds.values():
            if hold.released_at is None:
                gate.probes |= {hold.probe} - {None}
                (gate.ajar if self._lets_one_through(hold, now) else gate.closed).append(hold)
        return gate

    def _lets_one_through(self, hold: Hold, now: float) -> bool:
        probe = self._unfinished.get(hold.probe or "")
        if hold.probe is None or (probe and probe.due_at is not None and not self._blocked(probe, now)):
            return False
        busy = (c for c in self._unfinished.values() if c.owner is not None or c.state is CommandState.IN_FLIGHT)
        return not any(replace(hold, probe=None).stops(c) for c in busy)

    def _fill(self, now: float, room: ClaimRoom) -> list[Command]:
        gate, key = self._gate, (room.quota_group, room.operation, str(room.lane))
        mine = [c for c in self._unfinished.values() if (c.quota_group, c.operation, str(c.lane)) == key]
        due = [c for c in mine if _waits(c) and c.due_at is not None and c.due_at <= now]
        queues: dict[str, list[Command]] = defaultdict(list)
        for command in sorted(due, key=lambda c: (c.id not in gate.probes, c.due_at, c.order.arrival, c.step_no)):
            if gate.passes(command) and not self._blocked(command, now):
                queues[command.account].append(command)
        last = self._last_served.get(key, "")
        taken: list[Command] = []
        busy: set[str] = set()
        while queues and len(taken) < room.room:
            for account in sorted(queues, key=lambda name: (name <= last, name)):
                free = [c for c in queues[account] if not busy & {c.subject, c.resource} and gate.passes(c)]
                if not free:
                    del queues[account]
                elif len(taken) < room.room:
                    taken.append(free[0])
                    gate.taken(free[0])
                    queues[account] = free[1:]
                    busy |= {free[0].subject, free[0].resource}
                    self._last_served[key] = account
        return taken

    def _blocked(self, c: Command, now: float) -> bool:
        return any(
            (b.subject == c.subject or b.resource == c.resource) and self._stands_in_the_way(b, c, now)
            for b in self._unfinished.values()
        )

    def _stands_in_the_way(self, b: Command, c: Command, now: float) -> bool:
        if b.id == c.id:
            return False
        if b.owner is not None or b.state in SENT:
            return True
        if b.plan_id == c.plan_id:
            return b.step_no < c.step_no
        if self._begun(c.plan_id):
            return False
        effective = b.effective_at is None or b.effective_at <= now
        ahead = effective and b.order.rank < c.order.rank and not self._parked(b.plan_id)
        return self._begun(b.plan_id) or ahead

    def _parked(self, plan_id: str) -> bool:
        commands = self._commands_of(plan_id)
        return any(c.state is CommandState.WAITING and c.cause is WaitCause.EARLIER_WORK for c in commands)

    def _begun(self, plan_id: str) -> bool:
        return any(c.owner is not None or c.attempts > 0 for c in self._commands_of(plan_id))

    async def release(self, session: Session, command_ids: Sequence[str]) -> None:
        """Hand back claimed commands that were not marked."""

        def work() -> None:
            for command in [self._unfinished[i] for i in command_ids if i in self._unfinished]:
                if command.owner == session.fence and command.state in CLAIMABLE:
                    self._put_command(replace(command, owner=None))
            self._touch("commands")

        await self._transaction("release", work)

    async def release_others(self, session: Session, command_ids: Collection[str]) -> int:
        """Hand back all that is claimed and not marked, but for these; how many."""

        def work() -> int:
            mine = [c for c in self._unfinished.values() if c.owner == session.fence and c.state in CLAIMABLE]
            others = [c for c in mine if c.id not in command_ids]
            for command in others:
                self._put_command(replace(command, owner=None))
                self._touch("commands")
            return len(others)

        return await self._transaction("release_others", work)

    async def orphans(self, session: Session) -> Sequence[Command]:
        """Commands in flight that a session before this one left behind."""

        def work() -> list[Command]:
            in_flight = (c for c in self._unfinished.values() if c.state is CommandState.IN_FLIGHT)
            left = [c for c in in_flight if c.owner != session.fence]
            return sorted(left, key=lambda c: (c.order.rank, c.step_no, c.id))

        return await self._transaction("orphans", work)

    async def regroup(self, groups: Mapping[str, str]) -> int:
        """Let unfinished commands of these accounts pay to their account's present group; how many changed."""

        def work() -> int:
            unfinished = list(self._unfinished.values())
            strayed = [c for c in unfinished if groups.get(c.account, c.quota_group) != c.quota_group]
            for command in strayed:
                self._put_command(replace(command, quota_group=groups[command.account]))
                self._touch("commands")
            return len(strayed)

        return await self._transaction("regroup", work)

    async def reserve_slots(
        self, quota_group: str, operation: str, *, count: int, spacing: float, not_before: float
    ) -> Granted:
        """Take `count` slots `spacing` seconds apart; when they begin, and the rate in force."""

        def work() -> Granted:
            first = max(self.durable.slots.get((quota_group, operation), not_before), not_before)
            if first > not_before + 5.0 + count * spacing:  # the wall clock was set back
                first = not_before + 1.0
            self.durable.slots[quota_group, operation] = first + count * spacing
            changed = self.durable.rates.get((quota_group, operation))
            return Granted(first=first, rate=None if changed is None else changed.rate)

        return await self._transaction("reserve_slots", work)

    # ------------------------------------------------------------------ transactions

    async def transact(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """Load, decide, write; refuses with ValueError, before anything is written, what a real schema would."""

        def work() -> Changes:
            if keys.session is not None and (self._session is None or self._session.fence != keys.session):
                raise LostClaimError(f"session {keys.session} has ended")
            changes = decide(self._load(keys))
            self._check(changes)
            return self._write(changes)

        return await self._transaction("transact", work)

    def _load(self, keys: Keys) -> Known:
        plans = {i: self.durable.plans[i] for i in sorted(self._plans_around(keys))}
        waiting = (self.durable.facts[i] for i in self._waiting_facts)
        return Known(
            digests={k: self.durable.identities[k].digest for k in keys.events if k in self.durable.identities},
            bindings=self._bindings(keys.subjects, keys.resources),
            plans=plans,
            commands=tuple(c for i in plans for c in self._commands_of(i)),
            facts=tuple(
                sorted((f for f in waiting if f.subject in keys.subjects), key=lambda f: (f.received_at, f.id))
            ),
            holds=self._holds(keys),
            next_arrival=self.durable.last_arrival + 1,
            contents={key: self.durable.events[key] for key in keys.desk.contents if key in self.durable.events},
            desk=self._desk(keys.desk),
        )

    def _holds(self, keys: Keys) -> tuple[Hold, ...]:
        return tuple(
            hold
            for name, hold in sorted(self.durable.holds.items())
            if name in keys.desk.holds
            or (hold.kind is HoldKind.QUARANTINE and hold.released_at is None and hold.account in keys.accounts)
        )

    def _desk(self, keys: DeskKeys) -> DeskKnown:
        kept, letters = self.durable, dict[LetterPlace, DeadLetter]()
        for letter in sorted(kept.dead_letters.values(), key=lambda letter: letter.seq):
            letters[letter.place] = letter
        return DeskKnown(answers=kept.answers, replays=kept.replays, letters=letters).part(keys)

    def _plans_around(self, keys: Keys) -> set[str]:
        found = {i for i in keys.plans if i in self.durable.plans}
        if keys.subjects or keys.resources:
            for plan_id in self._open:
                around = self.durable.plans[plan_id].subject in keys.subjects or any(
                    c.subject in keys.subjects or c.resource in keys.resources for c in self._commands_of(plan_id)
                )
                if around:
                    found.add(plan_id)
        return found

    def _commands_of(self, plan_id: str) -> list[Command]:
        commands = [self.durable.commands[i] for i in self._steps.get(plan_id, ())]
        return sorted(commands, key=lambda c: (c.step_no, c.id))

    def _bindings(self, subjects: Iterable[str], resources: Iterable[str]) -> tuple[Binding, ...]:
        found: dict[tuple[str, int], Binding] = {}
        last: dict[str, Binding] = {}
        for key, binding in sorted(self.durable.bindings.items()):
            if binding.held and (binding.subject in subjects or binding.resource in resources):
                found[key] = binding
            elif binding.subject in subjects:
                last[binding.subject] = binding
        found |= {(b.subject, b.generation): b for b in last.values()}
        return tuple(found[key] for key in sorted(found))

    def _check(self, changes: Changes) -> None:
        plans = self.durable.plans.keys() | {plan.id for plan in changes.plans}
        commands = self.durable.commands.keys() | {command.id for command in changes.commands}
        if any(command.plan_id not in plans for command in changes.commands):
            raise ValueError("the ledger refuses a command without its plan")
        if not {r.command_id for r in changes.attempts} | {r.command_id for r in changes.history} <= commands:
            raise ValueError("the ledger refuses an attempt or history row without its command")
        arrivals = [e.arrival for e in changes.events if e.arrival and (e.source, e.id) not in self.durable.identities]
        if arrivals and min(arrivals) <= self.durable.last_arrival:
            raise ValueError("the ledger refuses an arrival given twice")
        if any(rate.rate is not None and rate.rate <= 0 for desk in changes.desk for rate in desk.rates):
            raise ValueError("the ledger refuses a quota of nothing")
        if changes.bindings:
            bindings = self.durable.bindings | {(b.subject, b.generation): b for b in changes.bindings}
            held = Counter(b.resource for b in bindings.values() if b.held)
            if any(number > 1 for number in held.values()):
                raise ValueError("the ledger refuses two held bindings on one resource")

    def _write(self, changes: Changes) -> Changes:
        kept = self.durable
        commands = [_as_json(command, "wanted", "facts") for command in changes.commands]
        bindings = {(b.subject, b.generation): _as_json(b, "applied", "revisions") for b in changes.bindings}
        changes = changes.numbered(kept.last_arrival + 1)
        self._put_events(changes.events)
        for plan in changes.plans:
            kept.plans[plan.id] = plan
            (self._open.add if plan.state is PlanState.OPEN else self._open.discard)(plan.id)
        for command in commands:
            self._put_command(command)
        kept.attempts |= {(a.command_id, a.epoch, a.number): a for a in changes.attempts}
        kept.history += changes.history
        kept.bindings |= bindings
        for fact in changes.facts:
            kept.facts[fact.id] = fact
            (self._waiting_facts.add if fact.taken_by is None else self._waiting_facts.discard)(fact.id)
        kept.holds |= {hold.id: hold for hold in changes.holds}
        self._put_letters(changes.dead_letters)
        kept.acts += changes.acts
        for desk in changes.desk:
            self._put_desk(desk)
        self._put_messages(changes.outbox)
        if commands or changes.holds:
            self._touch("commands")
        return changes

    def _put_events(self, events: Sequence[StoredEvent]) -> None:
        """Keep those whose key is new."""
        for event in events:
            key = (event.source, event.id)
            if key not in self.durable.identities:
                self.durable.events[key] = _as_json(event, "data")
                self.durable.identities[key] = Identity(event.digest, event.arrival, event.received_at)
                self.durable.last_arrival = max(self.durable.last_arrival, event.arrival)

    def _put_letters(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            key = (*letter.place, letter.digest)
            if key not in self.durable.dead_letters:
                self.durable.last_letter += 1
                self.durable.dead_letters[key] = replace(letter, seq=self.durable.last_letter)

    def _put_desk(self, desk: DeskChanges) -> None:
        kept = self.durable
        for answer in desk.answers:
            kept.answers.setdefault(answer.key, answer)
        kept.replays |= {replay.id: replay for replay in desk.replays}
        for item in desk.items:
            before = kept.items.get((item.replay_id, item.number))
            if before is None or before.state is ItemState.PENDING:
                kept.items[item.replay_id, item.number] = item
        for letter in desk.letters:
            key = (*letter.place, letter.digest)
            if key in kept.dead_letters:
                closed = replace(kept.dead_letters[key], state=letter.state, closed_at=letter.closed_at)
                kept.dead_letters[key] = closed
        kept.rates |= {(rate.quota_group, rate.operation): rate for rate in desk.rates}

    def _put_command(self, command: Command) -> Command:
        self.durable.commands[command.id] = command
        self._steps[command.plan_id][command.id] = None
        if command.state.ended:
            self._unfinished.pop(command.id, None)
        else:
            self._unfinished[command.id] = command
        return command

    def _put_messages(self, messages: Sequence[OutboxMessage]) -> None:
        for message in messages:
            if message.id not in self.durable.outbox:
                self.durable.last_seq += 1
                kept = replace(message, seq=self.durable.last_seq)
                self.durable.outbox[message.id] = self._unpublished[message.id] = kept
        if messages:
            self._touch("outbox")

    # ------------------------------------------------------------------ erasing

    async def erase(self, what: Erasable, *, before: float, limit: int) -> int:
        """Erase what has been over since `before`, at most `limit` of what is named; how many rows went."""

        def work() -> int:
            if what is Erasable.PLANS:
                return self._erase_plans(before, limit)
            if what is Erasable.REPLAYS:
                return self._erase_replays(before, limit)
            rows, over = self._over(what)
            chosen = sorted((at, key) for key, at in over if at is not None and at <= before)[:limit]
            for _, key in chosen:
                del rows[key]
                if what is Erasable.MESSAGES:
                    del self.durable.published[key]
                if what is Erasable.FACTS:
                    self._waiting_facts.discard(key)
            return len(chosen)

        return await self._transaction("erase", work)

    def _over(self, what: Erasable) -> tuple[dict[Any, Any], Iterable[tuple[Any, float | None]]]:
        """Where these things are, and those of them that may go, each with since when it has been over."""
        kept = self.durable
        match what:
            case Erasable.EVENTS:
                planned = {(plan.event_source, plan.event_id) for plan in kept.plans.values()}
                return kept.events, [(k, e.received_at) for k, e in kept.events.items() if k not in planned]
            case Erasable.FACTS:
                return kept.facts, [(f.id, f.received_at) for f in kept.facts.values() if self._is_done_with(f)]
            case Erasable.IDENTITIES:
                return kept.identities, self._alone()
            case Erasable.SESSIONS:
                return kept.sessions, kept.sessions.items()
        rows: dict[Erasable, tuple[dict[Any, Any], Callable[[Any], float | None]]] = {
            Erasable.MESSAGES: (kept.outbox, lambda message: kept.published.get(message.id)),
            Erasable.DEAD_LETTERS: (kept.dead_letters, lambda letter: letter.seen_at),
            Erasable.HOLDS: (kept.holds, lambda hold: hold.released_at),
            Erasable.ANSWERS: (kept.answers, lambda answer: answer.given_at),
        }
        table, over_since = rows[what]
        return table, [(key, over_since(row)) for key, row in table.items()]

    def _alone(self) -> list[tuple[EventKey, float]]:
        """Identities whose event is gone, but for the newest, by which a real ledger counts arrivals."""
        kept = self.durable
        newest = max((one.arrival for one in kept.identities.values()), default=0)
        alone = ((key, one) for key, one in kept.identities.items() if key not in kept.events)
        return [(key, one.received_at) for key, one in alone if one.arrival < newest]

    def _is_done_with(self, fact: Fact) -> bool:
        if fact.taken_by is not None:
            return fact.taken_by not in self.durable.commands
        return all(self.durable.plans[plan_id].subject != fact.subject for plan_id in self._open)

    def _erase_replays(self, before: float, limit: int) -> int:
        kept = self.durable
        ended = [r for r in kept.replays.values() if r.ended_at is not None and r.ended_at <= before]
        replays = [r.id for r in sorted(ended, key=lambda r: (r.ended_at, r.id))[:limit]]
        most = limit * ITEMS_OF_A_REPLAY
        items = [key for key in sorted(kept.items) if key[0] in replays][:most]
        gone = replays if len(items) < most else []
        for key in items:
            del kept.items[key]
        for replay_id in gone:
            del kept.replays[replay_id]
        return len(items) + len(gone)

    def _erase_plans(self, before: float, limit: int) -> int:
        kept = self.durable
        ended = [
            p for p in kept.plans.values() if p.state is not PlanState.OPEN and (p.ended_at or before + 1) <= before
        ]
        over = [p for p in ended if all(c.state.ended for c in self._commands_of(p.id))]
        plans = [plan.id for plan in sorted(over, key=lambda plan: (plan.ended_at, plan.id))[:limit]]
        commands = {command.id for plan_id in plans for command in self._commands_of(plan_id)}
        history = [row for row in kept.history if row.command_id in commands][: limit * HISTORY_OF_A_PLAN]
        kept.history[:] = [row for row in kept.history if all(row is not gone for gone in history)]
        if len(history) == limit * HISTORY_OF_A_PLAN:
            return len(history)
        attempts = [key for key in kept.attempts if key[0] in commands]
        kept.attempts = {key: one for key, one in kept.attempts.items() if key not in attempts}
        kept.commands = {i: command for i, command in kept.commands.items() if i not in commands}
        kept.plans = {i: plan for i, plan in kept.plans.items() if i not in plans}
        for plan_id in plans:
            self._steps.pop(plan_id, None)
        return len(history) + len(attempts) + len(commands) + len(plans)

    # ------------------------------------------------------------------ outbox and listings

    async def unpublished(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest messages that Kafka has not acknowledged."""
        return await self._transaction("unpublished", lambda: list(self._unpublished.values())[:limit])

    async def mark_published(self, ids: Sequence[str], at: float) -> None:
        """Kafka acknowledged these."""

        def work() -> None:
            for message_id in ids:
                if self._unpublished.pop(message_id, None) is not None:
                    self.durable.published[message_id] = at

        await self._transaction("mark_published", work)

    async def commands(self, query: CommandQuery) -> Sequence[Command]:
        """One page of commands, in the order of their ids."""
        names = ("operation", "account", "subject", "resource", "plan_id")
        wanted = {name: getattr(query, name) for name in names}
        return await self._transaction("commands", lambda: _page(self.durable.commands.values(), query, wanted))

    async def plans(self, query: CommandQuery) -> Sequence[Plan]:
        """One page of plans, in the order of their ids; all filters but `resource` apply."""
        wanted = {"account": query.account, "subject": query.subject, "id": query.plan_id}

        def work() -> list[Plan]:
            plans = self.durable.plans.values()
            return _page((p for p in plans if self._failed_in(p, query.operation)), query, wanted)

        return await self._transaction("plans", work)

    def _failed_in(self, plan: Plan, operation: str | None) -> bool:
        failed = {c.operation for c in self._commands_of(plan.id) if c.state is CommandState.FAILED}
        return operation is None or operation in failed

    async def story(self, command_id: str) -> CommandStory | None:
        """One command with its plan, attempts and history."""

        def work() -> CommandStory | None:
            command = self.durable.commands.get(command_id)
            if command is None:
                return None
            mine = [a for a in self.durable.attempts.values() if a.command_id == command_id]
            return CommandStory(
                command=command,
                plan=self.durable.plans[command.plan_id],
                attempts=tuple(sorted(mine, key=lambda a: (a.epoch, a.number))),
                history=tuple(row for row in self.durable.history if row.command_id == command_id),
            )

        return await self._transaction("story", work)

    def subscribe(self, topic: str) -> Callable[[], Awaitable[None]]:
        """A function that waits until the next commit that touched `commands` or `outbox`, or ~1 s."""
        if topic not in self._events:
            raise KeyError(topic)
        seen = self._touched[topic]

        async def wait() -> None:
            nonlocal seen
            if self._touched[topic] == seen:
                try:
                    async with asyncio.timeout(1.0):
                        await self._events[topic].wait()
                except TimeoutError:
                    pass  # time to look anyway
            seen = self._touched[topic]

        return wait


def _waits(command: Command) -> bool:
    return command.owner is None and command.state in CLAIMABLE


R = TypeVar("R", Command, Plan)


def _page(rows: Iterable[R], query: CommandQuery, wanted: Mapping[str, str | None]) -> list[R]:
    states = query.states
    after = sorted((row for row in rows if row.id > (query.after or "")), key=lambda row: row.id)
    found = (
        row
        for row in after
        if (not states or row.state in states)
        and _failed_with(row, query)
        and _when(row, query)
        and all(value is None or getattr(row, name) == value for name, value in wanted.items())
    )
    return list(found)[: query.limit]


def _failed_with(row: Command | Plan, query: CommandQuery) -> bool:
    if query.error_class is None and query.code is None:
        return True
    return (
        row.failure is not None
        and query.error_class in {None, row.failure.error_class}
        and (query.code is None or matches(row.failure.code, query.code))
    )


def _when(row: Command | Plan, query: CommandQuery) -> bool:
    at = row.created_at if row.ended_at is None else row.ended_at
    return (query.since is None or at >= query.since) and (query.until is None or at < query.until)


def _as_json(row: V, *names: str) -> V:
    """The row as a store of JSON gives it back: tuples have become lists."""
    changed: dict[str, Json] = {}
    for name in names:
        value = getattr(row, name)
        if value:
            plain = orjson.loads(orjson.dumps(value, default=dict))
            if plain != value:
                changed[name] = plain
    return replace(row, **changed) if changed else row
