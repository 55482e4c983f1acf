"""What is failing, why one thing is as it is, and when the backlog is empty: read from the ledger, changing nothing."""

from __future__ import annotations

import pytest

from service.application.inspection import Forecast, Queue
from service.application.outbox_relay import OutboxRelay
from service.domain.account import Account, NumberDefaults
from service.domain.command import CommandState, Lane, PlanState, WaitCause
from service.domain.explaining import Explanation, PlanTrace, Wait
from service.domain.forecast import usable_rate
from service.domain.holding import Scope
from service.domain.ledger_state import Changes, Keys
from service.domain.outcome import ErrorClass, Failure, NotYet
from tests.builders import (
    APPROVED,
    CHANGED,
    HIRED,
    NUMBER,
    PURCHASED,
    make_account,
    make_command,
    make_inbound,
    make_intake_policy,
    make_plan,
)
from tests.fakes.kafka import FakePublisher
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import BAD_KEY, DONE, FULL, LOST, WRONG, FrontDesk, asked, done, hire
from tests.unit.application.bench import as_another_owners

CREATE = "tencent_ccc.CreateExtension"
FETCH = "tencent_ccc.DescribeExtension"
AGENT = "agent:workday/E1"
EXTENSION = "extension:acme_cn/1001"
BUSY = Failure(error_class=ErrorClass.RETRYABLE, code="ConnectTimeout", message="no connection")


async def explain(front: FrontDesk, about: str) -> Explanation:
    before = front.snapshot()
    found = await front.inspection.explain(about)
    assert found is not None
    assert front.snapshot() == before, "to explain changes nothing"
    return found


async def trace(front: FrontDesk, event_id: str = "hire-1") -> PlanTrace:
    (found,) = (await explain(front, front.plan(event_id).id)).plans
    return found


async def wait(front: FrontDesk, event_id: str = "hire-1") -> Wait:
    found = (await trace(front, event_id)).wait
    assert found is not None
    return found


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_failures_that_are_alike_are_one_group_with_its_span(front: FrontDesk) -> None:
    first = front.clock.now() + 1
    await front.fail(1)
    await front.clock.advance(100.0)
    await front.fail(2)
    (group,) = await front.inspection.failures()
    assert (group.account, group.operation, group.error_class, group.code) == ("acme_cn", CREATE, "capacity", FULL.code)
    assert (group.number, group.first_at, group.last_at) == (2, first, front.clock.now() - 1)


async def test_failures_are_told_apart_and_the_latest_come_first(front: FrontDesk) -> None:
    await front.fail(1)
    await front.fail(2, failure=WRONG)
    await front.fail(3, account="acme_sg")
    found = [(group.account, group.code) for group in await front.inspection.failures()]
    assert found == [("acme_sg", FULL.code), ("acme_cn", WRONG.code), ("acme_cn", FULL.code)]


async def test_plans_that_failed_as_they_arrived_are_a_group_of_planning(front: FrontDesk) -> None:
    front.policy = make_intake_policy(make_account(numbers=NumberDefaults()))
    await front.take(make_inbound(PURCHASED, "buy-1"))
    (group,) = await front.inspection.failures()
    assert (group.operation, group.error_class, group.number) == ("planning", "incomplete", 1)


async def test_what_was_replayed_with_success_fails_no_more(front: FrontDesk) -> None:
    ids = await front.fail(1, 2)
    await front.replay(ids[0])
    assert [group.number for group in await front.inspection.failures()] == [1]
    await front.complete("hire-1")
    assert [group.number for group in await front.inspection.failures()] == [1]


async def test_nothing_fails_where_nothing_failed(front: FrontDesk) -> None:
    await front.take(hire(1))
    assert await front.inspection.failures() == []


# --- the forecast -----------------------------------------------------------------------------------------------------


def queue_of(forecast: Forecast, operation: str) -> Queue:
    return next(queue for queue in forecast.queues if queue.operation == operation)


