"""A working copy of what the ledger knows: later decisions of a transaction see what earlier ones wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from service.domain.binding import Binding, BindingState
from service.domain.command import Attempt, Command, CommandState, HistoryRow, Plan, PlanState, WaitCause
from service.domain.dead_letter import DeadLetter
from service.domain.desk import DeskChanges
from service.domain.ledger_state import (
    Act,
    Changes,
    EventKey,
    Fact,
    Hold,
    HoldKind,
    Known,
    OutboxMessage,
    StoredEvent,
    latest_bindings,
)
from service.domain.lifecycle import born, move, reopen
from service.domain.value import replace


class Draft:
    """Collects the changes of one transaction over what is `Known`."""

    def __init__(self, known: Known, now: float) -> None:
        """Start from what the ledger loaded; `now` is the transaction's time (seconds since the epoch)."""
        self.now = now
        self._digests = dict(known.digests)
        self._bindings: dict[tuple[str, int], Binding] = {}
        self._bindings_about: defaultdict[str, dict[tuple[str, int], None]] = defaultdict(dict)
        self._plans: dict[str, Plan] = {}
        self._plans_of: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by subject
        self._plans_on: defaultdict[str, dict[str, None]] = defaultdict(dict)  # by resource
        self._commands: dict[str, Command] = {}
        self._steps: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._keep(known)
        self._facts = {f.id: f for f in known.facts}
        self._holds = {h.id: h for h in known.holds}
        self._next_arrival = known.next_arrival
        self._touched_bindings: set[tuple[str, int]] = set()
        self._touched_plans: set[str] = set()
        self._touched_commands: set[str] = set()
        self._touched_facts: set[str] = set()
        self._touched_holds: set[str] = set()
        self._events: list[StoredEvent] = []
        self._attempts: dict[tuple[str, int, int], Attempt] = {}
        self._history: list[HistoryRow] = []
        self._outbox: dict[str, OutboxMessage] = {}
        self._dead_letters: list[DeadLetter] = []
        self._acts: list[Act] = []
        self._desk: list[DeskChanges] = []

    # what is known, by what it is asked for: a batch has thousands of rows, and asks about each of its events

    def _keep(self, known: Known) -> None:
        for binding in known.bindings:
            self._keep_binding(binding)
        for plan in known.plans.values():
            self._keep_plan(plan)
        for command in known.commands:
            self._keep_command(command)

    def _keep_binding(self, binding: Binding) -> None:
        place = (binding.subject, binding.generation)
        self._bindings[place] = binding
        for name in (binding.subject, binding.resource):
            self._bindings_about[name][place] = None

    def _keep_plan(self, plan: Plan) -> None:
        self._plans[plan.id] = plan
        self._plans_of[plan.subject][plan.id] = None

    def _keep_command(self, command: Command) -> None:
        self._commands[command.id] = command
        self._steps[command.plan_id][command.id] = None
        self._plans_on[command.resource][command.plan_id] = None

    # what is known, with this transaction's changes in it

    def digest_of(self, event: EventKey) -> str | None:
        """The body digest under which an event is known."""
        return self._digests.get(event)

    def binding_of(self, subject: str) -> Binding | None:
        """The subject's held binding, else its last released one, else None."""
        return latest_bindings(self._bindings_of(subject)).get(subject)

    def holder_of(self, resource: str) -> Binding | None:
        """The held binding on a resource, whoever's it is."""
        return next((b for b in self._bindings_of(resource) if b.resource == resource and b.held), None)

    def _bindings_of(self, name: str) -> list[Binding]:
        return [self._bindings[place] for place in sorted(self._bindings_about.get(name, ()))]

    def plan(self, plan_id: str) -> Plan:
        """A plan by id; KeyError if it was not loaded."""
        return self._plans[plan_id]

    def steps_of(self, plan_id: str) -> list[Command]:
        """A plan's commands in their order."""
        return sorted((self._commands[i] for i in self._steps.get(plan_id, ())), key=lambda c: c.step_no)

    def command(self, command_id: str) -> Command | None:
        """A command as it now stands."""
        return self._commands.get(command_id)

    def open_plans(self, subject: str, resources: Iterable[str]) -> list[Plan]:
        """Open plans about the subject or one of the resources, in their order."""
        on = {plan_id for resource in resources for plan_id in self._plans_on.get(resource, ())}
        plans = (
            self._plans[plan_id] for plan_id in on.union(self._plans_of.get(subject, ())) if plan_id in self._plans
        )
        return sorted((p for p in plans if p.state is PlanState.OPEN), key=lambda p: (p.order.rank, p.id))

    def facts_for(self, subject: str) -> list[Fact]:
        """Facts of the subject that no wait has taken yet, oldest first."""
        waiting = (f for f in self._facts.values() if f.subject == subject and f.taken_by is None)
        return sorted(waiting, key=lambda f: f.received_at)

    def quarantines(self) -> list[Hold]:
        """Quarantines that stand, oldest first."""
        standing = (h for h in self._holds.values() if h.released_at is None and h.kind is HoldKind.QUARANTINE)
        return sorted(standing, key=lambda h: (h.created_at, h.id))

    def hold(self, hold_id: str) -> Hold | None:
        """A hold by its id."""
        return self._holds.get(hold_id)

    # what changes

    def take_arrival(self) -> int:
        """The next number in the ledger's count of events."""
        arrival = self._next_arrival
        self._next_arrival += 1
        return arrival

    def put_event(self, event: StoredEvent) -> None:
        """Store an event and remember its digest."""
        self._events.append(event)
        self._digests[(event.source, event.id)] = event.digest

    def put_plan(self, plan: Plan) -> Plan:
        """Store a plan."""
        self._keep_plan(plan)
        self._touched_plans.add(plan.id)
        return plan

    def put_binding(self, binding: Binding) -> Binding:
        """Store a binding, dated."""
        binding = replace(binding, updated_at=self.now)
        self._keep_binding(binding)
        self._touched_bindings.add((binding.subject, binding.generation))
        return binding

    def put_fact(self, fact: Fact) -> Fact:
        """Store a fact."""
        self._facts[fact.id] = fact
        self._touched_facts.add(fact.id)
        return fact

    def put_hold(self, hold: Hold) -> Hold:
        """Store a hold."""
        self._holds[hold.id] = hold
        self._touched_holds.add(hold.id)
        return hold

    def put_attempt(self, attempt: Attempt) -> None:
        """Store an attempt, or what became of it."""
        self._attempts[(attempt.command_id, attempt.epoch, attempt.number)] = attempt

    def add_command(self, command: Command, why: str, actor: str = "cordboard") -> Command:
        """Store a new command with the first row of its history."""
        self._history.append(born(command, why, actor))
        return self.put_command(command)

    def put_command(self, command: Command) -> Command:
        """Store a command whose state has not changed."""
        self._keep_command(command)
        self._touched_commands.add(command.id)
        return command

    def move(
        self,
        command: Command,
        to: CommandState,
        *,
        why: str,
        cause: WaitCause | None = None,
        due_at: float | None = None,
        actor: str = "cordboard",
    ) -> Command:
        """Change a command's state, with its row of history."""
        moved, row = move(command, to, at=self.now, why=why, cause=cause, due_at=due_at, actor=actor)
        self._history.append(row)
        return self.put_command(moved)

    def reopen(
        self,
        command: Command,
        to: CommandState,
        *,
        epoch: int,
        why: str,
        actor: str,
        cause: WaitCause | None = None,
        due_at: float | None = None,
    ) -> Command:
        """Start a command's next epoch, with its row of history."""
        anew, row = reopen(command, to, epoch=epoch, at=self.now, why=why, actor=actor, cause=cause, due_at=due_at)
        self._history.append(row)
        return self.put_command(anew)

    def release_reservation(self, plan: Plan) -> None:
        """End the reservation a plan leaves behind if nothing was applied; the subject's next plan inherits it.

        The plan need not be the one that reserved: one that failed before it learnt whose the resource is left its
        reservation to whoever came next.
        """
        binding = self.binding_of(plan.subject)
        if binding is None or binding.state is not BindingState.RESERVED:
            return
        heirs = [p for p in self.open_plans(plan.subject, ()) if p.id != plan.id]
        heir = next((p for p in heirs if any(c.resource == binding.resource for c in self.steps_of(p.id))), None)
        if heir is not None:
            self.put_binding(replace(binding, plan_id=heir.id))
            return
        self.put_binding(replace(binding, state=BindingState.RELEASED))

    def tell(self, message: OutboxMessage) -> None:
        """Send a message when this transaction is durable; the same id is told once."""
        self._outbox.setdefault(message.id, message)

    def put_dead_letter(self, letter: DeadLetter) -> None:
        """Note a dead letter."""
        self._dead_letters.append(letter)

    def put_act(self, act: Act) -> None:
        """Note an act."""
        self._acts.append(act)

    def put_desk(self, changes: DeskChanges) -> None:
        """Store what an act changes beside the work."""
        self._desk.append(changes)

    def changes(self) -> Changes:
        """Everything that was written, for the ledger."""
        return Changes(
            events=tuple(self._events),
            plans=tuple(self._plans[i] for i in sorted(self._touched_plans)),
            commands=tuple(self._commands[i] for i in sorted(self._touched_commands)),
            attempts=tuple(self._attempts.values()),
            history=tuple(self._history),
            bindings=tuple(self._bindings[i] for i in sorted(self._touched_bindings)),
            facts=tuple(self._facts[i] for i in sorted(self._touched_facts)),
            holds=tuple(self._holds[i] for i in sorted(self._touched_holds)),
            outbox=tuple(self._outbox.values()),
            dead_letters=tuple(self._dead_letters),
            acts=tuple(self._acts),
            desk=tuple(self._desk),
        )
