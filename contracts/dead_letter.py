"""The dead letter: a record that could not become an event, written to the dead-letter topic of where it came from.

Value, key and headers are those of the original record, byte for byte; the headers named here are added. A value that
is too large to be carried at all is left out, and two of the headers say what it was. Original headers that bear one of
these names are dropped, so that what a reader sees there is always Cordboard's word.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from contracts.fields import rfc3339


class DeadLetterReason(StrEnum):
    """Why a record is a dead letter; a closed list."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_CLOUDEVENT = "not_cloudevent"
    CONFLUENT_FRAME = "confluent_frame"
    XML = "xml"
    UNSUPPORTED_FORMAT = "unsupported_format"
    UNKNOWN_VERSION = "unknown_version"
    INVALID_FIELD = "invalid_field"
    ID_REUSED = "id_reused"
    NOT_TAKEN_IN = "not_taken_in"


REASONS: Final[Mapping[DeadLetterReason, str]] = MappingProxyType(
    {
        DeadLetterReason.TOO_LARGE: "Key, value and headers together are over the size limit.",
        DeadLetterReason.NOT_UTF8: "The value is not UTF-8 text.",
        DeadLetterReason.NOT_JSON: "The value is not JSON, or not JSON that can be read safely.",
        DeadLetterReason.NOT_CLOUDEVENT: "JSON, but not a CloudEvent: neither content type, headers nor specversion.",
        DeadLetterReason.CONFLUENT_FRAME: "The value is framed for a schema registry (Avro, Protobuf, JSON Schema).",
        DeadLetterReason.XML: "The value is XML.",
        DeadLetterReason.UNSUPPORTED_FORMAT: "A CloudEvent in a format other than JSON, or a batch of several.",
        DeadLetterReason.UNKNOWN_VERSION: "A type of ours in a version that is not known.",
        DeadLetterReason.INVALID_FIELD: "A field or attribute is missing or malformed; the field header names it.",
        DeadLetterReason.NOT_TAKEN_IN: "A fault inside Cordboard: the record may be good; write it to its topic again.",
        DeadLetterReason.ID_REUSED: "Source and id were seen before with other content; the first one counts.",
    }
)
"""What each reason means, for the published document and the pages."""

HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cordboard_class": "Why the record could not become an event.",
        "cordboard_field": "Dotted path of the field at fault; only where one is to blame.",
        "__dlq.errors.message": "What is wrong, in a sentence that repeats nothing of the record.",
        "__dlq.errors.topic": "Topic of the original record.",
        "__dlq.errors.partition": "Partition of the original record, decimal.",
        "__dlq.errors.offset": "Offset of the original record, decimal.",
        "cordboard_first_seen": "When Cordboard first read the record, RFC 3339.",
        "cordboard_timestamp_ms": "Timestamp of the original record, milliseconds since 1970, decimal.",
        "cordboard_value_sha256": "SHA-256 of the original value, hex; only where the value was too large to carry.",
        "cordboard_value_size": "Bytes of the original value, decimal; only where it was too large to carry.",
    }
)
"""Every header that a dead letter adds to those of the original record."""

OPTIONAL_HEADERS: Final = frozenset({"cordboard_field", "cordboard_value_sha256", "cordboard_value_size"})
"""Those of them that not every dead letter has."""


def dead_letter_topic(topic: str) -> str:
    """Name the dead-letter topic that belongs to a topic."""
    return f"dlq.{topic}"


def dead_letter_headers(
    original: Sequence[tuple[str, bytes | None]],
    *,
    reason: str,
    field: str | None,
    message: str,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    first_seen: datetime,
) -> list[tuple[str, bytes | None]]:
    """Return the headers of a dead letter: the original ones, then Cordboard's own, all UTF-8."""
    own = {
        "cordboard_class": reason,
        "cordboard_field": field,
        "__dlq.errors.message": message,
        "__dlq.errors.topic": topic,
        "__dlq.errors.partition": str(partition),
        "__dlq.errors.offset": str(offset),
        "cordboard_first_seen": rfc3339(first_seen),
        "cordboard_timestamp_ms": str(timestamp_ms),
    }
    kept = [(name, value) for name, value in original if name not in HEADERS]
    return [*kept, *((name, text.encode()) for name, text in own.items() if text is not None)]