async def backlog(front: FrontDesk, lanes: dict[Lane, int], account: str = "acme_cn") -> None:
    """So many due creates in each lane, all of one account."""
    group = front.policy.planning.accounts[account].group()
    numbers = iter(range(100_000 + len(front.ledger.durable.plans), 200_000))
    for lane, count in lanes.items():
        plans = [make_plan(next(numbers), account=account) for _ in range(count)]
        commands = tuple(make_command(plan, lane=lane, account=account, quota_group=group) for plan in plans)
        await store(front, Changes(plans=tuple(plans), commands=commands))


async def store(front: FrontDesk, changes: Changes) -> None:
    await front.ledger.transact(Keys(), lambda _: changes)


async def test_lane_alone_has_the_whole_quota(front: FrontDesk) -> None:
    await backlog(front, {Lane.REPLAY: 40})
    forecast = await front.inspection.forecast()
    (queue,) = forecast.queues
    assert (queue.backlog, queue.quota, queue.held, queue.not_due) == ({Lane.REPLAY: 40}, 20.0, 0, 0)
    assert queue.rate == usable_rate(20.0)
    assert queue.empty_in == {Lane.REPLAY: pytest.approx(40 / queue.rate)}
    assert forecast.empty_in == pytest.approx(40 / queue.rate)


async def test_lanes_share_the_quota_and_lend_what_they_leave(front: FrontDesk) -> None:
    await backlog(front, {Lane.LIVE: 80, Lane.REPLAY: 20})
    (queue,) = (await front.inspection.forecast()).queues
    live = 80 / (queue.rate * 80 / 85)
    assert queue.empty_in == {Lane.LIVE: pytest.approx(live), Lane.REPLAY: pytest.approx(100 / queue.rate)}


async def test_later_steps_and_retries_are_backlog_too(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await front.settle("hire-2", "extension", BUSY)
    assert front.step("hire-2", "extension").cause is WaitCause.RETRY
    forecast = await front.inspection.forecast()
    assert queue_of(forecast, CREATE).backlog == {Lane.LIVE: 2}
    assert queue_of(forecast, FETCH).backlog == {Lane.LIVE: 2}


async def test_what_waits_for_an_approval_a_date_or_a_doubt_is_not_due(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2, effective_at="2027-02-01"))
    await front.settle("hire-1", "extension", LOST)
    queue = queue_of(await front.inspection.forecast(), CREATE)
    assert (queue.backlog, queue.not_due) == ({}, 2)


@pytest.mark.parametrize("scope", [Scope(account="acme_cn"), Scope(operation=CREATE)])
async def test_what_is_held_is_left_out_and_counted(front: FrontDesk, scope: Scope) -> None:
    await backlog(front, {Lane.LIVE: 30})
    done(await front.desk.hold(asked(), scope))
    (queue,) = (await front.inspection.forecast()).queues
    assert (queue.backlog, queue.held, queue.empty_in) == ({}, 30, {})
    assert (await front.inspection.forecast()).empty_in == 0.0


@pytest.mark.parametrize("scope", [Scope(account="acme_sg"), Scope(subject=AGENT), Scope(resource=EXTENSION)])
async def test_hold_of_something_else_or_of_one_thing_alone_changes_no_forecast(front: FrontDesk, scope: Scope) -> None:
    await backlog(front, {Lane.LIVE: 30})
    done(await front.desk.hold(asked(), scope))
    (queue,) = (await front.inspection.forecast()).queues
    assert (queue.backlog, queue.held) == ({Lane.LIVE: 30}, 0)


async def test_released_hold_counts_no_more(front: FrontDesk) -> None:
    await backlog(front, {Lane.LIVE: 30})
    hold_id = done(await front.desk.hold(asked(), Scope(account="acme_cn")))["id"]
    done(await front.desk.release(asked(), hold_id))
    assert (await front.inspection.forecast()).queues[0].backlog == {Lane.LIVE: 30}


