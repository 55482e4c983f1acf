"""One event from Kafka to Kafka, through every step, with the vendors' own operations: only the edges are fakes."""

from __future__ import annotations

import asyncio
from typing import Any

from service.domain.outcome import Call
from tests.fakes.clock import VirtualClock
from tests.fakes.vendor import LOST
from tests.unit.application.events import approved, hired, purchased, route_purchased
from tests.unit.application.house import APPLY, CREATE, CREATE_ROUTE, LIST_NUMBERS, PASSWORD, House, World


async def test_hire_ends_as_a_completed_plan(house: House, world: World) -> None:
    await house.take(hired(1))
    assert house.calls() == ["DescribeExtensions", "CreateExtension", "DescribeExtension"]
    assert set(world.extensions) == {"1001"}
    assert house.types() == ["command.succeeded", "command.succeeded", "plan.completed"]
    (completed,) = house.published("provisioning.plan.completed.v1")
    agent = completed["data"]["agent"]
    assert (agent["agent_id"], agent["account"], agent["extension"]) == ("E1", "acme_cn", "1001")
    assert (agent["domain"], agent["transport"], agent["credential"]) == ("sip.example.com", "tls", "none")
    assert (completed["causationid"], completed["data"]["caused_by"]["event_id"]) == ("hire-1", "hire-1")
    assert [record.offset for record in house.source.committed] == [0]


async def test_password_and_person_reach_no_message_row_or_line(house: House) -> None:
    await house.take(hired(1))
    durable = house.ledger.durable
    everything = [house.publisher.log, durable.commands, durable.attempts, durable.bindings, durable.history]
    assert PASSWORD not in str([*everything, durable.events, house.telemetry.lines])
    assert "Ada" not in str([house.publisher.log, house.telemetry.lines])


async def test_same_hire_again_under_any_id_creates_nothing_again(house: House) -> None:
    await house.take(hired(1), hired(1), hired(1, event_id="again"))
    assert house.calls().count("CreateExtension") == 1
    results = [
        step["result"] for done in house.published("provisioning.plan.completed.v1") for step in done["data"]["steps"]
    ]
    assert results == ["done", "done", "unchanged", "done"]


async def test_hires_share_their_looks(house: House) -> None:
    await house.take(*[hired(n) for n in range(1, 21)])
    assert len(house.published("provisioning.plan.completed.v1")) == 20
    assert house.calls().count("DescribeExtensions") <= 3


async def test_number_waits_for_its_approval_and_is_then_bound(house: House, clock: VirtualClock) -> None:
    await house.take(purchased(), topic="crm.events")
    assert house.calls() == ["DescribeNumbers", "CreateOwnNumberApply"]
    assert house.types() == ["command.succeeded", "plan.waiting"]
    (waiting,) = house.published("provisioning.plan.waiting.v1")
    assert waiting["data"]["cause"] == "approval"
    await clock.advance(30.0)
    await house.take(approved(apply_id=4711), topic="crm.events")
    assert house.calls()[2:] == ["BindNumberCallInInterface"]
    (completed,) = house.published("provisioning.plan.completed.v1")
    number = completed["data"]["number"]
    assert (number["number"], number["apply_id"], number["bound"]) == ("+8675512345678", 4711, True)


async def test_approval_that_came_early_is_taken_when_the_wait_begins(house: House) -> None:
    await house.take(approved(), purchased(), topic="crm.events")
    assert len(house.published("provisioning.plan.completed.v1")) == 1
    assert house.published("provisioning.plan.waiting.v1") == []


async def test_approval_that_nobody_tells_is_found_by_looking_slowly(
    house: House, world: World, clock: VirtualClock
) -> None:
    await house.take(purchased(), topic="crm.events")
    await clock.advance(301.0)
    await house.work()
    assert house.published("provisioning.plan.completed.v1") == []
    world.numbers.append("008675512345678")
    await clock.advance(301.0)
    await house.work()
    (completed,) = house.published("provisioning.plan.completed.v1")
    assert completed["data"]["number"]["bound"] is True
    assert house.calls().count("CreateOwnNumberApply") == 1


