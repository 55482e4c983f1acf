"""Constrained field types that the event models share; each carries its own JSON Schema, so model and schema agree."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

MAX_INT64: Final = 2**63 - 1
"""Largest integer any field takes: what a signed 64-bit column holds."""

_DATE = r"(?:19|2[0-9])[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_OFFSET = r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"

DATE_PATTERN: Final = rf"^{_DATE}$"
"""A calendar date from 1900 to 2999 (`2026-03-01`); the bounds keep conversion between time zones within range."""
TIMESTAMP_PATTERN: Final = rf"^{_DATE}[Tt]{_CLOCK}{_OFFSET}$"
"""An RFC 3339 timestamp with its offset, years 1900 to 2999, no leap second."""
NO_CONTROLS_PATTERN: Final = r"^[^\u0000-\u001f\u007f]*[^\s\u0000-\u001f\u007f][^\u0000-\u001f\u007f]*$"
"""One line that is not blank: no control character, and at least one that is no space."""
TRACEPARENT_PATTERN: Final = r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
"""A W3C trace context parent, version 00."""

_DATE_RE: Final = re.compile(_DATE)
_TIMESTAMP_RE: Final = re.compile(rf"{_DATE}[Tt]{_CLOCK}{_OFFSET}")


def rfc3339(moment: datetime) -> str:
    """Write an aware moment as RFC 3339 in UTC with a `Z`; the one spelling that Cordboard publishes and hashes."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_timestamp(value: Any) -> Any:
    """Read RFC 3339 text; anything that is not text is left to the strict type behind."""
    if not isinstance(value, str):
        return value
    if not _TIMESTAMP_RE.fullmatch(value):
        raise ValueError("should be an RFC 3339 timestamp with offset, between the years 1900 and 2999")
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError:  # newer Pythons name the day in their message
        raise ValueError("should be a day that exists") from None


def _read_timestamp_or_date(value: Any) -> Any:
    if not isinstance(value, str) or not _DATE_RE.fullmatch(value):
        return _read_timestamp(value)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError("should be a day that exists") from None


def _require_offset(value: datetime | date) -> datetime | date:
    if isinstance(value, datetime) and value.utcoffset() is None:
        raise ValueError("should carry an offset from UTC")
    return value


def _write_timestamp_or_date(value: datetime | date) -> str:
    return rfc3339(value) if isinstance(value, datetime) else value.isoformat()


_TIMESTAMP_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}
_DATE_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date", "pattern": DATE_PATTERN}

Timestamp = Annotated[
    datetime,
    Field(strict=True),
    BeforeValidator(lambda value: _require_offset(value) if isinstance(value, datetime) else _read_timestamp(value)),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema(_TIMESTAMP_SCHEMA),
]
"""An aware moment; RFC 3339 on the wire, written in UTC."""

TimestampOrDate = Annotated[
    datetime | date,
    BeforeValidator(
        lambda value: _require_offset(value) if isinstance(value, date) else _read_timestamp_or_date(value)
    ),
    PlainSerializer(_write_timestamp_or_date, return_type=str),
    WithJsonSchema({"anyOf": [_TIMESTAMP_SCHEMA, _DATE_SCHEMA]}),
]
"""An aware moment, or a plain date whose time zone the account decides (a `datetime` is tested for before a `date`)."""

ContextText = Annotated[str, Field(min_length=1, max_length=512, pattern=NO_CONTROLS_PATTERN)]
"""A CloudEvents context attribute: 1 to 512 characters, no control characters."""
Label = Annotated[str, Field(min_length=1, max_length=256, pattern=NO_CONTROLS_PATTERN)]
"""A name, an identifier or another single line: 1 to 256 characters, no control characters."""
Int64 = Annotated[int, Field(ge=-MAX_INT64, le=MAX_INT64)]
"""A signed integer that fits 64 bits."""
Id64 = Annotated[int, Field(ge=0, le=MAX_INT64)]
"""A numeric identifier given by a vendor."""
Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many of something may be used: 1 to 1,000,000."""
