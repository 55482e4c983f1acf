"""The read-only HTTP API: health, metrics, and what the ledger tells about commands and plans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiohttp import web

from service.adapters.metrics import MeteredTelemetry
from service.application.ports import CommandQuery, Ledger, UnavailableError
from service.domain.command import CommandState, PlanState
from service.domain.value import replace
from service.entrypoints.admission import MAX_BODY_BYTES, for_this_host_only, parameters, path_id
from service.entrypoints.answers import answer_json, with_security_headers
from service.entrypoints.http_api_description import description
from service.entrypoints.problems import ProblemError, as_problems
from service.entrypoints.public_views import command_view, plan_view, story_view

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MOST_STEPS: Final = 200

COMMAND_FILTERS: Final[Mapping[str, bool]] = {
    "state": True,
    "operation": False,
    "account": False,
    "subject": False,
    "resource": False,
    "plan": False,
    "after": False,
    "limit": False,
}
"""Parameters of `/v1/commands`, and whether they may repeat."""
PLAN_FILTERS: Final[Mapping[str, bool]] = {
    "state": True,
    "account": False,
    "subject": False,
    "after": False,
    "limit": False,
}


class Process(Protocol):
    """What the API knows of the process that it speaks for."""

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises UnavailableError while it is not open."""
        ...

    @property
    def stopping(self) -> bool:
        """True once it was asked to end: it wants no more traffic."""
        ...

    def standstills(self) -> Sequence[str]:
        """What makes no progress, in words; asks nothing of what is outside."""
        ...


def build_app(process: Process, telemetry: MeteredTelemetry) -> web.Application:
    """The application that tells of a process, from before its ledger is open until after it is closed."""
    health, listings = _Health(process, telemetry), _Listings(process)
    app = web.Application(
        middlewares=[with_security_headers, as_problems, for_this_host_only], client_max_size=MAX_BODY_BYTES
    )
    app.router.add_get("/livez", health.live)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get("/openapi.json", _openapi)
    app.router.add_get("/v1/commands", listings.commands)
    app.router.add_get("/v1/commands/{id}", listings.command)
    app.router.add_get("/v1/plans", listings.plans)
    app.router.add_get("/v1/plans/{id}", listings.plan)
    return app


async def _openapi(request: web.Request) -> web.Response:
    parameters(request, {})
    return answer_json(description())


class _Health:
    """What orchestrators and Prometheus ask."""

    def __init__(self, process: Process, telemetry: MeteredTelemetry) -> None:
        self._process = process
        self._telemetry = telemetry

    async def live(self, request: web.Request) -> web.Response:
        """200 while the process makes progress; asks nothing of what is outside."""
        parameters(request, {})
        standstills = self._process.standstills()
        if standstills:
            detail = f"the process makes no progress, restart it: {'; '.join(standstills)}"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        return answer_json({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        """200 when every part works, else 503 with the parts that are away; `?verbose` lists all. 503 when stopping."""
        verbose = "verbose" in parameters(request, {"verbose": False})
        if self._process.stopping:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
        board = self._telemetry.readiness()
        parts = {name: {"ready": part.ready, "detail": part.detail} for name, part in sorted(board.items())}
        away = [name for name, part in parts.items() if not part["ready"]]
        if away:
            shown = parts if verbose else {name: parts[name] for name in away}
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"away: {', '.join(away)}", parts=shown)
        return answer_json({"status": "ready", "parts": parts} if verbose else {"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Figures for Prometheus; while the ledger is away, all but the counts of commands."""
        parameters(request, {})
        try:
            self._telemetry.show_commands(await self._process.ledger.counts())
        except UnavailableError:
            self._telemetry.show_commands({})
        body, content_type = self._telemetry.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Listings:
    """What the ledger tells."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def commands(self, request: web.Request) -> web.Response:
        """One page of commands, by id."""
        return await _page(_query(request, COMMAND_FILTERS, CommandState), self._process.ledger.commands, command_view)

    async def plans(self, request: web.Request) -> web.Response:
        """One page of plans, by id."""
        return await _page(_query(request, PLAN_FILTERS, PlanState), self._process.ledger.plans, plan_view)

    async def command(self, request: web.Request) -> web.Response:
        """One command with its plan, attempts and history."""
        parameters(request, {})
        story = await self._process.ledger.story(path_id(request))
        if story is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no command has this id")
        return answer_json(story_view(story))

    async def plan(self, request: web.Request) -> web.Response:
        """One plan with its commands in their order."""
        parameters(request, {})
        plan_id = path_id(request)
        plans = await self._process.ledger.plans(CommandQuery(plan_id=plan_id, limit=1))
        if not plans:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no plan has this id")
        steps = await self._process.ledger.commands(CommandQuery(plan_id=plan_id, limit=MOST_STEPS))
        in_order = sorted(steps, key=lambda command: command.step_no)
        return answer_json(plan_view(plans[0]) | {"commands": [command_view(command) for command in in_order]})


async def _page(
    query: CommandQuery, fetch: Callable[[CommandQuery], Awaitable[Any]], view: Callable[[Any], dict[str, Any]]
) -> web.Response:
    """A page and the cursor of the next; one row more than asked for tells whether there is one."""
    rows = await fetch(replace(query, limit=query.limit + 1))
    shown = rows[: query.limit]
    following = shown[-1].id if len(rows) > query.limit else None
    return answer_json({"items": [view(row) for row in shown], "next": following})


def _query(request: web.Request, known: Mapping[str, bool], states: type[StrEnum]) -> CommandQuery:
    given = parameters(request, known)
    if any(value == "" for values in given.values() for value in values):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "a parameter is empty")
    wrong = [state for state in given.get("state", []) if state not in set(states)]
    if wrong:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"state must be one of {', '.join(states)}")
    once = {name: values[0] for name, values in given.items() if name not in {"state", "limit", "plan"}}
    return CommandQuery(
        **once,  # type: ignore[arg-type]
        states=tuple(dict.fromkeys(given.get("state", []))),
        plan_id=given["plan"][0] if "plan" in given else None,
        limit=_limit(given),
    )


def _limit(given: Mapping[str, list[str]]) -> int:
    text = given.get("limit", [str(DEFAULT_LIMIT)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"limit must be 1 to {MAX_LIMIT}")
    return int(text)
