"""The HTTP API described (OpenAPI 3.1): made from its table of routes and the models that they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.entrypoints.api_models import Problem
from service.entrypoints.moments import MOMENT
from service.entrypoints.parameters import CURSOR, IDEMPOTENCY_KEY, KEY_PATTERN, TEXT_PATTERN, Parameter
from service.entrypoints.problems import MEDIA_TYPE
from service.entrypoints.routing import Route
from service.settings_sections import Role

Schema = dict[str, Any]
Spoken = tuple[type[Any], JsonSchemaMode]
"""A model as it is answered (`serialization`) or asked (`validation`)."""

ABOUT: Final = (
    "What became of events, and what operators do about it. Never a name, an e-mail address or a secret. Where no "
    "token is configured, on a loopback address only, nobody is asked for one."
)
TEXT: Final[Schema] = {"type": "string", "minLength": 1, "pattern": TEXT_PATTERN}


@cache
def description(routes: tuple[Route, ...]) -> Schema:
    """The whole document."""
    schemas, definitions = models_json_schema(_models(routes), ref_template="#/components/schemas/{model}")
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Cordboard", "version": "1", "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _models(routes: Sequence[Route]) -> list[Spoken]:
    """Every model once, in an order that never changes."""
    answered: set[type[Any]] = {Problem, *(route.response for route in routes if route.response is not None)}
    asked = {route.request for route in routes if route.request is not None}
    found: list[Spoken] = [(model, "serialization") for model in answered]
    found += [(model, "validation") for model in asked]
    return sorted(found, key=lambda spoken: (spoken[0].__name__, spoken[1]))


def _operation(route: Route, schemas: Mapping[Any, Schema]) -> Schema:
    answered = {
        "description": route.status.phrase,
        "content": {route.media_type: {"schema": _answered(route, schemas)}},
    }
    problem = {MEDIA_TYPE: {"schema": schemas[Problem, "serialization"]}}
    refused = {str(status.value): {"description": status.phrase, "content": problem} for status in _problems(route)}
    operation: Schema = {
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": {str(route.status.value): answered, **refused},
        "security": [{"bearer": [route.role.value]}] if isinstance(route.role, Role) else [],
    }
    if route.request is not None:
        content = {"application/json": {"schema": schemas[route.request, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answered(route: Route, schemas: Mapping[Any, Schema]) -> Schema:
    if route.response is not None:
        return schemas[route.response, "serialization"]
    return {"type": "object" if route.media_type == "application/json" else "string"}


def _problems(route: Route) -> list[HTTPStatus]:
    """Every status that the route can be refused with; a fault of ours is none of them."""
    found = {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.SERVICE_UNAVAILABLE,
        *route.problems,
    }
    if isinstance(route.role, Role):
        found.add(HTTPStatus.UNAUTHORIZED)
    if route.role is Role.OPERATOR:
        found.add(HTTPStatus.FORBIDDEN)
    if route.request is not None:
        found |= {HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY}
    return sorted(found)


def _parameters(route: Route) -> list[Schema]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": TEXT} for name in re.findall(r"{(\w+)}", route.path)
    ]
    key = {"name": IDEMPOTENCY_KEY, "in": "header", "required": False, "schema": _pattern(KEY_PATTERN)}
    key["description"] = "a request that is sent again under the same key is done once"
    return [*in_path, *(_in_query(parameter) for parameter in route.query), *([key] if route.takes_key else [])]


def _in_query(parameter: Parameter) -> Schema:
    about = {"description": parameter.about} if parameter.about else {}
    return {"name": parameter.name, "in": "query", "required": False, "schema": _schema(parameter), **about}


def _schema(parameter: Parameter) -> Schema:
    if parameter.span is not None:
        schema: Schema = {"type": "integer", "minimum": parameter.span[0], "maximum": parameter.span[1]}
        schema |= {} if parameter.default is None else {"default": parameter.default}
    elif parameter.choices:
        schema = {"type": "string", "enum": list(parameter.choices)}
    elif parameter.moment:
        schema = dict(MOMENT)
    elif parameter.cursor:
        schema = _pattern(f"^{CURSOR.pattern}$")
    else:
        schema = _pattern(TEXT_PATTERN) if parameter.flag else TEXT
    return {"type": "array", "items": schema} if parameter.repeats else schema


def _pattern(pattern: str) -> Schema:
    return {"type": "string", "pattern": pattern}
