from service.domain.outcome import Call, Result, Succeeded
from service.vendors.tencent_ccc.bind_number_call_in_interface import NAME, BindNumberCallInInterface
from tests.unit.vendors.doubles import tencent_account

WANTED = {"number": "+8675586013388", "country": "CN", "callback_url": "https://callback.example.com/in"}
CALL = Call(
    operation=NAME,
    account="acme_cn",
    body={
        "SdkAppId": 1400000000,
        "Number": "0086075586013388",
        "CallInInterface": {"URL": "https://callback.example.com/in"},
        "NumberType": "number",
    },
)


def test_url_is_set_on_the_stored_shape_without_looking_first() -> None:
    operation = BindNumberCallInInterface(tencent_account())
    assert operation.present_read is None
    assert operation.decide(WANTED, None, ours=False) == CALL


async def test_positive_answer_is_done() -> None:
    outcome = await BindNumberCallInInterface(tencent_account()).judge(WANTED, {}, CALL)
    assert outcome == Succeeded(result=Result.DONE, facts={"number": "+8675586013388", "bound": True})
