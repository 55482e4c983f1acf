from datetime import UTC, datetime

from contracts.dead_letter import HEADERS, OPTIONAL_HEADERS, REASONS, DeadLetterReason, dead_letter_headers
from contracts.dead_letter import dead_letter_topic as topic_for


def test_every_reason_is_explained() -> None:
    assert set(REASONS) == set(DeadLetterReason)


def test_the_dead_letter_topic_is_named_after_the_topic() -> None:
    assert topic_for("hr.events") == "dlq.hr.events"


def test_original_headers_stay_and_cordboards_are_added_once() -> None:
    original = [("content-type", b"\xff"), ("x", None), ("x", b"2"), ("cordboard_class", b"forged")]
    headers = dead_letter_headers(
        original,
        reason=DeadLetterReason.INVALID_FIELD,
        field="data.name",
        message="Field required",
        topic="hr.events",
        partition=3,
        offset=7,
        timestamp_ms=1_772_323_200_000,
        first_seen=datetime(2026, 3, 1, 8, 0, tzinfo=UTC),
    )
    assert headers[:3] == original[:3]
    assert headers[3:] == [
        ("cordboard_class", b"invalid_field"),
        ("cordboard_field", b"data.name"),
        ("__dlq.errors.message", b"Field required"),
        ("__dlq.errors.topic", b"hr.events"),
        ("__dlq.errors.partition", b"3"),
        ("__dlq.errors.offset", b"7"),
        ("cordboard_first_seen", b"2026-03-01T08:00:00Z"),
        ("cordboard_timestamp_ms", b"1772323200000"),
    ]


def test_a_dead_letter_without_a_field_has_no_field_header() -> None:
    headers = dead_letter_headers(
        [],
        reason="not_json",
        field=None,
        message="m",
        topic="t",
        partition=0,
        offset=0,
        timestamp_ms=0,
        first_seen=datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert {name for name, _ in headers} == set(HEADERS) - OPTIONAL_HEADERS
