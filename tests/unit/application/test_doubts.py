"""What is in doubt is settled by its operation's own rule, and never sent again before."""

from __future__ import annotations

from itertools import pairwise

from service.domain.outcome import Call, Failure, Reply
from service.domain.settling import SettlingPolicy
from tests.fakes.clock import VirtualClock
from tests.fakes.vendor import BUSY, LOST
from tests.unit.application.events import approved, hired, purchased, route_purchased
from tests.unit.application.house import APPLY, BIND, CREATE, CREATE_ROUTE, House, World

POLICY = SettlingPolicy()
GAP = POLICY.absent_gap_seconds


def lose_after_applying(house: House, account: str, operation: str) -> None:
    """The vendor does the next call of the operation, and its reply is lost."""
    vendor = house.vendors[account]
    answer, lost = vendor._answer, [operation]

    def apply_and_lose(call: Call) -> Reply:
        reply = answer(call)
        if call.operation in lost and not isinstance(reply, Failure):
            lost.remove(call.operation)
            return LOST
        return reply

    vendor._answer = apply_and_lose


async def wait(house: House, seconds: float) -> None:
    """Let time pass in steps, working all the while."""
    for _ in range(round(seconds / 5) + 1):
        await house.clock.advance(5.0)
        await house.work()


async def test_extension_that_was_created_is_found_and_not_created_again(house: House) -> None:
    lose_after_applying(house, "acme_cn", CREATE)
    await house.take(hired(1))
    assert house.types() == ["command.in_doubt", "plan.waiting"]
    await wait(house, 5)
    assert house.calls().count("CreateExtension") == 1
    assert house.types()[2:] == ["command.succeeded", "command.succeeded", "plan.completed"]
    assert house.published("provisioning.command.succeeded.v1")[0]["data"]["result"] == "done"


async def test_extension_that_was_not_created_is_sent_again_only_after_two_absent_looks(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, LOST)
    await house.take(hired(1))
    await wait(house, GAP - 10)
    assert house.calls().count("CreateExtension") == 1
    assert house.calls().count("DescribeExtensions") == 2, "once before it was sent, once after the doubt"
    await wait(house, 20)
    assert house.calls().count("CreateExtension") == 2
    assert house.types()[-1] == "plan.completed"


async def test_extension_that_appears_late_is_not_created_again(house: House, world: World) -> None:
    house.vendors["acme_cn"].script(CREATE, LOST)
    await house.take(hired(1))
    await wait(house, 10)
    world.CreateExtension({"ExtensionId": "1001", "ExtensionName": "Ada Example", "Relation": "e1@example.com"})
    await wait(house, GAP)
    assert house.calls().count("CreateExtension") == 1
    assert house.types()[-1] == "plan.completed"


async def test_read_that_fails_proves_no_absence(house: House) -> None:
    vendor = house.vendors["acme_cn"]
    vendor.script(CREATE, LOST)
    await house.take(hired(1))
    vendor.script("tencent_ccc.DescribeExtensions", *[LOST] * 40)
    await wait(house, 2 * GAP)
    assert house.calls().count("CreateExtension") == 1
    assert house.types() == ["command.in_doubt", "plan.waiting"]


async def test_route_is_read_back_like_an_extension(house: House) -> None:
    lose_after_applying(house, "acme_hw", CREATE_ROUTE)
    await house.take(route_purchased(), topic="crm.events")
    await wait(house, 5)
    assert house.calls().count("createCalledRoute") == 1
    assert house.types()[-1] == "plan.completed"


async def test_bind_is_applied_again(house: House) -> None:
    lose_after_applying(house, "acme_cn", BIND)
    await house.take(purchased(), approved(), topic="crm.events")
    assert "command.in_doubt" in house.types()
    await wait(house, 5)
    assert house.calls().count("BindNumberCallInInterface") == 2
    assert house.types()[-1] == "plan.completed"


async def test_bind_in_doubt_whose_repeat_is_turned_away_stays_in_doubt(house: House) -> None:
    house.vendors["acme_cn"].script(BIND, LOST, BUSY, BUSY)
    await house.take(purchased(), approved(), topic="crm.events")
    await wait(house, 60)
    assert "command.failed" not in house.types()
    assert house.types()[-1] == "plan.completed"
    assert house.calls().count("BindNumberCallInInterface") == 4


async def test_application_is_watched_slowly_and_adopted_when_its_number_is_live(house: House, world: World) -> None:
    house.vendors["acme_cn"].script(APPLY, LOST)
    await house.take(purchased(), topic="crm.events")
    looked = house.calls().count("DescribeNumbers")
    await wait(house, POLICY.approval_poll_seconds * 2)
    assert house.calls().count("DescribeNumbers") <= looked + 2
    world.numbers.append("008675512345678")
    await wait(house, POLICY.approval_poll_seconds)
    assert house.calls().count("CreateOwnNumberApply") == 1
    (completed,) = house.published("provisioning.plan.completed.v1")
    assert completed["data"]["number"]["apply_id"] is None
    assert completed["data"]["steps"][0]["result"] == "adopted"


