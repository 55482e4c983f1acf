"""Parsers of what comes from Kafka: records in both modes, trace contexts, record batches, events given to `plan`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final

import orjson
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from yarl import URL

from service.adapters.kafka_records import ForgivingRecords
from service.adapters.traces import OpenTelemetryTracer
from service.domain.blueprint import CannotPlanError
from service.domain.callback_url import objection
from service.domain.dead_letter import place_of
from service.domain.ledger_state import Known
from service.domain.phone_number import e164
from service.domain.record_reading import Defect, Headers, Ignored, read_record
from service.domain.taking_in import ReadRecord, keys_of, take_in
from service.entrypoints.cli_plan import NotEventsError, Previewer, events_in
from service.vendors.tencent_ccc.numbers import to_e164
from tests.builders import NOW, make_intake_policy, make_planning_policy, make_record
from tests.fakes.telemetry import RecordingTelemetry
from tests.fuzz.material import CANARY, Document, documents, mangled, raw, texts
from tests.fuzz.trial import Parser, Told, plain
from tests.kafka.batches import Written, make_batch

MOST: Final = 128 * 1024
POLICY: Final = make_intake_policy()
TRACEPARENT: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DATA: Final[tuple[tuple[str, Document], ...]] = (
    (
        "hr.agent.hired.v1",
        {
            "agent_id": "E1",
            "name": CANARY,
            "email": f"{CANARY}@example.com",
            "extension": "1001",
            "skill_group_ids": [7, 8],
            "attributes": {"desk": CANARY, "grade": 3, "share": 0.5, "night": True, "none": None},
            "effective_at": "2027-03-01",
            "revision": 4,
        },
    ),
    ("hr.agent.changed.v1", {"agent_id": "E1", "name": CANARY, "effective_at": "2030-01-31T08:00:00.25+08:00"}),
    (
        "crm.number.purchased.v1",
        {"number": "+862150001234", "callback_url": f"https://pbx.example.com/{CANARY}", "sip_trunk_id": 11},
    ),
    (
        "crm.number.purchased.v1",
        {"account": "acme_hw", "access_code": "4001", "ext_code": "1", "media_type": 5, "route": {"ivr": 17}},
    ),
    ("crm.number.approved.v1", {"number": "021 5000 1234", "apply_id": 2**63 - 1, "reason": CANARY}),
    ("crm.number.refused.v1", {"number": "+862150001234", "reason": CANARY}),
    ("crm.number.routed.v1", {"access_code": "4001", "account": "acme_hw", "route": {"skill_queue": 3}}),
)


def _envelope(event_type: str, data: Any) -> Document:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "urn:hr",
        "type": event_type,
        "time": "2026-03-01T08:00:00Z",
        "subject": "somebody",
        "datacontenttype": "application/json",
        "correlationid": "case-1",
        "sequence": "17",
        "traceparent": TRACEPARENT,
        "note": CANARY,
        "data": data,
    }


def _told(value: bytes | None, headers: Headers, key: bytes | None = CANARY.encode()) -> Told:
    """Read a record twice, and decide what intake would store; only a type that is not ours is repeated, as a label."""
    record = make_record(value=value, headers=headers, key=key)
    reading = read_record(record, max_event_bytes=MOST)
    assert reading == read_record(record, max_event_bytes=MOST), "the same record was read in two ways"
    if isinstance(reading, Ignored):
        assert len(reading.type_label) <= 120
        assert reading.type_label.isascii()
        assert reading.type_label.isprintable()
        return None
    batch = [ReadRecord(record, reading)]
    keys_of(batch, POLICY)
    changes = take_in(Known(), batch, POLICY, NOW)
    for event in changes.events:
        orjson.dumps(event.data)  # as the ledger keeps it
    refusals = [plan.failure for plan in changes.plans if plan.failure is not None]
    return repr(reading if isinstance(reading, Defect) else refusals)


_header_values = st.one_of(texts.map(lambda text: text.encode("utf-8", "surrogatepass")), raw, st.none())
_more_headers = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(("content-type", "Content-Type", "traceparent", "ce_id", "CE_ID", "ce_", "ce_data")), texts
        ),
        st.one_of(
            _header_values,
            st.sampled_from((b"application/cloudevents+json", b"application/json; charset=latin-1", b"text/xml")),
        ),
    ),
    max_size=4,
)
_events = st.sampled_from([_envelope(*pair) for pair in DATA])


@st.composite
def _binary(draw: st.DrawFn) -> tuple[bytes, Headers]:
    event_type, data = draw(st.sampled_from(DATA))
    attributes = {k: v for k, v in _envelope(event_type, None).items() if k not in {"data", "datacontenttype"}}
    headers: list[tuple[str, bytes | None]] = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(headers) - 1))
        headers[place] = (draw(st.sampled_from((headers[place][0], "ce_time", "ce_sequence"))), draw(_header_values))
    return draw(documents(st.just(data))), (*headers, *draw(_more_headers))


# --- record batches as a broker passes them on -----------------------------------------------------------------------


def _batches(given: tuple[list[Written], bool, int]) -> Told:
    """Read them as the consumer does; every record comes, whatever its header is called."""
    records, compressed, number = given
    content = make_batch(records, compressed=compressed) * number
    batches, found = ForgivingRecords(content), list[Any]()
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc()
        found += batch
    assert [record.value for record in found] == [value for value, _ in records] * number
    for record in found:
        _told(record.value, tuple(record.headers), record.key)
    return None


_names = st.one_of(raw, texts.map(lambda text: text.encode("utf-8", "surrogatepass"))).map(lambda name: name[:300])
_written = st.tuples(raw, st.lists(st.tuples(_names, st.one_of(st.none(), raw)), max_size=3))

# --- other texts that come from outside -------------------------------------------------------------------------------

_traceparents = st.one_of(
    texts, mangled(st.just(TRACEPARENT.encode())).map(lambda content: content.decode("utf-8", "replace"))
)


@contextmanager
def _tracer() -> Iterator[Callable[[str], Told]]:
    telemetry, spans = RecordingTelemetry(), InMemorySpanExporter()
    tracer = OpenTelemetryTracer(spans, sample_ratio=1, telemetry=telemetry, instance="fuzzed")

    def record(traceparent: str) -> Told:
        tracer.record("intake", parent=traceparent, begun=NOW, ended=NOW + 1)
        return repr(telemetry.lines)

    yield record
    asyncio.run(tracer.close())


def _preview(content: bytes) -> Told:
    previewer = Previewer(make_planning_policy(), max_event_bytes=MOST)
    shown = [previewer.preview(number, value) for number, value in enumerate(events_in(content), start=1)]
    return repr([{k: v for k, v in row.items() if k == "why"} for row in shown if row["outcome"] == "dead letter"])


def _number(text: str) -> Told:
    to_e164(text, "CN")
    return e164(text, "CN") and None


def _letter_id(text: str) -> Told:
    place = place_of(text)
    assert place is None or (place[0] and place[1] >= 0 and place[2] >= 0)
    return None


def _callback_url(url: str) -> Told:
    fault = objection(url)
    if fault is None:
        host = URL(url).host or ""
        assert url.startswith("https://")
        assert not host.rstrip(".").endswith(PRIVATE_ENDS)
        with suppress(ValueError):
            assert ip_address(host).is_global
    return fault


PRIVATE_ENDS: Final = ("localhost", ".local", ".internal", "127.0.0.1", "169.254.169.254")
HOSTS: Final = (
    *("pbx.example.com", "pbx.example.com.", "xn--bcher-kva.example", "8.8.8.8", "[2a00:1450::1]", "localhost", "a"),
    *("127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "\uff11\uff12\uff17.0.0.1", "\u2460.0.0.1"),
    *("[::1]", "[::ffff:127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[fe80::1%25eth0]", "[fd00:ec2::254]"),
    *("169.254.169.254", "metadata.google.internal", "10.0.0.1", "100.64.0.1", "192.168.1.1", "0.0.0.1", "224.0.0.1"),
    *("LOCALHOST", "local\u00adhost", "pbx\u3002example\u3002com", "x.svc.cluster.local", CANARY),
)
_urls = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(
            ("https://", "https://", "https://", "http://", "HTTPS://", "https:", "https:///", "https://\\")
        ),
        st.sampled_from(("", "", "", f"{CANARY}@", "user:secret@", "good.example\\@", "good.example#@")),
        st.sampled_from(HOSTS),
        st.sampled_from(("", "/in", ":443/in", ":0", ":99999", ":", "?q", f"#{CANARY}", "/\t", "\\", "%2e", "..")),
    ),
    texts.map(lambda text: f"https://{text}"),
    texts,
)
_lists = st.one_of(
    documents(_events),
    documents(st.lists(_events, max_size=3)),
    st.lists(documents(_events), max_size=3).map(b"\n".join),
)
_NUMBERS: Final = (b"+862150001234", b"021 5000 1234", b"+65 6123 4567", b"400 820 8820", b"tel:+86-21-50001234;ext=9")
_numbers = st.one_of(
    texts,
    mangled(st.sampled_from(_NUMBERS), most=1).map(lambda number: number.decode("utf-8", "replace")),
    st.from_regex("\\A[+0(\uff08]{0,3}[0-9\uff10-\uff19 \\-x;=.]{1,30}\\Z"),
)
_letter_ids = st.one_of(texts, st.tuples(texts, texts, texts).map(":".join), st.just("hr.events:0:17"))

PARSERS: Final[tuple[Parser[Any], ...]] = (
    Parser(
        name="event, structured",
        material=st.tuples(documents(_events), _more_headers),
        opened=plain(lambda given: _told(given[0], (*given[1], ("content-type", b"application/cloudevents+json")))),
    ),
    Parser(name="event, binary", material=_binary(), opened=plain(lambda given: _told(*given))),
    Parser(
        name="event, any record",
        material=st.tuples(st.one_of(st.none(), raw, documents(_events)), _more_headers, st.one_of(st.none(), raw)),
        opened=plain(lambda given: _told(given[0], tuple(given[1]), given[2])),
    ),
    Parser(
        name="record batch",
        material=st.tuples(st.lists(_written, min_size=1, max_size=3), st.booleans(), st.integers(1, 2)),
        opened=plain(_batches),
    ),
    Parser(name="trace context", material=_traceparents, opened=_tracer),
    Parser(name="events given to plan", material=_lists, opened=plain(_preview), errors=(NotEventsError,)),
    Parser(name="callback URL", material=_urls, opened=plain(_callback_url)),
    Parser(name="telephone number", material=_numbers, opened=plain(_number), errors=(CannotPlanError,)),
    Parser(name="id of a dead letter", material=_letter_ids, opened=plain(_letter_id)),
)
