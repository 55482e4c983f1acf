"""Events that Cordboard publishes: the models of their data, their topics, and how they are written to Kafka.

Every field is always present, `null` where nothing is known. Readers must allow fields they don't know: more may come
within a version. No event carries a person's name or e-mail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from contracts.envelope import DATA_CONTENT_TYPE, SPECVERSION, STRUCTURED_CONTENT_TYPE
from contracts.fields import Timestamp, rfc3339

SOURCE: Final = "/cordboard"
"""The CloudEvents source of everything that Cordboard publishes."""
RESULTS_TOPIC: Final = "provisioning.results"
"""Where ends and waits go that need nobody's help."""
FAILURES_TOPIC: Final = "provisioning.failures"
"""Where goes what somebody may have to look at."""
CREDENTIALS_TOPIC: Final = "provisioning.credentials"
"""Where sealed credentials go, if an account's settings ask for them."""


def _never_negative(value: Any) -> Any:
    """A span measured across a clock that stepped back is written as 0; everything else is the type's business."""
    return 0.0 if isinstance(value, int | float) and value < 0 else value


Seconds = Annotated[float, BeforeValidator(_never_negative), Field(ge=0, allow_inf_nan=False)]
Natural = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]

# RFC 7516, section 7.1: header, encrypted key, initialization vector, ciphertext and tag, none of them empty here
_COMPACT_JWE: Final = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){4}$"

CommandResult = Literal["done", "unchanged", "adopted"]
StepOutcome = Literal["succeeded", "failed", "superseded", "stale", "cancelled"]
WaitingCause = Literal["approval", "effective_date", "in_doubt", "hold", "quarantine", "earlier_work"]
WhoActs = Literal["nobody", "cordboard", "operator", "upstream", "vendor"]


class ErrorClass(StrEnum):
    """What kind of failure it was; decides whether trying again can help."""

    RETRYABLE = "retryable"
    THROTTLED = "throttled"
    AMBIGUOUS = "ambiguous"
    CREDENTIALS = "credentials"
    CAPACITY = "capacity"
    PERMANENT = "permanent"
    CONFLICT = "conflict"
    INCOMPLETE = "incomplete"
    UNSUPPORTED = "unsupported"


