"""While a person holds work back, every plan that meets the hold says so once in its epoch."""

from __future__ import annotations

import asyncio

from service.application.rounds import Stopping
from service.domain.command import CommandState
from service.domain.holding import Scope
from tests.front_desk import BAD_KEY, DONE, WRONG, FrontDesk, asked, done, hire
from tests.unit.application.bench import as_another_owners


async def held(front: FrontDesk, **scope: str) -> str:
    return str(done(await front.desk.hold(asked(), Scope(**scope)))["id"])


async def walk(front: FrontDesk) -> None:
    """One walk through all plans."""
    telling = front.telling
    while await telling.run_once():
        pass


def told(front: FrontDesk) -> list[str]:
    """The events whose plans were told to wait for a hold."""
    return sorted(e["causationid"] for e in front.told("plan.waiting") if e["data"]["cause"] == "hold")


async def test_plan_that_meets_a_hold_says_that_an_operator_ends_it(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await held(front, subject="agent:workday/E1")
    await walk(front)
    assert told(front) == ["hire-1"]
    (event,) = front.told("plan.waiting")
    assert (event["data"]["who_acts"], event["data"]["expected_at"]) == ("operator", None)


async def test_plan_that_comes_while_the_hold_stands_says_so_too(front: FrontDesk) -> None:
    await held(front, account="acme_cn")
    await walk(front)
    await front.take(hire(1))
    await walk(front)
    assert told(front) == ["hire-1"]


async def test_it_is_said_once_in_an_epoch_however_many_holds_there_are(front: FrontDesk) -> None:
    await front.take(hire(1))
    first = await held(front, account="acme_cn")
    for _ in range(3):
        await walk(front)
    done(await front.desk.release(asked(), first))
    await held(front, operation="tencent_ccc.CreateExtension")
    await walk(front)
    assert told(front) == ["hire-1"]


async def test_it_is_said_again_after_a_replay(front: FrontDesk) -> None:
    await front.take(hire(1))
    await held(front, account="acme_cn")
    await walk(front)
    await front.settle("hire-1", "extension", WRONG)
    await front.replay(front.plan("hire-1").id)
    await walk(front)
    assert told(front) == ["hire-1", "hire-1"]


async def test_released_hold_is_told_to_nobody(front: FrontDesk) -> None:
    await front.take(hire(1))
    hold_id = await held(front, account="acme_cn")
    done(await front.desk.release(asked(), hold_id))
    await walk(front)
    assert told(front) == []


async def test_quarantine_is_no_hold(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await front.settle("hire-1", "extension", BAD_KEY)
    await walk(front)
    assert told(front) == []


async def test_what_is_being_sent_is_not_stopped_and_says_nothing(front: FrontDesk) -> None:
    await front.take(hire(1))
    as_another_owners(front.ledger, front.step("hire-1", "extension"), state=CommandState.IN_FLIGHT)
    await held(front, account="acme_cn")
    await walk(front)
    assert told(front) == []


async def test_hold_that_only_a_later_step_meets_is_told_when_the_plan_comes_to_it(front: FrontDesk) -> None:
    await front.take(hire(1))
    await held(front, operation="tencent_ccc.DescribeExtension")
    await walk(front)
    assert told(front) == []
    await front.settle("hire-1", "extension", DONE)
    await walk(front)
    assert told(front) == ["hire-1"]


async def test_many_plans_are_looked_at_page_by_page(front: FrontDesk) -> None:
    await front.take(*[hire(number) for number in range(1, 206)])
    await held(front, account="acme_cn")
    telling = front.telling
    assert await telling.run_once() is True
    assert len(told(front)) == 200
    assert await telling.run_once() is False
    assert len(told(front)) == 205


async def test_loop_tells_within_seconds_and_ends_when_it_is_asked_to(front: FrontDesk) -> None:
    await front.take(hire(1))
    stopping = Stopping()
    loop = asyncio.ensure_future(front.telling.run(stopping))
    await front.clock.advance(5.0)
    await held(front, account="acme_cn")
    await front.clock.advance(5.0)
    assert told(front) == ["hire-1"]
    stopping.ask()
    await front.clock.finish(loop)
