"""The HTTP API on a real socket: routes, filters, problems, headers, and nothing about persons or secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.adapters import logs
from service.adapters.metrics import MeteredTelemetry
from service.adapters.redaction import Redactor
from service.application.ports import UnavailableError
from service.domain.command import Attempt, Command, CommandState, HistoryRow, Plan, PlanState, WaitCause
from service.domain.ledger_state import Changes, Keys
from service.domain.outcome import ErrorClass, Failure
from service.domain.value import replace
from service.entrypoints.answers import SECURITY_HEADERS
from service.entrypoints.callers import Tokens
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_api_description import description
from service.entrypoints.routing import MAX_BODY_BYTES
from tests.builders import CREATE, NOW, make_command, make_plan
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess

Client = TestClient[web.Request, web.Application]
NO_TOKENS = Tokens({})
CANARY = "FAKE-canary-in-an-answer"
FAILURE = Failure(error_class=ErrorClass.CONFLICT, code="taken", message="somebody else's", request_id="req-1")


class AwayLedger(FakeLedger):
    """A ledger that answers nobody while `away`."""

    away = False

    async def _transaction(self, name: str, work: Callable[[], Any]) -> Any:
        if self.away:
            raise UnavailableError("ledger", "disk full")
        return await super()._transaction(name, work)


@pytest.fixture
def ledger() -> AwayLedger:
    return AwayLedger()


@pytest.fixture
def telemetry() -> MeteredTelemetry:
    return MeteredTelemetry()


@pytest.fixture
async def client(ledger: AwayLedger, telemetry: MeteredTelemetry) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(FakeProcess(ledger), telemetry, NO_TOKENS))) as client:
        yield client


async def store(ledger: FakeLedger, *commands: Command, plans: tuple[Plan, ...] = ()) -> None:
    """Write plans and commands; plans that are not given are made up."""
    known = {plan.id: plan for plan in plans}
    for command in commands:
        known.setdefault(command.plan_id, make_plan(id=command.plan_id, order=command.order))
    history = tuple(
        HistoryRow(command_id=c.id, epoch=0, at=NOW, before=None, after=c.state, cause="born", actor="cordboard")
        for c in commands
    )
    changes = Changes(plans=tuple(known.values()), commands=commands, history=history)
    await ledger.transact(Keys(), lambda _: changes)


async def get(client: Client, path: str, status: int = 200) -> Any:
    """The JSON answer, which must have the status, the type that goes with it, and the security headers."""
    async with client.get(path) as response:
        assert response.status == status, await response.text()
        expected = "application/json" if status == 200 else "application/problem+json"
        assert response.content_type == expected
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        document = await response.json(content_type=None)
    validate(document, path, status)
    return document


def validate(document: object, path: str, status: int) -> None:
    """Hold an answer to the published description."""
    described = description(ROUTES)
    plain = path.partition("?")[0]
    names = {plain} | {f"{plain.rpartition('/')[0]}/{{id}}"}
    found = next((operation for name, operation in described["paths"].items() if name in names), None)
    if found is None:
        assert status in {404, 405}
        schema = {"$ref": "#/components/schemas/Problem"}
    else:
        answer = found["get"]["responses"].get(str(status))
        schema = (
            next(iter(answer["content"].values()))["schema"] if answer else {"$ref": "#/components/schemas/Problem"}
        )
    jsonschema.Draft202012Validator(
        {**schema, "components": described["components"]}, format_checker=jsonschema.FormatChecker()
    ).validate(document)


# --- health ---------------------------------------------------------------------------------------------------------


async def test_livez_asks_nothing_of_what_is_outside(client: Client, ledger: AwayLedger) -> None:
    ledger.away = True
    assert await get(client, "/livez") == {"status": "alive"}


async def test_livez_fails_when_the_process_makes_no_progress(ledger: AwayLedger, telemetry: MeteredTelemetry) -> None:
    process = FakeProcess(ledger, standing_still=("loop intake has not turned for 61 s",))
    async with TestClient(TestServer(build_app(process, telemetry, NO_TOKENS))) as client:
        detail = (await get(client, "/livez", 503))["detail"]
        assert detail == "the process makes no progress, restart it: loop intake has not turned for 61 s"


async def test_readyz_fails_from_the_moment_the_process_is_asked_to_stop(
    ledger: AwayLedger, telemetry: MeteredTelemetry
) -> None:
    process = FakeProcess(ledger)
    for part in ("kafka", "ledger"):
        telemetry.health(part, ready=True)
    async with TestClient(TestServer(build_app(process, telemetry, NO_TOKENS))) as client:
        await get(client, "/readyz")
        process.stopping = True
        assert (await get(client, "/readyz", 503))["detail"] == "stopping"
        await get(client, "/livez")


async def test_readyz_names_what_is_away(client: Client, telemetry: MeteredTelemetry) -> None:
    telemetry.health("ledger", ready=True)
    telemetry.health("kafka", ready=False, detail="kafka: KafkaConnectionError")
    problem = await get(client, "/readyz", 503)
    assert problem["detail"] == "away: kafka"
    assert problem["parts"] == {"kafka": {"ready": False, "detail": "kafka: KafkaConnectionError"}}
    assert (await get(client, "/readyz?verbose", 503))["parts"].keys() == {"kafka", "ledger"}


async def test_readyz_is_green_when_all_have_reported(client: Client, telemetry: MeteredTelemetry) -> None:
    await get(client, "/readyz", 503)
    for part in ("kafka", "ledger"):
        telemetry.health(part, ready=True)
    assert await get(client, "/readyz") == {"status": "ready"}
    assert (await get(client, "/readyz?verbose"))["parts"].keys() == {"kafka", "ledger"}


async def test_metrics_show_the_ledgers_commands_as_they_are_now(client: Client, ledger: AwayLedger) -> None:
    await store(ledger, make_command(state=CommandState.WAITING, cause=WaitCause.RETRY))
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    labels = f'account="acme_cn",cause="retry",lane="live",operation="{CREATE}",state="waiting"'
    assert f"cordboard_commands{{{labels}}} 1.0" in text


async def test_metrics_are_there_while_the_ledger_is_away(client: Client, ledger: AwayLedger) -> None:
    await store(ledger, make_command())
    await (await client.get("/metrics")).read()
    ledger.away = True
    async with client.get("/metrics") as response:
        text = await response.text()
    assert response.status == 200
    assert "cordboard_ready" in text
    assert "cordboard_commands{" not in text


# --- listings -------------------------------------------------------------------------------------------------------


def some_commands(number: int) -> list[Command]:
    return [make_command(make_plan(i), state=CommandState.PENDING) for i in range(1, number + 1)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", [2]),
        ("state=failed&state=in_doubt", [2, 3]),
        ("operation=other.Operation", [4]),
        ("account=acme_sg", [5]),
        ("subject=agent:realm/1", [1]),
        ("resource=extension:acme_cn/1002", [2]),
        ("plan=plan-000003", [3]),
        ("state=pending&account=acme_sg", [5]),
        ("account=nobody", []),
    ],
)
async def test_commands_are_filtered(client: Client, ledger: AwayLedger, query: str, expected: list[int]) -> None:
    one, two, three, four, five = some_commands(5)
    changed = (
        one,
        replace(two, state=CommandState.FAILED, failure=FAILURE, ended_at=NOW),
        replace(three, state=CommandState.IN_DOUBT),
        replace(four, operation="other.Operation"),
        replace(five, account="acme_sg"),
    )
    await store(ledger, *changed)
    items = (await get(client, f"/v1/commands?{query}"))["items"]
    assert [item["id"] for item in items] == [changed[number - 1].id for number in expected]


async def test_pages_follow_one_another_without_gap_or_repetition(client: Client, ledger: AwayLedger) -> None:
    commands = some_commands(7)
    await store(ledger, *commands)
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await get(client, f"/v1/commands?limit=3{f'&after={after}' if after else ''}")
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert found == sorted(command.id for command in commands)


async def test_a_last_page_that_is_full_has_no_next(client: Client, ledger: AwayLedger) -> None:
    await store(ledger, *some_commands(3))
    assert (await get(client, "/v1/commands?limit=3"))["next"] is None


async def test_a_command_tells_its_attempts_history_and_plan(client: Client, ledger: AwayLedger) -> None:
    command = make_command(state=CommandState.FAILED, failure=FAILURE, attempts=1)
    await store(ledger, command)
    attempt = Attempt(
        command_id=command.id,
        epoch=0,
        number=1,
        call=CREATE,
        slot_at=NOW,
        marked_at=NOW,
        outcome="conflict",
        code="taken",
    )
    await ledger.transact(Keys(), lambda _: Changes(attempts=(attempt,)))
    story = await get(client, f"/v1/commands/{command.id}")
    assert story["plan"]["id"] == command.plan_id
    assert story["attempts_made"][0]["call"] == CREATE
    assert story["history"][0]["after"] == "failed"
    assert story["failure"]["code"] == "taken"
    assert story["failure"]["advice"]
    assert story["created_at"] == "2027-01-15T08:00:00.000Z"


async def test_a_plan_tells_its_commands_in_their_order(client: Client, ledger: AwayLedger) -> None:
    plan = make_plan()
    await store(ledger, *(make_command(plan, step) for step in (2, 0, 1)), plans=(plan,))
    document = await get(client, f"/v1/plans/{plan.id}")
    assert [command["step_no"] for command in document["commands"]] == [0, 1, 2]
    assert document["event"]["id"] == plan.event_id


async def test_plans_are_filtered(client: Client, ledger: AwayLedger) -> None:
    plans = (make_plan(1), make_plan(2, state=PlanState.FAILED, failure=FAILURE), make_plan(3, account=None))
    await store(ledger, plans=plans)
    assert len((await get(client, "/v1/plans"))["items"]) == 3
    assert [item["id"] for item in (await get(client, "/v1/plans?state=failed"))["items"]] == [plans[1].id]
    assert [item["id"] for item in (await get(client, "/v1/plans?subject=agent:realm/3"))["items"]] == [plans[2].id]


async def test_nothing_about_a_person_is_shown(client: Client, ledger: AwayLedger) -> None:
    personal = {
        "extension": "1001",
        "name": "Wei Personal",
        "email": "wei@personal.example",
        "callback_url": "https://user:FAKE-personal@host.example/personal?key=personal",
        "invented_later": "personal",
    }
    command = make_command(
        wanted=personal, facts={"extension": "1001", "email": "x@personal.example", "name": "Personal"}
    )
    await store(ledger, command)
    for path in ("/v1/commands", f"/v1/commands/{command.id}", f"/v1/plans/{command.plan_id}"):
        text = str(await get(client, path)).lower()
        assert "personal" not in text
        assert "1001" in text
        assert "host.example" in text


async def test_a_secret_that_came_this_far_is_masked(
    client: Client, ledger: AwayLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    redactor = Redactor()
    redactor.register(CANARY)
    monkeypatch.setattr("service.entrypoints.answers.REDACTOR", redactor)
    failure = replace(FAILURE, message=f"not even {CANARY}")
    await store(ledger, make_command(state=CommandState.FAILED, failure=failure, facts={"x": [CANARY]}))
    assert CANARY not in str(await get(client, "/v1/commands"))
    assert logs.REDACTOR is not redactor


# --- problems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/commands?stat=failed", "no such parameter; there are: state, operation"),
        ("/v1/commands?state=lost", "state must be one of pending, waiting"),
        ("/v1/commands?limit=0", "limit must be 1 to 200"),
        ("/v1/commands?limit=201", "limit must be 1 to 200"),
        ("/v1/commands?limit=ten", "limit must be 1 to 200"),
        ("/v1/commands?limit=%D9%A3", "limit must be 1 to 200"),
        ("/v1/commands?limit=1&limit=2", "limit may be given once"),
        ("/v1/commands?account=", "a parameter is empty"),
        ("/v1/commands?account=%00", "account is unprintable"),
        ("/v1/commands?subject=" + "a" * 1025, "subject is unprintable or over 1024"),
        ("/v1/plans?resource=x", "no such parameter"),
        ("/v1/plans?state=pending", "state must be one of open"),
        ("/livez?verbose", "no such parameter; there are: none"),
        ("/v1/commands/x?epoch=1", "no such parameter"),
    ],
)
async def test_parameters_that_are_wrong_are_told(client: Client, path: str, detail: str) -> None:
    problem = await get(client, path, 400)
    assert problem["detail"].startswith(detail)
    assert (problem["title"], problem["status"], problem["type"]) == ("Bad Request", 400, "about:blank")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/commands", "/v1/commands/none", "/v1/plans/none", "/v1/commands/%00"]
)
async def test_what_is_not_there_is_a_problem(client: Client, path: str) -> None:
    assert (await get(client, path, 404))["title"] == "Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/commands", "/v1/commands/x", "/readyz", "/metrics"])
async def test_nothing_can_be_written(client: Client, method: str, path: str) -> None:
    async with client.request(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert response.content_type == "application/problem+json"


async def test_a_large_body_is_refused(client: Client) -> None:
    async with client.get("/livez", data=b"x" * (MAX_BODY_BYTES + 1)) as response:
        assert response.status == 413
        assert response.content_type == "application/problem+json"


async def test_a_foreign_host_name_is_refused(client: Client, ledger: AwayLedger) -> None:
    async with client.get("/v1/commands", headers={"Host": "evil.example"}) as response:
        assert response.status == 421


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
async def test_loopback_names_are_let_in(client: Client, host: str) -> None:
    async with client.get("/livez", headers={"Host": host}) as response:
        assert response.status == 200


async def test_a_ledger_that_is_away_is_a_problem_that_passes(client: Client, ledger: AwayLedger) -> None:
    ledger.away = True
    for path in ("/v1/commands", "/v1/commands/x", "/v1/plans", "/v1/plans/x"):
        async with client.get(path) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
            assert (await response.json(content_type=None))["detail"] == "ledger is away; try again"


async def test_a_fault_of_ours_tells_nothing_of_itself(
    client: Client, ledger: AwayLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(ledger, "commands", broken)
    problem = await get(client, "/v1/commands", 500)
    assert CANARY not in str(problem)
    assert "a request failed unexpectedly" in caplog.text


async def test_many_can_ask_at_once(client: Client, ledger: AwayLedger) -> None:
    await store(ledger, *some_commands(5))
    pages = await asyncio.gather(*(get(client, "/v1/commands") for _ in range(20)))
    assert {len(page["items"]) for page in pages} == {5}


# --- the description ------------------------------------------------------------------------------------------------


async def test_the_description_has_exactly_the_routers_paths(client: Client) -> None:
    document = await get(client, "/openapi.json")
    routes = {resource.canonical for resource in client.app.router.resources()}
    assert document["paths"].keys() == routes
    told = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert told == {(route.method, route.path) for route in ROUTES}


def test_every_reference_of_the_description_leads_somewhere() -> None:
    document = description(ROUTES)

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    schemas = document["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in references(document)} == schemas.keys()
