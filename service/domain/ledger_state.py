"""What a decision needs to know and what it changes: the two values every ledger transaction is made of.

A step asks the ledger to load what `Keys` names as `Known`, hands it to a pure function, and the ledger writes
the `Changes` that come back, all in one transaction. So every rule stays pure and every store stays dumb.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from service.domain.binding import Binding
from service.domain.command import Attempt, Command, HistoryRow, Plan
from service.domain.dead_letter import DeadLetter
from service.domain.desk import NO_DESK_KEYS, DeskChanges, DeskKeys, DeskKnown
from service.domain.outcome import Json
from service.domain.value import Value, field, replace

EventKey = tuple[str, str]  # (source, id)
NOTHING_OF_THE_DESK = DeskKnown()


class StoredEvent(Value, frozen=True, kw_only=True):
    """An event as the ledger keeps it: known fields only. `arrival` is assigned by the ledger when it is 0."""

    source: str
    id: str
    type: str
    digest: str
    subject: str
    topic: str
    partition: int
    offset: int
    received_at: float
    data: Mapping[str, Json]
    arrival: int = 0


class Fact(Value, frozen=True, kw_only=True):
    """An event that changes a wait instead of making work; kept with its subject until a wait takes it."""

    id: str
    subject: str
    kind: str  # approved, refused
    apply_id: str | None
    reason: str | None
    received_at: float
    taken_by: str | None = None  # the command it ended


class OutboxMessage(Value, frozen=True, kw_only=True):
    """A message on its way to Kafka. `lane` keeps messages of one subject in order; `id` is deterministic."""

    id: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    order_by: str
    created_at: float
    seq: int = 0


class Act(Value, frozen=True, kw_only=True):
    """Something a person (or Cordboard on its own) did to work; append-only. `seq` is the ledger's own count."""

    at: float
    actor: str
    kind: str
    object: str
    reason: str
    detail: Mapping[str, Json] = field(default_factory=dict)
    seq: int = 0


class HoldKind(StrEnum):
    """Stopped by a person, or by Cordboard because an account is sick."""

    HOLD = "hold"
    QUARANTINE = "quarantine"


class Hold(Value, frozen=True, kw_only=True):
    """One row that stops every command it matches from being claimed; a scope that is None matches all.

    `probe` is the one command that is claimed all the same, to find out whether a sick account has recovered.
    """

    id: str
    kind: HoldKind
    reason: str
    actor: str
    created_at: float
    account: str | None = None
    operation: str | None = None
    subject: str | None = None
    resource: str | None = None
    probe: str | None = None
    released_at: float | None = None

    def stops(self, command: Command) -> bool:
        """True while the command may not be claimed because of this row."""
        if self.released_at is not None or self.probe == command.id:
            return False
        scopes = (self.account, self.operation, self.subject, self.resource)
        mine = (command.account, command.operation, command.subject, command.resource)
        return all(scope is None or scope == own for scope, own in zip(scopes, mine, strict=True))


class Keys(Value, frozen=True, kw_only=True):
    """What to load. Naming a subject or resource loads its held bindings, open plans and waiting facts.

    Naming a plan loads it with its commands; naming an event loads its digest if it is known; naming an account
    loads its quarantines that have not been released. Naming a session (by its fence) lets the transaction happen
    only while that session stands.
    """

    session: int | None = None
    accounts: frozenset[str] = frozenset()
    events: frozenset[EventKey] = frozenset()
    subjects: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    plans: frozenset[str] = frozenset()
    desk: DeskKeys = NO_DESK_KEYS


class Known(Value, frozen=True, kw_only=True):
    """What the ledger holds for some `Keys`, as of the transaction.

    `bindings` are all held ones of the subjects and resources, plus each subject's last released one.
    `plans` and `commands` are those named and every open one of the subjects and resources. `holds` are the
    quarantines of the accounts that stand, and the holds that were named, also released ones.
    """

    digests: Mapping[EventKey, str] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    facts: tuple[Fact, ...] = ()
    holds: tuple[Hold, ...] = ()
    next_arrival: int = 1
    contents: Mapping[EventKey, StoredEvent] = field(default_factory=dict)
    desk: DeskKnown = NOTHING_OF_THE_DESK


def latest_bindings(bindings: Iterable[Binding]) -> dict[str, Binding]:
    """Each subject's held binding, else its last released one."""
    found: dict[str, Binding] = {}
    for binding in bindings:
        other = found.get(binding.subject)
        if other is None or (other.held, other.generation) < (binding.held, binding.generation):
            found[binding.subject] = binding
    return found


class Changes(Value, frozen=True, kw_only=True):
    """What a decision writes. Rows are whole: a row that exists is replaced."""

    events: tuple[StoredEvent, ...] = ()
    plans: tuple[Plan, ...] = ()
    commands: tuple[Command, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    history: tuple[HistoryRow, ...] = ()
    bindings: tuple[Binding, ...] = ()
    facts: tuple[Fact, ...] = ()
    holds: tuple[Hold, ...] = ()
    outbox: tuple[OutboxMessage, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    acts: tuple[Act, ...] = ()
    desk: tuple[DeskChanges, ...] = ()

    def numbered(self, next_arrival: int) -> Changes:
        """The same with every event numbered that has no arrival yet, in their order."""
        if all(event.arrival for event in self.events):
            return self
        numbered: list[StoredEvent] = []
        for event in self.events:
            given = event.arrival or next_arrival
            numbered.append(event if event.arrival else replace(event, arrival=given))
            next_arrival = max(next_arrival, given + 1)
        return replace(self, events=tuple(numbered))
