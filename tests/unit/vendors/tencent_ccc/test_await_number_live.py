import pytest

from service.domain.outcome import Call, ErrorClass, Failure, NotYet, Result, Seen, Succeeded
from service.vendors.tencent_ccc.await_number_live import AwaitNumberLive
from service.vendors.tencent_ccc.numbers_read import NAME, NumbersRead

NUMBER = "+862012345678"
WANTED = {"number": NUMBER, "country": "CN"}


def test_number_that_is_not_listed_is_waited_for() -> None:
    assert AwaitNumberLive(NumbersRead()).decide(WANTED, Seen(None), ours=True) == NotYet()


@pytest.mark.parametrize("state", [1, None])
def test_listed_number_is_live(state: int | None) -> None:
    move = AwaitNumberLive(NumbersRead()).decide(WANTED, Seen({"number": NUMBER, "state": state}), ours=True)
    assert move == Succeeded(result=Result.DONE, facts={"number": NUMBER})


@pytest.mark.parametrize("state", [2, 4, 5, 77])
def test_stopped_number_ends_the_wait_with_its_state(state: int) -> None:
    move = AwaitNumberLive(NumbersRead()).decide(WANTED, Seen({"number": NUMBER, "state": state}), ours=True)
    assert isinstance(move, Failure)
    assert (move.error_class, move.code, move.field) == (ErrorClass.PERMANENT, f"NumberState{state}", "number")


async def test_an_answer_by_itself_proves_nothing() -> None:
    call = Call(operation=NAME, account="acme_cn", body={})
    assert await AwaitNumberLive(NumbersRead()).judge(WANTED, {}, call) == NotYet()
