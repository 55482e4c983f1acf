"""The HTTP API: its table of routes, and the application that is made from it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from service.adapters.metrics import MeteredTelemetry
from service.entrypoints import api_models as models
from service.entrypoints import http_desk, http_health, http_listings, http_questions, http_replays
from service.entrypoints.admission import for_this_host_only, within
from service.entrypoints.answers import with_security_headers
from service.entrypoints.callers import Tokens, authenticating
from service.entrypoints.problems import as_problems
from service.entrypoints.routing import ANYBODY, Api, Process, Route, add_routes, public_paths
from service.settings_sections import Role

REQUEST_SECONDS: Final = 30.0

ROUTES: Final = (
    *http_health.ROUTES,
    Route(
        method="GET",
        path="/openapi.json",
        handler=http_health.openapi,
        role=ANYBODY,
        summary="This document",
        response=None,
    ),
    Route(
        method="GET",
        path="/v1/commands",
        handler=http_listings.commands,
        role=Role.VIEWER,
        summary="Commands, by id",
        response=models.Page[models.Command],
        query=http_listings.COMMAND_FILTERS,
    ),
    Route(
        method="GET",
        path="/v1/commands/{id}",
        handler=http_listings.command,
        role=Role.VIEWER,
        summary="One command, explained",
        response=models.CommandStory,
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/v1/plans",
        handler=http_listings.plans,
        role=Role.VIEWER,
        summary="Plans, by id",
        response=models.Page[models.Plan],
        query=http_listings.PLAN_FILTERS,
    ),
    Route(
        method="GET",
        path="/v1/plans/{id}",
        handler=http_listings.plan,
        role=Role.VIEWER,
        summary="One plan with its commands",
        response=models.PlanStory,
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    *http_questions.ROUTES,
    *http_replays.ROUTES,
    *http_desk.ROUTES,
)
"""Every route there is. Nothing else answers, and nothing else is described."""


def build_app(
    process: Process,
    telemetry: MeteredTelemetry,
    tokens: Tokens,
    *,
    routes: tuple[Route, ...] = ROUTES,
    seconds: float = REQUEST_SECONDS,
) -> web.Application:
    """The application that tells of a process, from before its ledger is open until after it is closed.

    `seconds` bounds every request. Without any token in `tokens` it answers to loopback names only, and to all.
    """
    asked_of_all = [with_security_headers, as_problems, within(seconds)]
    guards = [*([for_this_host_only] if tokens.off else []), authenticating(tokens, public_paths(routes))]
    app = web.Application(
        middlewares=[*asked_of_all, *guards], client_max_size=max(route.max_body_bytes for route in routes)
    )
    add_routes(app, Api(process=process, telemetry=telemetry, routes=routes))
    return app
