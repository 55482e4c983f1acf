"""What the HTTP API answers: one frozen model for each kind of document; `/openapi.json` is made from them.

Never a name, an e-mail address or a secret. Every field is always there, null where nothing is known, unless it says
otherwise. Times are RFC 3339 in UTC, to the millisecond.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from contracts.outbound import FailureDetail
from service.domain.command import CommandState, Lane, PlanState, WaitCause

T = TypeVar("T")

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Count = Annotated[int, Field(json_schema_extra={"minimum": 0})]
Seconds = Annotated[float, Field(json_schema_extra={"minimum": 0})]


class ApiModel(BaseModel):
    """A document, or a part of one; closed to fields that are not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class ApiRequest(BaseModel):
    """A request's body: read strictly as JSON, closed to fields that are not declared, and silent about its values."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


# --- health and problems ----------------------------------------------------------------------------------------------


class Status(ApiModel):
    """A process that makes progress."""

    status: Literal["alive"]


class Part(ApiModel):
    """One part of the process, and what is wrong with it."""

    ready: bool
    detail: str


class Readiness(ApiModel):
    """A process whose every part works."""

    status: Literal["ready"]
    parts: dict[str, Part] | None = Field(
        default=None, exclude_if=lambda parts: parts is None, description="every part by name; only if asked for"
    )


class FieldError(ApiModel):
    """What is wrong with one field of a body."""

    field: str = Field(description="dotted path; empty for the body as a whole")
    message: str


class Problem(ApiModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    parts: dict[str, Part] | None = Field(
        default=None, exclude_if=lambda parts: parts is None, description="of `/readyz`: the parts that are away"
    )
    errors: list[FieldError] | None = Field(
        default=None, exclude_if=lambda errors: errors is None, description="with 422: each field at fault"
    )


# --- plans and commands -----------------------------------------------------------------------------------------------


class Event(ApiModel):
    """The event that a plan came from, and where in Kafka it stands."""

    source: str
    id: str
    type: str
    topic: str
    partition: Count
    offset: Count


class Plan(ApiModel):
    """What one event turned into."""

    id: str
    epoch: Count = Field(description="how often it was started: 0, and one more with each replay")
    state: PlanState
    subject: str
    account: str | None
    created_at: Time
    effective_at: Time | None
    ended_at: Time | None
    event: Event
    correlation_id: str
    failure: FailureDetail | None


class Command(ApiModel):
    """One wanted state at one vendor."""

    id: str
    plan_id: str
    epoch: Count
    step: str
    step_no: Count
    account: str
    operation: str
    subject: str
    resource: str
    state: CommandState
    cause: WaitCause | None = Field(description="what it waits for")
    lane: Lane = Field(description="which share of the quota pays for it")
    created_at: Time
    effective_at: Time | None
    due_at: Time | None
    first_at: Time | None = Field(description="when the first request was sent")
    last_at: Time | None = Field(description="when the last request was sent")
    ended_at: Time | None
    attempts: Count
    retries: Count
    queue_seconds: Seconds
    quota_seconds: Seconds
    vendor_seconds: Seconds
    result: str | None = Field(description="how it succeeded: done, unchanged or adopted")
    wanted: dict[str, Any] = Field(description="without what is about a person")
    facts: dict[str, Any] = Field(description="what the vendor gave, without what is about a person")
    failure: FailureDetail | None


class Attempt(ApiModel):
    """One request that was sent, or about to be, for a command."""

    epoch: Count
    number: Annotated[int, Field(json_schema_extra={"minimum": 1})]
    call: str
    slot_at: Time | None
    marked_at: Time
    ended_at: Time | None
    outcome: str | None
    code: str | None = Field(description="the vendor's")
    request_id: str | None = Field(description="the vendor's")


class Change(ApiModel):
    """One change of a command's state."""

    epoch: Count
    at: Time
    before: CommandState | None
    after: CommandState
    cause: str
    actor: str


class CommandStory(Command):
    """A command with its plan, every request sent for it, and every change of its state."""

    plan: Plan
    attempts_made: list[Attempt]
    history: list[Change]


class PlanStory(Plan):
    """A plan with its commands in their order."""

    commands: list[Command]


class Page(ApiModel, Generic[T]):
    """One page of a listing."""

    items: list[T]
    next: str | None = Field(description="give it as `after` for the page behind; null at the end")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """As it is called in the OpenAPI document."""
        return f"{params[0].__name__}Page"
