"""Tokens from a token endpoint: asked as RFC 6749 has it, kept while good, and no secret in any trouble."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from service.adapters.kafka_tokens import ClientCredentials, FetchedTokens, NoTokenError
from tests.authority import Authority

SECRET = "FAKE client/secret:%"
CLIENT = "cordboard client"


@dataclass
class Endpoint:
    """Answers as told, and keeps what it was asked."""

    url: str = ""
    reply: Any = None
    status: int = 200
    asked: list[tuple[Mapping[str, str], Mapping[str, Any]]] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append((dict(request.headers), dict(await request.post())))
        await asyncio.sleep(0)
        reply = (
            {"access_token": f"FAKE-token-{len(self.asked)}", "expires_in": 600} if self.reply is None else self.reply
        )
        return web.json_response(reply, status=self.status)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    async for _ in _serving(found, None):
        yield found


async def _serving(endpoint: Endpoint, tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/token", endpoint.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    endpoint.url = f"http{'' if tls is None else 's'}://127.0.0.1:{runner.addresses[0][1]}/token"
    yield
    await runner.cleanup()


def fetched(endpoint: Endpoint, told: list[str] | None = None, **more: Any) -> FetchedTokens:
    credentials = ClientCredentials(url=endpoint.url, client_id=CLIENT, client_secret=SecretStr(SECRET), **more)
    heard: list[str] = [] if told is None else told
    return FetchedTokens(credentials, heard.append)


async def test_a_token_is_asked_for_with_client_credentials(endpoint: Endpoint) -> None:
    told: list[str] = []
    assert await fetched(endpoint, told, scope="kafka:write").token() == "FAKE-token-1"
    ((headers, form),) = endpoint.asked
    assert form == {"grant_type": "client_credentials", "scope": "kafka:write"}
    kind, basic = headers["Authorization"].split()
    assert (kind, base64.b64decode(basic)) == ("Basic", b"cordboard+client:FAKE+client%2Fsecret%3A%25"), "encoded first"
    assert told == ["FAKE-token-1"], "told before it is given out, to be hidden"


async def test_who_asks_at_once_shares_one_fetch_and_a_good_token_is_kept(endpoint: Endpoint) -> None:
    tokens = fetched(endpoint)
    assert set(await asyncio.gather(*(tokens.token() for _ in range(5)))) == {"FAKE-token-1"}
    assert await tokens.token() == "FAKE-token-1"
    assert len(endpoint.asked) == 1


async def test_a_token_without_a_lifetime_is_asked_for_each_time(endpoint: Endpoint) -> None:
    endpoint.reply = {"access_token": "FAKE-token"}
    tokens = fetched(endpoint)
    await tokens.token()
    await tokens.token()
    assert len(endpoint.asked) == 2


async def test_a_token_is_renewed_early_and_the_old_one_does_until_its_end(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("service.adapters.kafka_tokens.time.monotonic", lambda: now[0])
    tokens = fetched(endpoint)
    await tokens.token()
    now[0] += 479
    assert await tokens.token() == "FAKE-token-1"
    now[0] += 2
    endpoint.status = 503
    assert await tokens.token() == "FAKE-token-1", "the endpoint is away, the token still good"
    now[0] += 120
    with pytest.raises(NoTokenError, match="answered 503"):
        await tokens.token()
    endpoint.status = 200
    assert await tokens.token() != "FAKE-token-1"


@pytest.mark.parametrize(
    ("status", "reply", "told"),
    [
        (401, {"error": "invalid_client", "error_description": SECRET}, "the token endpoint answered 401"),
        (302, {}, "the token endpoint answered 302"),
        (200, {"access_token": ""}, "holds no token"),
        (200, {"access_token": {"FAKE": SECRET}}, "holds no token"),
        (200, {"access_token": "FAKE\x01auth=Bearer FAKE"}, "holds no token"),
        (200, {"access_token": "FAKE", "expires_in": float("nan")}, "holds no token"),
        (200, ["FAKE"], "holds no token"),
    ],
)
async def test_a_refusal_is_told_without_what_was_answered(
    endpoint: Endpoint, status: int, reply: Any, told: str
) -> None:
    endpoint.status, endpoint.reply = status, reply
    with pytest.raises(NoTokenError, match=told) as raised:
        await fetched(endpoint).token()
    assert "FAKE" not in str(raised.value)
    assert raised.value.__cause__ is None


async def test_an_endpoint_whose_certificate_does_not_verify_is_told_nothing(tmp_path: Path) -> None:
    authority, endpoint = Authority(tmp_path), Endpoint()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.certificate("endpoint", "127.0.0.1"))
    async for _ in _serving(endpoint, tls):
        with pytest.raises(NoTokenError, match="ClientConnectorCertificateError"):
            await fetched(endpoint).token()
        assert endpoint.asked == []
        assert await fetched(endpoint, ca_file=str(authority.ca_file)).token() == "FAKE-token-1"


async def test_an_endpoint_that_is_away_is_told() -> None:
    with pytest.raises(NoTokenError, match="gave no answer"):
        await fetched(Endpoint(url="http://127.0.0.1:1/token")).token()
