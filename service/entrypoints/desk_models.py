"""What the HTTP API answers and takes beside commands and plans: failures, traces, replays, holds, quotas, letters.

Never a name, an e-mail address or a secret, unless an operator asks for names: that is written down.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from contracts.fields import MAX_INT64
from contracts.outbound import ErrorClass, WhoActs
from service.domain.command import Lane
from service.domain.dead_letter import LetterState
from service.domain.holding import SCOPES
from service.domain.ledger_state import HoldKind
from service.domain.replay import ItemOutcome, ReplayState
from service.domain.replaying import Why
from service.entrypoints.api_models import (
    ApiModel,
    ApiRequest,
    Attempt,
    Change,
    Command,
    Count,
    Plan,
    Seconds,
    Time,
)
from service.entrypoints.moments import MOMENT
from service.entrypoints.parameters import TEXT_PATTERN

Name = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=TEXT_PATTERN)]
Reason = Annotated[
    str,
    StringConstraints(min_length=3, max_length=500, pattern=TEXT_PATTERN),
    Field(description="why; it is kept for ever beside who asked, so name nobody in it"),
]
Moment = Annotated[
    str,
    StringConstraints(min_length=2, max_length=64, pattern=TEXT_PATTERN),
    WithJsonSchema(MOMENT | {"description": "RFC 3339, or an age as 90s, 30m, 2h, 7d"}),
]
Rate = Annotated[float, Field(ge=0.001, le=10_000, allow_inf_nan=False)]


def _whole(value: object) -> object:
    """JSON knows one kind of number: 3.0 is as whole as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, Field(ge=0, le=MAX_INT64), BeforeValidator(_whole)]


FILTERS: Final = ("account", "operation", "subject", "error_class", "code", "since", "until")


def _one_of(*names: str) -> dict[str, Any]:
    """At least one of these members is there, and says something."""
    kinds: dict[str, dict[str, Any]] = {name: {"type": "string"} for name in names}
    kinds |= {"ids": {"type": "array", "minItems": 1}} if "ids" in names else {}
    return {"anyOf": [{"required": [name], "properties": {name: kind}} for name, kind in kinds.items()]}


# --- what is failing, and why -----------------------------------------------------------------------------------------


class FailureGroup(ApiModel):
    """What fails alike."""

    account: str
    operation: str = Field(description="`planning` for plans that failed as they arrived")
    error_class: ErrorClass
    code: str
    number: Count
    first_at: Time | None
    last_at: Time | None
    replay_can_help: bool
    advice: str


class FailureGroups(ApiModel):
    """What has failed and was not replayed with success since, the most recent first."""

    items: list[FailureGroup]


class StoredEvent(ApiModel):
    """An event that the ledger still has; what is about a person shows as `***` unless an operator asks for it."""

    source: str
    id: str
    type: str
    subject: str
    topic: str
    partition: Count
    offset: Count
    received_at: Time
    arrival: Count
    data: dict[str, Any]


class Told(ApiModel):
    """An event that was published about a plan, or waits for Kafka."""

    id: str
    type: str
    published_at: Time | None


class Wait(ApiModel):
    """What a plan waits for now."""

    cause: str
    sentence: str
    who_acts: WhoActs
    expected_at: Time | None = Field(description="when it ends at the latest, as things stand; null if nobody can tell")
    behind: list[str] = Field(description="plans that must end first")
    hold: str | None


class Step(Command):
    """A command, every request sent for it, and every change of its state."""

    attempts_made: list[Attempt]
    history: list[Change]


class Trace(ApiModel):
    """One plan: where it came from, what was decided, what was done, what it waits for, what was told."""

    plan: Plan
    decided: str = Field(description="what was decided and why, in a sentence")
    event: StoredEvent | None
    steps: list[Step]
    wait: Wait | None
    overtaken_by: list[str]
    told: list[Told]


class Binding(ApiModel):
    """Which resource a subject has."""

    subject: str
    resource: str
    generation: Count
    state: str
    ours: bool
    applied: dict[str, Any] | None
    updated_at: Time


class Explanation(ApiModel):
    """Everything known about a command, plan, event, subject or resource; the newest plans first."""

    about: str
    at: Time
    found: bool
    summary: list[str] = Field(description="the answer in sentences, most important first")
    plans: list[Trace]
    more: Count = Field(description="earlier plans that are left out")
    events: list[StoredEvent]
    bindings: list[Binding]


class Queue(ApiModel):
    """One operation of one quota group: its backlog by lane, and in how many seconds each lane is empty."""

    quota_group: str
    accounts: list[str]
    operation: str
    quota: float = Field(description="requests a second that the vendor allows, as configured or changed")
    rate: float = Field(description="requests a second that are used of it")
    backlog: dict[Lane, int]
    empty_in_seconds: dict[Lane, float]
    held: Count = Field(description="stopped by a hold or quarantine; not counted in")
    not_due: Count = Field(description="waiting for an approval, a date or a doubt; not counted in")


class Forecast(ApiModel):
    """When the backlog is empty if nothing else comes."""

    at: Time
    hires: Count
    empty_at: Time
    empty_in_seconds: Seconds
    queues: list[Queue]


# --- replays ----------------------------------------------------------------------------------------------------------


