"""Events that Cordboard reads, by type: what HR and CRM say happened.

Absent means "leave as it is", `null` means "clear": `model_fields_set` of a model tells which of the two was meant.
The schema requires only what no setting of an account can give; everything else is optional and may be `null`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.fields import NO_CONTROLS_PATTERN, Count, Id64, Int64, Label, TimestampOrDate

_WORD_PATTERN: Final = r"^[^\s\u0000-\u001f\u007f]+$"
_EMAIL_PATTERN: Final = r"^\s*[^@\s\u0000-\u001f\u007f]+@[^@\s\u0000-\u001f\u007f]+\s*$"
_URL_PATTERN: Final = r"^https?://[^\s\u0000-\u001f\u007f]+$"
# PostgreSQL keeps no NUL in text, so free text may hold line breaks but not that
_FREE_TEXT_PATTERN: Final = r"^[^\u0000]+$"

AgentId = Annotated[str, Field(min_length=1, max_length=128, pattern=NO_CONTROLS_PATTERN)]
Word32 = Annotated[str, Field(min_length=1, max_length=32, pattern=_WORD_PATTERN)]
AccountName = Annotated[str, Field(min_length=1, max_length=64, pattern=_WORD_PATTERN)]
NumberText = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROLS_PATTERN)]
FreeText = Annotated[str, Field(min_length=1, max_length=1024, pattern=_FREE_TEXT_PATTERN)]
AttributeName = Annotated[str, Field(min_length=1, max_length=128, pattern=NO_CONTROLS_PATTERN)]
ExtCode = Annotated[str, Field(min_length=1, max_length=12, pattern=_WORD_PATTERN)]
CallbackUrl = Annotated[str, Field(max_length=2048, pattern=_URL_PATTERN)]
# the range in which every JSON reader keeps integers exact
_EXACT: Final = 2**53 - 1
AttributeValue = (
    Annotated[str, Field(max_length=1024, pattern=r"^[^\u0000]*$")]
    | Annotated[int, Field(ge=-_EXACT, le=_EXACT)]
    | Annotated[float, Field(ge=-_EXACT, le=_EXACT, allow_inf_nan=False)]
    | bool
    | None
)
CallType = Literal["inbound", "outbound", "both"]


class InboundData(BaseModel):
    """What the data of every in-event may carry."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    effective_at: TimestampOrDate | None = Field(
        default=None,
        description="When it becomes true: RFC 3339, or a date in the account's time zone. Work waits for it.",
    )
    revision: Int64 | None = Field(
        default=None, description="Orders the events of one source about one subject: the highest is the newest."
    )

    def known_fields(self) -> dict[str, Any]:
        """Return what the sender gave, unknown fields dropped, as JSON values; absent fields are not in it.

        The form that is stored and hashed: `type(data).model_validate(data.known_fields())` gives the same model.
        """
        return self.model_dump(mode="json", exclude_unset=True)


class AgentData(InboundData):
    """What an event about an agent may carry, whichever it is."""

    agent_id: AgentId = Field(description="The agent's id in the HR system.")
    email: Annotated[str, Field(min_length=3, max_length=320, pattern=_EMAIL_PATTERN)] | None = Field(
        default=None, description="The agent's e-mail; ties the extension to the agent's seat at the vendor."
    )
    account: AccountName | None = Field(default=None, description="Vendor account; else the topic's default.")
    extension: Word32 | None = Field(default=None, description="Extension wanted, as text.")
    skill_group_ids: Annotated[tuple[Id64, ...], Field(strict=False, max_length=1000)] | None = Field(
        default=None, description="Skill groups at the vendor."
    )
    department: Label | None = Field(default=None, description="Department, as HR names it.")
    location: Label | None = Field(default=None, description="Place of work, as HR names it.")
    worker_type: Label | None = Field(default=None, description="Kind of employment, as HR names it.")
    attributes: Annotated[Mapping[AttributeName, AttributeValue], Field(max_length=100)] | None = Field(
        default=None, description="Further facts, name to plain value; for mapping rules."
    )


class AgentHired(AgentData):
    """An agent was hired: there shall be an extension for them."""

    name: Label = Field(description="The agent's name, shown at the extension.")


class AgentChanged(AgentData):
    """Something about an agent changed: their extension shall be as the given fields say."""

    name: Label | None = Field(default=None, description="The agent's name, shown at the extension.")


_ONE_TARGET_SCHEMA: Final[dict[str, Any]] = {
    "oneOf": [
        {"required": ["skill_queue"], "properties": {"skill_queue": {"type": "integer"}}},
        {"required": ["ivr"], "properties": {"ivr": {"type": "integer"}}},
    ]
}


