"""JSON Schemas (2020-12) of the whole events in structured mode, made from the models."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from contracts.envelope import DATA_CONTENT_TYPE, Envelope
from contracts.inbound import INBOUND
from contracts.outbound import OUTBOUND, SOURCE, SealedCredential

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""The dialect that every schema here declares."""

_IN_REQUIRED: Final = ["id", "source", "specversion", "type", "data"]
_OUT_REQUIRED: Final = [*_IN_REQUIRED, "subject", "time", "datacontenttype", "correlationid", "causationid"]
_NOT_WRITTEN: Final = {"dataschema", "sequence", "partitionkey"}

Schema = dict[str, Any]


class _Plain(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name, and defaults: absent and `null` are not the same here."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # the parent's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Refuse names that miss their pattern, as the model does; pydantic would let them through with any value."""
        written = super().dict_schema(schema)
        for pattern, values in written.pop("patternProperties", {}).items():
            written["propertyNames"] = written.get("propertyNames", {}) | {"pattern": pattern}
            written["additionalProperties"] = values
        return written


def event_schemas() -> dict[str, Schema]:
    """Return the schema of every event that is read or published, by type."""
    inbound = {event_type: _inbound_schema(event_type, model) for event_type, model in INBOUND.items()}
    outbound = {event_type: _outbound_schema(event_type, known.model) for event_type, known in OUTBOUND.items()}
    return inbound | outbound


def sealed_credential_schema() -> Schema:
    """Return the schema of what a sealed credential holds once it is opened."""
    schema: Schema = _definitions(SealedCredential, written=True)[SealedCredential.__name__]
    described = {"description": _first_paragraph(SealedCredential)}
    return {"$schema": DIALECT, "$id": "urn:cordboard:sealed-credential.v1"} | schema | described


def _inbound_schema(event_type: str, model: type[BaseModel]) -> Schema:
    """What senders promise: attributes and fields that are not named are dropped unread."""
    attributes = _envelope_properties() | {"type": {"const": event_type}}
    return _event_schema(
        event_type, model, attributes, required=_IN_REQUIRED, definitions=_definitions(model, written=False)
    )


def _outbound_schema(event_type: str, model: type[BaseModel]) -> Schema:
    """What Cordboard promises: every field is there, and more may come, so no object is closed."""
    attributes = {
        name: _without_null(schema) for name, schema in _envelope_properties().items() if name not in _NOT_WRITTEN
    }
    attributes |= {
        "type": {"const": event_type},
        "source": {"const": SOURCE},
        "datacontenttype": {"const": DATA_CONTENT_TYPE},
    }
    required = [name for name in _OUT_REQUIRED if name != "causationid" or "caused_by" in model.model_fields]
    definitions = _definitions(model, written=True)
    return _event_schema(event_type, model, attributes, required=required, definitions=definitions)


def _event_schema(
    event_type: str, model: type[BaseModel], attributes: Schema, *, required: list[str], definitions: Schema
) -> Schema:
    return {
        "$schema": DIALECT,
        "$id": f"urn:cordboard:event:{event_type}",
        "title": event_type,
        "description": _first_paragraph(model),
        "type": "object",
        "properties": attributes | {"data": {"$ref": f"#/$defs/{model.__name__}"}},
        "required": required,
        "$defs": definitions,
    }


def _envelope_properties() -> Schema:
    properties = Envelope.model_json_schema(schema_generator=_Plain)["properties"]
    assert isinstance(properties, dict)  # noqa: S101  # a model's schema is an object; narrows the type
    return properties


def _definitions(model: type[BaseModel], *, written: bool) -> Schema:
    """The model and the parts it is made of, by name, sorted."""
    mode: JsonSchemaMode = "serialization" if written else "validation"
    schema = model.model_json_schema(schema_generator=_Plain, mode=mode)
    parts = schema.pop("$defs", {}) | {model.__name__: schema}
    return {name: _opened(parts[name]) if written else parts[name] for name in sorted(parts)}


def _opened(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "additionalProperties"}


def _without_null(schema: Schema) -> Schema:
    """An attribute that is left out rather than written as null."""
    alternatives = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(alternatives) != 1:
        return schema
    described = {"description": schema["description"]} if "description" in schema else {}
    only: Schema = alternatives[0]
    return only | described


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").partition("\n\n")[0].split())
