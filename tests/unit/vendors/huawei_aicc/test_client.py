from typing import Any

import orjson
import pytest

from service.domain.outcome import Answer, Call, ErrorClass, Failure
from service.vendors.http_exchange import HttpReply
from service.vendors.huawei_aicc.client import HuaweiAiccClient, read_verdict
from service.vendors.huawei_aicc.routes_read import QueryCalledRouteReply
from service.vendors.huawei_aicc.vendor import REPLIES
from service.vendors.huawei_aicc.wire import NothingReply
from tests.unit.vendors.doubles import (
    FAKE_APP_KEY,
    FAKE_APP_SECRET,
    Posted,
    ScriptedExchange,
    SetClock,
    huawei_account,
    json_reply,
)

CALL = Call(
    operation="huawei_aicc.createCalledRoute",
    account="acme_hw",
    body={"accessCode": "9911411", "mediaTypeId": 5, "devicetype": 1, "deviceId": 1},
)
OK = json_reply({"returnCode": "0", "description": "data create success"})


class Aicc(ScriptedExchange):
    """Gives out tokens in turn, and one scripted reply to every business call."""

    def __init__(self, reply: HttpReply | Failure = OK, *, clock: SetClock | None = None, token_takes: float = 0.0):
        super().__init__(self._reply_to)
        self.reply = reply
        self.clock = clock or SetClock()
        self.token_takes = token_takes
        self.tokens = 0

    def _reply_to(self, posted: Posted) -> HttpReply | Failure:
        if not posted.url.endswith("/tokenByAkSk"):
            return self.reply
        self.tokens += 1
        self.clock.at += self.token_takes
        return json_reply({"AccessToken": f"FAKE-token-{self.tokens}", "Expires": "3600"})

    @property
    def business(self) -> list[Posted]:
        return [posted for posted in self.posts if not posted.url.endswith("/tokenByAkSk")]


def client(aicc: Aicc, **account: Any) -> HuaweiAiccClient:
    return HuaweiAiccClient(huawei_account(**account), aicc, clock=aicc.clock, operations={}, replies=REPLIES)


async def test_request_carries_token_and_app_key() -> None:
    aicc = Aicc()
    assert await client(aicc).exchange(CALL) == Answer(body={}, request_id=None)
    posted = aicc.business[0]
    assert posted.url == "https://aicc.example.com/apiaccess/rest/cc-management/v1/calledRoute/createCalledRoute"
    assert posted.headers["Authorization"] == "Bearer FAKE-token-1"
    assert posted.headers["X-APP-Key"] == FAKE_APP_KEY
    assert orjson.loads(posted.body) == CALL.body


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_token_is_dropped_and_never_retried_behind_the_quota(status: int) -> None:
    aicc = Aicc(json_reply({}, status=status))
    line = client(aicc)
    failure = await line.exchange(CALL)
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.retries, len(aicc.business)) == (ErrorClass.RETRYABLE, 1, 1)
    aicc.reply = OK
    assert isinstance(await line.exchange(CALL), Answer)
    assert aicc.business[-1].headers["Authorization"] == "Bearer FAKE-token-2"


async def test_other_refusals_keep_the_token() -> None:
    aicc = Aicc(json_reply({}, status=500))
    line = client(aicc)
    await line.exchange(CALL)
    await line.exchange(CALL)
    assert aicc.tokens == 1


async def test_request_that_waited_past_its_slot_is_not_sent() -> None:
    aicc = Aicc(token_takes=0.5)
    line = client(aicc)
    failure = await line.exchange(CALL)
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.code, aicc.business) == (ErrorClass.RETRYABLE, "TokenFetched", [])
    assert isinstance(await line.exchange(CALL), Answer)


async def test_without_a_token_nothing_is_sent() -> None:
    aicc = Aicc()
    aicc._answer = lambda _: json_reply({}, status=401)
    failure = await client(aicc).exchange(CALL)
    assert isinstance(failure, Failure)
    assert (failure.error_class, aicc.business) == (ErrorClass.CREDENTIALS, [])


async def test_transport_trouble_passes_through() -> None:
    trouble = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="late")
    assert await client(Aicc(trouble)).exchange(CALL) == trouble


async def test_repr_shows_no_secret() -> None:
    line = client(Aicc())
    await line.exchange(CALL)
    shown = repr(line) + repr(line._account)
    assert not [value for value in (FAKE_APP_KEY, FAKE_APP_SECRET, "FAKE-token-1") if value in shown]


@pytest.mark.parametrize("zero", ["0", 0])
def test_return_code_zero_is_success_as_text_or_number(zero: object) -> None:
    assert read_verdict(json_reply({"returnCode": zero}), NothingReply) == Answer(body={}, request_id=None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"returnCode": "7", "description": "exists"}', "returnCode:7"),
        (b'{"description": "no code"}', "UnreadableCode"),
        (b"<html>", "NotJson"),
        (b'["0"]', "NoReturnCode"),
        (b'{"returnCode": "0"}', "UnexpectedReply"),
        (b'{"returnCode": ' + b"[" * 1000 + b"]" * 1000 + b"}", "UnreadableCode"),
    ],
)
def test_other_200s_are_unclear(body: bytes, code: str) -> None:
    reply = HttpReply(status=200, content_type="application/json", body=body)
    verdict = read_verdict(reply, QueryCalledRouteReply)
    assert isinstance(verdict, Failure)
    assert (verdict.error_class, verdict.code) == (ErrorClass.AMBIGUOUS, code)
