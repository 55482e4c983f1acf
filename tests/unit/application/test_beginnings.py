"""Counters begin at zero: what alerts look for is there before it happens, and nothing else that could never be."""

from __future__ import annotations

import pytest

from service.application.beginnings import begin_at_zero
from service.domain.outcome import ErrorClass
from tests.builders import make_account
from tests.fakes.telemetry import RecordingTelemetry
from tests.unit.application.house import CREATE

ACCOUNTS = {name: make_account(name=name) for name in ("acme_cn", "acme_sg")}
LOOK = "tencent_ccc.DescribeExtensions"


@pytest.fixture
def begun() -> RecordingTelemetry:
    telemetry = RecordingTelemetry()
    begin_at_zero(
        telemetry,
        accounts=ACCOUNTS,
        operations={"tencent_ccc": [CREATE]},
        calls={"tencent_ccc": [CREATE, LOOK]},
        topics=["hr.events"],
    )
    return telemetry


def series(telemetry: RecordingTelemetry, metric: str) -> list[dict[str, str]]:
    return [dict(labels) for name, labels in telemetry.counts if name == metric]


def test_nothing_has_been_counted(begun: RecordingTelemetry) -> None:
    assert set(begun.counts.values()) == {0}


def test_every_way_in_which_a_command_ends_is_there_and_no_other(begun: RecordingTelemetry) -> None:
    ends = [
        (labels["state"], labels["result"], labels["error_class"])
        for labels in series(begun, "commands_ended_total")
        if labels["account"] == next(iter(ACCOUNTS))
    ]
    assert sorted(ends) == sorted(
        [
            *(("succeeded", result, "") for result in ("done", "unchanged", "adopted")),
            *(("failed", "", known.value) for known in ErrorClass),
            *((state, "", "") for state in ("superseded", "stale", "cancelled")),
        ]
    )


def test_plan_completes_without_a_class_and_fails_with_each(begun: RecordingTelemetry) -> None:
    ends = {(labels["state"], labels["error_class"]) for labels in series(begun, "plans_ended_total")}
    assert ends == {("completed", ""), *(("failed", known.value) for known in ErrorClass)}


def test_reads_are_requested_but_no_command_of_theirs_ends(begun: RecordingTelemetry) -> None:
    assert {labels["operation"] for labels in series(begun, "vendor_requests_total")} == {CREATE, LOOK}
    assert {labels["operation"] for labels in series(begun, "commands_ended_total")} == {CREATE}


def test_every_account_has_its_hires(begun: RecordingTelemetry) -> None:
    assert {labels["account"] for labels in series(begun, "hires_total")} == set(ACCOUNTS)


def test_a_topic_has_every_reason(begun: RecordingTelemetry) -> None:
    letters = series(begun, "dead_letters_total")
    assert {"topic": "hr.events", "reason": "not_json"} in letters
