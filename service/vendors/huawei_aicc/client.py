"""One account's line to AICC: puts the token on, sends, and reads the verdict from status and body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from service.application.ports import Clock, VendorOperation
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Reply
from service.vendors.descriptor import OnSecret, ignore_secret
from service.vendors.http_exchange import HttpExchange, HttpReply
from service.vendors.huawei_aicc.access_token import AccessToken, AccessTokens
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.huawei_aicc.error_codes import (
    REFUSED_TOKEN,
    SUCCESS,
    failure_for_return_code,
    failure_for_status,
)
from service.vendors.huawei_aicc.wire import HuaweiReply

PATH = "/apiaccess/rest/cc-management/v1/calledRoute/"
LATE_SECONDS = 0.01
"""How long a request may wait for its token and still go out at its slot (`prepare` normally saw to one before):
beyond that it would arrive in another second than the one it paid for."""


class HuaweiAiccClient:
    """Fulfils `VendorClient`; of its own it holds the account's token."""

    def __init__(
        self,
        account: HuaweiAiccAccount,
        exchange: HttpExchange,
        *,
        clock: Clock,
        operations: Mapping[str, VendorOperation],
        replies: Mapping[str, type[HuaweiReply]],
        on_secret: OnSecret = ignore_secret,
    ) -> None:
        """`replies` says for each call, as `vendor.Operation`, how its answer reads; `on_secret`: see `OpenVendor`."""
        self._account = account
        self._exchange = exchange
        self._clock = clock
        self._operations = operations
        self._replies = replies
        self._tokens = AccessTokens(account, exchange, clock, on_secret)

    def __repr__(self) -> str:
        return f"HuaweiAiccClient(account={self._account.name!r}, url={self._account.base_url!r})"

    @property
    def operations(self) -> Mapping[str, VendorOperation]:
        """The operations by name."""
        return self._operations

    async def prepare(self) -> Failure | None:
        """Have a good token at hand before a slot is asked for."""
        token = await self._tokens.current()
        return token if isinstance(token, Failure) else None

    async def exchange(self, call: Call, on_write: Callable[[], None] | None = None) -> Reply:
        """Send once with a good token. A refused token is dropped and told as a failure: a repeat pays again."""
        asked_at = self._clock.monotonic()
        token = await self._tokens.current()
        if isinstance(token, Failure):
            return token
        if self._clock.monotonic() - asked_at > LATE_SECONDS:
            return _missed_its_slot()
        reply = await self._exchange.post(
            self._url(call), headers=self._headers(token), body=orjson.dumps(call.body), on_write=on_write
        )
        if isinstance(reply, HttpReply) and reply.status in REFUSED_TOKEN:
            self._tokens.drop(token)
        return read_verdict(reply, self._replies[call.operation]) if isinstance(reply, HttpReply) else reply

    async def close(self) -> None:
        """Stop a token fetch that is under way; the session is its owner's."""
        await self._tokens.close()

    def _url(self, call: Call) -> str:
        return f"{self._account.base_url}{PATH}{call.operation.partition('.')[2]}"

    def _headers(self, token: AccessToken) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {token.secret.get_secret_value()}",
            "X-APP-Key": self._account.app_key.get_secret_value(),
        }


def read_verdict(reply: HttpReply, model: type[HuaweiReply]) -> Reply:
    """Success is a 200 whose `returnCode` is the text or number 0; the vendor gives no request id."""
    if reply.status != 200:
        return failure_for_status(reply.status)
    body = _body_of(reply.body)
    if isinstance(body, Failure):
        return body
    return_code = body.get("returnCode")
    if not isinstance(return_code, str | int) or str(return_code) != SUCCESS:
        return failure_for_return_code(return_code)
    try:
        fields = model.model_validate(body).fields()
    except ValidationError:
        return _unclear("UnexpectedReply", "the answer's fields are not those documented")
    return Answer(body=fields, request_id=None)


def _body_of(body: bytes) -> dict[str, Any] | Failure:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _unclear("NotJson", "the answer was not JSON")
    return value if isinstance(value, dict) else _unclear("NoReturnCode", "the answer was not the vendor's envelope")


def _missed_its_slot() -> Failure:
    return Failure(
        error_class=ErrorClass.RETRYABLE,
        code="TokenFetched",
        message="fetching an access token took past the request's slot; the request itself was not sent",
    )


def _unclear(code: str, message: str) -> Failure:
    return Failure(error_class=ErrorClass.AMBIGUOUS, code=code, message=message)
