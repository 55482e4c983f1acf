"""Bad input on real processes: it goes aside byte for byte and is named; whoever comes behind it is served."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiokafka import ConsumerRecord
from aiokafka.structs import RecordMetadata

from service.entrypoints.demo_day import DayRecord
from tests.acceptance.events import binary, event, hired, purchased, raw
from tests.acceptance.scene import TWO_MIB, Scene
from tests.kafka.broker import KafkaBroker

HIRED = "hr.agent.hired.v1"
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
ODD_HEADERS = (("twice", b"1"), ("twice", b"\xff\x00"), ("cordboard_class", b"forged"), ("traceparent", b"none"))
STRAY = "free text that nobody asked for"


@dataclass(frozen=True)
class Bad:
    """A record that can't become an event: the class and the field under which it should go aside."""

    record: DayRecord
    reason: str
    field: str | None = None


def _big(size: int, n: str) -> DayRecord:
    return hired(n, department="x" * size)


BAD = (
    Bad(raw(b'{"specversion": "1.0", "id": "half', headers=ODD_HEADERS), "not_json"),
    Bad(raw(b'{"agent": 1}', headers=(("content-type", b"application/json"),)), "not_cloudevent"),
    Bad(raw(b"[1, 2]", headers=STRUCTURED), "not_cloudevent"),
    Bad(raw(b'{"specversion": "1.0", "type": "\xff\xfe"}'), "not_utf8"),
    Bad(raw(b"\x00\x00\x00\x00\x2a\x02avro", topic="crm.events"), "confluent_frame"),
    Bad(raw(b"\xef\xbb\xbf <?xml version='1.0'?><hired/>"), "xml"),
    Bad(
        raw(b"[]", headers=(("content-type", b"application/cloudevents-batch+json"),)),
        "unsupported_format",
        "content-type",
    ),
    Bad(event("hr.agent.hired.v2", "v2", {"agent_id": "A1", "name": "Later"}), "unknown_version", "type"),
    Bad(binary("crm.number.purchased.v0", "v0", {"number": "+861082340001"}), "unknown_version", "type"),
    Bad(event(HIRED, "no-name", {"agent_id": "A1"}), "invalid_field", "data.name"),
    Bad(binary(HIRED, "no-agent", {"name": "Nobody"}), "invalid_field", "data.agent_id"),
    Bad(event(HIRED, "no-text", {"agent_id": 17, "name": "Number"}), "invalid_field", "data.agent_id"),
    Bad(
        binary(HIRED, "no-date", {"agent_id": "A1", "name": "N", "effective_at": "soon"}),
        "invalid_field",
        "data.effective_at",
    ),
    Bad(event("crm.number.purchased.v1", "neither", {"sip_trunk_id": 12}), "invalid_field", "data"),
    Bad(binary(HIRED, None, {"agent_id": "A1", "name": "N"}), "invalid_field", "id"),
    Bad(binary(HIRED, "one", {"agent_id": "A1", "name": "N"}, more=(("ce_id", b"two"),)), "invalid_field", "id"),
    Bad(
        raw(b'{"specversion": "1.0", "id": "x", "source": "/hr", "type": "hr.agent.hired.v1", "data": null}'),
        "invalid_field",
        "data",
    ),
    Bad(_big(1_300_000, "901"), "too_large"),
    Bad(hired("100", event_id="hire-100", name="Somebody Else"), "id_reused", "id"),
)
MONSTERS = (
    Bad(_big(TWO_MIB + 500_000, "902"), "too_large"),  # over what the dead-letter topic takes
    Bad(_big(3 * TWO_MIB, "903"), "too_large"),  # over what a producer sends
)  # fmt: skip
FOREIGN = (
    event("hr.payroll.closed.v1", "payroll-1", {"month": 1}),
    binary("com.example.other", "other-1", {"any": "thing"}),
    binary("hr.agent.hired.v1", "tombstone", {}),
)
REFUSED = (
    (hired("201", account="acme_moon"), "incomplete", "account"),
    (hired("202", extension=None), "unsupported", "extension"),
    (event(HIRED, "hire-203", {"agent_id": "A203", "name": "No Extension"}), "incomplete", "extension"),
    (purchased("12"), "incomplete", "number"),
    (hired("204", email=None), "unsupported", "email"),
    (event("crm.number.purchased.v1", "code", {"access_code": "95500"}), "incomplete", "number"),
)


