from typing import Any

import pytest

from service.domain.outcome import Call, ErrorClass, Failure, Result, Seen, Succeeded
from service.vendors.huawei_aicc.create_called_route import MODIFY, NAME, CreateCalledRoute
from service.vendors.huawei_aicc.routes_read import RoutesRead
from tests.unit.vendors.doubles import huawei_account

ID = "1600000001000000017"
WANTED = {"access_code": "9911411", "ext_code": "11", "media_type": 19, "device_type": "ivr", "device_id": 7}
EQUAL = {"id": ID, "device_type": 3, "device_id": 7, "media_type": 19, "editable": 0}
FACTS = {"access_code": "9911411", "ext_code": "11", "media_type": 19, "route": {"ivr": 7}}


def operation() -> CreateCalledRoute:
    return CreateCalledRoute(huawei_account(), RoutesRead())


def test_absent_route_is_created() -> None:
    assert operation().decide(WANTED, Seen(None), ours=False) == Call(
        operation=NAME,
        account="acme_hw",
        creates=True,
        body={"accessCode": "9911411", "extCode": "11", "mediaTypeId": 19, "devicetype": 3, "deviceId": 7},
    )


@pytest.mark.parametrize("ext_code", [None, ""])
def test_extension_code_that_is_not_given_is_not_sent(ext_code: str | None) -> None:
    wanted = {"access_code": "9911411", "ext_code": ext_code, "device_type": "skill_queue", "device_id": 1}
    move = operation().decide(wanted, Seen(None), ours=False)
    assert isinstance(move, Call)
    assert move.body == {"accessCode": "9911411", "mediaTypeId": 5, "devicetype": 1, "deviceId": 1}


@pytest.mark.parametrize(("ours", "result"), [(True, Result.UNCHANGED), (False, Result.ADOPTED)])
@pytest.mark.parametrize("editable", [0, None, 1, 2, 3])
def test_equal_route_is_left_alone(ours: bool, result: Result, editable: int | None) -> None:
    move = operation().decide(WANTED, Seen({**EQUAL, "editable": editable}), ours=ours)
    assert move == Succeeded(result=result, facts=FACTS)


@pytest.mark.parametrize("standing", [{"device_id": 8}, {"device_type": 1}])
@pytest.mark.parametrize("editable", [0, None])
def test_different_and_ours_is_modified_by_its_id(standing: dict[str, Any], editable: int | None) -> None:
    move = operation().decide(WANTED, Seen({**EQUAL, **standing, "editable": editable}), ours=True)
    assert move == Call(operation=MODIFY, account="acme_hw", body={"id": ID, "devicetype": 3, "deviceId": 7})


@pytest.mark.parametrize(
    ("standing", "ours", "code"),
    [
        ({"device_id": 8}, False, "RouteTaken"),
        ({"media_type": 5}, False, "RouteTaken"),
        ({"media_type": 5}, True, "MediaTypeFixed"),
        ({"device_id": 8, "editable": 1}, True, "RouteNotEditable"),
        ({"device_id": 8, "editable": 2}, True, "RouteNotEditable"),
        ({"device_id": 8, "editable": 3}, True, "RouteNotEditable"),
    ],
)
def test_route_that_is_not_ours_to_change_is_a_conflict(standing: dict[str, Any], ours: bool, code: str) -> None:
    move = operation().decide(WANTED, Seen({**EQUAL, **standing}), ours=ours)
    assert isinstance(move, Failure)
    assert (move.error_class, move.code) == (ErrorClass.CONFLICT, code)


async def test_positive_answer_is_done() -> None:
    call = Call(operation=NAME, account="acme_hw", body={})
    assert await operation().judge(WANTED, {}, call) == Succeeded(result=Result.DONE, facts=FACTS)
