from typing import Any

import pytest

from service.domain.outcome import Answer, Call, ErrorClass, Failure
from service.vendors.http_exchange import HttpReply
from service.vendors.tencent_ccc.client import TencentCccClient, read_verdict
from service.vendors.tencent_ccc.create_own_number_apply import CreateOwnNumberApplyReply
from service.vendors.tencent_ccc.signature import authorization
from service.vendors.tencent_ccc.vendor import REPLIES
from service.vendors.tencent_ccc.wire import NothingReply
from tests.unit.vendors.doubles import (
    FAKE_SECRET_ID,
    FAKE_SECRET_KEY,
    ScriptedExchange,
    SetClock,
    json_reply,
    tencent_account,
)

CALL = Call(
    operation="tencent_ccc.CreateExtension",
    account="acme_cn",
    body={"SdkAppId": 1400000000, "ExtensionId": "1001", "ExtensionName": "分机1"},
)
OK = json_reply({"Response": {"RequestId": "req-1"}})


def client(exchange: ScriptedExchange, **account: Any) -> TencentCccClient:
    return TencentCccClient(
        tencent_account(**account), exchange, clock=SetClock(1_700_000_000.9), operations={}, replies=REPLIES
    )


async def test_the_very_bytes_that_are_signed_are_sent() -> None:
    exchange = ScriptedExchange(lambda _: OK)
    assert await client(exchange).exchange(CALL) == Answer(body={}, request_id="req-1")
    posted = exchange.posts[0]
    assert posted.url == "https://ccc.tencentcloudapi.com/"
    assert posted.body == '{"SdkAppId":1400000000,"ExtensionId":"1001","ExtensionName":"分机1"}'.encode()
    assert posted.headers["X-TC-Timestamp"] == "1700000000"
    assert posted.headers["X-TC-Version"] == "2020-02-10"
    assert posted.headers["Authorization"].endswith(
        "SignedHeaders=content-type;host;x-tc-action, "
        "Signature=22c59fbeec8666d2bff478fe1bae06a373fb33f2fbfdc8498fca3843699e5699"
    )
    assert "X-TC-Token" not in posted.headers


async def test_international_site_is_signed_for_its_own_host() -> None:
    exchange = ScriptedExchange(lambda _: OK)
    await client(exchange, site="intl").exchange(CALL)
    assert exchange.posts[0].headers["Host"] == "ccc.intl.tencentcloudapi.com"
    assert (
        exchange.posts[0]
        .headers["Authorization"]
        .endswith("Signature=e6f0fc8585030014434858e50081dc55584efd1b2f35cd83f050a08bd30f16b8")
    )


async def test_temporary_key_sends_its_token_unsigned() -> None:
    exchange = ScriptedExchange(lambda _: OK)
    await client(exchange, token="FAKE-sts-token").exchange(CALL)
    assert exchange.posts[0].headers["X-TC-Token"] == "FAKE-sts-token"
    assert "x-tc-token" not in exchange.posts[0].headers["Authorization"]


async def test_port_is_part_of_the_signed_host() -> None:
    exchange = ScriptedExchange(lambda _: OK)
    await client(exchange, base_url="http://127.0.0.1:8081").exchange(CALL)
    posted = exchange.posts[0]
    signed = {name: posted.headers[name] for name in ("Content-Type", "Host", "X-TC-Action")}
    assert signed["Host"] == "127.0.0.1:8081"
    assert posted.headers["Authorization"] == authorization(
        secret_id=FAKE_SECRET_ID,
        secret_key=FAKE_SECRET_KEY,
        timestamp=1_700_000_000,
        headers=signed,
        body=posted.body,
    )


async def test_transport_trouble_passes_through() -> None:
    trouble = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="late")
    assert await client(ScriptedExchange(lambda _: trouble)).exchange(CALL) == trouble


def test_repr_shows_no_secret() -> None:
    shown = repr(client(ScriptedExchange(lambda _: OK), token="FAKE-sts-token"))
    assert shown == "TencentCccClient(account='acme_cn', url='https://ccc.tencentcloudapi.com/')"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
def test_error_in_the_body_is_a_failure_whatever_the_content_type(content_type: str) -> None:
    body = {"Response": {"Error": {"Code": "LimitExceeded.Odd", "Message": "agent li@example.com"}, "RequestId": "r"}}
    verdict = read_verdict(json_reply(body, content_type=content_type), NothingReply)
    assert isinstance(verdict, Failure)
    assert (verdict.error_class, verdict.code, verdict.request_id) == (ErrorClass.CAPACITY, "LimitExceeded.Odd", "r")
    assert "li@example.com" not in repr(verdict)


def test_business_fields_are_kept_and_others_dropped() -> None:
    reply = json_reply({"Response": {"ApplyId": 7, "DeprecatedWarning": "x", "RequestId": "r"}})
    assert read_verdict(reply, CreateOwnNumberApplyReply) == Answer(body={"ApplyId": 7}, request_id="r")


@pytest.mark.parametrize("status", [201, 204, 302, 400, 403, 429, 500, 502, 503])
def test_any_other_status_is_unclear(status: int) -> None:
    verdict = read_verdict(json_reply({"Response": {"RequestId": "r"}}, status=status), NothingReply)
    assert isinstance(verdict, Failure)
    assert (verdict.error_class, verdict.code) == (ErrorClass.AMBIGUOUS, f"HTTP{status}")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"<html>busy</html>", "NotJson"),
        (b"", "NotJson"),
        (b'{"Response": {"RequestId"', "NotJson"),
        (b"[]", "NoResponse"),
        (b'{"Response": null}', "NoResponse"),
        (b'{"Response": {"Error": {}, "RequestId": "r"}}', "UnreadableCode"),
        (b'{"Response": {"Error": null, "RequestId": "r"}}', "UnreadableCode"),
        (b'{"Response": {"Error": {"Code": "has spaces and li@example.com"}}}', "UnreadableCode"),
        (b'{"Response": {"ApplyId": "x", "RequestId": "r"}}', "UnexpectedReply"),
        (b'{"Response": {"RequestId": "r"}}', "UnexpectedReply"),
    ],
)
def test_unreadable_200_is_unclear(body: bytes, code: str) -> None:
    reply = HttpReply(status=200, content_type="application/json", body=body)
    verdict = read_verdict(reply, CreateOwnNumberApplyReply)
    assert isinstance(verdict, Failure)
    assert (verdict.error_class, verdict.code) == (ErrorClass.AMBIGUOUS, code)


def test_odd_request_id_is_not_passed_on() -> None:
    verdict = read_verdict(json_reply({"Response": {"RequestId": "<script>"}}), NothingReply)
    assert verdict == Answer(body={}, request_id=None)