class Selection(ApiRequest):
    """What to replay: plans or commands by id, or every failed plan that matches all filters given; one at least."""

    model_config = ConfigDict(json_schema_extra=_one_of("ids", *FILTERS))

    ids: Annotated[list[Name], Field(max_length=1000)] | None = None
    account: Name | None = None
    operation: Name | None = Field(default=None, description="of the step that failed")
    subject: Name | None = None
    error_class: Annotated[ErrorClass, Field(strict=False)] | None = None
    code: Name | None = Field(default=None, description="the vendor's code; may end in *")
    since: Moment | None = Field(default=None, description="failed then or later")
    until: Moment | None = Field(default=None, description="failed before then")
    again: bool = Field(default=False, description="also what failed again although it was replayed")


class PreviewRequest(ApiRequest):
    """What would this replay do?"""

    selection: Selection
    rate: Rate | None = Field(default=None, description="plans begun a second at most")


class ReplayRequest(PreviewRequest):
    """Replay this."""

    reason: Reason
    expected: Whole | None = Field(
        default=None, description="the size that the preview told: refused if it is another by now"
    )


class Sample(ApiModel):
    """One plan of a preview."""

    id: str
    subject: str
    eligible: bool
    why: Why | None
    sentence: str


class Preview(ApiModel):
    """What a replay would do now."""

    size: Count
    eligible: Count
    refused: dict[Why, int]
    parked: Count = Field(description="failed again although replayed before, and left out")
    calls: dict[str, int] = Field(description="vendor calls by operation")
    seconds_at_best: Seconds
    seconds_at_worst: Seconds = Field(description="if live traffic takes all but the share of replays")
    samples: list[Sample]


class Replay(ApiModel):
    """A replay, and how its plans stand."""

    id: str
    state: ReplayState
    actor: str
    reason: str
    selection: dict[str, Any]
    rate: float | None
    size: Count
    created_at: Time
    changed_at: Time
    ended_at: Time | None
    outcomes: dict[ItemOutcome, int] = Field(description="how many of its plans stand how; of a listing, at its end")
    refused: dict[str, int] = Field(description="why, of what was refused")


class ReplayItem(ApiModel):
    """One plan of a replay."""

    number: Count
    plan_id: str
    subject: str | None
    outcome: ItemOutcome
    epoch: int | None
    why: str | None
    sentence: str | None
    at: Time | None


class ReasonRequest(ApiRequest):
    """An act that needs nothing but a reason."""

    reason: Reason


# --- holds, doubts, quotas --------------------------------------------------------------------------------------------


class Hold(ApiModel):
    """What stops work: a person's hold, or a sick account's quarantine."""

    id: str
    kind: HoldKind
    account: str | None
    operation: str | None
    subject: str | None
    resource: str | None
    reason: str
    actor: str
    created_at: Time
    released_at: Time | None


class Holds(ApiModel):
    """Holds, newest first."""

    items: list[Hold]


class HoldRequest(ApiRequest):
    """Stop work that matches all that is given; something has to be."""

    model_config = ConfigDict(json_schema_extra=_one_of(*SCOPES))

    account: Name | None = None
    operation: Name | None = None
    subject: Name | None = None
    resource: Name | None = None
    reason: Reason


class SettleRequest(ApiRequest):
    """A person's word on a command in doubt."""

    outcome: Literal["applied", "not_applied"]
    apply_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")] | None = Field(
        default=None, description="what the vendor gave for an application, if it is known"
    )
    reason: Reason


class Quota(ApiModel):
    """How fast one operation of one quota group may go (requests a second)."""

    quota_group: str
    accounts: list[str]
    operation: str
    configured: float
    changed_to: float | None
    changed_at: Time | None
    actor: str | None
    reason: str | None


class Quotas(ApiModel):
    """Every quota of every configured account."""

    items: list[Quota]


class QuotaRequest(ApiRequest):
    """Let an operation go at another rate; null: as configured again."""

    account: Name
    operation: Name = Field(description="as tencent_ccc.CreateExtension")
    rate: Rate | None
    reason: Reason


# --- dead letters, acts, forgetting -----------------------------------------------------------------------------------


class DeadLetter(ApiModel):
    """A record that could not become an event."""

    id: str
    topic: str
    partition: Count
    offset: Count
    reason: str
    field: str | None
    message: str
    size: Count
    sha256: str
    seen_at: Time
    state: LetterState
    closed_at: Time | None


class DeadLetterContent(DeadLetter):
    """The same, with the record as it came while it is kept; null later, or if it is no text."""

    key: str | None
    value: str | None


class ResubmitRequest(ApiRequest):
    """What the record should have been."""

    event: dict[str, Any] = Field(description="a whole CloudEvent in JSON")
    reason: Reason


class Resubmitted(ApiModel):
    """What became of it; no plan if the event was known before, or is a fact."""

    id: str
    plan_id: str | None


class Act(ApiModel):
    """Something that a person, or Cordboard by itself, did to work."""

    seq: Count
    at: Time
    actor: str
    kind: str
    object: str
    reason: str
    detail: dict[str, Any]


class ForgetRequest(ApiRequest):
    """Erase what is known of the person behind a subject."""

    subject: Name
    reason: Reason


class Forgotten(ApiModel):
    """How many rows of what lost their personal data, and what no one here can reach."""

    subject: str
    erased: dict[str, int]
    out_of_reach: list[str]
