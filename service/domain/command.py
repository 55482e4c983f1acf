"""The ledger's nouns: plans, commands, attempts, history, sessions. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from service.domain.outcome import Failure, Json
from service.domain.value import Value, field


class CommandState(StrEnum):
    """Where a command stands; the last five are ends."""

    PENDING = "pending"
    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    IN_DOUBT = "in_doubt"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    STALE = "stale"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True for the five ends."""
        return self in ENDS


ENDS = frozenset(
    {
        CommandState.SUCCEEDED,
        CommandState.FAILED,
        CommandState.SUPERSEDED,
        CommandState.STALE,
        CommandState.CANCELLED,
    }
)


UNFINISHED: Final = tuple(state.value for state in CommandState if not state.ended)
"""The states of a command that something has yet to come of."""


class WaitCause(StrEnum):
    """What a waiting command waits for."""

    EARLIER_WORK = "earlier_work"
    EARLIER_STEP = "earlier_step"
    APPROVAL = "approval"
    EFFECTIVE_DATE = "effective_date"
    RETRY = "retry"
    QUARANTINE = "quarantine"


class Lane(StrEnum):
    """Which share of a quota pays for a call; most urgent first."""

    LIVE = "live"
    SETTLE = "settle"
    REPLAY = "replay"
    SWEEP = "sweep"


class PlanState(StrEnum):
    """A plan is open until it is completed or failed."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"


class OrderKey(Value, frozen=True, kw_only=True):
    """Where work stands among the work of its subject and resource.

    `at` is the effective time in microseconds (future when it arrived) or else the arrival; `arrival` is the
    ledger's own count of events and breaks ties. `revision` orders events of one `source` among themselves.
    """

    source: str
    revision: int | None
    at: int
    arrival: int

    @property
    def rank(self) -> tuple[int, int]:
        """What the ledger sorts by."""
        return (self.at, self.arrival)


class Plan(Value, frozen=True, kw_only=True):
    """What one event turned into. `waiting_told` says that `plan.waiting` went out in this epoch.

    A plan that is not `planned` has no commands: it failed as it arrived.
    """

    id: str
    epoch: int
    state: PlanState
    event_source: str
    event_id: str
    event_type: str
    event_time: str | None
    event_key: bytes | None
    event_subject: str | None
    topic: str
    partition: int
    offset: int
    correlation_id: str
    traceparent: str | None
    subject: str
    account: str | None
    order: OrderKey
    effective_at: float | None
    created_at: float
    ended_at: float | None = None
    waiting_told: bool = False
    failure: Failure | None = None
    planned: bool = True


class Command(Value, frozen=True, kw_only=True):
    """One wanted state at one vendor.

    `due_at` is None unless time alone can make the command runnable. `owner` is the session that claimed it, `claims`
    how often it was claimed: what was decided under one claim is void under the next.
    `absent_at` is when a complete read first showed that what is in doubt is not there.
    """

    id: str
    plan_id: str
    epoch: int
    step: str
    step_no: int
    account: str
    operation: str
    quota_group: str
    subject: str
    resource: str
    wanted: Mapping[str, Json]
    lane: Lane
    state: CommandState
    order: OrderKey
    created_at: float
    cause: WaitCause | None = None
    effective_at: float | None = None
    due_at: float | None = None
    owner: int | None = None
    claims: int = 0
    attempts: int = 0
    retries: int = 0
    first_at: float | None = None
    last_at: float | None = None
    ended_at: float | None = None
    queue_seconds: float = 0.0
    quota_seconds: float = 0.0
    vendor_seconds: float = 0.0
    result: str | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)
    failure: Failure | None = None
    traceparent: str | None = None
    absent_at: float | None = None


class Attempt(Value, frozen=True, kw_only=True):
    """One request sent (or about to be sent) to a vendor for a command; `number` counts from 1 in an epoch."""

    command_id: str
    epoch: int
    number: int
    call: str
    slot_at: float | None
    marked_at: float
    ended_at: float | None = None
    outcome: str | None = None  # succeeded, not_yet, or the error class
    code: str | None = None
    request_id: str | None = None


class HistoryRow(Value, frozen=True, kw_only=True):
    """One change of a command's state: when, from, to, why, by whom."""

    command_id: str
    epoch: int
    at: float
    before: CommandState | None
    after: CommandState
    cause: str
    actor: str


class Session(Value, frozen=True):
    """One process's ownership of what it claims; `fence` grows with every session."""

    fence: int
    owner: str