class RouteTarget(BaseModel):
    """Where calls to an access code go: exactly one of a skill queue and an IVR flow."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, hide_input_in_errors=True, json_schema_extra=_ONE_TARGET_SCHEMA
    )

    skill_queue: Id64 | None = Field(default=None, description="Id of the skill queue.")
    ivr: Id64 | None = Field(default=None, description="Id of the IVR flow.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.skill_queue is None) == (self.ivr is None):
            raise ValueError("should name exactly one of skill_queue and ivr")
        return self


_NUMBER_OR_CODE_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [
        {"required": ["number"], "properties": {"number": {"type": "string"}}},
        {"required": ["access_code"], "properties": {"access_code": {"type": "string"}}},
    ]
}


def _require_number_or_code(number: str | None, access_code: str | None) -> None:
    if number is None and access_code is None:
        raise ValueError("should carry number or access_code")


class NumberPurchased(InboundData):
    """A number was purchased: it shall be usable (TCCC: by `number`) or routed (AICC: by `access_code`)."""

    model_config = ConfigDict(json_schema_extra=_NUMBER_OR_CODE_SCHEMA)

    account: AccountName | None = Field(default=None, description="Vendor account; else the topic's default.")
    number: NumberText | None = Field(
        default=None, description="The number, E.164 or national in the account's country."
    )
    sip_trunk_id: Id64 | None = Field(default=None, description="SIP trunk that carries the number.")
    call_type: CallType | None = Field(default=None, description="Which calls the number is for.")
    max_concurrent_calls: Count | None = Field(default=None, description="Calls at the same time.")
    max_calls_per_second: Count | None = Field(default=None, description="New calls per second.")
    prefix: Word32 | None = Field(default=None, description="Dialled before the number when calling out.")
    callback_url: CallbackUrl | None = Field(
        default=None,
        description="Called by the vendor when a call comes in: https, no private host unless the account allows it.",
    )
    access_code: Word32 | None = Field(default=None, description="Access code that callers reach.")
    ext_code: ExtCode | None = Field(default=None, description="Extension code behind the access code.")
    media_type: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="The vendor's media type of the route (5 is voice)."
    )
    route: RouteTarget | None = Field(default=None, description="Where calls to the access code go.")

    @model_validator(mode="after")
    def _number_or_access_code(self) -> Self:
        _require_number_or_code(self.number, self.access_code)
        return self


class NumberApproved(InboundData):
    """The vendor approved a number: ends the wait for it, and settles an application in doubt."""

    number: NumberText = Field(description="The number, E.164 or national in the account's country.")
    account: AccountName | None = Field(default=None, description="Vendor account; else the topic's default.")
    apply_id: Id64 | None = Field(default=None, description="The vendor's id of the application.")
    reason: FreeText | None = Field(default=None, description="What the reviewer said.")


class NumberRefused(InboundData):
    """The vendor refused a number: fails the plan that waits for it."""

    number: NumberText = Field(description="The number, E.164 or national in the account's country.")
    account: AccountName | None = Field(default=None, description="Vendor account; else the topic's default.")
    apply_id: Id64 | None = Field(default=None, description="The vendor's id of the application.")
    reason: FreeText | None = Field(default=None, description="What the reviewer said.")


class NumberRouted(InboundData):
    """Calls in shall go elsewhere: to a call-in URL (TCCC: of a `number`) or a route (AICC: of an `access_code`)."""

    model_config = ConfigDict(json_schema_extra=_NUMBER_OR_CODE_SCHEMA)

    account: AccountName | None = Field(default=None, description="Vendor account; else the topic's default.")
    number: NumberText | None = Field(
        default=None, description="The number, E.164 or national in the account's country."
    )
    callback_url: CallbackUrl | None = Field(
        default=None,
        description="Called by the vendor when a call comes in: https, no private host unless the account allows it.",
    )
    access_code: Word32 | None = Field(default=None, description="Access code that callers reach.")
    ext_code: ExtCode | None = Field(default=None, description="Extension code behind the access code.")
    route: RouteTarget | None = Field(default=None, description="Where calls to the access code go.")

    @model_validator(mode="after")
    def _number_or_access_code(self) -> Self:
        _require_number_or_code(self.number, self.access_code)
        return self


INBOUND: Final[Mapping[str, type[InboundData]]] = MappingProxyType(
    {
        "hr.agent.hired.v1": AgentHired,
        "hr.agent.changed.v1": AgentChanged,
        "crm.number.purchased.v1": NumberPurchased,
        "crm.number.approved.v1": NumberApproved,
        "crm.number.refused.v1": NumberRefused,
        "crm.number.routed.v1": NumberRouted,
    }
)
"""Every event type that Cordboard reads, with the model of its data."""

INBOUND_TOPIC: Final[Mapping[str, str]] = MappingProxyType({"hr": "hr.events", "crm": "crm.events"})
"""Topic on which types are documented to arrive, by the first word of the type."""
