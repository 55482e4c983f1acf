from typing import Any

import pytest

from service.domain.outcome import ErrorClass, Failure, Seen
from service.vendors.huawei_aicc.routes_read import INCOMPLETE, RoutesRead
from tests.unit.vendors.doubles import ScriptedSend, huawei_account

ID = "1600000001000000017"
WANTED = {"access_code": "9911411", "ext_code": "11", "media_type": 19, "device_type": "ivr", "device_id": 7}
SEEN = {"id": ID, "device_type": 3, "device_id": 7, "media_type": 19, "editable": 0}


def row(**changes: Any) -> dict[str, Any]:
    values = {"id": ID, "dnid": 1001, "accessCode": "9911411", "extCode": "11", "devicetype": 3, "deviceId": 7}
    return values | {"mediatypeId": 19, "editable": 0, "deviceDesc": "x"} | changes


def page(total: int, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"returnCode": "0", "data": {"total": total, "calledRouteList": list(rows)}}


async def look(script: list[Any], **changes: Any) -> tuple[Any, ScriptedSend]:
    send = ScriptedSend(script)
    looks = await RoutesRead().look(huawei_account(), [{**WANTED, **changes}], send)
    return looks[0], send


async def test_route_is_asked_by_both_codes() -> None:
    seen, send = await look([page(1, row())])
    assert send.calls[0].operation == "huawei_aicc.queryCalledRoute"
    assert send.calls[0].body == {"accessCode": "9911411", "extCode": "11", "limit": 100, "offset": 0}
    assert seen == Seen(SEEN)


@pytest.mark.parametrize("ext_code", [None, ""])
async def test_route_without_extension_code_matches_an_empty_one(ext_code: str | None) -> None:
    seen, send = await look([page(2, row(), row(id="2", extCode=ext_code))], ext_code=None)
    assert "extCode" not in send.calls[0].body
    assert seen == Seen({**SEEN, "id": "2"})


async def test_fuzzy_matches_are_sorted_out_on_our_side() -> None:
    seen, _ = await look([page(2, row(id="1", extCode="111"), row(id="2", accessCode="99114110"))])
    assert seen == Seen(None)


async def test_pages_are_read_to_the_total_by_row_offset() -> None:
    first = [row(id=str(i), extCode=f"1{i}") for i in range(100, 103)]
    seen, send = await look([page(4, *first), page(4, row())])
    assert [call.body["offset"] for call in send.calls] == [0, 3]
    assert seen == Seen(SEEN)


async def test_page_without_new_rows_leaves_absence_unknown() -> None:
    other = row(id="1", extCode="111")
    assert (await look([page(2, other), page(2, other)]))[0] == INCOMPLETE


async def test_more_rows_than_the_total_leave_absence_unknown() -> None:
    assert (await look([page(1, row(id="1", extCode="111"), row(id="2", extCode="112"))]))[0] == INCOMPLETE


async def test_failed_query_is_told() -> None:
    trouble = Failure(error_class=ErrorClass.AMBIGUOUS, code="HTTP502", message="x")
    assert (await look([trouble]))[0] == trouble


@pytest.mark.parametrize(
    "changes",
    [
        {"id": int(ID)},  # a number where text is documented
        {"deviceId": "7"},  # text where a number is documented
        {"editable": None, "extCode": "11"},
    ],
)
async def test_casing_and_types_are_read_generously(changes: dict[str, Any]) -> None:
    found = row(**changes)
    found["mediaTypeId"] = found.pop("mediatypeId")
    seen, _ = await look([page(1, found)])
    assert seen == Seen({**SEEN, "editable": found["editable"]})


async def test_of_two_rows_under_one_key_the_wanted_one_counts() -> None:
    seen, _ = await look([page(2, row(id="1", deviceId=8), row(id="2"))])
    assert seen == Seen({**SEEN, "id": "2"})
