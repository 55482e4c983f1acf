"""What orchestrators, Prometheus and those who write clients ask: `/livez`, `/readyz`, `/metrics`, `/openapi.json`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from service.application.ports import UnavailableError
from service.application.standing import hide_standing, show_standing
from service.entrypoints.answers import answer
from service.entrypoints.api_models import Part, Readiness, Status
from service.entrypoints.http_api_description import description
from service.entrypoints.parameters import Parameter
from service.entrypoints.problems import ProblemError
from service.entrypoints.routing import ANYBODY, Api, Route, given

READINESS_PARAMETERS: Final = (Parameter(name="verbose", about="list all parts", flag=True),)


async def live(api: Api, _: web.Request) -> Status:
    """200 while the process makes progress; asks nothing of what is outside."""
    standstills = api.process.standstills()
    if standstills:
        detail = f"the process makes no progress, restart it: {'; '.join(standstills)}"
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail)
    return Status(status="alive")


async def ready(api: Api, request: web.Request) -> Readiness:
    """200 when every part works, else 503 with the parts that are away; `?verbose` lists all. 503 when stopping."""
    verbose = "verbose" in given(request)
    if api.process.stopping:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "stopping")
    board = api.telemetry.readiness()
    parts = {name: Part(ready=part.ready, detail=part.detail) for name, part in sorted(board.items())}
    away = [name for name, part in parts.items() if not part.ready]
    if away:
        shown = parts if verbose else {name: parts[name] for name in away}
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, f"away: {', '.join(away)}", parts=shown)
    return Readiness(status="ready", parts=parts if verbose else None)


async def metrics(api: Api, request: web.Request) -> web.Response:
    """Figures for Prometheus; while the ledger is away, all but those that it alone knows."""
    try:
        office = api.process.office
        await show_standing(
            api.telemetry, office.ledger, accounts=office.accounts, calls=office.calls, clock=office.clock
        )
    except UnavailableError:
        hide_standing(api.telemetry)
    body, content_type = api.telemetry.exposition(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


async def openapi(api: Api, _: web.Request) -> web.Response:
    """The OpenAPI document."""
    return answer(description(api.routes))


ROUTES: Final = (
    Route(
        method="GET",
        path="/livez",
        handler=live,
        role=ANYBODY,
        summary="Whether the process makes progress",
        response=Status,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=ready,
        role=ANYBODY,
        summary="Whether every part works",
        response=Readiness,
        query=READINESS_PARAMETERS,
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics,
        role=ANYBODY,
        summary="Figures: Prometheus text, or OpenMetrics if asked for",
        response=None,
        media_type="text/plain",
    ),
)
"""What is asked of a process that serves nothing else, too."""
