"""The vendor's own Python client works against the sandbox: success and error cases of every Tencent operation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tencentcloud.ccc.v20200210 import ccc_client, models
from tencentcloud.common import credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from service.sandbox.configuration import SandboxConfiguration, TencentAccount
from service.sandbox.faults import rules_from_json
from service.sandbox.server import RunningSandbox, start_sandbox

APP = 1400000000
SECRET_ID, SECRET_KEY = "AKIDFAKEFAKEFAKE", "FakeSecretKeyForTestsOnly"  # FAKE
HIRE: dict[str, Any] = {
    "ExtensionId": "1001",
    "ExtensionName": "分机 1",
    "SkillGroupIds": [1, 2],
    "Relation": "a@x.test",
}
DETAIL = {"CallType": 2, "PhoneNumber": "02012345678", "MaxCallCount": 1, "MaxCallPSec": 1}
STORED = "008602012345678"


@dataclass(frozen=True)
class Said:
    """What the client made of a reply: the fields, or the error's code."""

    fields: dict[str, Any]
    code: str = ""


Call = Callable[..., Awaitable[Said]]


def official_call(port: int, action: str, params: dict[str, Any], *, key: str = SECRET_KEY) -> Said:
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=f"127.0.0.1:{port}", reqTimeout=5))
    client = ccc_client.CccClient(credential.Credential(SECRET_ID, key), "", profile)
    request = getattr(models, action + "Request")()
    request.from_json_string(json.dumps({"SdkAppId": APP, **params}))
    try:
        response = getattr(client, action)(request)
    except TencentCloudSDKException as error:
        return Said({}, error.get_code())
    fields = json.loads(response.to_json_string())
    assert fields.pop("RequestId")
    return Said(fields)


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    account = TencentAccount(secret_id=SECRET_ID, secret_key=SECRET_KEY, sdk_app_ids=(APP,))
    running = await start_sandbox(SandboxConfiguration(tencent=(account,), approval_seconds=None))
    yield running
    await running.close()


@pytest.fixture
def call(sandbox: RunningSandbox) -> Call:
    async def in_a_thread(action: str, /, key: str = SECRET_KEY, **params: Any) -> Said:
        return await asyncio.to_thread(official_call, sandbox.port, action, params, key=key)

    return in_a_thread


async def test_extension_operations(call: Call) -> None:
    assert await call("CreateExtension", **HIRE) == Said({})
    assert (await call("CreateExtension", **HIRE)).code == "InvalidParameterValue"
    registration = (await call("DescribeExtension", ExtensionId="1001")).fields
    assert (registration["OutboundProxy"], registration["Transport"]) == ("sip.tccc.qcloud.com:5061", "tls")
    assert await call("ModifyExtension", ExtensionId="1001", ExtensionName="Bob", SkillGroupIds=[3]) == Said({})
    listed = (await call("DescribeExtensions", PageNumber=0, PageSize=20, ExtensionIds=["1001", "1002"])).fields
    assert listed["Total"] == 1
    shown = listed["ExtensionList"][0]
    assert (shown["ExtensionName"], shown["SkillGroupId"], shown["Relation"]) == ("Bob", "3", "a@x.test")
    assert (await call("DescribeExtension", ExtensionId="1002")).code == "InternalError.DBError"
    assert (await call("ModifyExtension", ExtensionId="1002", ExtensionName="x")).code == "InternalError.DBError"
    assert (await call("DescribeExtensions", PageNumber=-1)).code == "InvalidParameterValue"


async def test_number_operations(call: Call, sandbox: RunningSandbox) -> None:
    assert (await call("CreateOwnNumberApply", SipTrunkId=12, DetailList=[DETAIL])).fields == {"ApplyId": 1}
    bind = {"Number": STORED, "CallInInterface": {"URL": "https://callback.example.com/in"}, "NumberType": "number"}
    assert (await call("BindNumberCallInInterface", **bind)).code == "InvalidParameterValue"
    assert (await call("DescribeNumbers", PageNumber=0)).fields["TotalCount"] == 0
    assert sandbox.administration.decide("approve", APP, number="02012345678") == 1
    numbers = (await call("DescribeNumbers", PageNumber=0)).fields["Numbers"]
    assert numbers == [{"Number": STORED, "CallOutSkillGroupIds": [], "State": 1, "CostType": 1}]
    assert await call("BindNumberCallInInterface", **bind) == Said({})
    repeated = await call("CreateOwnNumberApply", SipTrunkId=12, DetailList=[DETAIL])
    assert repeated.code == "InvalidParameterValue.PhoneNumInvalid"
    assert (await call("DescribeNumbers", PageSize=0)).code == "InvalidParameterValue"


@pytest.mark.parametrize("action", ["CreateExtension", "DescribeExtensions", "DescribeNumbers"])
async def test_wrong_instance_key_and_missing_field(call: Call, action: str) -> None:
    params: dict[str, Any] = {"CreateExtension": HIRE, "DescribeExtensions": {"PageNumber": 0}}.get(action, {})
    assert (await call(action, **params | {"SdkAppId": 1})).code == "InvalidParameterValue.InstanceNotExist"
    assert (await call(action, key="FakeOtherKey", **params)).code == "AuthFailure.SignatureFailure"
    assert (await call(action, **params | {"SdkAppId": None})).code == "MissingParameter"


async def test_unknown_action_is_refused(call: Call) -> None:
    assert (await call("DeleteExtension", ExtensionId="1001")).code == "InvalidAction"


async def test_throttling_and_faults_reach_the_client(call: Call, sandbox: RunningSandbox) -> None:
    sandbox.quotas.change({"tencent_ccc": {"DescribeNumbers": 1}})
    codes = {(await call("DescribeNumbers")).code for _ in range(3)}
    assert codes == {"", "RequestLimitExceeded"}
    rules = [
        {"kind": "reply_lost_after", "action": "CreateExtension", "count": 1},
        {"kind": "http_502_before", "action": "ModifyExtension"},
        {"kind": "clock_offset", "action": "DescribeExtension", "seconds": 301 + 60},
    ]
    sandbox.faults.replace(rules_from_json(rules))
    assert (await call("CreateExtension", **HIRE)).code == "ClientNetworkError"
    assert (await call("ModifyExtension", ExtensionId="1001")).code == "ServerNetworkError"
    assert (await call("DescribeExtension", ExtensionId="1001")).code == "AuthFailure.SignatureExpire"
    entries = {entry.action: entry for entry in sandbox.journal.entries}
    assert (entries["CreateExtension"].effect, entries["CreateExtension"].reply) == ("created", "dropped")
    assert entries["ModifyExtension"].effect_applied is False
