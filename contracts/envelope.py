"""The CloudEvents 1.0 context attributes that Cordboard reads and writes, with the extensions it knows."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.fields import TRACEPARENT_PATTERN, ContextText, Int64, Timestamp

SPECVERSION: Final = "1.0"
"""The only version of CloudEvents there is to read or write."""
STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json"
"""Content type of a record whose value is the whole event (CloudEvents JSON format, structured mode)."""
DATA_CONTENT_TYPE: Final = "application/json"
"""Content type of the data of every event."""


class Envelope(BaseModel):
    """Context attributes of one event; attributes that are not named here are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: ContextText = Field(description="Identifies the event together with its source; repeated on redelivery.")
    source: ContextText = Field(description="Which system says so (a URI reference).")
    type: ContextText = Field(description="What happened, with its version.")
    specversion: Literal["1.0"] = Field(description="Version of the CloudEvents specification.")
    subject: ContextText | None = Field(default=None, description="Whom the event is about, as its sender says it.")
    time: Timestamp | None = Field(default=None, description="When it happened.")
    datacontenttype: ContextText | None = Field(default=None, description="Content type of the data: JSON.")
    dataschema: ContextText | None = Field(default=None, description="Where the schema of the data is found.")
    correlationid: ContextText | None = Field(
        default=None, description="Ties events of one business case together; copied into every event that follows."
    )
    causationid: ContextText | None = Field(default=None, description="Id of the event that caused this one.")
    sequence: Int64 | ContextText | None = Field(
        default=None, description="Position among the events of this source; orders events when it is an integer."
    )
    traceparent: Annotated[str, Field(pattern=TRACEPARENT_PATTERN)] | None = Field(
        default=None, description="W3C trace context; one that cannot be read is ignored."
    )
    partitionkey: ContextText | None = Field(default=None, description="What the sender partitioned by.")