class OutboundPart(BaseModel):
    """What every model of an out-event has in common: frozen, strict, and closed to fields that are not declared."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        json_schema_serialization_defaults_required=True,
    )


# --- parts ------------------------------------------------------------------------------------------------------------


class Cause(OutboundPart):
    """The event that asked for the work, and where in Kafka it stands."""

    event_id: Text = Field(description="Id of the causing event.")
    source: Text = Field(description="Source of the causing event.")
    topic: Text = Field(description="Topic it was read from.")
    partition: Natural = Field(description="Partition it was read from.")
    offset: Natural = Field(description="Offset it was read at.")


class Timing(OutboundPart):
    """How often it was tried, and where the time went; of a plan, over all its commands."""

    attempts: Natural = Field(default=0, description="Requests sent to the vendor.")
    first_at: Timestamp | None = Field(default=None, description="When the first request was sent.")
    last_at: Timestamp | None = Field(default=None, description="When the last request was sent.")
    queue_seconds: Seconds = Field(default=0.0, description="Time spent waiting for its turn.")
    quota_seconds: Seconds = Field(default=0.0, description="Time spent waiting for the vendor's quota.")
    vendor_seconds: Seconds = Field(default=0.0, description="Time spent waiting for the vendor's answers.")


class FailureDetail(OutboundPart):
    """What went wrong, and what can be done about it."""

    error_class: Annotated[ErrorClass, Field(strict=False)] = Field(description="Kind of failure.")
    code: str | None = Field(default=None, description="The vendor's code, or Cordboard's own.")
    request_id: str | None = Field(default=None, description="The vendor's id of the request, for its support.")
    message: str = Field(description="What happened, in a sentence.")
    field: str | None = Field(default=None, description="The field at fault, where one is.")
    replay_can_help: bool = Field(description="Whether a replay may end otherwise.")
    advice: str = Field(description="What to do.")


class StepReport(OutboundPart):
    """How one step of a plan ended."""

    step: Text = Field(description="Name of the step within its plan.")
    operation: Text | None = Field(default=None, description="Vendor operation; none for a wait.")
    outcome: StepOutcome = Field(description="How the step ended.")
    result: CommandResult | None = Field(default=None, description="What a success was made of.")


class AgentResult(OutboundPart):
    """What upstream writes back about an agent whose extension is ready."""

    agent_id: Text = Field(description="The agent, as in the causing event.")
    account: Text = Field(description="Vendor account.")
    extension: Text = Field(description="Extension within the account.")
    full_extension: Text | None = Field(default=None, description="Extension with its domain.")
    domain: Text | None = Field(default=None, description="SIP domain to register at.")
    outbound_proxy: Text | None = Field(default=None, description="Host and port that phones connect to.")
    transport: Text | None = Field(default=None, description="SIP transport.")
    ready_at: Timestamp = Field(description="When it was ready.")
    credential: Literal["delivered", "none"] = Field(description="Whether a sealed credential was delivered.")


class NumberResult(OutboundPart):
    """What upstream writes back about a number that is live."""

    number: Text = Field(description="The number, E.164.")
    account: Text = Field(description="Vendor account.")
    apply_id: Natural | None = Field(default=None, description="The vendor's id of the application, where known.")
    live_at: Timestamp | None = Field(default=None, description="When it was seen live, or approved.")
    bound: bool = Field(description="Whether its call-in URL is set.")


class RouteResult(OutboundPart):
    """What upstream writes back about a called route."""

    account: Text = Field(description="Vendor account.")
    access_code: Text = Field(description="Access code that callers reach.")
    ext_code: Text | None = Field(default=None, description="Extension code behind it.")
    media_type: Natural | None = Field(default=None, description="The vendor's media type.")
    skill_queue: Natural | None = Field(default=None, description="Skill queue that calls go to.")
    ivr: Natural | None = Field(default=None, description="IVR flow that calls go to.")
    ready_at: Timestamp = Field(description="When it was ready.")


# --- commands ---------------------------------------------------------------------------------------------------------


class CommandData(OutboundPart):
    """What every event about a command carries."""

    caused_by: Cause = Field(description="The event that asked for it.")
    plan_id: Text = Field(description="Plan the command belongs to.")
    command_id: Text = Field(description="The command.")
    epoch: Natural = Field(description="How often the plan was started before; the highest counts.")
    step: Text = Field(description="Name of the step within its plan.")
    operation: Text = Field(description="Vendor operation.")
    account: Text = Field(description="Vendor account.")
    resource: Text = Field(description="What the command changes at the vendor.")
    timing: Timing = Field(description="Attempts and times.")


class CommandSucceeded(CommandData):
    """The wanted state holds at the vendor."""

    result: CommandResult = Field(description="Done by us, found unchanged, or adopted as another had done it.")
    request_id: Text | None = Field(default=None, description="The vendor's id of the last request.")


class CredentialSealed(CommandData):
    """The SIP password of an extension, readable for the holder of the private key alone."""

    agent_id: Text = Field(description="The agent, as in the causing event.")
    extension: Text = Field(description="Extension within the account.")
    jwe: Annotated[str, Field(pattern=_COMPACT_JWE)] = Field(
        description="The credential as a JWE in compact form; opened, it is JSON: schemas/sealed-credential.v1.json."
    )


class SealedCredential(OutboundPart):
    """What a sealed credential holds. Whom and what it is for stands in it, where nobody on the way can change it."""

    subject: Text = Field(description="Whose it is, as Cordboard names them; the key of the message.")
    account: Text = Field(description="Vendor account.")
    extension: Text = Field(description="Extension within the account.")
    password: Text = Field(repr=False, description="The SIP password.")


class CommandSuperseded(CommandData):
    """A later event made this command pointless before it was sent."""

    by_event_id: Text | None = Field(default=None, description="The later event.")


class CommandStale(CommandData):
    """Newer state was applied already; nothing was sent."""

    by_event_id: Text | None = Field(default=None, description="The event that was applied.")


class CommandCancelled(CommandData):
    """The command will not run."""

    because: Literal["earlier_step", "operator"] = Field(description="Who or what ended it.")
    because_step: Text | None = Field(default=None, description="The earlier step that failed.")


class CommandFailed(CommandData):
    """The command ended without reaching its wanted state."""

    failure: FailureDetail = Field(description="What went wrong.")


class CommandInDoubt(CommandData):
    """A request was sent and what became of it is unknown; not an end."""

    failure: FailureDetail = Field(description="Why it is unknown.")
    since: Timestamp = Field(description="Since when.")
    who_acts: WhoActs = Field(description="Who finds out.")


# --- plans ------------------------------------------------------------------------------------------------------------


class PlanData(OutboundPart):
    """What every event about a plan carries."""

    caused_by: Cause = Field(description="The event that asked for it.")
    plan_id: Text = Field(description="The plan.")
    epoch: Natural = Field(description="How often the plan was started before; the highest counts.")
    account: Text | None = Field(description="Vendor account, where one could be told.")
    resource: Text | None = Field(description="What the plan changes at the vendor, where it could be told.")
    timing: Timing = Field(description="Attempts and times over all commands.")


class PlanCompleted(PlanData):
    """All of a plan's steps have ended and none failed. At most one of agent, number and route is there."""

    completed_at: Timestamp = Field(description="When the last step ended.")
    steps: Annotated[tuple[StepReport, ...], Field(strict=False)] = Field(description="How each step ended.")
    agent: AgentResult | None = Field(default=None, description="The agent's extension, for an agent's event.")
    number: NumberResult | None = Field(default=None, description="The number, for an event about a number.")
    route: RouteResult | None = Field(default=None, description="The route, for an event about a route.")


class PlanWaiting(PlanData):
    """A plan can't go on for now; published once per epoch. Not an end."""

    cause: WaitingCause = Field(description="What it waits for.")
    since: Timestamp = Field(description="Since when.")
    expected_at: Timestamp | None = Field(default=None, description="When the wait is expected to end, where known.")
    who_acts: WhoActs = Field(description="Who ends the wait.")


