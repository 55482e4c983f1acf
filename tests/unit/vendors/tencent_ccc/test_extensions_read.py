from typing import Any

from service.domain.outcome import ErrorClass, Failure, Seen
from service.vendors.tencent_ccc.extensions_read import ExtensionsRead
from service.vendors.tencent_ccc.listing import INCOMPLETE
from tests.unit.vendors.doubles import ScriptedSend, tencent_account

APP = 1400000000
TROUBLE = Failure(error_class=ErrorClass.AMBIGUOUS, code="InternalError.DBError", message="unclear")


def row(extension: str, **changes: Any) -> dict[str, Any]:
    return {"ExtensionId": extension, "ExtensionName": f"Agent {extension}", **changes}


def page(total: int, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"Total": total, "ExtensionList": list(rows)}


def wanted(*extensions: str) -> list[dict[str, Any]]:
    return [{"extension": extension, "name": "x"} for extension in extensions]


async def test_ids_are_asked_in_one_sized_call_and_answered_in_order() -> None:
    full = row("1002", SkillGroupId="3, 1", Relation="a@example.com", FullExtensionId="1002@1.tccc.qcloud.com")
    send = ScriptedSend([page(1, full)])
    looks = await ExtensionsRead().look(tencent_account(), wanted("1001", "1002", "1001"), send)
    assert send.calls[0].body == {
        "SdkAppId": APP,
        "PageNumber": 0,
        "PageSize": 20,
        "ExtensionIds": ["1001", "1002"],
    }
    seen = Seen(
        {
            "extension": "1002",
            "full_extension": "1002@1.tccc.qcloud.com",
            "name": "Agent 1002",
            "email": "a@example.com",
            "skill_group_ids": ["1", "3"],
        }
    )
    assert looks == [Seen(None), seen, Seen(None)]


async def test_pages_smaller_than_asked_are_read_to_the_end() -> None:
    send = ScriptedSend([page(2, row("1001")), page(2, row("1002"))])
    looks = await ExtensionsRead().look(tencent_account(), wanted("1001", "1002", "1003"), send)
    assert [call.body["PageNumber"] for call in send.calls] == [0, 1]
    assert [isinstance(look, Seen) and look.state is not None for look in looks] == [True, True, False]


async def test_more_than_twenty_ids_take_more_calls() -> None:
    send = ScriptedSend([page(0), page(0)])
    looks = await ExtensionsRead().look(tencent_account(), wanted(*(str(1000 + i) for i in range(21))), send)
    assert [len(call.body["ExtensionIds"]) for call in send.calls] == [20, 1]
    assert looks == [Seen(None)] * 21


async def test_incomplete_listing_proves_presence_but_not_absence() -> None:
    send = ScriptedSend([page(2, row("1001")), page(2)])
    present, unknown = await ExtensionsRead().look(tencent_account(), wanted("1001", "1002"), send)
    assert isinstance(present, Seen)
    assert present.state is not None
    assert unknown == INCOMPLETE


async def test_row_that_was_not_asked_for_makes_absence_unknown() -> None:
    send = ScriptedSend([page(1, row("9999"))])
    assert await ExtensionsRead().look(tencent_account(), wanted("1001"), send) == [INCOMPLETE]


async def test_failed_read_is_told_to_everyone_who_asked() -> None:
    looks = await ExtensionsRead().look(tencent_account(), wanted("1001", "1002"), ScriptedSend([TROUBLE]))
    assert looks == [TROUBLE, TROUBLE]


async def test_null_list_is_an_empty_one() -> None:
    send = ScriptedSend([{"Total": 0, "ExtensionList": None}])
    assert await ExtensionsRead().look(tencent_account(), wanted("1001"), send) == [Seen(None)]