async def test_what_a_sick_account_stops_is_held_also_what_found_it_out(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await front.settle("hire-1", "extension", BAD_KEY)
    assert front.step("hire-1", "extension").cause is WaitCause.QUARANTINE
    queue = queue_of(await front.inspection.forecast(), CREATE)
    assert (queue.backlog, queue.held, queue.not_due) == ({}, 2, 0)


async def test_more_hires_are_added_to_what_waits(front: FrontDesk) -> None:
    await backlog(front, {Lane.LIVE: 10})
    forecast = await front.inspection.forecast(hires=200)
    assert forecast.hires == 200
    assert queue_of(forecast, CREATE).backlog == {Lane.LIVE: 210}
    assert queue_of(forecast, FETCH).backlog == {Lane.LIVE: 200}
    assert forecast.empty_in == pytest.approx(210 / usable_rate(20.0))
    assert len(front.ledger.durable.commands) == 10


async def test_more_hires_are_those_of_the_account_that_is_named(front: FrontDesk) -> None:
    forecast = await front.inspection.forecast(hires=5, account="acme_sg")
    assert {queue.accounts for queue in forecast.queues} == {("acme_sg",)}


async def test_no_account_that_can_hire_has_no_more_hires(front: FrontDesk) -> None:
    front.policy = make_intake_policy(Account(name="acme_hw", vendor="huawei_aicc"))
    assert (await front.inspection.forecast(hires=5)).queues == ()


async def test_changed_quota_is_what_a_forecast_goes_by(front: FrontDesk) -> None:
    await backlog(front, {Lane.LIVE: 30})
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, 2.0))
    (queue,) = (await front.inspection.forecast()).queues
    assert queue.quota == 2.0
    assert queue.empty_in == {Lane.LIVE: pytest.approx(30 / usable_rate(2.0))}
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, None))
    assert (await front.inspection.forecast()).queues[0].quota == 20.0


async def test_accounts_of_one_quota_group_are_one_queue(front: FrontDesk) -> None:
    front.policy = make_intake_policy(make_account(quota_group="g"), make_account(name="b", quota_group="g"))
    await backlog(front, {Lane.LIVE: 10})
    await backlog(front, {Lane.LIVE: 5}, account="b")
    (queue,) = (await front.inspection.forecast()).queues
    assert (queue.accounts, queue.backlog) == (("acme_cn", "b"), {Lane.LIVE: 15})


async def test_work_of_an_account_that_is_configured_no_more_is_in_no_forecast(front: FrontDesk) -> None:
    await backlog(front, {Lane.LIVE: 10})
    front.policy = make_intake_policy(make_account(name="other"))
    assert (await front.inspection.forecast()).queues == ()


async def test_empty_ledger_is_empty_now(front: FrontDesk) -> None:
    assert await front.inspection.forecast() == Forecast(hires=0, queues=(), empty_in=0.0)


# --- explain: by which names ------------------------------------------------------------------------------------------


