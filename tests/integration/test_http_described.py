"""The HTTP API is what its OpenAPI document says: schemathesis reads the served one and tries to prove it wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Final

import schemathesis
from aiohttp import web
from pydantic import Field
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import EngineEvent, EngineFinished, FatalError, NonFatalError, ScenarioFinished

from service.adapters.metrics import MeteredTelemetry
from service.domain.command import Attempt, CommandState, HistoryRow
from service.domain.ledger_state import Changes, Keys
from service.domain.outcome import ErrorClass, Failure
from service.entrypoints.api_models import ApiRequest, Status
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_server import listening
from service.entrypoints.parameters import idempotency_key
from service.entrypoints.request_bodies import body
from service.entrypoints.routing import Api, Route
from service.settings_sections import Role, TokenSettings
from tests.builders import CREATE, NOW, make_command, make_plan
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess

TOKEN: Final = "cord_FAKE-token-of-a-fuzzer"
CONFIG: Final = {
    "seed": 7,
    "headers": {"Authorization": f"Bearer {TOKEN}"},
    "generation": {"max-examples": 15, "deterministic": True, "database": "none"},
    "phases": {"stateful": {"enabled": False}},  # no route leads to another by the document
}


class Probe(ApiRequest):
    """A body with the kinds of fields that requests have."""

    reason: Annotated[str, Field(min_length=1, max_length=200)]
    dry_run: bool = False
    rate: Annotated[float, Field(gt=0, le=20)] | None = None
    ids: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=5)] = ()
    state: CommandState | None = None


async def probed(_: Api, request: web.Request) -> Status:
    await body(request, Probe)
    idempotency_key(request)
    return Status(status="alive")


PROBE: Final = Route(
    method="POST",
    path="/v1/probes",
    handler=probed,
    role=Role.OPERATOR,
    summary="What no route of ours does yet",
    response=Status,
    request=Probe,
    takes_key=True,
)


async def a_ledger_with_some_work() -> FakeLedger:
    """Two plans, a failed command with all that is told of one, and a pending one."""
    ledger, plans = FakeLedger(), (make_plan(1), make_plan(2))
    failure = Failure(error_class=ErrorClass.CONFLICT, code="taken", message="somebody else's")
    failed = make_command(plans[0], state=CommandState.FAILED, failure=failure, ended_at=NOW, attempts=1)
    row = HistoryRow(
        command_id=failed.id, epoch=0, at=NOW, before=None, after=failed.state, cause="taken", actor="cordboard"
    )
    attempt = Attempt(command_id=failed.id, epoch=0, number=1, call=CREATE, slot_at=NOW, marked_at=NOW)
    commands = (failed, make_command(plans[1]))
    changes = Changes(plans=plans, commands=commands, history=(row,), attempts=(attempt,))
    await ledger.transact(Keys(), lambda _: changes)
    return ledger


def ready() -> MeteredTelemetry:
    telemetry = MeteredTelemetry()
    for part in ("kafka", "ledger"):
        telemetry.health(part, ready=True)
    return telemetry


def tried(url: str) -> list[EngineEvent]:
    """Everything that schemathesis has to say about the server."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig.from_dict(CONFIG))
    return list(engine.from_schema(schema).execute())


def faults(events: list[EngineEvent]) -> Iterator[str]:
    """What was found wrong, with the request that shows it."""
    for event in events:
        match event:
            case ScenarioFinished():
                for checks in event.recorder.checks.values():
                    for check in checks:
                        if (found := check.failure_info) is not None:
                            yield f"{event.label}: {check.name}: {found.failure} {found.code_sample}"
            case NonFatalError() | FatalError():
                yield str(vars(event))


async def test_every_answer_is_as_the_document_says() -> None:
    tokens = Tokens({"fuzzer": TokenSettings(role=Role.OPERATOR, sha256=token_hash(TOKEN))})
    routes = (*ROUTES, PROBE)
    app = build_app(FakeProcess(await a_ledger_with_some_work()), ready(), tokens, routes=routes)
    async with listening(app, host="127.0.0.1", port=0) as port:
        events = await asyncio.to_thread(tried, f"http://127.0.0.1:{port}")
    found = list(faults(events))
    assert not found, "\n\n".join(found)
    asked = {event.label for event in events if isinstance(event, ScenarioFinished) and event.recorder.cases}
    described = {f"{route.method} {route.path}" for route in routes if route.path != "/openapi.json"}
    assert described <= asked
    assert isinstance(events[-1], EngineFinished)
