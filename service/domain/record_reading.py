"""Reading one Kafka record: an event of ours, something to ignore, or a defect that becomes a dead letter.

Pure and total: whatever the bytes and headers are, `read_record` returns a value and raises nothing. No message it
returns repeats any of the input.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from contracts.dead_letter import DeadLetterReason
from contracts.envelope import Envelope
from contracts.fields import MAX_INT64, TRACEPARENT_PATTERN
from contracts.inbound import INBOUND, InboundData, RouteTarget

KNOWN_DEAD_LETTER_REASONS: Final[frozenset[str]] = frozenset(reason.value for reason in DeadLetterReason)
"""Every reason a dead letter can have; all but `id_reused` (intake's, which knows the ledger) are found here."""

Headers = tuple[tuple[str, bytes | None], ...]
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One Kafka record before it has been read; `timestamp_ms` counts from 1970. Its repr shows no content."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundEvent:
    """A validated event of a type that Cordboard reads, and the place in Kafka it came from.

    `digest` is equal for equal type and known data, however it was spelt; `key` is the record's own, for what follows.
    The repr leaves out data and key, which are about a person.
    """

    id: str
    source: str
    type: str
    data: InboundData = field(repr=False)
    topic: str
    partition: int
    offset: int
    subject_hint: str | None
    time: datetime | None
    correlationid: str | None
    traceparent: str | None
    sequence: int | None
    digest: str
    key: bytes | None = field(default=None, repr=False)

    @property
    def revision(self) -> int | None:
        """The number that orders events of one source: the data's revision, else the `sequence` attribute."""
        return self.sequence if self.data.revision is None else self.data.revision


@dataclass(frozen=True, slots=True)
class Understood:
    """The record is an event of ours."""

    event: InboundEvent


@dataclass(frozen=True, slots=True)
class Ignored:
    """The record is none of our business; `type_label` is printable and at most 120 characters, to count by."""

    type_label: str
    reason: Literal["foreign_type", "empty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """The record can't become an event: why, at which field (dotted path), in a sentence without any of the input."""

    reason: DeadLetterReason
    field: str | None
    message: str


Reading = Understood | Ignored | Defect


def read_record(record: Record, *, max_event_bytes: int) -> Reading:
    """Read a record of at most `max_event_bytes` (key, value and headers together). Never raises."""
    try:
        return _read(record, max_event_bytes)
    except _FoundError as found:
        return found.defect


def event_digest(event_type: str, data: InboundData) -> str:
    """Hash type and known data over canonical JSON; absent and `null` differ, order and spelling don't. Hex SHA-256."""
    content = {"type": event_type, "data": data.known_fields()}
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class _FoundError(Exception):
    """Carries a defect from where it is found to `read_record`; never leaves this module."""

    def __init__(self, reason: DeadLetterReason, message: str, *, field_path: str | None = None) -> None:
        super().__init__(message)
        self.defect = Defect(reason=reason, field=field_path, message=message)


@dataclass(frozen=True, slots=True)
class _Json:
    """A parsed value, with what makes it unsafe to rely on (only held against events of ours)."""

    value: Any
    faults: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A CloudEvent that says it is of one of our types, not yet believed."""

    type: str
    attributes: Mapping[str, Any]
    data: Any
    faults: list[str]


def _read(record: Record, max_event_bytes: int) -> Reading:
    _check_size(record, max_event_bytes)
    if not record.value:
        return Ignored(_label(_decoded(_last(record.headers, "ce_type"))), "empty")
    claim = _claim(record.value, record.headers)
    if isinstance(claim, Ignored):
        return claim
    envelope = _envelope(claim, record.headers)
    return Understood(_event(record, envelope, _data(claim)))


def _check_size(record: Record, max_event_bytes: int) -> None:
    size = len(record.value or b"") + len(record.key or b"")
    size += sum(len(name) + len(value or b"") for name, value in record.headers)
    if size > max_event_bytes:
        raise _FoundError(DeadLetterReason.TOO_LARGE, f"the record is over the limit of {max_event_bytes} bytes")


def _event(record: Record, envelope: Envelope, data: InboundData) -> InboundEvent:
    return InboundEvent(
        id=envelope.id,
        source=envelope.source,
        type=envelope.type,
        data=data,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        subject_hint=envelope.subject,
        time=envelope.time,
        correlationid=envelope.correlationid,
        traceparent=envelope.traceparent,
        sequence=_integer(envelope.sequence),
        digest=event_digest(envelope.type, data),
        key=record.key,
    )


# --- which mode, which type -------------------------------------------------------------------------------------------


def _claim(value: bytes, headers: Headers) -> _Claim | Ignored:
    content_type = _content_type(headers)
    if content_type.startswith("application/cloudevents"):
        return _structured(value, content_type)
    if any(name.lower().startswith("ce_") for name, _ in headers):
        return _binary(value, headers, content_type)
    parsed = _parse(value)
    if not isinstance(parsed.value, dict) or "specversion" not in parsed.value:
        raise _FoundError(DeadLetterReason.NOT_CLOUDEVENT, "no CloudEvents content type, headers or specversion")
    return _from_object(parsed)


def _structured(value: bytes, content_type: str) -> _Claim | Ignored:
    media_type = content_type.partition(";")[0].strip()
    if media_type not in {"application/cloudevents", "application/cloudevents+json"}:
        message = "only single CloudEvents in the JSON format are read, no batches and no other formats"
        raise _FoundError(DeadLetterReason.UNSUPPORTED_FORMAT, message, field_path="content-type")
    parsed = _parse(value)
    if not isinstance(parsed.value, dict):
        raise _FoundError(DeadLetterReason.NOT_CLOUDEVENT, "the value should be one JSON object")
    return _from_object(parsed)


def _from_object(parsed: _Json) -> _Claim | Ignored:
    event_type = parsed.value.get("type")
    if foreign := _foreign(event_type):
        return foreign
    _check_own(event_type)
    _check_json_data(parsed.value.get("datacontenttype"))
    if parsed.value.get("data_base64") is not None:
        raise _invalid("data", "data_base64 is not read: send data as a JSON object")
    return _Claim(
        type=event_type, attributes=parsed.value, data=parsed.value.get("data", _ABSENT), faults=parsed.faults
    )


def _binary(value: bytes, headers: Headers, content_type: str) -> _Claim | Ignored:
    event_type = _decoded(_last(headers, "ce_type"))
    if foreign := _foreign(event_type):
        return foreign
    attributes = _header_attributes(headers)
    _check_own(attributes.get("type"))
    _check_json_data(content_type or None)
    parsed = _parse(value)
    return _Claim(type=attributes["type"], attributes=attributes, data=parsed.value, faults=parsed.faults)


def _foreign(event_type: Any) -> Ignored | None:
    """Ignore a type that is no version of one of ours; a type that cannot be told is not foreign."""
    if not isinstance(event_type, str) or not event_type or _base(event_type) in _OWN_BASES:
        return None
    return Ignored(_label(event_type), "foreign_type")


def _check_own(event_type: Any) -> None:
    if not isinstance(event_type, str) or not event_type:
        raise _invalid("type", "should be a non-empty string")
    if event_type not in INBOUND:
        known = ", ".join(name for name in INBOUND if _base(name) == _base(event_type))
        raise _FoundError(DeadLetterReason.UNKNOWN_VERSION, f"known here: {known}", field_path="type")


def _base(event_type: str) -> str:
    """The type without its version: what stands before `.v` and a digit, else the whole."""
    versioned = _VERSIONED.fullmatch(event_type)
    return versioned[1] if versioned else event_type


_VERSIONED: Final = re.compile(r"(.+?)\.v[0-9].*", re.DOTALL)
_OWN_BASES: Final = frozenset(_base(name) for name in INBOUND)


# --- headers ----------------------------------------------------------------------------------------------------------


def _content_type(headers: Headers) -> str:
    """The content type in lower case, or nothing; what cannot be read counts as absent."""
    return (_decoded(_last(headers, "content-type")) or "").strip().lower()


def _last(headers: Headers, wanted: str) -> bytes | None:
    """The value of the last header of that name; names are compared without case, null counts as absent."""
    return next((value for name, value in reversed(headers) if name.lower() == wanted and value is not None), None)


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _header_attributes(headers: Headers) -> dict[str, str]:
    """The `ce_` headers that are context attributes; each may come once, as UTF-8."""
    attributes: dict[str, str] = {}
    for header, value in headers:
        name = header.lower().removeprefix("ce_")
        if name == header.lower() or name not in Envelope.model_fields or value is None:
            continue
        if name in attributes:
            raise _invalid(name, "the header comes more than once")
        text = _decoded(value)
        if text is None:
            raise _invalid(name, "the header is not UTF-8")
        attributes[name] = text
    return attributes


def _check_json_data(content_type: Any) -> None:
    if content_type is None:
        return
    if not isinstance(content_type, str):
        raise _invalid("datacontenttype", "should be a string")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in {"application/json", "text/json"} and not media_type.endswith("+json"):
        message = "the data of events is read as JSON only"
        raise _FoundError(DeadLetterReason.UNSUPPORTED_FORMAT, message, field_path="datacontenttype")


# --- JSON -------------------------------------------------------------------------------------------------------------


def _parse(value: bytes) -> _Json:
    """Parse a value as JSON; foreign formats are named. Faults of content are collected, not raised."""
    _name_foreign_format(value)
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _FoundError(DeadLetterReason.NOT_UTF8, "the value is not UTF-8 text") from None
    faults: list[str] = []
    try:
        return _Json(_decoder(faults).decode(text), faults)
    except RecursionError:
        raise _FoundError(DeadLetterReason.NOT_JSON, "the JSON is nested too deep") from None
    except ValueError:
        raise _FoundError(DeadLetterReason.NOT_JSON, "the value is not JSON") from None


def _name_foreign_format(value: bytes) -> None:
    if value[0] == 0 and len(value) >= 5:
        message = "the value starts with a schema registry's frame: send plain JSON"
        raise _FoundError(DeadLetterReason.CONFLUENT_FRAME, message)
    if value.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise _FoundError(DeadLetterReason.XML, "the value is XML: send JSON")


def _decoder(faults: list[str]) -> json.JSONDecoder:
    """A decoder that notes what JSON leaves open: repeated members, numbers that no float holds, NaN."""

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(members)
        if len(read) != len(members):
            faults.append("an object has the same member twice")
        return read

    def integer(digits: str) -> int:
        if len(digits) <= 300:
            return int(digits)
        faults.append("a number is too large")
        return 0

    def number(digits: str) -> int | float:
        read = float(digits)
        if not math.isfinite(read):
            faults.append("a number is too large")
            return 0
        # 5.0 and 5 are one number in JSON (and in JSON Schema), so they are one here
        return int(read) if read.is_integer() else read

    def constant(_: str) -> int:
        faults.append("NaN and Infinity are not JSON")
        return 0

    return json.JSONDecoder(object_pairs_hook=pairs, parse_int=integer, parse_float=number, parse_constant=constant)


# --- believing what was claimed ---------------------------------------------------------------------------------------


_ABSENT: Final = object()
_TRACEPARENT: Final = re.compile(TRACEPARENT_PATTERN)
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_MODELS: Final[tuple[type[BaseModel], ...]] = (*INBOUND.values(), RouteTarget, Envelope)
_NAMES: Final = frozenset(name for model in _MODELS for name in model.model_fields)


def _envelope(claim: _Claim, headers: Headers) -> Envelope:
    if claim.faults:
        raise _FoundError(DeadLetterReason.NOT_JSON, claim.faults[0])
    attributes = dict(claim.attributes)
    attributes["traceparent"] = _traceparent(claim.attributes, headers)
    return _validated(Envelope, attributes, "")


def _traceparent(attributes: Mapping[str, Any], headers: Headers) -> str | None:
    """The event's trace context, else the record's; one that cannot be read is left out, as W3C asks."""
    for found in (attributes.get("traceparent"), _decoded(_last(headers, "traceparent"))):
        if isinstance(found, str) and _TRACEPARENT.fullmatch(found):
            return found
    return None


def _data(claim: _Claim) -> InboundData:
    if claim.data is _ABSENT:
        raise _invalid("data", "is missing")
    if not isinstance(claim.data, dict):
        raise _invalid("data", "should be a JSON object")
    return _validated(INBOUND[claim.type], claim.data, "data.")


def _validated(model: type[_Model], content: Mapping[str, Any], prefix: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        _raise_first(error, prefix)


def _raise_first(error: ValidationError, prefix: str) -> NoReturn:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    mismatch = faults[0]["type"] == "string_pattern_mismatch"
    message = (
        "has a form that the schema does not allow" if mismatch else faults[0]["msg"].removeprefix("Value error, ")
    )
    path = (prefix + _path(faults[0]["loc"])).rstrip(".")
    raise _invalid(path, message) from None


def _path(location: tuple[int | str, ...]) -> str:
    """The dotted path, as far as it consists of names of ours and positions: keys that a sender made up stay out."""
    known: list[str] = []
    for part in location:
        if isinstance(part, str) and part not in _NAMES:
            break
        known.append(str(part))
    return ".".join(known)


def _invalid(field_path: str, message: str) -> _FoundError:
    return _FoundError(DeadLetterReason.INVALID_FIELD, message, field_path=field_path)


def _integer(sequence: int | str | None) -> int | None:
    """The `sequence` attribute, where it is an integer that fits 64 bits; else it orders nothing."""
    if isinstance(sequence, str):
        sequence = int(sequence) if _INTEGER.fullmatch(sequence) else None
    return sequence if sequence is not None and abs(sequence) <= MAX_INT64 else None


def _label(event_type: str | None) -> str:
    """A type as a label to count by: printable ASCII, at most 120 characters."""
    text = "".join(char if "!" <= char <= "~" else "?" for char in (event_type or "")[:120])
    return text or "none"
