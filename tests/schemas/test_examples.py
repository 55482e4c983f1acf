"""The examples hold what their names say, for the models and for the committed JSON Schemas alike."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from contracts.envelope import Envelope
from contracts.generate import ROOT
from contracts.inbound import INBOUND
from contracts.outbound import OUTBOUND, SOURCE
from service.domain.record_reading import Defect, Record, Understood, read_record

EXAMPLES = ROOT / "examples"
VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))
INVALID_INBOUND = [path for path in INVALID if not path.name.startswith("provisioning.")]
INVALID_OUTBOUND = [path for path in INVALID if path.name.startswith("provisioning.")]

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def _is_timestamp(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value.upper()).utcoffset() is not None


@FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or date.fromisoformat(value) is not None


# What reading finds in each invalid in-event: the field at fault, and the reason where it is not the usual one.
FAULTS = {
    "crm.number.approved.v1.apply_id-negative": "data.apply_id",
    "crm.number.approved.v1.number-missing": "data.number",
    "crm.number.purchased.v1.call_type-unknown": "data.call_type",
    "crm.number.purchased.v1.callback_url-not-http": "data.callback_url",
    "crm.number.purchased.v1.ext_code-too-long": "data.ext_code",
    "crm.number.purchased.v1.max_concurrent_calls-zero": "data.max_concurrent_calls",
    "crm.number.purchased.v1.number-and-access_code-missing": "data",
    "crm.number.purchased.v1.number-null-and-no-access_code": "data",
    "crm.number.purchased.v1.route-id-as-text": "data.route.ivr",
    "crm.number.purchased.v1.route-to-both": "data.route",
    "crm.number.purchased.v1.route-to-nothing": "data.route",
    "crm.number.refused.v1.number-null": "data.number",
    "crm.number.routed.v1.callback_url-not-http": "data.callback_url",
    "crm.number.routed.v1.ext_code-too-long": "data.ext_code",
    "crm.number.routed.v1.number-and-access_code-missing": "data",
    "crm.number.routed.v1.route-to-both": "data.route",
    "hr.agent.changed.v1.agent_id-missing": "data.agent_id",
    "hr.agent.changed.v1.effective_at-no-such-day": "data.effective_at",
    "hr.agent.changed.v1.name-blank": "data.name",
    "hr.agent.changed.v1.skill_group_ids-as-text": "data.skill_group_ids.0",
    "hr.agent.hired.v1.agent_id-a-number": "data.agent_id",
    "hr.agent.hired.v1.agent_id-blank": "data.agent_id",
    "hr.agent.hired.v1.agent_id-missing": "data.agent_id",
    "hr.agent.hired.v1.attributes-nested": "data.attributes",
    "hr.agent.hired.v1.data-missing": "data",
    "hr.agent.hired.v1.data-not-an-object": "data",
    "hr.agent.hired.v1.effective_at-no-such-day": "data.effective_at",
    "hr.agent.hired.v1.effective_at-without-offset": "data.effective_at",
    "hr.agent.hired.v1.email-without-at": "data.email",
    "hr.agent.hired.v1.extension-a-number": "data.extension",
    "hr.agent.hired.v1.id-empty": "id",
    "hr.agent.hired.v1.id-missing": "id",
    "hr.agent.hired.v1.id-too-long": "id",
    "hr.agent.hired.v1.id-with-control-character": "id",
    "hr.agent.hired.v1.name-null": "data.name",
    "hr.agent.hired.v1.name-too-long": "data.name",
    "hr.agent.hired.v1.name-with-nul": "data.name",
    "hr.agent.hired.v1.revision-a-boolean": "data.revision",
    "hr.agent.hired.v1.revision-as-text": "data.revision",
    "hr.agent.hired.v1.revision-over-64-bits": "data.revision",
    "hr.agent.hired.v1.skill_group_ids-as-text": "data.skill_group_ids.0",
    "hr.agent.hired.v1.skill_group_ids-not-a-list": "data.skill_group_ids",
    "hr.agent.hired.v1.source-missing": "source",
    "hr.agent.hired.v1.specversion-0.3": "specversion",
    "hr.agent.hired.v1.time-not-rfc3339": "time",
    "hr.agent.hired.v1.type-in-unknown-version": "type",
}
OTHER_REASONS = {
    "hr.agent.hired.v1.type-in-unknown-version": "unknown_version",
    "hr.agent.hired.v1.specversion-missing": "not_cloudevent",
}


def test_every_type_has_a_valid_example() -> None:
    shown = {_load(path)["type"] for path in VALID}
    assert shown == {*INBOUND, *OUTBOUND}


def test_every_invalid_inbound_example_is_accounted_for() -> None:
    assert {path.stem for path in INVALID_INBOUND} == {*FAULTS, *OTHER_REASONS}


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_example_is_named_after_its_type_and_passes_schema_and_model(path: Path) -> None:
    event = _load(path)
    assert path.name.startswith(event["type"] + ".")
    assert _schema_errors(event, event["type"]) == []
    if event["type"] in INBOUND:
        assert isinstance(_read(path), Understood)
    else:
        _believe_outbound(event)


@pytest.mark.parametrize("path", INVALID_INBOUND, ids=lambda path: path.stem)
def test_invalid_inbound_example_fails_schema_and_reading(path: Path) -> None:
    found = _read(path)
    assert isinstance(found, Defect)
    assert (found.reason, found.field) == (OTHER_REASONS.get(path.stem, "invalid_field"), FAULTS.get(path.stem))
    assert _schema_errors(_load(path), _type_of(path))


@pytest.mark.parametrize("path", INVALID_OUTBOUND, ids=lambda path: path.stem)
def test_invalid_outbound_example_fails_schema_and_model(path: Path) -> None:
    event = _load(path)
    assert _schema_errors(event, _type_of(path))
    with pytest.raises((ValidationError, WrongSourceError)):
        _believe_outbound(event)


@pytest.mark.parametrize(
    "path", [path for path in VALID if path.name.startswith("provisioning.")], ids=lambda p: p.stem
)
def test_out_event_shows_every_field_of_its_model(path: Path) -> None:
    event = _load(path)
    data = OUTBOUND[event["type"]].model.model_validate_json(json.dumps(event["data"]))
    assert data.model_dump(mode="json") == event["data"]


class WrongSourceError(Exception):
    """Out-events come from one source only."""


def _believe_outbound(event: dict[str, Any]) -> None:
    if Envelope.model_validate(event).source != SOURCE:
        raise WrongSourceError
    OUTBOUND[event["type"]].model.model_validate_json(json.dumps(event["data"]))


def _read(path: Path) -> object:
    record = Record(topic="t", partition=0, offset=0, key=None, value=path.read_bytes(), headers=(), timestamp_ms=0)
    return read_record(record, max_event_bytes=1 << 20)


def _schema_errors(event: dict[str, Any], event_type: str) -> list[str]:
    schema = json.loads((ROOT / "schemas" / f"{event_type}.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    return [error.message for error in validator.iter_errors(event)]


def _type_of(path: Path) -> str:
    return path.stem.partition(".v1.")[0] + ".v1"


def _load(path: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(path.read_text())
    return event
