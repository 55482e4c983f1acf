from typing import Any

from service.domain.outcome import Seen
from service.vendors.tencent_ccc.listing import INCOMPLETE
from service.vendors.tencent_ccc.numbers_read import NumbersRead
from tests.unit.vendors.doubles import ScriptedSend, tencent_account


def page(total: int, *numbers: tuple[str, int]) -> dict[str, Any]:
    return {"TotalCount": total, "Numbers": [{"Number": number, "State": state} for number, state in numbers]}


def wanted(*numbers: str) -> list[dict[str, Any]]:
    return [{"number": number, "country": "CN"} for number in numbers]


async def test_one_listing_serves_all_and_matches_every_shape() -> None:
    send = ScriptedSend([page(3, ("0086075586013388", 1), ("02012345678", 2)), page(3, ("8001", 1))])
    asked = wanted("+8675586013388", "+862012345678", "+8613800138000")
    looks = await NumbersRead().look(tencent_account(numbers_page_size=2), asked, send)
    assert [call.body for call in send.calls] == [
        {"SdkAppId": 1400000000, "PageNumber": 0, "PageSize": 2},
        {"SdkAppId": 1400000000, "PageNumber": 1, "PageSize": 2},
    ]
    assert looks == [
        Seen({"number": "+8675586013388", "state": 1}),
        Seen({"number": "+862012345678", "state": 2}),
        Seen(None),
    ]


async def test_incomplete_listing_proves_presence_but_not_absence() -> None:
    send = ScriptedSend([page(5, ("0086075586013388", 1)), page(5)])
    looks = await NumbersRead().look(tencent_account(), wanted("+8675586013388", "+862012345678"), send)
    assert looks == [Seen({"number": "+8675586013388", "state": 1}), INCOMPLETE]
