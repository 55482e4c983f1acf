"""The telemetry that is scraped: the whole catalogue, its labels and no others, and the board of what is ready."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.adapters.metrics import BUCKETS, MeteredTelemetry
from service.application.telemetry import CATALOGUE, LABELS
from service.domain.command import CommandState
from tests.fakes.telemetry import RecordingTelemetry


@pytest.fixture
def telemetry() -> MeteredTelemetry:
    return MeteredTelemetry()


def samples(telemetry: MeteredTelemetry) -> dict[str, dict[tuple[str, ...], float]]:
    """By sample name, by label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(telemetry.exposition("")[0].decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_figure_of_the_catalogue_is_exposed_under_its_name(telemetry: MeteredTelemetry) -> None:
    text = telemetry.exposition("")[0].decode()
    missing = [name for name, entry in CATALOGUE.items() if f"# HELP cordboard_{name} {entry.meaning}" not in text]
    assert missing == []


def test_every_histogram_has_buckets_of_its_own() -> None:
    assert BUCKETS.keys() == {name for name, entry in CATALOGUE.items() if entry.kind == "histogram"}
    assert all(list(bounds) == sorted(bounds) for bounds in BUCKETS.values())


def test_every_name_starts_with_cordboard(telemetry: MeteredTelemetry) -> None:
    assert [name for name in samples(telemetry) if not name.startswith("cordboard_")] == []


def test_what_is_counted_measured_and_set_can_be_scraped(telemetry: MeteredTelemetry) -> None:
    telemetry.count("records_total", 3, topic="hr.events")
    telemetry.count("rebalances_total")
    telemetry.observe("intake_batch_seconds", 0.02)
    telemetry.level("outbox_pending", 7)
    found = samples(telemetry)
    assert found["cordboard_records_total"] == {("hr.events",): 3}
    assert found["cordboard_rebalances_total"] == {(): 1}
    assert found["cordboard_intake_batch_seconds_count"] == {(): 1}
    assert found["cordboard_outbox_pending"] == {(): 7}


def test_a_label_that_is_an_enumeration_shows_its_value(telemetry: MeteredTelemetry) -> None:
    telemetry.count("plans_ended_total", account="a", state=CommandState.FAILED, error_class="")
    assert samples(telemetry)["cordboard_plans_ended_total"] == {("a", "", "failed"): 1}


@pytest.mark.parametrize("labels", [{}, {"topic": "t", "id": "x"}, {"tpic": "t"}])
def test_labels_outside_the_catalogue_make_no_series_and_break_nothing(
    telemetry: MeteredTelemetry, labels: dict[str, Any]
) -> None:
    telemetry.count("records_total", **labels)
    telemetry.count("records_total", topic="hr.events")
    assert samples(telemetry)["cordboard_records_total"] == {("hr.events",): 1}


@pytest.mark.parametrize("labels", [{}, {"topic": "t", "id": "x"}, {"tpic": "t"}])
def test_the_fake_refuses_labels_outside_the_catalogue(labels: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="catalogue"):
        RecordingTelemetry().count("records_total", **labels)


@pytest.mark.parametrize("reason", ["too_long", ""])
def test_value_outside_a_closed_list_makes_no_series(telemetry: MeteredTelemetry, reason: str) -> None:
    telemetry.count("dead_letters_total", topic="hr.events", reason=reason)
    assert "cordboard_dead_letters_total" not in samples(telemetry)
    with pytest.raises(ValueError, match="reason can't be"):
        RecordingTelemetry().count("dead_letters_total", topic="hr.events", reason=reason)


def test_names_say_their_units() -> None:
    seconds = {name for name, entry in CATALOGUE.items() if entry.unit == "seconds"}
    assert seconds == {name for name in CATALOGUE if name.endswith("_seconds")}
    assert all((entry.kind == "counter") == name.endswith("_total") for name, entry in CATALOGUE.items())


def test_no_figure_closes_a_label_that_it_lacks() -> None:
    assert all(entry.own.keys() <= set(entry.labels) for entry in CATALOGUE.values())


def test_what_is_shown_is_what_was_named_last(telemetry: MeteredTelemetry) -> None:
    telemetry.show("holds", {("hold",): 3, ("quarantine",): 1})
    telemetry.show("holds", {("hold",): 2})
    assert samples(telemetry)["cordboard_holds"] == {("hold",): 2}


def test_every_label_of_the_catalogue_says_what_it_may_hold() -> None:
    assert {label for entry in CATALOGUE.values() for label in entry.labels} == LABELS.keys()


def test_a_part_is_not_ready_before_it_says_so(telemetry: MeteredTelemetry) -> None:
    assert {part: board.ready for part, board in telemetry.readiness().items()} == {"kafka": False, "ledger": False}


def test_the_board_keeps_the_last_word_of_every_part(telemetry: MeteredTelemetry) -> None:
    telemetry.health("kafka", ready=True)
    telemetry.health("ledger", ready=True)
    telemetry.health("publisher", ready=False, detail="no broker")
    board = telemetry.readiness()
    assert board["kafka"] == (True, "")
    assert board["publisher"] == (False, "no broker")
    assert samples(telemetry)["cordboard_ready"] == {("kafka",): 1, ("ledger",): 1, ("publisher",): 0}


def test_openmetrics_is_given_to_whom_asks(telemetry: MeteredTelemetry) -> None:
    body, content_type = telemetry.exposition("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
