"""Bodies and keys of requests: JSON in one reading only, refused without a word of it being repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import Field, field_validator

from service.adapters.metrics import MeteredTelemetry
from service.entrypoints.api_models import ApiModel, ApiRequest, Status
from service.entrypoints.callers import Tokens
from service.entrypoints.http_api import build_app
from service.entrypoints.parameters import idempotency_key
from service.entrypoints.request_bodies import body
from service.entrypoints.routing import MAX_BODY_BYTES, Api, Route
from service.settings_sections import Role
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess

Client = TestClient[web.Request, web.Application]
CANARY: Final = "FAKE-canary-in-a-body"


class Cat(ApiRequest):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)]


class Dog(ApiRequest):
    kind: Literal["dog"]
    name: Annotated[str, Field(min_length=1, max_length=40, pattern="^[A-Za-z]+$")]


class Wish(ApiRequest):
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    pets: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...] = ()
    labels: dict[str, int] = Field(default_factory=dict)

    @field_validator("reason")
    @classmethod
    def _no_shouting(cls, reason: str) -> str:
        if reason.isupper():
            raise ValueError("must not shout")
        return reason


class Echo(ApiModel):
    wish: dict[str, Any]
    key: str | None


async def echo(_: Api, request: web.Request) -> Echo:
    wish = await body(request, Wish)
    return Echo(wish=wish.model_dump(mode="json"), key=idempotency_key(request))


async def other(_: Api, request: web.Request) -> Status:
    await body(request, Cat)
    return Status(status="alive")


def route(path: str, **fields: Any) -> Route:
    defaults = {"handler": echo, "role": Role.OPERATOR, "summary": "", "response": Echo, "request": Wish}
    return Route(method="POST", path=path, takes_key=True, **{**defaults, **fields})


ECHOES: Final = (route("/v1/echoes"), route("/v1/large", max_body_bytes=100_000), route("/v1/other", handler=other))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = build_app(FakeProcess(FakeLedger()), MeteredTelemetry(), Tokens({}), routes=ECHOES)
    async with TestClient(TestServer(app)) as client:
        yield client


async def post(client: Client, content: bytes, status: int, path: str = "/v1/echoes", **headers: str) -> dict[str, Any]:
    """The answer, which must have the status and repeat nothing."""
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.post(path, data=content, headers=given) as response:
        text = await response.text()
        assert response.status == status, text
        assert status == 200 or "canary" not in text
        assert response.content_type == ("application/json" if status == 200 else "application/problem+json")
        document: dict[str, Any] = await response.json(content_type=None)
    return document


async def test_a_body_is_read_into_its_model(client: Client) -> None:
    content = b'{"reason": "\xc3\xa4", "pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}]}'
    wish = (await post(client, content, 200))["wish"]
    assert wish == {"reason": "ä", "pets": [{"kind": "cat", "lives": 9}, {"kind": "dog", "name": "Rex"}], "labels": {}}


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/problem+json", "application/json; charset=latin1"],
)
async def test_another_type_is_refused(client: Client, content_type: str) -> None:
    await post(client, b'{"reason": "x"}', 415, Content_Type=content_type)


async def test_a_compressed_body_is_refused(client: Client) -> None:
    await post(client, b'{"reason": "x"}', 415, Content_Encoding="identity")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary",
        b'{"reason": "canary"',
        b'{"reason": "canary", "reason": "x"}',
        b'{"reason": "x", "labels": {"canary": 1, "canary": 2}}',
        b'{"reason": "x", "labels": {"canary": NaN}}',
        b'{"reason": "x", "labels": {"canary": -Infinity}}',
        b'{"reason": "x", "labels": {"canary": 1e999}}',
        b'{"reason": "x", "labels": {"canary": ' + b"9" * 5000 + b"}}",
        b'{"reason": "x", "labels": {"canary": 9223372036854775808}}',
        b'{"reason": "canary\xff"}',
        b'{"reason": "canary\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * MAX_BODY_BYTES,
        b"[" * 8000 + b"]" * 8000,
        b'{"labels": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    ],
)
async def test_what_is_no_json_or_read_in_two_ways_is_refused(client: Client, content: bytes) -> None:
    await post(client, content, 400)


@pytest.mark.parametrize(
    ("content", "field", "message"),
    [
        (b"{}", "reason", "is missing"),
        (b"[]", "", "should be an object"),
        (b"null", "", "should be an object"),
        (b'"canary"', "", "should be an object"),
        (b'{"reason": 5}', "reason", "should be a valid string"),
        (b'{"reason": ""}', "reason", "String should have at least 1 character"),
        (b'{"reason": "CANARY"}', "reason", "must not shout"),
        (b'{"reason": "x", "canary": 1}', "", "has a member that is not known"),
        (b'{"reason": "x", "pets": [{"kind": "canary"}]}', "pets.0", "has a form that the schema does not allow"),
        (b'{"reason": "x", "pets": [{"kind": "cat", "lives": "9"}]}', "pets.0.lives", "should be a valid integer"),
        (b'{"reason": "x", "pets": [{"kind": "dog", "name": "canary 1"}]}', "pets.0.name", "has a form"),
        (b'{"reason": "x", "labels": {"canary": "1"}}', "labels", "should be a valid integer"),
    ],
)
async def test_each_field_at_fault_is_named(client: Client, content: bytes, field: str, message: str) -> None:
    document = await post(client, content, 422)
    (error,) = document["errors"]
    assert error["field"] == field
    assert message in error["message"]


async def test_all_faults_are_told_at_once_but_no_more_than_twenty(client: Client) -> None:
    both = await post(client, b'{"reason": 5, "labels": 5}', 422)
    assert [error["field"] for error in both["errors"]] == ["reason", "labels"]
    many = b'{"reason": "x", "pets": [' + b", ".join([b'{"kind": "cat"}'] * 50) + b"]}"
    assert len((await post(client, many, 422))["errors"]) == 20


async def test_a_body_is_bounded_by_its_route(client: Client) -> None:
    content = b'{"reason": "x"' + b" " * MAX_BODY_BYTES + b"}"
    await post(client, content, 413)
    await post(client, content, 200, "/v1/large")
    await post(client, b" " * 100_001, 413, "/v1/large")


async def test_a_body_that_does_not_say_its_size_is_refused(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"reason": "x"}'

    async with client.post("/v1/echoes", data=chunks(), headers={"Content-Type": "application/json"}) as response:
        assert response.status == 413


async def test_a_handler_that_reads_another_model_than_is_described_is_a_fault_of_ours(client: Client) -> None:
    await post(client, b"{}", 500, "/v1/other")


@pytest.mark.parametrize("key", ["1", "a b", "~" * 255, '"7f3a-…"'.replace("…", "x")])
async def test_an_idempotency_key_is_taken(client: Client, key: str) -> None:
    assert (await post(client, b'{"reason": "x"}', 200, Idempotency_Key=key))["key"] == key


async def test_an_idempotency_key_may_be_left_out(client: Client) -> None:
    assert (await post(client, b'{"reason": "x"}', 200))["key"] is None


@pytest.mark.parametrize("key", ["", "canary" * 60, "canary\t1", "canärie"])
async def test_an_idempotency_key_that_is_none_is_refused(client: Client, key: str) -> None:
    await post(client, b'{"reason": "x"}', 400, Idempotency_Key=key)


async def test_two_idempotency_keys_are_none(client: Client) -> None:
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b"), ("Content-Type", "application/json")]
    async with client.post("/v1/echoes", data=b'{"reason": "x"}', headers=twice) as response:
        assert response.status == 400
