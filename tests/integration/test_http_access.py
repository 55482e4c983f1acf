"""Whom the HTTP API lets in: every route of its table, asked by nobody, strangers, viewers and operators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from service.adapters.metrics import MeteredTelemetry
from service.adapters.system_clock import SystemClock
from service.application.rounds import Stopping
from service.application.watchdog import Watchdog
from service.entrypoints.api_models import Status
from service.entrypoints.callers import LOCAL, Caller, Tokens, caller, token_hash
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_server import listening
from service.entrypoints.routing import ANYBODY, Anybody, Api, Route
from service.entrypoints.worker import Front, serving
from service.settings import Settings
from service.settings_sections import HttpSettings, Role, TokenSettings
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess

Client = TestClient[web.Request, web.Application]

STRANGER: Final = "cord_FAKE-token-that-nobody-knows"
HELD: Final = {Role.VIEWER: "cord_FAKE-token-of-a-viewer", Role.OPERATOR: "cord_FAKE-token-of-an-operator"}
TOKENS: Final = Tokens({role.value: TokenSettings(role=role, sha256=token_hash(token)) for role, token in HELD.items()})
CALLERS: Final[Mapping[str, str | None]] = {
    "anonymous": None,
    "stranger": STRANGER,
    "viewer": HELD[Role.VIEWER],
    "operator": HELD[Role.OPERATOR],
}
REFUSED: Final[Mapping[tuple[str, Role | Anybody], HTTPStatus]] = {
    ("anonymous", Role.VIEWER): HTTPStatus.UNAUTHORIZED,
    ("anonymous", Role.OPERATOR): HTTPStatus.UNAUTHORIZED,
    ("stranger", Role.VIEWER): HTTPStatus.UNAUTHORIZED,
    ("stranger", Role.OPERATOR): HTTPStatus.UNAUTHORIZED,
    ("viewer", Role.OPERATOR): HTTPStatus.FORBIDDEN,
}
"""Who is refused by routes of which role; all others are let in."""


async def whoami(_: Api, request: web.Request) -> Status | web.Response:
    return web.json_response({"name": caller(request).name, "role": caller(request).role})


async def never(_: Api, __: web.Request) -> Status:
    await asyncio.Event().wait()
    return Status(status="alive")


def probe(path: str, role: Role, method: str = "GET") -> Route:
    return Route(method=method, path=path, handler=whoami, role=role, summary="", response=None)  # type: ignore[arg-type]


# the table has no operator's route of its own yet
PROBED: Final = (*ROUTES, probe("/v1/probe", Role.VIEWER), probe("/v1/probe", Role.OPERATOR, "POST"))


@pytest.fixture
def telemetry() -> MeteredTelemetry:
    telemetry = MeteredTelemetry()
    for part in ("kafka", "ledger"):
        telemetry.health(part, ready=True)
    return telemetry


@pytest.fixture
async def client(telemetry: MeteredTelemetry) -> AsyncIterator[Client]:
    app = build_app(FakeProcess(FakeLedger()), telemetry, TOKENS, routes=PROBED)
    async with TestClient(TestServer(app)) as client:
        yield client


def bearing(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


# --- routes and roles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize("route", PROBED, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_lets_in_whom_its_role_says_and_nobody_else(client: Client, route: Route, who: str) -> None:
    path = route.path.replace("{id}", "nothing")
    async with client.request(route.method, path, headers=bearing(CALLERS[who])) as response:
        refusal = REFUSED.get((who, route.role))
        if refusal is None:
            assert response.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        else:
            assert (response.status, response.content_type) == (refusal, "application/problem+json")
            challenge = "Bearer" if refusal is HTTPStatus.UNAUTHORIZED else None
            assert response.headers.get("WWW-Authenticate") == challenge
            assert "FAKE" not in await response.text()


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v2", "/console", "/LIVEZ"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_is_not_there_is_told_to_nobody_without_a_token(client: Client, method: str, path: str) -> None:
    async with client.request(method, path) as response:
        assert response.status == HTTPStatus.UNAUTHORIZED
    async with client.request(method, path, headers=bearing(HELD[Role.VIEWER])) as response:
        assert response.status == HTTPStatus.NOT_FOUND


async def test_a_method_that_is_not_there_is_told_to_nobody_without_a_token(client: Client) -> None:
    async with client.delete("/v1/commands") as response:
        assert response.status == HTTPStatus.UNAUTHORIZED
    async with client.delete("/livez") as response:
        assert response.status == HTTPStatus.METHOD_NOT_ALLOWED


async def test_head_needs_what_get_needs(client: Client) -> None:
    async with client.head("/v1/commands") as response:
        assert response.status == HTTPStatus.UNAUTHORIZED
    async with client.head("/v1/commands", headers=bearing(HELD[Role.VIEWER])) as response:
        assert response.status == HTTPStatus.OK


@pytest.mark.parametrize("role", Role)
async def test_a_handler_is_told_who_asks(client: Client, role: Role) -> None:
    async with client.get("/v1/probe", headers=bearing(HELD[role])) as response:
        assert await response.json() == {"name": role.value, "role": role.value}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        HELD[Role.OPERATOR],
        f"Basic {HELD[Role.OPERATOR]}",
        f"Bearer {HELD[Role.OPERATOR]} x",
        f"Bearer {HELD[Role.OPERATOR]}, Bearer {HELD[Role.OPERATOR]}",
        f"Bearer {HELD[Role.OPERATOR].upper()}",
        f"Bearer {HELD[Role.OPERATOR][:-1]}",
        f"Bearer {token_hash(HELD[Role.OPERATOR])}",
        f"Bearer {'x' * 600}",
        "Bearer ünïcode",
    ],
)
async def test_a_header_that_is_not_quite_right_lets_nobody_in(client: Client, header: str) -> None:
    async with client.get("/v1/commands", headers={"Authorization": header}) as response:
        assert response.status == HTTPStatus.UNAUTHORIZED


async def test_two_tokens_are_none(client: Client) -> None:
    twice = [("Authorization", f"Bearer {token}") for token in HELD.values()]
    async with client.get("/v1/commands", headers=twice) as response:
        assert response.status == HTTPStatus.UNAUTHORIZED


async def test_the_scheme_is_read_in_any_case(client: Client) -> None:
    async with client.get("/v1/commands", headers={"Authorization": f"bearer {HELD[Role.VIEWER]}"}) as response:
        assert response.status == HTTPStatus.OK


async def test_a_fault_of_ours_logs_no_token(telemetry: MeteredTelemetry, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Api, request: web.Request) -> Status:
        raise RuntimeError(caller(request).name)

    route = Route(method="GET", path="/v1/broken", handler=broken, role=Role.VIEWER, summary="", response=Status)
    app = build_app(FakeProcess(FakeLedger()), telemetry, TOKENS, routes=(route,))
    async with (
        TestClient(TestServer(app)) as client,
        client.get("/v1/broken", headers=bearing(HELD[Role.VIEWER])) as response,
    ):
        assert response.status == 500
    assert "RuntimeError: viewer" in caplog.text
    assert "FAKE" not in caplog.text


# --- without tokens -------------------------------------------------------------------------------------------------


async def test_without_tokens_everybody_is_the_operator_local_under_a_loopback_name(
    telemetry: MeteredTelemetry,
) -> None:
    app = build_app(FakeProcess(FakeLedger()), telemetry, Tokens({}), routes=PROBED)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/v1/probe", headers=bearing(STRANGER)) as response:
            assert await response.json() == {"name": "local", "role": "operator"}
        async with client.post("/v1/probe", headers={"Host": "evil.example"}) as response:
            assert response.status == HTTPStatus.MISDIRECTED_REQUEST
    assert Caller("local", Role.OPERATOR) == LOCAL


@pytest.mark.parametrize(("configured", "warnings"), [({}, 1), ({"eve": "0a" * 32}, 0)])
async def test_a_server_that_asks_nobody_says_so_at_its_start(
    telemetry: MeteredTelemetry, configured: Mapping[str, str], warnings: int
) -> None:
    held = {name: TokenSettings(role=Role.VIEWER, sha256=sha256) for name, sha256 in configured.items()}
    settings = Settings(http=HttpSettings(tokens=held, port=0))
    watchdog = Watchdog(clock=SystemClock(), telemetry=telemetry, policy=settings.liveness_policy())
    with capture_logs() as lines:
        async with serving(Front(stopping=Stopping(), watchdog=watchdog), telemetry, settings):
            pass
    said = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert len(said) == warnings
    assert all("asks nobody for a token" in event for event in said)


async def test_with_tokens_any_name_is_answered(client: Client) -> None:
    headers = bearing(HELD[Role.VIEWER]) | {"Host": "cordboard.example"}
    async with client.get("/v1/commands", headers=headers) as response:
        assert response.status == HTTPStatus.OK


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_route_that_names_no_role_cant_be_made() -> None:
    with pytest.raises(TypeError):
        Route(method="GET", path="/v1/x", handler=never, summary="", response=Status)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="names no role"):
        Route(method="GET", path="/v1/x", handler=never, role=None, summary="", response=Status)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/v1", "/v1/commands", "/things/{id}"])
def test_what_is_told_of_work_is_never_open_to_anybody(path: str) -> None:
    with pytest.raises(ValueError, match="open to anybody"):
        Route(method="GET", path=path, handler=never, role=ANYBODY, summary="", response=Status)


def test_only_what_orchestrators_and_clients_need_is_open_to_anybody() -> None:
    assert {route.path for route in ROUTES if route.role is ANYBODY} == {
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
    }


# --- time, and what is no request -----------------------------------------------------------------------------------


async def test_a_request_that_takes_too_long_ends_with_503(telemetry: MeteredTelemetry) -> None:
    slow = Route(method="GET", path="/v1/never", handler=never, role=Role.VIEWER, summary="", response=Status)
    app = build_app(FakeProcess(FakeLedger()), telemetry, TOKENS, routes=(slow,), seconds=0.01)
    async with (
        TestClient(TestServer(app)) as client,
        client.get("/v1/never", headers=bearing(HELD[Role.VIEWER])) as response,
    ):
        assert (response.status, response.content_type) == (503, "application/problem+json")
        assert response.headers["Retry-After"] == "1"
        assert "no answer within" in (await response.json(content_type=None))["detail"]


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {STRANGER}\x01",
        f"Authorization Bearer {STRANGER}",
        f"Authorization: Bearer {STRANGER * 400}",
    ],
)
async def test_a_request_that_cant_be_read_is_not_repeated(
    telemetry: MeteredTelemetry, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    app = build_app(FakeProcess(FakeLedger()), telemetry, TOKENS)
    async with listening(app, host="127.0.0.1", port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/commands HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith("HTTP/1.0 400 ")
    assert "application/problem+json" in answer
    assert "FAKE" not in answer
    assert "a request came to nothing" in caplog.text
    assert "FAKE" not in caplog.text


@pytest.mark.parametrize("path", ["/livez", "/nowhere"])
@pytest.mark.parametrize("expected", [b"100-continue", b"FAKE", b"\x80FAKE"])
async def test_what_a_client_expects_is_answered_as_if_it_did_not(
    telemetry: MeteredTelemetry, path: str, expected: bytes
) -> None:
    app = build_app(FakeProcess(FakeLedger()), telemetry, TOKENS)
    async with listening(app, host="127.0.0.1", port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: ".encode()
        writer.write(head + expected + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert b"HTTP/1.1 200 OK" in answer or b"HTTP/1.1 401 Unauthorized" in answer
    assert b"FAKE" not in answer
