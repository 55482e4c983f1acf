"""What the fake ledger has on disk, as it were."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.domain.binding import Binding
from service.domain.command import Attempt, Command, HistoryRow, Plan
from service.domain.dead_letter import DeadLetter
from service.domain.desk import GivenAnswer, QuotaRate
from service.domain.ledger_state import Act, EventKey, Fact, Hold, OutboxMessage, StoredEvent
from service.domain.replay import Replay, ReplayItem


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays of an event that is erased."""

    digest: str
    arrival: int
    received_at: float


@dataclass(slots=True)
class Durable:
    """What is on disk, as it were."""

    events: dict[EventKey, StoredEvent] = field(default_factory=dict)
    identities: dict[EventKey, Identity] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    attempts: dict[tuple[str, int, int], Attempt] = field(default_factory=dict)
    history: list[HistoryRow] = field(default_factory=list)
    bindings: dict[tuple[str, int], Binding] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    outbox: dict[str, OutboxMessage] = field(default_factory=dict)
    published: dict[str, float] = field(default_factory=dict)
    dead_letters: dict[tuple[str, int, int, str], DeadLetter] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    replays: dict[str, Replay] = field(default_factory=dict)
    items: dict[tuple[str, int], ReplayItem] = field(default_factory=dict)
    answers: dict[str, GivenAnswer] = field(default_factory=dict)
    rates: dict[tuple[str, str], QuotaRate] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    slots: dict[tuple[str, str], float] = field(default_factory=dict)
    sessions: dict[int, float | None] = field(default_factory=dict)  # when each ended
    fence: int = 0
    last_arrival: int = 0
    last_seq: int = 0
    last_letter: int = 0
