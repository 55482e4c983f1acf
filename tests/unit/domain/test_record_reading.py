import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.inbound import INBOUND, AgentHired
from service.domain.record_reading import (
    KNOWN_DEAD_LETTER_REASONS,
    Defect,
    Ignored,
    InboundEvent,
    Reading,
    Record,
    Understood,
    event_digest,
    read_record,
)

LIMIT = 1 << 20
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "hire-1",
    "source": "/hr",
    "type": "hr.agent.hired.v1",
    "data": {"agent_id": "E1001", "name": "Li Na"},
}
DATA = json.dumps(EVENT["data"]).encode()
BINARY = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"hire-1"),
    ("ce_source", b"/hr"),
    ("ce_type", b"hr.agent.hired.v1"),
)
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

Headers = tuple[tuple[str, bytes | None], ...]


def read(value: bytes | None, headers: Headers = (), *, limit: int = LIMIT) -> Reading:
    record = Record(
        topic="hr.events", partition=3, offset=7, key=b"E1001", value=value, headers=headers, timestamp_ms=1
    )
    return read_record(record, max_event_bytes=limit)


def structured(**changes: Any) -> bytes:
    return json.dumps(EVENT | changes).encode()


def with_data(**changes: Any) -> bytes:
    return structured(data=EVENT["data"] | changes)


def understood(value: bytes, headers: Headers = ()) -> InboundEvent:
    found = read(value, headers)
    assert isinstance(found, Understood), found
    return found.event


def defect(value: bytes, headers: Headers = ()) -> tuple[str, str | None]:
    found = read(value, headers)
    assert isinstance(found, Defect), found
    assert found.reason in KNOWN_DEAD_LETTER_REASONS
    return found.reason, found.field


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [STRUCTURED, (), (*STRUCTURED, *BINARY), (("Content-Type", STRUCTURED[0][1]),)])
def test_structured_event_is_read(headers: Headers) -> None:
    event = understood(structured(subject="E1001", time="2026-03-01T10:00:00Z"), headers)
    assert (event.id, event.source, event.type) == ("hire-1", "/hr", "hr.agent.hired.v1")
    assert event.data == AgentHired(agent_id="E1001", name="Li Na")
    assert (event.topic, event.partition, event.offset, event.key) == ("hr.events", 3, 7, b"E1001")
    assert (event.subject_hint, event.time) == ("E1001", datetime(2026, 3, 1, 10, tzinfo=UTC))


@pytest.mark.parametrize("content_type", [None, b"application/json", b"application/json; charset=utf-8", b"text/json"])
def test_binary_event_is_read(content_type: bytes | None) -> None:
    event = understood(DATA, (*BINARY, ("content-type", content_type), ("ce_subject", "Åse".encode()), ("x", b"\xff")))
    assert event.data == AgentHired(agent_id="E1001", name="Li Na")
    assert event.subject_hint == "Åse"


def test_structured_content_type_wins_over_headers() -> None:
    event = understood(structured(), (*STRUCTURED, ("ce_type", b"foreign.v1"), ("ce_id", b"\xff"), ("ce_id", b"2")))
    assert event.id == "hire-1"


def test_both_modes_of_one_event_have_one_digest() -> None:
    assert understood(structured()).digest == understood(DATA, BINARY).digest


def test_a_byte_order_mark_is_allowed() -> None:
    assert understood(b"\xef\xbb\xbf" + structured()).id == "hire-1"


# --- ignored ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, b""])
def test_empty_value_is_ignored_whatever_the_type(value: bytes | None) -> None:
    assert read(value) == Ignored("none", "empty")
    assert read(value, BINARY) == Ignored("hr.agent.hired.v1", "empty")


