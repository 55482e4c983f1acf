"""Bodies of requests: JSON read strictly into the model of their route, and told off without repeating them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from contracts.fields import MAX_INT64
from service.entrypoints.api_models import FieldError
from service.entrypoints.problems import ProblemError
from service.entrypoints.routing import route_of

M = TypeVar("M", bound=BaseModel)

MOST_ERRORS: Final = 20


async def body(request: web.Request, model: type[M]) -> M:
    """The body as the model that the request's route declares.

    Raises ProblemError: 400 for what is no JSON, 413 for too much of it, 415 for anything else, 422 for what the model
    refuses, with each field at fault. No answer repeats what was sent.
    """
    if route_of(request).request is not model:
        raise TypeError(f"the route declares another body than {model.__name__}")
    _refuse_other_types(request)
    content = await request.read()
    _refuse_what_json_leaves_open(content)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _refused(error, model) from None


def _refuse_other_types(request: web.Request) -> None:
    charset = (request.charset or "utf-8").lower()
    if request.content_type != "application/json" or charset != "utf-8" or "Content-Encoding" in request.headers:
        detail = "a body must be application/json, as it is: UTF-8, not compressed"
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)


def _refuse_what_json_leaves_open(content: bytes) -> None:
    """Raise ProblemError for what is no JSON, and for what two readers could read in two ways."""
    try:
        json.loads(
            content.decode(),
            object_pairs_hook=_once_each,
            parse_int=_in_64_bits,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise _bad("the body is nested too deep") from None
    except ValueError:
        raise _bad("the body is no JSON, or none that is read in one way only (a member twice, NaN, …)") from None


def _once_each(members: list[tuple[str, Any]]) -> Mapping[str, Any]:
    read = dict(members)
    if len(read) != len(members):
        raise ValueError("a member twice")
    return read


def _in_64_bits(digits: str) -> int:
    read = int(digits)
    if abs(read) > MAX_INT64:
        raise ValueError("too large")
    return read


def _finite(digits: str) -> float:
    read = float(digits)
    if not math.isfinite(read):
        raise ValueError("too large")
    return read


def _no_constant(_: str) -> NoReturn:
    raise ValueError("NaN or Infinity")


def _refused(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if details[0]["type"] == "json_invalid":
        return _bad("the body is no JSON that can be read here")
    known = _names(model)
    errors = [FieldError(field=_path(detail, known), message=_message(detail)) for detail in details[:MOST_ERRORS]]
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not what is asked for here", errors=errors)


def _path(detail: ErrorDetails, known: frozenset[str]) -> str:
    """The dotted path of names of ours and positions: keys that a sender made up, and tags, are left out."""
    return ".".join(str(part) for part in detail["loc"] if isinstance(part, int) or part in known)


def _message(detail: ErrorDetails) -> str:
    """pydantic's own, but where it would repeat what was sent."""
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "has a member that is not known"
        case "string_pattern_mismatch" | "union_tag_invalid":
            return "has a form that the schema does not allow"
    return detail["msg"].removeprefix("Value error, ").replace("Input should", "should")


@cache
def _names(model: type[BaseModel]) -> frozenset[str]:
    """The names of all members that the model and its parts know."""
    return frozenset(_properties(model.model_json_schema()))


def _properties(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for part in schema.values():
            yield from _properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