async def test_approval_that_came_before_the_doubt_settles_it(house: House, clock: VirtualClock) -> None:
    vendor = house.vendors["acme_cn"]
    vendor.script(APPLY, LOST)
    house.source.add(purchased(), topic="crm.events")
    await clock.finish(house.intake.run_once())
    vendor.answering.clear()
    await clock.finish(house.execution.run_once())
    await clock.advance(1.0)
    house.source.add(approved(apply_id=4711), topic="crm.events")
    await clock.finish(house.intake.run_once())
    vendor.answering.set()
    await house.work()
    await wait(house, 5)
    assert house.types()[-1] == "plan.completed"
    assert house.calls().count("CreateOwnNumberApply") == 1


async def test_doubt_left_by_a_dead_process_is_settled_by_the_next(house: House, clock: VirtualClock) -> None:
    house.vendors["acme_cn"].answering.clear()
    house.source.add(hired(1))
    await clock.finish(house.intake.run_once())
    await clock.finish(house.execution.run_once())
    await clock.until(lambda: house.calls().count("DescribeExtensions") == 1, within=5.0)
    house.vendors["acme_cn"].answering.set()
    await clock.until(lambda: house.calls().count("CreateExtension") == 1, within=5.0)
    await house.restart()
    await wait(house, GAP + 10)
    assert house.types()[-1] == "plan.completed"
    assert [row.attempts for row in house.ledger.durable.commands.values() if row.step == "extension"] in ([1], [2])


async def test_work_behind_a_doubt_waits_for_it(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, LOST)
    await house.take(hired(1), hired(1, event_id="again"))
    assert house.calls().count("CreateExtension") == 1
    await wait(house, GAP + 10)
    assert house.calls().count("CreateExtension") == 2
    assert len(house.published("provisioning.plan.completed.v1")) == 2


# ---------------------------------------------------------------------- reads that are behind our own work


async def test_next_work_waits_until_reads_show_what_we_did_ourselves(house: House, world: World) -> None:
    await house.take(hired(1))
    kept = dict(world.extensions)
    world.extensions.clear()  # the vendor's reads lag behind
    await house.take(hired(1, event_id="again"))
    assert house.calls().count("CreateExtension") == 1, "absence so soon after our own create proves nothing"
    world.extensions.update(kept)
    await wait(house, POLICY.read_lag_seconds + 5)
    assert house.calls().count("CreateExtension") == 1
    assert len(house.published("provisioning.plan.completed.v1")) == 2
    assert all(row.retries == 0 for row in house.ledger.durable.commands.values()), "waiting is no failed try"


async def test_read_that_shows_our_own_work_is_trusted_at_once(house: House) -> None:
    await house.take(hired(1), hired(1, event_id="again"))
    assert len(house.published("provisioning.plan.completed.v1")) == 2


async def test_leap_of_the_wall_clock_proves_no_absence(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, LOST)
    await house.take(hired(1))
    await house.clock.advance(5.0)
    await house.work()
    house.clock.step_wall(3600.0)
    house.vendors["acme_cn"].script("tencent_ccc.DescribeExtensions", LOST)  # nor does a look that fails meanwhile
    await house.work()
    await wait(house, 10)
    assert house.calls().count("CreateExtension") == 1
    await wait(house, GAP)
    assert house.calls().count("CreateExtension") == 2


# ---------------------------------------------------------------------- how often, and how long apart


async def test_create_without_any_clear_answer_is_sent_ever_more_rarely_and_at_last_fails(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, *[LOST] * 100)
    await house.take(hired(1))
    for _ in range(200):
        await house.clock.advance(60.0)
        await house.work()
    sent = [a.at for a in house.vendors["acme_cn"].journal if a.call.operation == CREATE]
    assert 2 < len(sent) <= 17
    assert house.types()[-1] == "plan.failed"
    assert house.published("provisioning.plan.failed.v1")[0]["data"]["failure"]["error_class"] == "permanent"


async def test_repeats_of_a_bind_without_a_clear_answer_come_ever_later(house: House) -> None:
    house.vendors["acme_cn"].script(BIND, *[LOST] * 6)
    await house.take(purchased(), approved(), topic="crm.events")
    await wait(house, 200)
    sent = [a.at for a in house.vendors["acme_cn"].journal if a.call.operation == BIND]
    pauses = [later - first for first, later in pairwise(sent)]
    assert len(sent) == 7
    assert pauses[-1] > 2 * pauses[2]
    assert house.types()[-1] == "plan.completed"


async def test_looks_at_an_absent_extension_come_no_oftener_than_the_gap(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, LOST)
    await house.take(hired(1))
    await house.clock.advance(5.0)
    await house.work()
    await house.restart()
    await wait(house, GAP + 10)
    assert house.calls().count("DescribeExtensions") <= 5
    assert house.calls().count("CreateExtension") == 2


async def test_second_purchase_right_after_an_approval_believes_no_listing_that_lacks_the_number(
    house: House, world: World
) -> None:
    outbound = {"call_type": "outbound"}
    await house.take(purchased(**outbound), purchased(event_id="buy-2", **outbound), topic="crm.events")
    await house.clock.advance(60.0)
    await house.take(approved(apply_id=4711), topic="crm.events")
    assert house.calls().count("CreateOwnNumberApply") == 1, "the listing is behind the approval"
    world.numbers.append("008675512345678")
    await wait(house, POLICY.read_lag_seconds + 5)
    assert house.calls().count("CreateOwnNumberApply") == 1
    assert len(house.published("provisioning.plan.completed.v1")) == 2
