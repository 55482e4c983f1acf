"""One account's line to TCCC: signs, sends, and reads the verdict from the reply's body."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from yarl import URL

from service.application.ports import Clock, VendorOperation
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Reply
from service.vendors.http_exchange import HttpExchange, HttpReply
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.error_codes import failure_for
from service.vendors.tencent_ccc.signature import authorization
from service.vendors.tencent_ccc.wire import TencentReply

API_VERSION = "2020-02-10"
CONTENT_TYPE = "application/json; charset=utf-8"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")


class TencentCccClient:
    """Fulfils `VendorClient`; holds no connection of its own."""

    def __init__(
        self,
        account: TencentCccAccount,
        exchange: HttpExchange,
        *,
        clock: Clock,
        operations: Mapping[str, VendorOperation],
        replies: Mapping[str, type[TencentReply]],
    ) -> None:
        """`replies` says for each call, as `vendor.Operation`, how its answer reads."""
        url = URL(account.base_url)
        self._account = account
        self._exchange = exchange
        self._clock = clock
        self._operations = operations
        self._replies = replies
        self._url = f"{account.base_url}/"
        self._host = url.host_port_subcomponent or ""

    def __repr__(self) -> str:
        return f"TencentCccClient(account={self._account.name!r}, url={self._url!r})"

    @property
    def operations(self) -> Mapping[str, VendorOperation]:
        """The operations by name."""
        return self._operations

    async def prepare(self) -> Failure | None:
        """Nothing is needed beforehand: every request carries its own signature."""
        return None

    async def exchange(self, call: Call, on_write: Callable[[], None] | None = None) -> Reply:
        """Serialise once, sign those bytes with the time of now, send them, read the verdict."""
        body = orjson.dumps(call.body)
        action = call.operation.partition(".")[2]
        reply = await self._exchange.post(self._url, headers=self._headers(action, body), body=body, on_write=on_write)
        return read_verdict(reply, self._replies[call.operation]) if isinstance(reply, HttpReply) else reply

    async def close(self) -> None:
        """Nothing is held; the session is its owner's."""

    def _headers(self, action: str, body: bytes) -> dict[str, str]:
        """Three headers are signed, so that the action is authenticated too."""
        timestamp = int(self._clock.now())
        signed = {"Content-Type": CONTENT_TYPE, "Host": self._host, "X-TC-Action": action}
        headers = {
            **signed,
            "X-TC-Version": API_VERSION,
            "X-TC-Timestamp": str(timestamp),
            "Authorization": authorization(
                secret_id=self._account.secret_id.get_secret_value(),
                secret_key=self._account.secret_key.get_secret_value(),
                timestamp=timestamp,
                headers=signed,
                body=body,
            ),
        }
        if self._account.token is not None:
            headers["X-TC-Token"] = self._account.token.get_secret_value()
        return headers


def read_verdict(reply: HttpReply, model: type[TencentReply]) -> Reply:
    """The vendor's verdict is `Response.Error` in the body.

    Its API layer answers 200 to whatever it handled, failures included, so any other status comes from something in
    between and says nothing (tencentcloud.com/document/product/1229/59745, read 2026-08). The content type is not
    looked at: a charset suffix on it is as good as none.
    """
    if reply.status != 200:
        return _unclear(f"HTTP{reply.status}", "something between us and the vendor answered")
    response = _response_of(reply.body)
    if isinstance(response, Failure):
        return response
    request_id = _name_or_none(response.get("RequestId"))
    if "Error" in response:
        return _refusal(response["Error"], request_id)
    try:
        fields = model.model_validate(response).fields()
    except ValidationError:
        return _unclear("UnexpectedReply", "the answer's fields are not those documented", request_id)
    return Answer(body=fields, request_id=request_id)


def _response_of(body: bytes) -> dict[str, Any] | Failure:
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _unclear("NotJson", "the answer was not JSON")
    response = envelope.get("Response") if isinstance(envelope, dict) else None
    if not isinstance(response, dict):
        return _unclear("NoResponse", "the answer was not the vendor's envelope")
    return response


def _refusal(error: object, request_id: str | None) -> Failure:
    code = _name_or_none(error.get("Code")) if isinstance(error, dict) else None
    if code is None:
        return _unclear("UnreadableCode", "the vendor refused without a readable code", request_id)
    return failure_for(code, request_id)


def _name_or_none(value: object) -> str | None:
    """Codes and request ids are published verbatim: only what looks like one passes."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _unclear(code: str, message: str, request_id: str | None = None) -> Failure:
    return Failure(error_class=ErrorClass.AMBIGUOUS, code=code, message=message, request_id=request_id)
