"""The part of helm/values.schema.json that describes `config`, made from the service's settings.

`python -m tests.chart.values_schema` compares it with what stands there, `--write` writes it anew. The rest of that
file is the chart's own and written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from service.settings import Settings, secret_names
from service.vendors.registry import VENDORS
from tests.chart.expressions import ROOT

SCHEMA: Final = ROOT / "helm" / "values.schema.json"
ABOUT: Final = "Cordboard's settings, as docs/configuration.md has them; they become its configuration file."
SECRET: Final = "A secret: refused here. Put it into a Secret, and name that in `files`."
KEPT: Final = frozenset(
    {
        *("type", "enum", "const", "description", "default", "items", "minItems", "minLength", "maxLength", "pattern"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)

Json = dict[str, Any]


def values_schema() -> Json:
    """The whole file, with the part that is made as it should be."""
    schema: Json = json.loads(SCHEMA.read_text())
    schema["properties"]["config"] = _config()
    return schema


def as_text(schema: Json) -> str:
    """As it stands in the file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _config() -> Json:
    whole = Settings.model_json_schema()
    made = _plain(whole, whole["$defs"], "")
    properties = {**made["properties"], "accounts": _accounts(made["properties"]["accounts"]["description"])}
    return {"description": ABOUT, **{k: v for k, v in made.items() if k != "description"}, "properties": properties}


def _accounts(about: str) -> Json:
    """By name; which settings one has depends on its vendor."""
    vendor = {"description": "Whose account it is.", "enum": list(VENDORS)}
    each = {
        "type": "object",
        "description": "One account.",
        "required": ["vendor"],
        "properties": {"vendor": vendor},
        "allOf": [
            {
                "if": {"properties": {"vendor": {"const": name}}},
                "then": _account(room.account_model.model_json_schema()),
            }
            for name, room in VENDORS.items()
        ],
    }
    return {"type": "object", "description": about, "patternProperties": {"^[a-z][a-z0-9_]*$": each},
            "additionalProperties": False}  # fmt: skip


def _account(schema: Json) -> Json:
    made = _plain(schema, schema["$defs"], "")
    made["properties"].pop("name")  # the key under `accounts`
    made["properties"]["vendor"] = {"description": "Whose account it is."}
    return made


def _plain(schema: Json, defs: Mapping[str, Json], name: str) -> Json:
    """One schema without references, titles and alternatives to null; sentences begin with a capital."""
    if name in secret_names():
        return {"description": SECRET}
    alternatives = [each for each in (schema.get("anyOf") or schema.get("oneOf") or ()) if each.get("type") != "null"]
    if len(alternatives) == 1:
        schema = {**alternatives[0], **schema}
    schema = _resolved(schema, defs)
    about = schema.get("description", "").partition("\n\n")[0].replace("\n", " ")
    made = {key: schema[key] for key in sorted(KEPT) if key in schema and not isinstance(schema[key], dict)}
    made["description"] = about[:1].upper() + about[1:]
    if len(alternatives) > 1:
        made["anyOf"] = [_plain(each, defs, "") for each in alternatives]
    return {**made, **_what_is_within(schema, defs)}


def _what_is_within(schema: Json, defs: Mapping[str, Json]) -> Json:
    """Of a list its items; of a mapping its keys, and no others."""
    made: Json = {}
    if isinstance(schema.get("items"), dict):
        made["items"] = {key: value for key, value in schema["items"].items() if key in KEPT}
    if "properties" in schema:
        made["properties"] = {key: _plain(value, defs, key) for key, value in schema["properties"].items()}
        needed = [key for key in schema.get("required", ()) if key not in secret_names()]
        made |= {"additionalProperties": False} | ({"required": needed} if needed else {})
    elif "patternProperties" in schema:
        made["patternProperties"] = {key: _plain(each, defs, "") for key, each in schema["patternProperties"].items()}
        made["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        made["additionalProperties"] = _plain(schema["additionalProperties"], defs, "")
    return made


def _resolved(schema: Json, defs: Mapping[str, Json]) -> Json:
    """What a reference leads to; what stands beside it wins."""
    behind = defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return {**behind, **{key: value for key, value in schema.items() if value is not None}}


def main() -> int:
    """Compare, or write; 1 if something differs."""
    wanted = as_text(values_schema())
    if "--write" in sys.argv[1:]:
        SCHEMA.write_text(wanted)
        return 0
    if SCHEMA.read_text() != wanted:
        print(f"{SCHEMA} is behind the settings: python -m tests.chart.values_schema --write", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