async def test_command_plan_event_subject_and_resource_lead_to_the_same_plan(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    plan = front.plan("hire-1")
    command = front.step("hire-1", "registration")
    for about in (plan.id, command.id, "hire-1", AGENT, EXTENSION):
        found = await explain(front, about)
        assert [one.plan.id for one in found.plans] == [plan.id], about
        assert (found.about, found.at, found.more) == (about, front.clock.now(), 0)


@pytest.mark.parametrize(
    "about", ["nobody", "plan_x", "cmd_x", "agent:workday/E9", "extension:acme_cn/9", "urn:uuid:9", "agent:", ":", "E1"]
)
async def test_name_that_nobody_knows_has_no_explanation(front: FrontDesk, about: str) -> None:
    await front.take(hire(1))
    assert await front.inspection.explain(about) is None


async def test_event_whose_id_is_a_urn_is_found(front: FrontDesk) -> None:
    await front.take(hire(1, "urn:uuid:6e8b"))
    (found,) = (await explain(front, "urn:uuid:6e8b")).plans
    assert found.plan.event_id == "urn:uuid:6e8b"


async def test_same_event_id_of_two_sources_has_both_plans(front: FrontDesk) -> None:
    await front.take(
        hire(1, "same"), make_inbound(HIRED, "same", data={"agent_id": "E2", "extension": "1002"}, source="urn:other")
    )
    found = await explain(front, "same")
    assert {one.plan.event_source for one in found.plans} == {"urn:hr", "urn:other"}
    assert len(found.events) == 2


async def test_plan_that_moved_to_another_subject_is_found_by_its_event(front: FrontDesk) -> None:
    good, front.policy = front.policy, make_intake_policy(make_account(name="other"))
    await front.take(make_inbound(PURCHASED, "buy-1", data={"number": "021 5000 1234"}))
    before = front.plan("buy-1")
    front.policy = good
    await front.replay(before.id)
    assert front.plan("buy-1").subject != before.subject
    (found,) = (await explain(front, "buy-1")).plans
    assert (found.plan.id, found.plan.state) == (before.id, PlanState.OPEN)


async def test_fact_is_explained_without_a_plan(front: FrontDesk) -> None:
    await front.take(make_inbound(APPROVED, "ok-1"))
    found = await explain(front, "ok-1")
    assert (found.plans, [event.type for event in found.events]) == ((), [APPROVED])


async def test_subject_shows_its_events_and_what_is_bound_to_it(front: FrontDesk) -> None:
    await front.take(hire(1), make_inbound(CHANGED, "change-1", data={"name": "New"}))
    found = await explain(front, AGENT)
    assert [event.id for event in found.events] == ["change-1", "hire-1"]
    assert [(binding.subject, binding.resource) for binding in found.bindings] == [(AGENT, EXTENSION)]


async def test_newest_plans_come_first_and_older_ones_are_counted(front: FrontDesk) -> None:
    for number in range(23):
        await front.take(make_inbound(CHANGED, f"change-{number}", data={"extension": "1001", "name": f"N {number}"}))
    found = await explain(front, AGENT)
    assert [one.plan.event_id for one in found.plans] == [f"change-{number}" for number in range(22, 2, -1)]
    assert found.more == 3


# --- explain: one plan ------------------------------------------------------------------------------------------------


async def test_trace_says_where_the_plan_came_from_and_what_was_sent(front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.settle("hire-1", "extension", DONE)
    found = await trace(front)
    assert (found.plan.topic, found.plan.partition, found.plan.offset) == ("hr.events", 0, 1)
    assert found.event is not None
    assert found.event.id == "hire-1"
    assert [(story.command.step, story.command.state.value) for story in found.steps] == [
        ("extension", "succeeded"),
        ("registration", "pending"),
    ]
    assert [row.after.value for row in found.steps[0].history] == ["pending", "in_flight", "succeeded"]


async def test_plan_whose_event_is_gone_is_explained_without_it(front: FrontDesk) -> None:
    await front.take(hire(1))
    front.ledger.durable.events.clear()
    assert (await trace(front)).event is None


async def test_what_was_told_comes_with_when_kafka_had_it(front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.complete("hire-1")
    assert [(kind, at) for kind, _, at in (await trace(front)).told if kind.startswith("provisioning.plan")] == [
        ("provisioning.plan.completed.v1", None)
    ]
    relay = OutboxRelay(
        ledger=front.ledger, publisher=FakePublisher(), clock=front.clock, telemetry=RecordingTelemetry()
    )
    await relay.run_once()
    told = (await trace(front)).told
    assert {kind for kind, _, _ in told} == {"provisioning.command.succeeded.v1", "provisioning.plan.completed.v1"}
    assert {at for _, _, at in told} == {front.clock.now()}
    assert {one for _, one, _ in told} == set(front.ledger.durable.outbox)


async def test_what_was_told_of_earlier_epochs_is_told_too(front: FrontDesk) -> None:
    ids = await front.fail(1)
    await front.replay(*ids)
    await front.settle("hire-1", "extension", FULL)
    told = [kind for kind, _, _ in (await trace(front)).told]
    assert told.count("provisioning.plan.failed.v1") == 2


async def test_later_events_that_went_ahead_are_named(front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.complete("hire-1")
    await front.take(make_inbound(CHANGED, "change-1", data={"name": "Old"}))
    await front.settle("change-1", "extension", WRONG)
    assert (await trace(front, "change-1")).overtaken_by == ()
    await front.take(make_inbound(CHANGED, "change-2", data={"name": "New"}))
    await front.complete("change-2")
    assert (await trace(front, "change-1")).overtaken_by == (front.plan("change-2").id,)
    assert (await trace(front, "change-2")).overtaken_by == ()


# --- explain: what a plan waits for -----------------------------------------------------------------------------------


async def test_what_is_due_waits_for_its_turn_and_it_is_known_when_that_ends(front: FrontDesk) -> None:
    await front.take(hire(1))
    await backlog(front, {Lane.LIVE: 99})
    found = await wait(front)
    assert (found.cause, found.who_acts) == ("quota", "cordboard")
    assert found.expected_at == pytest.approx(front.clock.now() + 100 / usable_rate(20.0))


async def test_what_is_sent_waits_for_the_vendor(front: FrontDesk) -> None:
    await front.take(hire(1))
    as_another_owners(front.ledger, front.step("hire-1", "extension"), state=CommandState.IN_FLIGHT, due_at=None)
    assert ((await wait(front)).cause, (await wait(front)).who_acts) == ("vendor", "vendor")


async def test_retry_is_cordboards_and_has_its_time(front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.settle("hire-1", "extension", BUSY)
    found = await wait(front)
    assert (found.cause, found.who_acts) == ("retry", "cordboard")
    assert found.expected_at == front.step("hire-1", "extension").due_at


async def test_effective_date_is_nobodys_and_has_its_time(front: FrontDesk) -> None:
    await front.take(hire(1, effective_at="2027-02-01"))
    found = await wait(front)
    assert (found.cause, found.who_acts, found.expected_at) == (
        "effective_date",
        "nobody",
        front.plan("hire-1").effective_at,
    )


async def test_approval_is_the_vendors(front: FrontDesk) -> None:
    await front.take(make_inbound(PURCHASED, "buy-1"))
    await front.settle("buy-1", "application", DONE)
    await front.settle("buy-1", "approval", NotYet())
    found = await wait(front, "buy-1")
    assert (found.cause, found.who_acts) == ("approval", "vendor")


async def test_doubt_that_can_be_read_back_is_cordboards(front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.settle("hire-1", "extension", LOST)
    as_another_owners(front.ledger, front.step("hire-1", "extension"), lane=Lane.SETTLE)
    found = await wait(front)
    assert (found.cause, found.who_acts) == ("in_doubt", "cordboard")
    assert found.expected_at is not None


async def test_doubt_that_can_not_be_read_back_is_an_operators(front: FrontDesk) -> None:
    await front.take(make_inbound(PURCHASED, "buy-1"))
    await front.settle("buy-1", "application", LOST)
    found = await wait(front, "buy-1")
    assert (found.cause, found.who_acts, found.expected_at) == ("in_doubt", "operator", None)


async def test_hold_is_an_operators_with_its_reason_and_id(front: FrontDesk) -> None:
    await front.take(hire(1))
    hold_id = done(await front.desk.hold(asked(reason="maintenance"), Scope(resource=EXTENSION)))["id"]
    found = await wait(front)
    assert (found.cause, found.who_acts, found.hold) == ("hold", "operator", hold_id)
    assert found.sentence == "a hold by ann: maintenance"


async def test_released_hold_is_waited_for_no_more(front: FrontDesk) -> None:
    await front.take(hire(1))
    hold_id = done(await front.desk.hold(asked(), Scope(resource=EXTENSION)))["id"]
    done(await front.desk.release(asked(), hold_id))
    assert (await wait(front)).cause == "quota"


async def test_sick_account_is_cordboards_for_what_found_it_out_and_all_behind_it(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await front.settle("hire-1", "extension", BAD_KEY)
    for event_id in ("hire-1", "hire-2"):
        found = await wait(front, event_id)
        assert (found.cause, found.who_acts) == ("quarantine", "cordboard"), event_id
    assert (await wait(front, "hire-2")).hold is not None


async def test_plan_behind_another_of_its_subject_names_it(front: FrontDesk) -> None:
    await front.take(make_inbound(PURCHASED, "buy-1"))
    await front.settle("buy-1", "application", DONE)
    await front.take(make_inbound(PURCHASED, "buy-2"))
    found = await wait(front, "buy-2")
    assert (found.cause, found.who_acts, found.behind) == ("earlier_work", "cordboard", (front.plan("buy-1").id,))
    assert NUMBER in front.plan("buy-2").subject


async def test_ended_plan_waits_for_nothing(front: FrontDesk) -> None:
    await front.fail(1)
    assert (await trace(front)).wait is None
    await front.take(hire(2))
    await front.complete("hire-2")
    assert (await trace(front, "hire-2")).wait is None
