"""AICC's access token: fetched once for all who need it, kept, and renewed before it ends.

Source: support.huaweicloud.com/intl/en-us/api-cec/cec_07_0002.html, read 2025-11: `tokenByAkSk` takes app key and
secret and gives `AccessToken`, its lifetime in `Expires`, a text of seconds; at most 3600 may be asked.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from service.application.ports import Clock
from service.domain.outcome import ErrorClass, Failure
from service.vendors.descriptor import OnSecret, ignore_secret
from service.vendors.http_exchange import HttpExchange, HttpReply
from service.vendors.huawei_aicc.account import HuaweiAiccAccount

TOKEN_PATH = "/apigovernance/api/oauth/tokenByAkSk"  # noqa: S105 - a path
RENEW_AT = 0.8  # of the lifetime
RENEW_BEFORE = 60.0  # seconds
_TOKEN = re.compile("[!-~]{1,4096}")


def _fit_for_a_header(token: SecretStr) -> SecretStr:
    """It goes out as it came, in a header: nothing else may follow from what a vendor, or an impostor, writes there."""
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise ValueError("should be printable ASCII without spaces")
    return token


class TokenReply(BaseModel):
    """The token and its lifetime in seconds; `expiresIn` is what some of the vendor's gateways are said to write."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    access_token: Annotated[SecretStr, AfterValidator(_fit_for_a_header)] = Field(alias="AccessToken")
    seconds: Annotated[int, Field(ge=1)] | None = Field(
        default=None, validation_alias=AliasChoices("Expires", "expiresIn")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token with its times on the monotonic clock: from `renew_at` a new one is fetched, at `ends_at` it is void."""

    secret: SecretStr
    renew_at: float
    ends_at: float


class AccessTokens:
    """One account's token. Whoever asks while it is being fetched waits for that one fetch and shares its result."""

    def __init__(
        self, account: HuaweiAiccAccount, exchange: HttpExchange, clock: Clock, on_secret: OnSecret = ignore_secret
    ) -> None:
        """Nothing is fetched before somebody asks; `on_secret` is told a token each time before it is given out."""
        self._account = account
        self._exchange = exchange
        self._clock = clock
        self._on_secret = on_secret
        self._token: AccessToken | None = None
        self._renewal: asyncio.Task[AccessToken | Failure] | None = None

    def __repr__(self) -> str:
        return f"AccessTokens(account={self._account.name!r})"

    async def current(self) -> AccessToken | Failure:
        """A token that is good now. One that ends soon is still given out while its successor is fetched beside."""
        token, now = self._token, self._clock.monotonic()
        if token is not None and now < token.ends_at:
            if now >= token.renew_at:
                self._renew()
            self._on_secret(token.secret.get_secret_value())  # again: what is in use is not to be forgotten
            return token
        return await asyncio.shield(self._renew())

    def drop(self, token: AccessToken) -> None:
        """The vendor refused this one: fetch another next time, unless that has happened already."""
        if self._token is token:
            self._token = None

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})

    def _renew(self) -> asyncio.Task[AccessToken | Failure]:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._fetch(), name=f"access-token-{self._account.name}")
        return self._renewal

    async def _fetch(self) -> AccessToken | Failure:
        asked_at = self._clock.monotonic()
        reply = await self._exchange.post(self._url, headers=self._headers, body=self._body())
        token = _verdict(reply, asked_at=asked_at, asked=self._account.token_seconds)
        if isinstance(token, AccessToken):
            self._on_secret(token.secret.get_secret_value())
            self._token = token
        return token

    @property
    def _url(self) -> str:
        return f"{self._account.token_base_url or self._account.base_url}{TOKEN_PATH}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "X-Token-Expire": str(self._account.token_seconds)}

    def _body(self) -> bytes:
        return orjson.dumps(
            {
                "app_key": self._account.app_key.get_secret_value(),
                "app_secret": self._account.app_secret.get_secret_value(),
            }
        )


def _verdict(reply: HttpReply | Failure, *, asked_at: float, asked: int) -> AccessToken | Failure:
    """A failed fetch as a failure of the request that waits for it, which was not sent: so never AMBIGUOUS."""
    if isinstance(reply, Failure):
        return _not_sent(f"Token{reply.code}", ErrorClass.RETRYABLE)
    if reply.status in {400, 401, 403, 404}:
        return _not_sent(f"TokenHTTP{reply.status}", ErrorClass.CREDENTIALS)
    if reply.status == 429:
        return _not_sent("TokenHTTP429", ErrorClass.THROTTLED)
    if reply.status != 200:
        return _not_sent(f"TokenHTTP{reply.status}", ErrorClass.RETRYABLE)
    try:
        answer = TokenReply.model_validate(_json(reply.body))
    except ValidationError:
        return _not_sent("TokenUnreadable", ErrorClass.RETRYABLE, retries=2)
    return _times(answer, asked_at=asked_at, asked=asked)


def _times(answer: TokenReply, *, asked_at: float, asked: int) -> AccessToken:
    """Never longer than asked; counted from before the request; without a lifetime given, the one asked."""
    lifetime = float(asked if answer.seconds is None else min(asked, answer.seconds))
    early = min(RENEW_AT * lifetime, max(lifetime - RENEW_BEFORE, lifetime / 2))
    return AccessToken(secret=answer.access_token, renew_at=asked_at + early, ends_at=asked_at + lifetime)


def _not_sent(code: str, error_class: ErrorClass, *, retries: int | None = None) -> Failure:
    """`retries` is for a 200 without a token: how a wrong key is answered is not documented, so it ends as one."""
    words = {
        ErrorClass.CREDENTIALS: "the vendor gave no access token for this app key and secret",
        ErrorClass.THROTTLED: "over the vendor's rate of token requests; the request itself was not sent",
        ErrorClass.RETRYABLE: "no access token could be fetched; the request itself was not sent",
    }
    return Failure(
        error_class=error_class,
        code=code,
        message=words[error_class],
        retries=retries,
        afterwards=ErrorClass.PERMANENT if retries is None else ErrorClass.CREDENTIALS,
    )


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
