"""A sick account is left alone by the whole walk: its work waits, others go on, a probe finds out, and it recovers."""

from __future__ import annotations

from service.domain.outcome import ErrorClass, Failure
from service.domain.quarantine import QuarantinePolicy
from tests.unit.application.events import event, hired, route_purchased
from tests.unit.application.house import BIND, CREATE, House, World

POLICY = QuarantinePolicy()
LOOK = "tencent_ccc.DescribeExtensions"
REFUSED_KEY = Failure(error_class=ErrorClass.CREDENTIALS, code="AuthFailure.SecretIdNotFound", message="m")
NO_RIGHT = Failure(error_class=ErrorClass.CREDENTIALS, code="UnauthorizedOperation", message="m", operation_only=True)
DOWN = Failure(error_class=ErrorClass.RETRYABLE, code="ConnectTimeout", message="m")
LOST = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="m")


async def test_account_with_a_refused_key_is_probed_by_one_command_and_others_go_on(house: House) -> None:
    vendor = house.vendors["acme_cn"]
    vendor.script(LOOK, *[REFUSED_KEY] * 4)
    await house.take(hired(1))
    await house.take(*[hired(n) for n in range(2, 30)])
    await house.take(route_purchased(), topic="crm.events")
    assert house.calls().count("DescribeExtensions") == 1, "only what found it out has asked"
    assert [e["data"]["account"] for e in house.published("provisioning.account.quarantined.v1")] == ["acme_cn"]
    assert len(house.published("provisioning.plan.completed.v1")) == 1, "the other account's"


async def test_account_recovers_by_itself_and_all_its_work_is_done(house: House, world: World) -> None:
    house.vendors["acme_cn"].script(LOOK, *[REFUSED_KEY] * 3)
    await house.take(hired(1))
    await house.take(*[hired(n) for n in range(2, 30)])
    for _ in range(20):
        await house.clock.advance(POLICY.probe_seconds)
        await house.work()
    assert len(house.published("provisioning.account.quarantined.v1")) == 1
    assert len(house.published("provisioning.account.recovered.v1")) == 1
    assert len(world.extensions) == 29
    assert len(house.published("provisioning.plan.completed.v1")) == 29
    assert house.published("provisioning.plan.failed.v1") == []


async def test_missing_right_stops_its_operation_alone(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, NO_RIGHT)
    await house.take(hired(1))
    (hold,) = house.ledger.durable.holds.values()
    assert (hold.account, hold.operation) == ("acme_cn", CREATE)


async def test_vendor_that_can_not_be_reached_is_left_alone_after_a_run(house: House) -> None:
    house.vendors["acme_cn"].script(LOOK, *[DOWN] * 60)
    await house.take(*[hired(n) for n in range(1, 31)])
    for _ in range(60):
        await house.clock.advance(1.0)
        await house.work()
    assert len(house.published("provisioning.account.quarantined.v1")) == 1
    asked = house.calls().count("DescribeExtensions")
    await house.clock.advance(1.0)
    await house.work()
    assert house.calls().count("DescribeExtensions") <= asked + 1
    house.vendors["acme_cn"]._scripts.clear()
    for _ in range(30):
        await house.clock.advance(10.0)
        await house.work()
    assert len(house.published("provisioning.account.recovered.v1")) == 1
    assert len(house.published("provisioning.plan.completed.v1")) == 30


async def test_few_numbers_that_always_fail_do_not_make_their_account_sick(house: House) -> None:
    house.vendors["acme_cn"].script(BIND, *[LOST] * 1000)
    url = "https://calls.acme.example/in"
    numbers = ("+8675512345678", "+8675512345679")
    routed = [event("crm.number.routed.v1", f"routed-{n}", number=n, callback_url=url) for n in numbers]
    await house.take(*routed, topic="crm.events")
    for _ in range(60):
        await house.clock.advance(60.0)
        await house.work()
    assert house.calls().count("BindNumberCallInInterface") > POLICY.run
    assert house.published("provisioning.account.quarantined.v1") == []
    assert len(house.published("provisioning.plan.failed.v1")) == 2, "what is applied again is bounded like any retry"
    await house.take(hired(1))
    assert len(house.published("provisioning.plan.completed.v1")) == 1, "nobody else waits for it"


async def test_quarantine_outlives_the_process(house: House) -> None:
    house.vendors["acme_cn"].script(LOOK, *[REFUSED_KEY] * 2)
    await house.take(hired(1), hired(2))
    await house.restart()
    await house.work()
    asked = house.calls().count("DescribeExtensions")
    assert asked <= 2
    for _ in range(10):
        await house.clock.advance(10.0)
        await house.work()
    assert len(house.published("provisioning.plan.completed.v1")) == 2