async def test_approval_that_comes_while_it_is_looked_for_is_taken_once(house: House, clock: VirtualClock) -> None:
    await house.take(purchased(), topic="crm.events")
    await clock.advance(301.0)
    house.vendors["acme_cn"].answering.clear()
    await clock.finish(house.execution.run_once())
    await clock.advance(1.0)
    house.source.add(approved(), topic="crm.events")
    await clock.finish(house.intake.run_once())
    house.vendors["acme_cn"].answering.set()
    await house.work()
    assert len(house.published("provisioning.plan.completed.v1")) == 1
    assert house.telemetry.counted("outcomes_dropped_total", operation=LIST_NUMBERS) == 1


async def test_lost_reply_to_an_application_is_never_sent_again_and_an_approval_settles_it(
    house: House, clock: VirtualClock
) -> None:
    house.vendors["acme_cn"].script(APPLY, LOST)
    await house.take(purchased(), topic="crm.events")
    assert house.types() == ["command.in_doubt", "plan.waiting"]
    await clock.advance(24 * 3600.0)
    await house.work()
    assert house.calls().count("CreateOwnNumberApply") == 1
    await house.take(approved(apply_id=4711), topic="crm.events")
    (completed,) = house.published("provisioning.plan.completed.v1")
    assert completed["data"]["number"]["apply_id"] == 4711
    assert house.calls().count("CreateOwnNumberApply") == 1


async def test_called_route_is_ensured_at_the_other_vendor(house: House, world: World) -> None:
    await house.take(route_purchased(), topic="crm.events")
    assert house.calls() == ["queryCalledRoute", "createCalledRoute"]
    assert [(route["accessCode"], route["deviceId"]) for route in world.routes] == [("4001", 30)]
    (completed,) = house.published("provisioning.plan.completed.v1")
    route = completed["data"]["route"]
    assert (route["account"], route["access_code"], route["skill_queue"]) == ("acme_hw", "4001", 30)


async def test_process_that_dies_with_a_call_out_leaves_one_doubt_and_sends_nothing_again(house: House) -> None:
    house.source.add(hired(1))
    house.vendors["acme_cn"].on_arrival = _stop_before(house, CREATE)
    await house.clock.finish(house.intake.run_once())
    await house.clock.finish(house.execution.run_once())
    await house.clock.until(lambda: "CreateExtension" in house.calls())
    await house.restart()
    house.vendors["acme_cn"].answering.set()
    await house.work()
    assert house.types() == ["command.in_doubt", "plan.waiting"]
    assert house.calls().count("CreateExtension") == 1


async def test_process_that_dies_before_the_mark_does_the_work_after_its_restart(house: House) -> None:
    house.source.add(hired(1))
    await house.clock.finish(house.intake.run_once())
    await house.clock.finish(house.execution.run_once())
    await house.restart()
    await house.work()
    assert len(house.published("provisioning.plan.completed.v1")) == 1
    assert house.calls().count("CreateExtension") == 1


async def test_mixed_day_keeps_every_quota_and_ends_every_plan(house: House, clock: VirtualClock) -> None:
    for number in range(1, 61):
        house.source.add(hired(number))
    for number in range(8):
        house.source.add(route_purchased(f"50{number}", event_id=f"route-{number}"), topic="crm.events")
    house.source.add(b"<xml/>")
    await house.work()
    assert len(house.published("provisioning.plan.completed.v1")) == 68
    assert house.types().count("dlq.hr.events") == 1
    for name, rate in ((CREATE, 20), (CREATE_ROUTE, 5)):
        times = [a.at for vendor in house.vendors.values() for a in vendor.journal if a.call.operation == name]
        assert all(after - before >= 1.0 for before, after in zip(times, times[rate:], strict=False))
    assert asyncio.all_tasks() == {asyncio.current_task()}


def _stop_before(house: House, operation: str) -> Any:
    def stop(call: Call) -> None:
        if call.operation == operation:
            house.vendors["acme_cn"].answering.clear()

    return stop
