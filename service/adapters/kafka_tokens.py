"""Tokens for SASL OAUTHBEARER: from a file that somebody else renews, or from a token endpoint.

The endpoint is asked as RFC 6749 (4.4 and 2.3.1) has it and Kafka's own clients do: a form with
`grant_type=client_credentials`, the client's id and secret as HTTP Basic.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import quote_plus

import aiohttp
from aiokafka import conn
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import OAuthAuthenticator
from aiokafka.errors import KafkaError, SaslAuthenticationFailed
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

ASK_SECONDS: Final = 10.0
MAX_REPLY_BYTES: Final = 256 * 1024
RENEW_AT: Final = 0.8  # of its lifetime a token is asked for anew; until its end the old one does if that fails


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """Where and as whom a token is asked for."""

    url: str
    client_id: str
    client_secret: SecretStr
    scope: str | None = None
    ca_file: str | None = None


class NoTokenError(KafkaError):
    """There is no token to show the broker; aiokafka tries again, as with a broker that is away."""


class VerdictReading(OAuthAuthenticator):
    """Hears the broker say that a token is refused (RFC 7628, 3.2.3); aiokafka 0.14 takes any answer for a yes.

    What it sends next, on a connection that is none, would come back as nonsense.
    """

    async def step(self, payload: bytes | None) -> Any:
        """One exchange. Raises SaslAuthenticationFailed."""
        if self._token_sent and payload:
            raise SaslAuthenticationFailed("the token is refused")
        return await super().step(payload)  # type: ignore[no-untyped-call]


def read_verdicts() -> None:
    """Let aiokafka's connections use `VerdictReading`; there is no other way to have them do it."""
    conn.OAuthAuthenticator = VerdictReading  # type: ignore[misc]


class GivenTokens(AbstractTokenProvider):
    """The token that stands in a file: with each connection what the file holds by then."""

    def __init__(self, token: SecretStr) -> None:
        """Whoever renews the file does so before the token in it ends."""
        self._token = token

    async def token(self) -> str:
        """Asked by aiokafka for each connection."""
        return self._token.get_secret_value()


class _TokenReply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @field_validator("access_token")
    @classmethod
    def _fits_into_a_message(cls, token: SecretStr) -> SecretStr:
        """SASL's message ends its parts with control characters (RFC 7628, 3.1): a token holds none of them."""
        text = token.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise ValueError("should be printable ASCII")
        return token


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """The reply, as far as it is read."""
    read = b""
    async for chunk in answer.content.iter_any():
        read += chunk
        if len(read) > MAX_REPLY_BYTES:
            raise NoTokenError("the token endpoint's answer is too large")
    return read


class FetchedTokens(AbstractTokenProvider):
    """A token endpoint's: one is kept for as long as it is good; who asks while it is fetched waits for that."""

    def __init__(self, credentials: ClientCredentials, on_secret: Callable[[str], None]) -> None:
        """Nothing is fetched before somebody asks; `on_secret` is told every token before it is given out."""
        self._credentials = credentials
        self._on_secret = on_secret
        self._alone = asyncio.Lock()
        self._token = ""
        self._renew_at = self._ends_at = 0.0

    async def token(self) -> str:
        """Asked by aiokafka for each connection. Raises NoTokenError."""
        async with self._alone:
            if time.monotonic() >= self._renew_at:
                try:
                    await self._fetch()
                except NoTokenError:
                    if time.monotonic() >= self._ends_at:
                        raise
            return self._token

    async def _fetch(self) -> None:
        asked_at = time.monotonic()
        reply = await self._ask()
        self._token = reply.access_token.get_secret_value()
        self._on_secret(self._token)
        self._renew_at = asked_at + RENEW_AT * reply.expires_in
        self._ends_at = asked_at + reply.expires_in

    async def _ask(self) -> _TokenReply:
        """One POST. What the endpoint wrote reaches no message: it may repeat what it was sent."""
        try:
            async with (
                asyncio.timeout(ASK_SECONDS),
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self._credentials.url,
                    data=self._form(),
                    headers={"Accept": "application/json", "Authorization": self._authorization()},
                    allow_redirects=False,
                    ssl=ssl.create_default_context(cafile=self._credentials.ca_file),
                ) as answer,
            ):
                if answer.status != 200:
                    raise NoTokenError(f"the token endpoint answered {answer.status}")
                return _TokenReply.model_validate_json(await _whole(answer))
        except ValidationError:
            raise NoTokenError("the token endpoint's answer holds no token") from None
        except (aiohttp.ClientError, OSError) as trouble:  # a TimeoutError is an OSError
            raise NoTokenError(f"the token endpoint gave no answer: {type(trouble).__name__}") from None

    def _form(self) -> dict[str, str]:
        scope = self._credentials.scope
        return {"grant_type": "client_credentials"} | ({} if scope is None else {"scope": scope})

    def _authorization(self) -> str:
        """Id and secret are form-encoded first, says RFC 6749, 2.3.1."""
        name = quote_plus(self._credentials.client_id)
        secret = quote_plus(self._credentials.client_secret.get_secret_value())
        return aiohttp.encode_basic_auth(name, secret)


Tokens: TypeAlias = GivenTokens | FetchedTokens