class PlanFailed(PlanData):
    """A plan ended without what was asked for; its later steps are cancelled."""

    failed_at: Timestamp = Field(description="When it failed.")
    steps: Annotated[tuple[StepReport, ...], Field(strict=False)] = Field(description="How each step ended.")
    failed_step: Text | None = Field(default=None, description="The step that failed; none if planning itself did.")
    failure: FailureDetail = Field(description="What went wrong.")


# --- accounts ---------------------------------------------------------------------------------------------------------


class AccountQuarantined(OutboundPart):
    """Cordboard stopped an account, or one operation of it, because it is sick; its work waits."""

    account: Text = Field(description="Vendor account.")
    vendor: Text = Field(description="Vendor of the account.")
    operation: Text | None = Field(default=None, description="The only operation concerned; none: the whole account.")
    since: Timestamp = Field(description="When it was stopped.")
    failure: FailureDetail = Field(description="What it was stopped for.")
    caused_by: Cause | None = Field(default=None, description="The event whose work met it, where one did.")


class AccountRecovered(OutboundPart):
    """A quarantined account, or operation of it, works again."""

    account: Text = Field(description="Vendor account.")
    vendor: Text = Field(description="Vendor of the account.")
    operation: Text | None = Field(default=None, description="The only operation concerned; none: the whole account.")
    since: Timestamp = Field(description="When it was stopped.")
    recovered_at: Timestamp = Field(description="When it worked again.")


# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutboundType:
    """The model of a type's data, and the topic it is published on."""

    model: type[OutboundPart]
    topic: str


OUTBOUND: Final[Mapping[str, OutboundType]] = MappingProxyType(
    {
        "provisioning.command.succeeded.v1": OutboundType(CommandSucceeded, RESULTS_TOPIC),
        "provisioning.command.superseded.v1": OutboundType(CommandSuperseded, RESULTS_TOPIC),
        "provisioning.command.stale.v1": OutboundType(CommandStale, RESULTS_TOPIC),
        "provisioning.command.cancelled.v1": OutboundType(CommandCancelled, RESULTS_TOPIC),
        "provisioning.plan.completed.v1": OutboundType(PlanCompleted, RESULTS_TOPIC),
        "provisioning.plan.waiting.v1": OutboundType(PlanWaiting, RESULTS_TOPIC),
        "provisioning.command.failed.v1": OutboundType(CommandFailed, FAILURES_TOPIC),
        "provisioning.command.in_doubt.v1": OutboundType(CommandInDoubt, FAILURES_TOPIC),
        "provisioning.plan.failed.v1": OutboundType(PlanFailed, FAILURES_TOPIC),
        "provisioning.account.quarantined.v1": OutboundType(AccountQuarantined, FAILURES_TOPIC),
        "provisioning.account.recovered.v1": OutboundType(AccountRecovered, FAILURES_TOPIC),
        "provisioning.credential.sealed.v1": OutboundType(CredentialSealed, CREDENTIALS_TOPIC),
    }
)
"""Every event type that Cordboard publishes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundEvent:
    """One event to publish. `id` is a hash that is the same every time; `subject` and `correlationid` are copied.
    `causationid` is None only where no event caused it (an account that fell sick while probed).

    Raises ValueError for a type that is not in `OUTBOUND`, data that is not of its model, or a time without offset.
    """

    type: str
    id: str
    subject: str
    time: datetime
    correlationid: str
    causationid: str | None
    data: OutboundPart
    traceparent: str | None = None
    source: str = SOURCE

    def __post_init__(self) -> None:
        known = OUTBOUND.get(self.type)
        if known is None or type(self.data) is not known.model:
            raise ValueError(f"{type(self.data).__name__} is not the data of {self.type}")
        if self.time.utcoffset() is None:
            raise ValueError("time needs an offset from UTC")

    @property
    def topic(self) -> str:
        """The topic this event is published on."""
        return OUTBOUND[self.type].topic

    def attributes(self) -> dict[str, str]:
        """Return the context attributes as text, those without a value left out."""
        known = {
            "specversion": SPECVERSION,
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": rfc3339(self.time),
            "datacontenttype": DATA_CONTENT_TYPE,
            "correlationid": self.correlationid,
            "causationid": self.causationid,
            "traceparent": self.traceparent,
        }
        return {name: value for name, value in known.items() if value is not None}

    def to_structured(self) -> bytes:
        """Write the whole event in the CloudEvents JSON format, UTF-8."""
        return orjson.dumps({**self.attributes(), "data": orjson.Fragment(self.data.model_dump_json())})

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        """Return the record's headers: its content type, and every attribute again, to filter by without parsing.

        The trace context also stands where tracing libraries look for it.
        """
        attributes = {name: value for name, value in self.attributes().items() if name != "datacontenttype"}
        headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
        if self.traceparent is not None:
            headers.append(("traceparent", self.traceparent.encode()))
        return [("content-type", STRUCTURED_CONTENT_TYPE.encode()), *headers]