@pytest.mark.parametrize("foreign", ["hr.agent.promoted.v1", "hr.agent.hired.view", "HR.Agent.Hired.v1", "x"])
def test_foreign_type_is_ignored_even_if_the_rest_is_garbage(foreign: str) -> None:
    ignored = Ignored(foreign, "foreign_type")
    garbage = b'{"specversion": 7, "type": "%s", "data": [NaN, 1e999, {"a": 1, "a": 2}, %s]}'
    assert read(garbage % (foreign.encode(), b"9" * 5000)) == ignored
    assert read(b"\x00\xff<", (("ce_type", foreign.encode()), ("ce_id", b"\xff"))) == ignored


def test_type_label_is_printable_and_bounded() -> None:
    found = read(structured(type="x\n\ud800é" + "y" * 500))
    assert found == Ignored("x???" + "y" * 116, "foreign_type")


# --- defects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"\x00\x00\x00\x00\x07avro", (), "confluent_frame"),
        (b"\x00\x00\x00\x00\x07avro", BINARY, "confluent_frame"),
        (b"\x00\x00\x00\x00\x07", (), "confluent_frame"),
        (b"\x00", (), "not_json"),
        (b" <event/>", (), "xml"),
        (b"\xef\xbb\xbf<event/>", STRUCTURED, "xml"),
        (b'<?xml version="1.0" encoding="latin-1"?><a>\xe9</a>', (), "xml"),
        ('{"name": "é"}'.encode("latin-1"), (), "not_utf8"),
        ("{}".encode("utf-16"), (), "not_utf8"),
        (b"{", (), "not_json"),
        (b"   ", (), "not_json"),
        (b"{} {}", STRUCTURED, "not_json"),
        (b"[" * 200_000, (), "not_json"),
        (b'{"a":' * 100_000, STRUCTURED, "not_json"),
        (b'{"a": "\x00"}', (), "not_json"),
        (b"{}", (), "not_cloudevent"),
        (b"[]", STRUCTURED, "not_cloudevent"),
        (b'"text"', (), "not_cloudevent"),
        (b"17", (), "not_cloudevent"),
        (structured(), (("content-type", b"application/cloudevents-batch+json"),), "unsupported_format"),
        (structured(), (("content-type", b"application/cloudevents+avro"),), "unsupported_format"),
        (DATA, (*BINARY, ("content-type", b"application/x-protobuf")), "unsupported_format"),
        (structured(datacontenttype="text/plain"), (), "unsupported_format"),
    ],
)
def test_what_is_no_event_is_named(value: bytes, headers: Headers, reason: str) -> None:
    assert defect(value, headers)[0] == reason


@pytest.mark.parametrize(
    "event_type",
    ["hr.agent.hired.v2", "hr.agent.hired", "hr.agent.hired.v1.1", "hr.agent.hired.v1.v2", "hr.agent.hired.v1 "],
)
def test_our_type_in_an_unknown_version_is_a_defect_that_says_which_are_known(event_type: str) -> None:
    for found in (read(structured(type=event_type)), read(DATA, (*BINARY[:3], ("ce_type", event_type.encode())))):
        assert isinstance(found, Defect)
        assert (found.reason, found.field) == ("unknown_version", "type")
        assert found.message == "known here: hr.agent.hired.v1"


@pytest.mark.parametrize(
    "content",
    [b'{"agent_id":"a","agent_id":"b","name":"n"}', b'{"x":NaN}', b'{"x":-Infinity}', b'{"x":1e999}', b"9" * 5000],
)
def test_json_that_readers_disagree_about_is_a_defect(content: bytes) -> None:
    assert defect(content, BINARY)[0] == "not_json"


def test_a_large_integer_is_a_defect_of_its_field_and_nothing_in_a_field_that_is_dropped() -> None:
    assert defect(with_data(revision=10**200)) == ("invalid_field", "data.revision")
    assert understood(with_data(unknown=10**200)).digest == understood(structured()).digest


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type"])
def test_missing_attribute_is_named(name: str) -> None:
    without = {key: value for key, value in EVENT.items() if key != name}
    assert defect(json.dumps(without).encode(), STRUCTURED) == ("invalid_field", name)
    headers = tuple(pair for pair in BINARY if pair[0] != f"ce_{name}")
    assert defect(DATA, headers) == ("invalid_field", name)
    assert defect(DATA, (*headers, (f"ce_{name}", None))) == ("invalid_field", name)


