"""The HTTP API described (OpenAPI 3.1), written by hand; a test compares it with the router and with real answers."""

from __future__ import annotations

from typing import Any, Final

from service.domain.command import CommandState, Lane, PlanState, WaitCause

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number", "minimum": 0}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
MAYBE_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}


def description() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cordboard",
            "version": "1",
            "description": "What became of events: plans and commands, read only. Never a name, an e-mail or a secret.",
        },
        "paths": {
            "/livez": _get("Whether the process makes progress", _ref("Status"), 503),
            "/readyz": _get(
                "Whether every part works", _ref("Readiness"), 503, _parameter("verbose", {"type": "string"})
            ),
            "/metrics": _metrics(),
            "/openapi.json": _get("This document", {"type": "object"}),
            "/v1/commands": _get("Commands, by id", _page("Command"), 503, *_command_parameters()),
            "/v1/commands/{id}": _get("One command, explained", _ref("CommandStory"), 404, _id()),
            "/v1/plans": _get("Plans, by id", _page("Plan"), 503, *_plan_parameters()),
            "/v1/plans/{id}": _get("One plan with its commands", _ref("PlanStory"), 404, _id()),
        },
        "components": {"schemas": _schemas()},
    }


def _get(summary: str, schema: Schema, refused: int | None = None, *parameters: Schema) -> Schema:
    refusals = {str(status): _problem() for status in (400, refused) if status is not None}
    return {
        "get": {
            "summary": summary,
            "parameters": list(parameters),
            "responses": {
                "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
                **refusals,
            },
        }
    }


def _problem() -> Schema:
    return {
        "description": "Problem details (RFC 9457)",
        "content": {"application/problem+json": {"schema": _ref("Problem")}},
    }


def _metrics() -> Schema:
    answer = {
        "description": "Prometheus text, or OpenMetrics if asked for",
        "content": {"text/plain": {"schema": TEXT}},
    }
    return {"get": {"summary": "Figures", "parameters": [], "responses": {"200": answer, "400": _problem()}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, schema: Schema, about: str = "") -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema} | (
        {"description": about} if about else {}
    )


def _id() -> Schema:
    return {"name": "id", "in": "path", "required": True, "schema": TEXT}


def _states(states: type[CommandState | PlanState]) -> Schema:
    return _parameter("state", {"type": "array", "items": {"enum": [state.value for state in states]}}, "may repeat")


def _paging() -> list[Schema]:
    return [
        _parameter("after", TEXT, "the `next` of the page before"),
        _parameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
    ]


def _command_parameters() -> list[Schema]:
    filters = [_parameter(name, TEXT) for name in ("operation", "account", "subject", "resource", "plan")]
    return [_states(CommandState), *filters, *_paging()]


def _plan_parameters() -> list[Schema]:
    return [_states(PlanState), *(_parameter(name, TEXT) for name in ("account", "subject")), *_paging()]


def _page(name: str) -> Schema:
    return _object({"items": {"type": "array", "items": _ref(name)}, "next": MAYBE_TEXT})


def _object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _schemas() -> Schema:
    command, plan = _command(), _plan()
    story = {"plan": _ref("Plan"), "attempts_made": _list_of(_ref("Attempt")), "history": _list_of(_ref("Change"))}
    return {
        "Status": _object({"status": TEXT}),
        "Readiness": _object({"status": TEXT, "parts": _parts()}, optional=("parts",)),
        "Problem": {
            "type": "object",
            "properties": {"type": TEXT, "title": TEXT, "status": COUNT, "detail": TEXT, "parts": _parts()},
            "required": ["type", "title", "status", "detail"],
        },
        "Command": _object(command),
        "CommandStory": _object(command | story),
        "Plan": _object(plan),
        "PlanStory": _object(plan | {"commands": _list_of(_ref("Command"))}),
        "Attempt": _attempt(),
        "Change": _change(),
        "Failure": _failure(),
    }


def _parts() -> Schema:
    return {"type": "object", "additionalProperties": _object({"ready": {"type": "boolean"}, "detail": TEXT})}


def _maybe_failure() -> Schema:
    return {"anyOf": [_ref("Failure"), {"type": "null"}]}


def _command() -> Schema:
    texts = dict.fromkeys(("id", "plan_id", "step", "account", "operation", "subject", "resource"), TEXT)
    return texts | {
        "epoch": COUNT,
        "step_no": COUNT,
        "state": {"enum": [state.value for state in CommandState]},
        "cause": {"enum": [*(cause.value for cause in WaitCause), None]},
        "lane": {"enum": [lane.value for lane in Lane]},
        "created_at": TIME,
        **dict.fromkeys(("effective_at", "due_at", "first_at", "last_at", "ended_at"), MAYBE_TIME),
        "attempts": COUNT,
        "retries": COUNT,
        **dict.fromkeys(("queue_seconds", "quota_seconds", "vendor_seconds"), NUMBER),
        "result": MAYBE_TEXT,
        "wanted": {"type": "object"},
        "facts": {"type": "object"},
        "failure": _maybe_failure(),
    }


def _plan() -> Schema:
    event = dict.fromkeys(("source", "id", "type", "topic"), TEXT) | {"partition": COUNT, "offset": COUNT}
    return {
        "id": TEXT,
        "epoch": COUNT,
        "state": {"enum": [state.value for state in PlanState]},
        "subject": TEXT,
        "account": MAYBE_TEXT,
        "created_at": TIME,
        "effective_at": MAYBE_TIME,
        "ended_at": MAYBE_TIME,
        "event": _object(event),
        "correlation_id": TEXT,
        "failure": _maybe_failure(),
    }


def _attempt() -> Schema:
    return _object(
        {
            "epoch": COUNT,
            "number": {"type": "integer", "minimum": 1},
            "call": TEXT,
            "slot_at": MAYBE_TIME,
            "marked_at": TIME,
            "ended_at": MAYBE_TIME,
            **dict.fromkeys(("outcome", "code", "request_id"), MAYBE_TEXT),
        }
    )


def _change() -> Schema:
    states = [state.value for state in CommandState]
    return _object(
        {
            "epoch": COUNT,
            "at": TIME,
            "before": {"enum": [*states, None]},
            "after": {"enum": states},
            "cause": TEXT,
            "actor": TEXT,
        }
    )


def _failure() -> Schema:
    return _object(
        {
            "error_class": TEXT,
            "code": TEXT,
            "message": TEXT,
            "field": MAYBE_TEXT,
            "request_id": MAYBE_TEXT,
            "replay_can_help": {"type": "boolean"},
            "advice": TEXT,
        }
    )
