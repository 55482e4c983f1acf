"""Huawei's strictness and what its operations do, without a network."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.sandbox.exchange import Effect
from service.sandbox.faults import Draw, FaultKind, FaultRule
from service.sandbox.huawei_api import ROUTE_PATH, TOKEN_PATH
from tests.unit.sandbox.signed_requests import APP_KEY, APP_SECRET, CONFIGURATION, TENANT, HuaweiBench

KEYS: dict[str, Any] = {"app_key": APP_KEY, "app_secret": APP_SECRET}
ROUTE: dict[str, Any] = {"accessCode": "9911411", "extCode": "11", "devicetype": 1, "deviceId": 7}


def result(body: dict[str, Any], action: str = "createCalledRoute", draw: Draw | None = None) -> tuple[int, str]:
    answer = HuaweiBench().answer(action, body, draw=draw)
    return answer.status, answer.result


# --- tokens


def test_token_reply_has_the_documented_fields_as_text() -> None:
    document = orjson.loads(HuaweiBench().token_answer(KEYS, {"x-token-expire": "600"}).body)
    assert document.pop("AccessToken").startswith("FAKE-")
    assert document == {
        "ApplyType": "Bearer",
        "CreateTime": "1700000000",
        "Expires": "600",
        "Scope": "",
        "AppKey": APP_KEY,
        "UserID": "Anonymous",
    }


def test_absent_lifetime_gets_the_configured_one() -> None:
    bench = HuaweiBench(replace(CONFIGURATION, default_token_seconds=77))
    assert orjson.loads(bench.token_answer(KEYS).body)["Expires"] == "77"


@pytest.mark.parametrize("seconds", ["3601", "0", "-1", "ten", ""])
def test_lifetime_beyond_an_hour_is_refused(seconds: str) -> None:
    assert HuaweiBench().token_answer(KEYS, {"x-token-expire": seconds}).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ak": APP_KEY, "sk": APP_SECRET}, 400),
        ({"app_key": APP_KEY}, 400),
        ({**KEYS, "more": 1}, 400),
        ({**KEYS, "app_secret": "FAKE-wrong"}, 401),
        ({**KEYS, "app_key": "FAKE-wrong"}, 401),
        (b"no json", 400),
    ],
)
def test_token_request_is_checked(body: Any, status: int) -> None:
    answer = HuaweiBench().token_answer(body)
    assert (answer.status, answer.effect) == (status, None)


def test_token_ends_with_its_time() -> None:
    bench = HuaweiBench()
    token = bench.token(600)
    bench.time.passed = 599.9
    assert bench.answer("queryCalledRoute", {}, token=token).status == 200
    bench.time.passed = 600.0
    assert bench.answer("queryCalledRoute", {}, token=token).status == 401


@pytest.mark.parametrize(("voids", "status"), [(False, 200), (True, 401)])
def test_new_token_may_void_the_old(voids: bool, status: int) -> None:
    bench = HuaweiBench(replace(CONFIGURATION, new_token_voids_old=voids))
    old = bench.token()
    bench.token()
    assert bench.answer("queryCalledRoute", {}, token=old).status == status


def test_all_tokens_can_be_ended_at_once() -> None:
    bench = HuaweiBench()
    token = bench.token()
    assert bench.api.tokens.expire_all(bench.time.clock.monotonic()) == 1
    assert bench.answer("queryCalledRoute", {}, token=token).status == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer  two-spaces", "bearer x", "Bearer unknown"])
def test_authorization_is_one_word_one_space_one_good_token(header: str) -> None:
    call = HuaweiBench().open(ROUTE_PATH + "queryCalledRoute", {}, {"authorization": header})
    assert call.refusal is not None
    assert (call.refusal.status, call.signature) == (401, "HTTP 401")


def test_app_key_header_must_be_the_tokens() -> None:
    bench = HuaweiBench()
    headers = {"authorization": f"Bearer {bench.token()}", "x-app-key": "FAKE-other"}
    refused = bench.open(ROUTE_PATH + "queryCalledRoute", {}, headers).refusal
    assert refused is not None
    assert refused.status == 403
    assert bench.open(ROUTE_PATH + "queryCalledRoute", {}, headers | {"x-app-key": APP_KEY}).refusal is None


def test_secrets_are_not_kept_in_the_call() -> None:
    call = HuaweiBench().open(TOKEN_PATH, KEYS, {})
    assert call.wanted is None
    assert APP_SECRET not in repr(call)


# --- routes


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ROUTE, (200, "ok")),
        ({**ROUTE, "mediatypeId": 5}, (400, "HTTP 400")),
        ({"accessCode": "1", "devicetype": 1}, (400, "HTTP 400")),
        ({**ROUTE, "deviceId": "7"}, (400, "HTTP 400")),
        ({**ROUTE, "accessCode": "1" * 33}, (400, "HTTP 400")),
        ({**ROUTE, "accessCode": ""}, (400, "HTTP 400")),
        ({**ROUTE, "extCode": "1" * 13}, (400, "HTTP 400")),
        ({**ROUTE, "extCode": "abc"}, (400, "HTTP 400")),
        ({**ROUTE, "extCode": "*1#"}, (200, "ok")),
        ({**ROUTE, "devicetype": 2}, (400, "HTTP 400")),
        ({**ROUTE, "mediaTypeId": 7}, (400, "HTTP 400")),
        ({**ROUTE, "mediaTypeId": 53}, (200, "ok")),
        ({**ROUTE, "mediaTypeId": 53, "devicetype": 3}, (500, "HTTP 500")),
    ],
)
def test_create_is_checked(body: dict[str, Any], expected: tuple[int, str]) -> None:
    assert result(body) == expected


def test_create_gives_no_id_and_the_query_gives_both() -> None:
    bench = HuaweiBench()
    created = bench.answer("createCalledRoute", ROUTE)
    assert created.effect == Effect(kind="created")
    assert orjson.loads(created.body) == {"returnCode": "0", "description": "data create success"}
    total, (route,) = bench.routes({"accessCode": "9911411"})
    assert total == 1
    assert len(route["id"]) == 19
    assert int(route["id"]) > 2**53
    assert isinstance(route["dnid"], int)
    assert route["mediatypeId"] == 5
    assert route["editable"] == 0
    assert "mediaTypeId" not in route


def test_access_code_without_ext_code_is_a_route_of_its_own() -> None:
    bench = HuaweiBench()
    bench.answer("createCalledRoute", ROUTE)
    assert bench.answer("createCalledRoute", {k: v for k, v in ROUTE.items() if k != "extCode"}).result == "ok"
    assert bench.routes({})[0] == 2


@pytest.mark.parametrize(
    ("mode", "expected", "effect"),
    [
        ("error", (200, "1"), None),
        ("success", (200, "ok"), None),
        ("dberror", (500, "HTTP 500"), None),
        ("overwrite", (200, "ok"), Effect(kind="modified")),
    ],
)
def test_duplicate_create_answers_by_its_switch(mode: str, expected: tuple[int, str], effect: Effect | None) -> None:
    bench = HuaweiBench()
    bench.answer("createCalledRoute", ROUTE)
    answer = bench.answer("createCalledRoute", {**ROUTE, "deviceId": 8}, draw=Draw(duplicate_mode=mode))
    assert ((answer.status, answer.result), answer.effect) == (expected, effect)
    assert bench.routes({})[0] == 1


def test_query_pages_by_rows_and_is_fuzzy_unless_told_otherwise() -> None:
    bench = HuaweiBench()
    for i in range(5):
        bench.answer("createCalledRoute", {**ROUTE, "extCode": str(i)})
    assert [r["extCode"] for r in bench.routes({"limit": 2, "offset": 2})[1]] == ["2", "3"]
    assert [r["extCode"] for r in bench.routes({"offset": -3, "limit": 1})[1]] == ["0"]
    assert bench.routes({}, Draw(page_cap=2))[0] == 5
    assert len(bench.routes({}, Draw(page_cap=2))[1]) == 2
    assert bench.routes({"accessCode": "991"})[0] == 5
    assert bench.routes({"deviceDesc": "queue 7", "devicetype": 1, "mediaTypeId": 5})[0] == 5
    assert bench.answer("queryCalledRoute", {"limit": 101}).status == 400
    exact = HuaweiBench(replace(CONFIGURATION, fuzzy_route_query=False))
    exact.answer("createCalledRoute", ROUTE)
    assert exact.routes({"accessCode": "991"})[0] == 0


def test_read_lags_behind_writes() -> None:
    bench = HuaweiBench()
    bench.answer("createCalledRoute", ROUTE)
    assert bench.routes({}, Draw(read_lag=1.0))[0] == 0
    bench.time.passed = 1.0
    assert bench.routes({}, Draw(read_lag=1.0))[0] == 1


def test_modify_takes_the_string_id_and_changes_only_the_target() -> None:
    bench = HuaweiBench()
    bench.answer("createCalledRoute", ROUTE)
    route = bench.routes({})[1][0]
    wanted = {"id": route["id"], "devicetype": 3, "deviceId": 9}
    assert bench.answer("modifyCalledRoute", wanted).effect == Effect(kind="modified")
    assert bench.answer("modifyCalledRoute", wanted).effect == Effect(kind="modified", changed=False)
    assert bench.answer("modifyCalledRoute", {**wanted, "id": int(route["id"])}).status == 400
    assert bench.answer("modifyCalledRoute", {**wanted, "accessCode": "1"}).status == 400
    assert bench.answer("modifyCalledRoute", {**wanted, "id": "1"}).result == "1"
    changed = bench.routes({})[1][0]
    assert (changed["devicetype"], changed["deviceId"], changed["id"]) == (3, 9, route["id"])


def test_access_codes_limit_the_media_types() -> None:
    tenant = replace(TENANT, access_codes={"9911411": 5})
    bench = HuaweiBench(replace(CONFIGURATION, huawei=(tenant,)))
    assert bench.answer("createCalledRoute", {**ROUTE, "mediaTypeId": 19}).result == "ok"
    assert bench.answer("createCalledRoute", {**ROUTE, "extCode": "2", "mediaTypeId": 2}).status == 500
    assert bench.answer("createCalledRoute", {**ROUTE, "accessCode": "1"}).status == 500


# --- faults in the vendor's words


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FaultRule(kind=FaultKind.DBERROR_AFTER), (500, "HTTP 500")),
        (FaultRule(kind=FaultKind.HTTP_BEFORE), (502, "HTTP 502")),
        (FaultRule(kind=FaultKind.THROTTLE), (429, "HTTP 429")),
        (FaultRule(kind=FaultKind.ERROR_BEFORE, code="403"), (403, "HTTP 403")),
        (FaultRule(kind=FaultKind.ERROR_BEFORE, code="90001"), (200, "90001")),
    ],
)
def test_fault_speaks_as_the_vendor(rule: FaultRule, expected: tuple[int, str]) -> None:
    bench = HuaweiBench()
    call = bench.open(ROUTE_PATH + "queryCalledRoute", {}, {"authorization": f"Bearer {bench.token()}"})
    answer = bench.api.spoiled(call, rule)
    assert (answer.status, answer.result) == expected


def test_expired_token_fault_ends_the_token_for_good() -> None:
    bench = HuaweiBench()
    token = bench.token()
    call = bench.open(ROUTE_PATH + "queryCalledRoute", {}, {"authorization": f"Bearer {token}"})
    assert bench.api.spoiled(call, FaultRule(kind=FaultKind.EXPIRED_TOKEN)).status == 401
    assert bench.answer("queryCalledRoute", {}, token=token).status == 401
    assert bench.open(ROUTE_PATH + "queryCalledRoute", {}, {"authorization": f"Bearer {token}"}).account == APP_KEY