async def test_bad_records_go_aside_byte_for_byte_and_the_stream_goes_on(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".bad") as scene:
        worker = scene.start_worker()
        first = hired("100", event_id="hire-100", unknown=STRAY)
        await scene.produce([first])
        await scene.until(lambda: len(scene.plan_ends()) == 1, seconds=30, what="the first hire's end")

        places = await scene.produce([bad.record for bad in (*BAD, *MONSTERS)])
        empty = [raw(None, headers=FOREIGN[2].headers), raw(b"", topic="crm.events")]
        await scene.produce([*FOREIGN[:2], *empty, *(record for record, _, _ in REFUSED), hired("101")])
        await scene.until(
            lambda: len(scene.dead_letters()) == len(places) and len(scene.plan_ends()) == 2 + len(REFUSED),
            seconds=40,
            what=f"{len(places)} dead letters and {2 + len(REFUSED)} plan ends",
        )

        letters = {_origin(letter): letter for letter in scene.dead_letters()}
        for bad, place in zip((*BAD, *MONSTERS), places, strict=True):
            _is_aside(letters[place.topic, place.partition, place.offset], bad, place, whole=bad in BAD)
        _plans_ended_as_they_should(scene)
        assert await scene.metric("dead_letters_total") == len(places)
        assert await scene.metric("records_ignored_total", reason="foreign_type") == 2
        assert await scene.metric("records_ignored_total", reason="empty") == 2
        assert {entry.natural_key for entry in scene.effects("CreateExtension")} == {
            "extension:1400000000/100",
            "extension:1400000000/101",
        }
        assert STRAY.encode() not in b"".join(path.read_bytes() for path in scene.ledger_files)
        assert await scene.away() == ""
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 1 + len(places) + 2 + len(empty) + len(REFUSED) + 1


async def test_a_record_whose_headers_and_key_are_too_large_holds_nobody_up(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".heads") as scene:
        worker = scene.start_worker()
        huge = raw(b"{}", key=b"k" * 1_500_000, headers=(("huge", b"h" * 1_500_000), ("small", b"s")))
        (place,) = await scene.produce([huge])
        await scene.produce([hired("100")])
        await scene.until(
            lambda: len(scene.plan_ends()) == 1 and len(scene.dead_letters()) == 1,
            seconds=12,
            what="the hire behind it, and its dead letter",
        )
        letter = scene.dead_letters()[0]
        assert _origin(letter) == (place.topic, place.partition, place.offset)
        assert dict(letter.headers)["cordboard_class"] == b"too_large"
        assert await scene.stop_worker(worker) == 0


def _origin(letter: ConsumerRecord[Any, Any]) -> tuple[str, int, int]:
    told = dict(letter.headers)
    return (
        told["__dlq.errors.topic"].decode(),
        int(told["__dlq.errors.partition"]),
        int(told["__dlq.errors.offset"]),
    )


def _is_aside(letter: ConsumerRecord[Any, Any], bad: Bad, place: RecordMetadata, *, whole: bool) -> None:
    record = bad.record
    original = [header for header in record.headers if header[0] != "cordboard_class"]
    told = dict(letter.headers[len(original) :])
    assert letter.topic == f"dlq.{place.topic}"
    assert letter.key == record.key
    assert list(letter.headers[: len(original)]) == original
    assert told["cordboard_class"].decode() == bad.reason, bad
    assert told.get("cordboard_field", b"").decode() == (bad.field or ""), bad
    assert told["__dlq.errors.message"]
    if whole:
        assert letter.value == record.value
        return
    assert record.value is not None
    assert letter.value is None
    assert told["cordboard_value_size"] == b"%d" % len(record.value)
    assert told["cordboard_value_sha256"].decode() == hashlib.sha256(record.value).hexdigest()


def _plans_ended_as_they_should(scene: Scene) -> None:
    failed = {
        e["data"]["caused_by"]["event_id"]: e["data"]["failure"] for e in scene.events("provisioning.plan.failed")
    }
    for record, error_class, name in REFUSED:
        failure = failed.pop(orjson.loads(record.value or b"")["id"])
        assert (failure["error_class"], failure["field"]) == (error_class, name)
        assert failure["replay_can_help"]
        assert failure["advice"]
    assert failed == {}
    assert all(len(ids) == 1 for ids in scene.plan_ends().values())