@pytest.mark.parametrize("name", ["id", "source", "subject", "correlationid"])
@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\x00", "a\x7f", "x" * 513, 17, ["a"], "\ud800"])
def test_malformed_attribute_is_named(name: str, value: object) -> None:
    assert defect(structured(**{name: value})) == ("invalid_field", name)


@pytest.mark.parametrize("value", [None, "E1001", [], 17])
def test_data_that_is_no_object_is_a_defect(value: object) -> None:
    assert defect(structured(data=value)) == ("invalid_field", "data")
    assert defect(json.dumps(value).encode(), BINARY) == ("invalid_field", "data")


def test_base64_data_is_a_defect() -> None:
    assert defect(structured(data_base64="e30=")) == ("invalid_field", "data")


@pytest.mark.parametrize("header", ["ce_id", "ce_type", "CE_ID"])
def test_repeated_attribute_header_is_a_defect(header: str) -> None:
    again = b"hr.agent.hired.v1" if header == "ce_type" else b"hire-1"
    assert defect(DATA, (*BINARY, (header, again))) == ("invalid_field", header.lower().removeprefix("ce_"))


def test_attribute_header_that_is_not_utf8_is_a_defect() -> None:
    assert defect(DATA, (("ce_id", b"\xff"), *BINARY[2:])) == ("invalid_field", "id")
    assert defect(DATA, (*BINARY[:3], ("ce_type", b"\xff"))) == ("invalid_field", "type")


def test_record_over_the_limit_is_too_large_before_anything_else() -> None:
    value, key = b"\xff" * 94, 5
    headers: Headers = (("a", b"b" * 10),)
    assert isinstance(found := read(value, headers, limit=94 + key + 10), Defect)
    assert found.reason == "too_large"
    assert isinstance(found := read(value, headers, limit=94 + key + 11), Defect)
    assert found.reason == "not_utf8"


def test_message_and_field_repeat_nothing_of_the_record() -> None:
    secret = "S3CRET-FAKE"  # not a secret: what must not come back
    values: list[Any] = [secret, {secret: secret}, [secret], 5]
    for name in AgentHired.model_fields:
        for value in values:
            found = read(with_data(**{name: value}))
            assert secret not in repr(found)
    assert secret not in repr(read(with_data(attributes={secret: [secret]})))
    assert secret not in repr(read(structured(specversion=secret)))
    assert secret not in repr(read(structured(type="hr.agent.hired.v2" + secret)))


# --- what is carried on -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "sequence", "effective"),
    [
        (None, None, None),
        (5, "9", 5),
        (None, "9", 9),
        (None, "-9", -9),
        (None, 9, 9),
        (None, "0009", 9),
        (None, "9.5", None),
        (None, "nine", None),
        (None, "\uff19", None),
        (None, str(2**63), None),
        (0, "9", 0),
    ],
)
def test_revision_is_the_datas_else_an_integer_sequence(revision: Any, sequence: Any, effective: int | None) -> None:
    event = understood(structured(sequence=sequence, data=EVENT["data"] | {"revision": revision}))
    assert event.revision == effective


@pytest.mark.parametrize("broken", ["", "x", TRACE + "-", TRACE.upper(), 5, None])
def test_unreadable_traceparent_is_left_out_and_the_records_own_taken(broken: object) -> None:
    assert understood(structured(traceparent=broken)).traceparent is None
    assert understood(structured(traceparent=broken), (("traceparent", TRACE.encode()),)).traceparent == TRACE
    assert understood(structured(traceparent=TRACE), (("traceparent", b"\xff"),)).traceparent == TRACE


