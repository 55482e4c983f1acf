"""Tencent's strictness and what its operations do, without a network."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.sandbox.exchange import Effect
from service.sandbox.faults import Draw, FaultKind, FaultRule
from service.sandbox.tencent_signature import parse_authorization, signature_of
from service.sandbox.tencent_state import sip_password
from tests.unit.sandbox.signed_requests import (
    ACCOUNT,
    APP,
    CONFIGURATION,
    SECRET_KEY,
    START,
    TencentBench,
    tencent_headers,
    with_site,
)

HIRE: dict[str, Any] = {
    "SdkAppId": APP,
    "ExtensionId": "1001",
    "ExtensionName": "Ann",
    "SkillGroupIds": [1, 2],
    "Relation": "ann@x.test",
}
DETAIL: dict[str, Any] = {"CallType": 2, "PhoneNumber": "02012345678", "MaxCallCount": 1, "MaxCallPSec": 1}
APPLY: dict[str, Any] = {"SdkAppId": APP, "SipTrunkId": 12, "DetailList": [DETAIL]}
STORED = "008602012345678"
BIND: dict[str, Any] = {
    "SdkAppId": APP,
    "Number": STORED,
    "CallInInterface": {"URL": "https://callback.example.com/in"},
}


def refused_head(headers: dict[str, str | None], *, body: bytes = b"{}", action: str = "DescribeNumbers") -> str:
    bench = TencentBench()
    made: dict[str, str | None] = {**tencent_headers(action, body), **headers}
    call = bench.open(action, body, {name: value for name, value in made.items() if value is not None})
    assert call.refusal is not None
    assert call.refusal.status == 200
    return call.refusal.result


def live_number(bench: TencentBench) -> None:
    bench.fields("CreateOwnNumberApply", **APPLY)
    instance = bench.api.instance(APP)
    assert instance is not None
    instance.approve(instance.pending[0], at=bench.time.clock.monotonic())


# --- the door


def test_success_and_failure_share_the_envelope() -> None:
    bench = TencentBench()
    good, bad = (orjson.loads(bench.answer("CreateExtension", **HIRE).body) for _ in range(2))
    assert list(good["Response"]) == ["RequestId"]
    assert bad["Response"]["Error"]["Code"] == "InvalidParameterValue"
    assert bad["Response"]["RequestId"] != good["Response"]["RequestId"]


def test_head_is_checked_in_the_vendors_words() -> None:
    unsigned: dict[str, str | None] = {"authorization": None}
    assert refused_head(unsigned) == "AuthFailure.InvalidAuthorization"
    wrong: dict[str, str | None] = dict(tencent_headers("DescribeNumbers", b"{}", secret_key="FakeWrongKey"))
    assert refused_head(wrong) == "AuthFailure.SignatureFailure"
    stranger = tencent_headers("DescribeNumbers", b"{}")["authorization"].replace("AKIDFAKEFAKEFAKE", "AKIDFAKEOTHER")
    assert refused_head({"authorization": stranger}) == "AuthFailure.SecretIdNotFound"
    assert refused_head({"x-tc-version": None}) == "MissingParameter"
    assert refused_head({"x-tc-version": "2019-01-01"}) == "NoSuchVersion"
    assert refused_head({}, action="DeleteEverything") == "InvalidAction"
    assert refused_head({"x-tc-token": "FAKE-token"}) == "AuthFailure.TokenFailure"
    assert refused_head({}, body=b"[]") == "InvalidParameter"
    assert refused_head({}, body=b"{") == "InvalidParameter"


def test_temporary_keys_need_their_token() -> None:
    account = replace(ACCOUNT, token="FAKE-sts")
    bench = TencentBench(replace(CONFIGURATION, tencent=(account,)))
    body = orjson.dumps({"SdkAppId": APP})
    headers = tencent_headers("DescribeNumbers", body)
    refused = bench.open("DescribeNumbers", body, headers)
    assert refused.signature == "AuthFailure.TokenFailure"
    assert bench.open("DescribeNumbers", body, {**headers, "x-tc-token": "FAKE-sts"}).refusal is None


@pytest.mark.parametrize(("offset", "code"), [(0.0, "ok"), (299.0, "ok"), (301.0, "AuthFailure.SignatureExpire")])
def test_vendors_clock_can_be_moved(offset: float, code: str) -> None:
    bench = TencentBench()
    call = bench.open("DescribeNumbers", b"{}", tencent_headers("DescribeNumbers", b"{}"), clock_offset=offset)
    assert call.signature == code


def test_refused_key_is_still_named_in_the_call() -> None:
    body = b"{}"
    call = TencentBench().open("DescribeNumbers", body, tencent_headers("DescribeNumbers", body, secret_key="FakeKey"))
    assert (call.account, call.site) == (ACCOUNT.secret_id, "cn")
    assert SECRET_KEY not in repr(call)


def test_content_type_with_charset_is_accepted_and_another_is_not() -> None:
    bench = TencentBench()
    body = b"{}"
    for content_type, refused in (("application/json; charset=utf-8", False), ("text/plain", True)):
        headers = tencent_headers("DescribeNumbers", body) | {"content-type": content_type}
        headers["authorization"] = _signed_again(headers, body)
        assert (bench.open("DescribeNumbers", body, headers).refusal is not None) is refused


# --- fields


@pytest.mark.parametrize(
    ("action", "params", "code"),
    [
        ("CreateExtension", {**HIRE, "Nick": "x"}, "UnknownParameter"),
        ("CreateExtension", {"SdkAppId": APP, "ExtensionId": "1001"}, "MissingParameter"),
        ("CreateExtension", {**HIRE, "SdkAppId": str(APP)}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "SdkAppId": True}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "ExtensionId": 1001}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "SkillGroupIds": ["1"]}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "SkillGroupIds": [-1]}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "Relation": None}, "InvalidParameter"),
        ("CreateExtension", {**HIRE, "SkillGroupIds": []}, "InvalidParameterValue"),
        ("CreateExtension", {**HIRE, "ExtensionId": " "}, "InvalidParameterValue"),
        ("CreateExtension", {**HIRE, "SdkAppId": 1}, "InvalidParameterValue.InstanceNotExist"),
        ("DescribeExtensions", {"SdkAppId": APP}, "MissingParameter"),
        ("DescribeExtensions", {"SdkAppId": APP, "PageNumber": -1}, "InvalidParameterValue"),
        ("DescribeExtensions", {"SdkAppId": APP, "PageNumber": 0, "PageSize": 0}, "InvalidParameterValue"),
        (
            "DescribeExtensions",
            {"SdkAppId": APP, "PageNumber": 0, "ExtensionIds": [str(i) for i in range(21)]},
            "InvalidParameterValue",
        ),
        ("CreateOwnNumberApply", {**APPLY, "DetailList": []}, "InvalidParameterValue"),
        ("CreateOwnNumberApply", {**APPLY, "DetailList": [{**DETAIL, "CallTyp": 1}]}, "UnknownParameter"),
        ("CreateOwnNumberApply", {**APPLY, "DetailList": [{"CallType": 2}]}, "MissingParameter"),
        ("CreateOwnNumberApply", {**APPLY, "DetailList": [{**DETAIL, "CallType": 3}]}, "InvalidParameterValue"),
        ("CreateOwnNumberApply", {**APPLY, "DetailList": [DETAIL, DETAIL]}, "InvalidParameterValue"),
        (
            "CreateOwnNumberApply",
            {**APPLY, "DetailList": [{**DETAIL, "PhoneNumber": "+862012345678"}]},
            "InvalidParameterValue.PhoneNumInvalid",
        ),
        (
            "CreateOwnNumberApply",
            {**APPLY, "DetailList": [{**DETAIL, "PhoneNumber": STORED}]},
            "InvalidParameterValue.PhoneNumInvalid",
        ),
        ("BindNumberCallInInterface", BIND, "InvalidParameterValue"),
        ("BindNumberCallInInterface", {**BIND, "CallInInterface": {}}, "MissingParameter"),
        ("BindNumberCallInInterface", {**BIND, "NumberType": "other"}, "InvalidParameterValue"),
        ("DescribeExtension", {"SdkAppId": APP, "ExtensionId": "1001"}, "InternalError.DBError"),
        ("ModifyExtension", {"SdkAppId": APP, "ExtensionId": "1001"}, "InternalError.DBError"),
    ],
)
def test_bad_request_gets_the_documented_code(action: str, params: dict[str, Any], code: str) -> None:
    answer = TencentBench().answer(action, **params)
    assert (answer.result, answer.effect) == (code, None)


@pytest.mark.parametrize(("site", "result"), [("cn", "ok"), ("intl", "UnknownParameter")])
def test_fields_of_the_china_site_are_unknown_on_the_other(site: str, result: str) -> None:
    assert TencentBench(with_site(site)).result("CreateOwnNumberApply", **APPLY, CalleeFormatPassthrough=True) == result


@pytest.mark.parametrize(("site", "shown"), [("cn", True), ("intl", False)])
def test_cost_type_is_shown_on_the_china_site_only(site: str, shown: bool) -> None:
    bench = TencentBench(with_site(site))
    live_number(bench)
    (number,) = bench.fields("DescribeNumbers", SdkAppId=APP)["Numbers"]
    assert ("CostType" in number) is shown
    assert number["Number"] == STORED


# --- extensions


def test_extension_is_created_read_and_modified() -> None:
    bench = TencentBench()
    assert bench.answer("CreateExtension", **HIRE).effect == Effect(kind="created")
    answer = bench.answer("ModifyExtension", SdkAppId=APP, ExtensionId="1001", SkillGroupIds=[3])
    assert answer.effect == Effect(kind="modified")
    again = bench.answer("ModifyExtension", SdkAppId=APP, ExtensionId="1001", SkillGroupIds=[3])
    assert again.effect == Effect(kind="modified", changed=False)
    listed = bench.fields("DescribeExtensions", SdkAppId=APP, PageNumber=0, ExtensionIds=["1001", "1002"])
    assert listed["Total"] == 1
    shown = listed["ExtensionList"][0]
    assert (shown["SkillGroupId"], shown["ExtensionName"], shown["Relation"]) == ("3", "Ann", "ann@x.test")
    assert shown["FullExtensionId"] == f"1001@{APP}.tccc.qcloud.com"


def test_registration_carries_a_reproducible_password() -> None:
    bench = TencentBench()
    bench.fields("CreateExtension", **HIRE)
    shown = bench.fields("DescribeExtension", SdkAppId=APP, ExtensionId="1001")
    assert shown == {
        "ExtensionId": "1001",
        "ExtensionDomain": f"{APP}.tccc.qcloud.com",
        "Password": sip_password(0, APP, "1001"),
        "OutboundProxy": "sip.tccc.qcloud.com:5061",
        "Transport": "tls",
    }
    assert sip_password(0, APP, "1001") != sip_password(1, APP, "1001")


@pytest.mark.parametrize(
    ("mode", "result", "effect", "name"),
    [
        ("error", "InvalidParameterValue", None, "Ann"),
        ("dberror", "InternalError.DBError", None, "Ann"),
        ("success", "ok", None, "Ann"),
        ("overwrite", "ok", Effect(kind="modified"), "Bob"),
    ],
)
def test_duplicate_create_answers_by_its_switch(mode: str, result: str, effect: Effect | None, name: str) -> None:
    bench = TencentBench()
    bench.fields("CreateExtension", **HIRE)
    answer = bench.answer("CreateExtension", Draw(duplicate_mode=mode), **{**HIRE, "ExtensionName": "Bob"})
    assert (answer.result, answer.effect) == (result, effect)
    listed = bench.fields("DescribeExtensions", SdkAppId=APP, PageNumber=0)
    assert [e["ExtensionName"] for e in listed["ExtensionList"]] == [name]


def test_pages_start_at_zero_and_are_capped() -> None:
    bench = TencentBench()
    for i in range(25):
        bench.fields("CreateExtension", **{**HIRE, "ExtensionId": str(1000 + i)})

    def page(number: int, draw: Draw | None = None, **more: Any) -> tuple[int, list[str]]:
        shown = bench.fields("DescribeExtensions", draw, SdkAppId=APP, PageNumber=number, **more)
        return shown["Total"], [e["ExtensionId"] for e in shown["ExtensionList"]]

    assert page(1) == (25, ["1020", "1021", "1022", "1023", "1024"])
    assert page(0, PageSize=200)[1][-1] == "1024"
    assert page(1, Draw(page_cap=3), PageSize=100) == (25, ["1003", "1004", "1005"])
    assert page(0, Draw(page_cap=1), ExtensionIds=["1003", "1001"]) == (2, ["1003"])
    assert page(0, FuzzingKeyWord="1024") == (1, ["1024"])
    assert page(9) == (25, [])


def test_read_lags_behind_writes() -> None:
    bench = TencentBench()
    bench.fields("CreateExtension", **HIRE)
    lagging = Draw(read_lag=2.0)

    def names() -> list[str]:
        shown = bench.fields("DescribeExtensions", lagging, SdkAppId=APP, PageNumber=0)
        return [e["ExtensionName"] for e in shown["ExtensionList"]]

    assert names() == []
    bench.time.passed = 2.0
    bench.fields("ModifyExtension", SdkAppId=APP, ExtensionId="1001", ExtensionName="Bob")
    assert names() == ["Ann"]
    bench.time.passed = 4.0
    assert names() == ["Bob"]


@pytest.mark.parametrize(("mode", "groups"), [("clear", ""), ("ignore", "1,2")])
def test_empty_skill_groups_can_be_switched(mode: Any, groups: str) -> None:
    bench = TencentBench(replace(CONFIGURATION, empty_skill_groups=mode))
    bench.fields("CreateExtension", **HIRE)
    bench.fields("ModifyExtension", SdkAppId=APP, ExtensionId="1001", SkillGroupIds=[])
    shown = bench.fields("DescribeExtensions", SdkAppId=APP, PageNumber=0)
    assert shown["ExtensionList"][0]["SkillGroupId"] == groups


# --- numbers


def test_form_is_approved_by_itself_after_its_time() -> None:
    bench = TencentBench(replace(CONFIGURATION, approval_seconds=5.0))
    answer = bench.answer("CreateOwnNumberApply", **APPLY)
    assert answer.effect == Effect(kind="applied")
    assert orjson.loads(answer.body)["Response"]["ApplyId"] == 1
    bench.time.passed = 4.9
    assert bench.fields("DescribeNumbers", SdkAppId=APP) == {"TotalCount": 0, "Numbers": []}
    bench.time.passed = 5.0
    assert bench.fields("DescribeNumbers", SdkAppId=APP)["TotalCount"] == 1
    assert bench.fields("DescribeNumbers", Draw(read_lag=1.0), SdkAppId=APP)["TotalCount"] == 0


def test_repeated_form_is_a_second_effect() -> None:
    bench = TencentBench()
    assert [bench.fields("CreateOwnNumberApply", **APPLY)["ApplyId"] for _ in range(2)] == [1, 2]
    assert bench.result("CreateOwnNumberApply", Draw(duplicate_mode="error"), **APPLY) == "InvalidParameterValue"


def test_live_number_is_not_applied_for_again() -> None:
    bench = TencentBench()
    live_number(bench)
    assert bench.result("CreateOwnNumberApply", **APPLY) == "InvalidParameterValue.PhoneNumInvalid"


def test_too_many_waiting_forms_overflow_until_one_is_decided() -> None:
    bench = TencentBench(replace(CONFIGURATION, pending_limit=1))
    bench.fields("CreateOwnNumberApply", **APPLY)
    other = {**APPLY, "DetailList": [{**DETAIL, "PhoneNumber": "02087654321"}]}
    assert bench.result("CreateOwnNumberApply", **other) == "InvalidParameterValue.WaitingApprovalOverflow"
    instance = bench.api.instance(APP)
    assert instance is not None
    instance.refuse(instance.pending[0])
    assert bench.result("CreateOwnNumberApply", **other) == "ok"


def test_bind_sets_one_url() -> None:
    bench = TencentBench()
    live_number(bench)
    assert bench.answer("BindNumberCallInInterface", **BIND).effect == Effect(kind="bound")
    assert bench.answer("BindNumberCallInInterface", **BIND).effect == Effect(kind="bound", changed=False)
    for wrong in ({"CallInInterface": {"URL": "nowhere"}}, {"Number": "02012345678"}, {"NumberType": "inner"}):
        assert bench.result("BindNumberCallInInterface", **{**BIND, **wrong}) == "InvalidParameterValue"
    assert bench.answer("BindNumberCallInInterface", SdkAppId=APP, Number=STORED).effect is None
    instance = bench.api.instance(APP)
    assert instance is not None
    assert instance.as_dict()["numbers"] == {STORED: {"url": "https://callback.example.com/in"}}


# --- faults in the vendor's words


@pytest.mark.parametrize(
    ("rule", "result", "status"),
    [
        (FaultRule(kind=FaultKind.DBERROR_BEFORE), "InternalError.DBError", 200),
        (FaultRule(kind=FaultKind.HTTP_AFTER, status=503), "HTTP 503", 503),
        (FaultRule(kind=FaultKind.THROTTLE), "RequestLimitExceeded", 200),
        (
            FaultRule(kind=FaultKind.THROTTLE, code="RequestLimitExceeded.UinLimitExceeded"),
            "RequestLimitExceeded.UinLimitExceeded",
            200,
        ),
        (FaultRule(kind=FaultKind.EXPIRED_TOKEN), "AuthFailure.TokenFailure", 200),
        (FaultRule(kind=FaultKind.ERROR_AFTER, code="FailedOperation"), "FailedOperation", 200),
    ],
)
def test_fault_speaks_as_the_vendor(rule: FaultRule, result: str, status: int) -> None:
    bench = TencentBench()
    body = orjson.dumps(HIRE)
    call = bench.open("CreateExtension", body, tencent_headers("CreateExtension", body, timestamp=START))
    answer = bench.api.spoiled(call, rule)
    assert (answer.result, answer.status) == (result, status)


def test_natural_keys_name_what_is_asked_for() -> None:
    bench = TencentBench()
    for action, params, key in (
        ("CreateExtension", HIRE, f"extension:{APP}/1001"),
        ("DescribeExtensions", {"SdkAppId": APP, "ExtensionIds": ["1", "2"]}, f"extensions:{APP}/1,2"),
        ("CreateOwnNumberApply", APPLY, f"number:{APP}/{STORED}"),
        ("BindNumberCallInInterface", BIND, f"number:{APP}/{STORED}"),
        ("CreateOwnNumberApply", {"DetailList": 1}, None),
    ):
        body = orjson.dumps(params)
        assert bench.open(action, body, tencent_headers(action, body)).natural_key == key


def _signed_again(headers: dict[str, str], body: bytes) -> str:
    parts = parse_authorization(headers["authorization"])
    made = signature_of(parts, secret_key=SECRET_KEY, timestamp=int(START), headers=headers, body=body)
    return headers["authorization"].replace(parts.signature, made)
