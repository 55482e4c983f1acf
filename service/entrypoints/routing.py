"""What a route of the HTTP API is: router, admission and OpenAPI document are all made from such values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Final, Literal, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from service.adapters.metrics import MeteredTelemetry
from service.bootstrap import Office
from service.entrypoints.answers import answer
from service.entrypoints.callers import caller
from service.entrypoints.parameters import Parameter, read_query
from service.entrypoints.problems import ProblemError
from service.settings_sections import Role

MAX_BODY_BYTES: Final = 16 * 1024


class Anybody(Enum):
    """Instead of a role: nobody is asked for a token."""

    ANYBODY = "anybody"


ANYBODY: Final = Anybody.ANYBODY


class Process(Protocol):
    """What the API knows of the process that it speaks for."""

    @property
    def office(self) -> Office:
        """What questions and operators are answered with. Raises UnavailableError while the ledger is not open."""
        ...

    @property
    def stopping(self) -> bool:
        """True once it was asked to end: it wants no more traffic."""
        ...

    def standstills(self) -> Sequence[str]:
        """What makes no progress, in words; asks nothing of what is outside."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What every handler is given."""

    process: Process
    telemetry: MeteredTelemetry
    routes: tuple[Route, ...]


RouteHandler = Callable[[Api, web.Request], Awaitable[BaseModel | web.Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. `handler` gives a `response`, or a whole answer of `media_type` where there is no model for it.

    `problems` are the statuses beside those that follow from the rest: 400 and 413 for all, 401 with a role, 403 for
    operators' routes, 415 and 422 with a `request`, 503.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: RouteHandler
    role: Role | Anybody
    summary: str
    response: type[BaseModel] | None
    media_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK
    query: tuple[Parameter, ...] = ()
    request: type[BaseModel] | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    takes_key: bool = False
    problems: tuple[HTTPStatus, ...] = ()

    def __post_init__(self) -> None:
        """Raises TypeError for a route that does not say who is let in, ValueError where it may not be anybody."""
        if not isinstance(self.role, Role | Anybody):
            raise TypeError(f"{self.path} names no role")
        if self.role is ANYBODY and (self.path.startswith("/v1") or "{" in self.path):
            raise ValueError(f"{self.path} can't be open to anybody")


_GIVEN: Final = web.RequestKey("given", dict[str, list[str]])
_ROUTE: Final = web.RequestKey("route", Route)


def public_paths(routes: Iterable[Route]) -> frozenset[str]:
    """The paths that anybody may ask for."""
    return frozenset(route.path for route in routes if route.role is ANYBODY)


def add_routes(app: web.Application, api: Api) -> None:
    """Give the router every route of the table; GET also answers HEAD."""
    for route in api.routes:
        app.router.add_route(route.method, route.path, _served(route, api))
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, _served(route, api))


def _served(route: Route, api: Api) -> Handler:
    async def served(request: web.Request) -> web.StreamResponse:
        _admit(route, request)
        found = await route.handler(api, request)
        return found if isinstance(found, web.Response) else answer(found, status=route.status)

    return served


def _admit(route: Route, request: web.Request) -> None:
    """Let in whom the route's role allows, with a body of a bearable size and parameters that it knows."""
    if isinstance(route.role, Role) and not caller(request).may(route.role):
        raise ProblemError(HTTPStatus.FORBIDDEN, f"this needs the role {route.role.value}")
    unsized = request.content_length is None and request.can_read_body
    if unsized or (request.content_length or 0) > route.max_body_bytes:
        detail = f"a body may have {route.max_body_bytes} bytes, and must say how many"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    request[_GIVEN] = read_query(request, route.query)
    request[_ROUTE] = route


def given(request: web.Request) -> dict[str, list[str]]:
    """The query's parameters with their values, as the request's route knows them."""
    return request[_GIVEN]


def route_of(request: web.Request) -> Route:
    """The route that the request took."""
    return request[_ROUTE]
