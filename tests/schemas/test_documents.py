"""The committed documents are what the models say, and the AsyncAPI document hangs together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts import generate
from contracts.dead_letter import DeadLetterReason
from contracts.inbound import INBOUND
from contracts.outbound import OUTBOUND
from service.domain.record_reading import KNOWN_DEAD_LETTER_REASONS

ASYNCAPI: dict[str, Any] = yaml.safe_load((generate.ROOT / "asyncapi.yaml").read_text())
TOPICS = {
    "hr.events",
    "crm.events",
    "provisioning.results",
    "provisioning.failures",
    "provisioning.credentials",
    "dlq.hr.events",
    "dlq.crm.events",
}


def test_committed_documents_have_not_drifted_from_the_models() -> None:
    assert generate.drift() == []


def test_rendering_twice_gives_the_same_text() -> None:
    assert generate.render() == generate.render()


def test_drift_names_what_is_missing_different_and_left_over(tmp_path: Path) -> None:
    generate.write(tmp_path)
    assert generate.drift(tmp_path) == []
    (tmp_path / "asyncapi.yaml").unlink()
    (tmp_path / "schemas/hr.agent.hired.v1.json").write_text("{}")
    (tmp_path / "schemas/hr.agent.fired.v1.json").write_text("{}")
    found = generate.drift(tmp_path)
    assert [line.partition(": ")[0] for line in found] == [
        "schemas/hr.agent.hired.v1.json",
        "asyncapi.yaml",
        "schemas/hr.agent.fired.v1.json",
    ]
    generate.write(tmp_path)
    assert generate.drift(tmp_path) == []


def test_check_ends_with_1_on_drift_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "drift", lambda: ["asyncapi.yaml: missing"])
    monkeypatch.setattr(generate, "write", lambda: pytest.fail("--check wrote"))
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "asyncapi.yaml: missing\n"


def test_unknown_arguments_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--chekc"]) == 2
    assert "usage" in capsys.readouterr().err


def test_schemas_name_no_default_because_absent_is_not_null() -> None:
    assert not [path for path, text in generate.render().items() if '"default"' in text]


def test_out_event_schemas_close_no_object_so_that_fields_may_come() -> None:
    assert not [path for path, text in generate.render().items() if '"additionalProperties": false' in text]


def test_out_event_schemas_name_no_person() -> None:
    for event_type in OUTBOUND:
        schema = json.loads((generate.ROOT / f"schemas/{event_type}.json").read_text())
        fields = {name for part in schema["$defs"].values() for name in part.get("properties", ())}
        assert not {name for name in fields if "name" in name or "mail" in name}


def test_asyncapi_names_the_topics_and_their_messages() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    channels = ASYNCAPI["channels"]
    assert {channel["address"] for channel in channels.values()} == TOPICS
    on_topics = {name: channel["address"] for channel in channels.values() for name in channel["messages"]}
    assert {name: topic for name, topic in on_topics.items() if name in OUTBOUND} == {
        name: known.topic for name, known in OUTBOUND.items()
    }
    assert set(on_topics) == {*INBOUND, *OUTBOUND, "dead_letter"}


def test_asyncapi_references_all_lead_somewhere() -> None:
    for reference in _references(ASYNCAPI):
        file, _, pointer = reference.partition("#")
        document = json.loads((generate.ROOT / file).read_text()) if file else ASYNCAPI
        for part in pointer.split("/")[1:]:
            document = document[part.replace("~1", "/").replace("~0", "~")]
        assert document


def test_every_channel_has_one_operation_and_every_message_its_key_and_headers() -> None:
    operations = ASYNCAPI["operations"].values()
    assert sorted(operation["channel"]["$ref"] for operation in operations) == sorted(
        f"#/channels/{topic}" for topic in TOPICS
    )
    for operation in operations:
        inbound = operation["channel"]["$ref"] in {"#/channels/hr.events", "#/channels/crm.events"}
        assert operation["action"] == ("receive" if inbound else "send")
    for name, message in ASYNCAPI["components"]["messages"].items():
        assert message["name"] == name
        assert message["bindings"]["kafka"]["key"]["description"]
        assert message["headers"]["$ref"].startswith("#/components/schemas/headers_")


def test_every_message_has_the_schema_of_its_type() -> None:
    for event_type in (*INBOUND, *OUTBOUND):
        path = ASYNCAPI["components"]["messages"][event_type]["payload"]["$ref"]
        schema = json.loads((generate.ROOT / path).read_text())
        assert schema["properties"]["type"] == {"const": event_type}
        assert schema["$id"] == f"urn:cordboard:event:{event_type}"


def test_dead_letter_reasons_are_published() -> None:
    header = ASYNCAPI["components"]["schemas"]["headers_dead_letter"]["properties"]["cordboard_class"]
    assert set(header["enum"]) == set(DeadLetterReason) == KNOWN_DEAD_LETTER_REASONS


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
