from typing import Any

import pytest
from pydantic import ValidationError

from service.domain.outcome import Call, ErrorClass, Failure, Result, Seen, Succeeded
from service.vendors.tencent_ccc.create_own_number_apply import NAME, CreateOwnNumberApply, CreateOwnNumberApplyReply
from service.vendors.tencent_ccc.numbers_read import NumbersRead
from tests.unit.vendors.doubles import tencent_account

NUMBER = "+862012345678"
WANTED = {
    "number": NUMBER,
    "country": "CN",
    "sip_trunk_id": 12,
    "call_type": "both",
    "max_concurrent_calls": 30,
    "max_calls_per_second": 5,
}


def operation(**account: Any) -> CreateOwnNumberApply:
    return CreateOwnNumberApply(tencent_account(**account), NumbersRead())


def applied(move: object) -> Call:
    assert isinstance(move, Call)
    return move


def test_absent_number_is_applied_for_in_its_national_shape() -> None:
    call = applied(operation().decide({**WANTED, "prefix": "123"}, Seen(None), ours=False))
    assert (call.operation, call.creates) == (NAME, True)
    assert call.body == {
        "SdkAppId": 1400000000,
        "SipTrunkId": 12,
        "DetailList": [{"CallType": 2, "PhoneNumber": "02012345678", "MaxCallCount": 30, "MaxCallPSec": 5}],
        "Prefix": "123",
    }


@pytest.mark.parametrize(("call_type", "code"), [("inbound", 0), ("outbound", 1), ("both", 2)])
def test_call_type_is_counted_as_the_form_counts(call_type: str, code: int) -> None:
    call = applied(operation().decide({**WANTED, "call_type": call_type}, Seen(None), ours=False))
    assert call.body["DetailList"][0]["CallType"] == code


def test_account_settings_for_the_form_are_sent_under_the_vendors_names() -> None:
    form = {
        "mobile_ndd_prefix": "0",
        "local_number_trim_ac": True,
        "callee_format_passthrough": False,
        "caller_format_passthrough": True,
        "international_number_prefix": "00",
    }
    body = applied(operation(own_number_form=form).decide(WANTED, Seen(None), ours=False)).body
    assert {name: body[name] for name in body if name not in {"SdkAppId", "SipTrunkId", "DetailList"}} == {
        "MobileNddPrefix": "0",
        "LocalNumberTrimAC": True,
        "CalleeFormatPassthrough": False,
        "CallerFormatPassthrough": True,
        "InternationalNumberPrefix": "00",
    }


@pytest.mark.parametrize("ours", [True, False])
def test_live_number_is_adopted(ours: bool) -> None:
    move = operation().decide(WANTED, Seen({"number": NUMBER, "state": 1}), ours=ours)
    assert move == Succeeded(result=Result.ADOPTED, facts={"number": NUMBER, "live": True})


@pytest.mark.parametrize("state", [2, 3, 4, 5])
def test_stopped_number_is_neither_applied_for_again_nor_adopted(state: int) -> None:
    move = operation().decide(WANTED, Seen({"number": NUMBER, "state": state}), ours=True)
    assert isinstance(move, Failure)
    assert (move.error_class, move.code) == (ErrorClass.PERMANENT, f"NumberState{state}")


async def test_apply_id_goes_on_as_text() -> None:
    call = applied(operation().decide(WANTED, Seen(None), ours=False))
    outcome = await operation().judge(WANTED, {"ApplyId": 2**60 + 1}, call)
    assert outcome == Succeeded(result=Result.DONE, facts={"number": NUMBER, "apply_id": str(2**60 + 1)})


@pytest.mark.parametrize("apply_id", [-1, 2**63, "9" * 400])
def test_apply_id_that_no_message_could_carry_is_no_answer(apply_id: object) -> None:
    with pytest.raises(ValidationError):
        CreateOwnNumberApplyReply.model_validate({"ApplyId": apply_id})