def test_digest_sees_type_and_known_data_only() -> None:
    first = understood(with_data(revision=3))
    assert (
        first.digest
        == understood(
            b'{"type":"hr.agent.hired.v1","data":{"revision":3.0,"unknown":[1],"name":"Li\\u0020Na","agent_id":"E1001"},'
            b'"time":"2026-03-01T10:00:00Z","id":"other","source":"/other","specversion":"1.0"}'
        ).digest
    )
    assert first.digest != understood(with_data(revision=4)).digest


def test_digest_tells_absent_from_null() -> None:
    assert understood(structured()).digest != understood(with_data(email=None)).digest


def test_digest_tells_types_apart() -> None:
    data = {"number": "02012345678"}
    types = [name for name in INBOUND if name.startswith("crm")]
    digests = {event_digest(name, INBOUND[name].model_validate(data)) for name in types}
    assert len(digests) == len(types) > 3


def test_digest_is_the_one_that_ledgers_already_hold() -> None:
    assert understood(with_data(effective_at="2026-03-01T08:00:00.5+08:00", skill_group_ids=[2, 1])).digest == (
        "65489a85e4709522eb569db841c3cf40ee45aa77cc6efba8955ec8e0f2a8f0cf"
    )


# --- anything at all --------------------------------------------------------------------------------------------------


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_NAMES = st.sampled_from(
    [
        "content-type",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_specversion",
        "ce_time",
        "ce_sequence",
        "traceparent",
        "Ce_Id",
    ]
)
_HEADER_VALUES = (
    st.none()
    | st.binary(max_size=30)
    | st.sampled_from(
        [
            b"hr.agent.hired.v1",
            b"hr.agent.hired.v9",
            b"1.0",
            b"application/cloudevents+json",
            b"application/json",
            b"\xff",
        ]
    )
)
_HEADERS = st.lists(st.tuples(_NAMES | st.text(max_size=12), _HEADER_VALUES), max_size=8).map(tuple)
_ATTRIBUTES = st.sampled_from(["specversion", "id", "source", "type", "time", "sequence", "subject", "data_base64"])
_FIELDS = st.sampled_from(sorted({name for model in INBOUND.values() for name in model.model_fields}))


def _must_be_a_reading(value: bytes | None, headers: Headers) -> None:
    found = read(value, headers)
    assert isinstance(found, Understood | Ignored | Defect)
    if isinstance(found, Understood):
        data = found.event.data
        assert type(data).model_validate(data.known_fields()) == data
    if isinstance(found, Defect):
        assert found.message.isprintable()
        assert found.field is None or found.field.isascii()


@settings(deadline=None)
@given(value=st.none() | st.binary(max_size=200), headers=_HEADERS)
def test_any_bytes_and_headers_are_read_without_raising(value: bytes | None, headers: Headers) -> None:
    _must_be_a_reading(value, headers)


@settings(deadline=None)
@given(
    kind=st.sampled_from(sorted(INBOUND)),
    attributes=st.dictionaries(_ATTRIBUTES, _JSON, max_size=2),
    data=st.dictionaries(_FIELDS | st.text(max_size=8), _JSON, max_size=6),
    headers=_HEADERS,
)
def test_any_near_event_is_read_without_raising(
    kind: str, attributes: dict[str, Any], data: dict[str, Any], headers: Headers
) -> None:
    whole = EVENT | {"type": kind, "data": {"agent_id": "a", "name": "n", "number": "1"} | data} | attributes
    _must_be_a_reading(json.dumps(whole).encode(), headers)
    _must_be_a_reading(json.dumps(data).encode(), (*BINARY, *headers))


@settings(deadline=None)
@given(damage=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4))
def test_a_damaged_event_is_read_without_raising(damage: list[tuple[int, bytes]]) -> None:
    value = with_data(email="a@example.com", attributes={"a": 1}, effective_at="2026-03-01T10:00:00Z")
    for place, replacement in damage:
        value = value[:place] + replacement + value[place + len(replacement) :]
    _must_be_a_reading(value, ())
