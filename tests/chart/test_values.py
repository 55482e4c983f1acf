"""The chart's values, without helm: what is described is what there is, and it follows the service."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from service.entrypoints.worker import FLUSH_SECONDS
from service.settings import secret_names
from service.settings_sections import HttpSettings, KafkaSettings, TimingSettings
from tests.chart.expressions import ROOT
from tests.chart.rendering import CHART, VALUES
from tests.chart.values_schema import SCHEMA, as_text, values_schema

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
DESCRIBED: dict[str, Any] = json.loads(SCHEMA.read_text())
FOREIGN = {"config", "files", "global"}  # what stands in there is named by somebody else


def test_settings_are_described_as_the_service_knows_them() -> None:
    assert SCHEMA.read_text() == as_text(values_schema()), "python -m tests.chart.values_schema --write"


def test_every_key_that_is_described_stands_in_the_values_and_the_reverse() -> None:
    assert _keys_of_values(DEFAULTS) == _keys_of_schema(DESCRIBED) - {"global"}


def test_every_key_is_described_and_no_other_is_taken() -> None:
    assert [path for path, each in _schemas(DESCRIBED, "") if not each.get("description")] == []
    assert [path for path, each in _schemas(DESCRIBED, "") if "properties" in each and not _is_closed(each)] == []


@pytest.mark.parametrize("values", VALUES, ids=lambda values: values.stem)
def test_values_that_are_tried_are_as_described(values: Any) -> None:
    jsonschema.validate(yaml.safe_load(values.read_text()), DESCRIBED)


def test_chart_has_the_version_of_the_service() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (PROJECT["version"], PROJECT["version"])


def test_secrets_that_are_refused_are_those_that_the_service_knows() -> None:
    (names,) = re.findall(r"has \$name \(list ([^)]+)\)", (CHART / "templates" / "_checks.tpl").read_text())
    assert frozenset(names.replace('"', "").split()) == secret_names()


def test_what_the_chart_takes_for_granted_is_what_the_service_does() -> None:
    pod, names = ((CHART / "templates" / name).read_text() for name in ("_pod.tpl", "_names.tpl"))
    assert f"shutdown_seconds | default {TimingSettings().shutdown_seconds:g}" in pod
    assert f"port | default {HttpSettings().port}" in names
    assert FLUSH_SECONDS * 3 <= 15, "what is left of a pod's grace after its three waits"
    assert DEFAULTS["config"]["kafka"]["session_timeout_ms"] > KafkaSettings().session_timeout_ms


def _is_closed(schema: dict[str, Any]) -> bool:
    return schema.get("additionalProperties") is False or "vendor" in schema["properties"]


def _schemas(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with what is said of it, those of accounts by vendor included."""
    for part in ("properties", "patternProperties"):
        for name, each in schema.get(part, {}).items():
            yield f"{path}.{name}", each
            yield from _schemas(each, f"{path}.{name}")
    for choice in schema.get("allOf", ()) if path else ():
        yield from _schemas(choice["then"], path)


def _keys_of_values(values: dict[str, Any], path: str = "") -> set[str]:
    """Those that stand there; not what a mapping of labels and the like holds, which is the user's to name."""
    found = {f"{path}{name}" for name in values}
    for name, value in values.items():
        inner = f"{path}{name}"
        if isinstance(value, dict) and inner not in FOREIGN and _names_its_keys(inner):
            found |= _keys_of_values(value, f"{inner}.")
    return found


def _names_its_keys(path: str) -> bool:
    schema = DESCRIBED
    for part in path.split("."):
        schema = schema["properties"].get(part, {"properties": {}})
    return "properties" in schema


def _keys_of_schema(schema: dict[str, Any], path: str = "") -> set[str]:
    found = {f"{path}{name}" for name in schema.get("properties", {})}
    for name, each in schema.get("properties", {}).items():
        found |= set() if f"{path}{name}" in FOREIGN else _keys_of_schema(each, f"{path}{name}.")
    return found
