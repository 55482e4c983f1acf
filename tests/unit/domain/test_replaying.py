"""Replays of failed plans, walked through the pure rules: what begins again, what is refused, what ends stale."""

from typing import Any

import pytest

from service.domain.account import NumberDefaults
from service.domain.command import CommandState, Lane, PlanState, WaitCause
from service.domain.outcome import ErrorClass, Failure, Result
from service.domain.record_reading import InboundEvent
from service.domain.replaying import ERASED, Eligible, Refused, Why, is_parked
from service.domain.value import replace
from tests.builders import (
    CHANGED,
    HIRED,
    NUMBER,
    PURCHASED,
    REFUSED,
    make_account,
    make_inbound,
    make_intake_policy,
)
from tests.unit.domain.world import TAKEN, WRONG, World, done

FULL = Failure(error_class=ErrorClass.CAPACITY, code="LimitExceeded.Extension", message="no seat is left")
AGENT = "agent:workday/E1"


def hired(event_id: str = "hire-1", **data: Any) -> InboundEvent:
    return make_inbound(HIRED, event_id, data=data or None)


def change(event_id: str = "change-1", **data: Any) -> InboundEvent:
    return make_inbound(CHANGED, event_id, data=data)


def failed(failure: Failure = FULL, step: str = "extension") -> World:
    """A hire of which a step failed."""
    world = World()
    world.take(hired())
    if step == "registration":
        world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", step, failure)
    world.now += 60
    return world


def test_replay_opens_the_next_epoch_with_the_failed_step_and_those_cancelled_after_it() -> None:
    world = failed()
    verdict = world.replay("hire-1")
    assert isinstance(verdict, Eligible)
    plan = world.plan("hire-1")
    assert (plan.state, plan.epoch, plan.failure, plan.ended_at) == (PlanState.OPEN, 1, None, None)
    extension, registration = world.steps("hire-1")
    assert (extension.state, extension.epoch, extension.lane) == (CommandState.PENDING, 1, Lane.REPLAY)
    assert (extension.attempts, extension.failure, extension.ended_at) == (0, None, None)
    assert (registration.state, registration.cause) == (CommandState.WAITING, WaitCause.EARLIER_STEP)
    assert [(row.before, row.after, row.actor, row.epoch) for row in world.history[-2:]] == [
        (CommandState.FAILED, CommandState.PENDING, "ann", 1),
        (CommandState.CANCELLED, CommandState.WAITING, "ann", 1),
    ]


def test_replayed_plan_that_succeeds_is_told_once_more_under_ids_of_its_own() -> None:
    world = failed()
    before = {event["id"] for event in world.told()}
    world.replay("hire-1")
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", done())
    assert world.plan("hire-1").state is PlanState.COMPLETED
    after = [event for event in world.told() if event["id"] not in before]
    assert [event["type"] for event in after] == [
        "provisioning.command.succeeded.v1",
        "provisioning.command.succeeded.v1",
        "provisioning.plan.completed.v1",
    ]
    assert {event["data"]["epoch"] for event in after} == {1}


def test_what_succeeded_before_the_failure_is_not_done_again() -> None:
    world = failed(step="registration")
    verdict = world.replay("hire-1")
    assert verdict == Eligible(account="acme_cn", operations=("tencent_ccc.DescribeExtension",))
    extension, registration = world.steps("hire-1")
    assert (extension.state, extension.epoch) == (CommandState.SUCCEEDED, 0)
    assert (registration.state, registration.epoch) == (CommandState.PENDING, 1)


def test_failing_again_is_told_again_and_parks_the_plan() -> None:
    world = failed()
    assert not is_parked(world.plan("hire-1"))
    world.replay("hire-1")
    world.run("hire-1", "extension", FULL)
    assert is_parked(world.plan("hire-1"))
    assert [event["data"]["epoch"] for event in world.told("plan.failed", about="hire-1")] == [0, 1]


@pytest.mark.parametrize("state", ["open", "completed"])
def test_what_did_not_fail_is_left_alone(state: str) -> None:
    world = World()
    world.take(hired())
    if state == "completed":
        world.run("hire-1", "extension", done(), created=True)
        world.run("hire-1", "registration", done())
    before = world.snapshot()
    assert world.replay("hire-1") == Refused(why=Why.RUNNING if state == "open" else Why.SATISFIED)
    assert world.snapshot() == before


def test_replaying_twice_is_harmless() -> None:
    world = failed()
    world.replay("hire-1")
    before = world.snapshot()
    assert world.replay("hire-1") == Refused(why=Why.RUNNING)
    assert world.snapshot() == before


def test_judging_changes_nothing_and_says_what_starting_would_do() -> None:
    world = failed()
    before = world.snapshot()
    judged = world.judge("hire-1")
    assert world.snapshot() == before
    assert world.replay("hire-1") == judged


def overtaken(**later: Any) -> World:
    """A change that failed, and a later one that was applied."""
    world = World()
    world.take(hired())
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", done())
    world.take(change("change-1", name="Old Name"))
    world.run("change-1", "extension", WRONG)
    world.now += 1
    world.take(change("change-2", **(later or {"name": "New Name"})))
    world.run("change-2", "extension", done())
    world.now += 60
    return world


def test_what_a_later_event_overtook_ends_stale_without_effect() -> None:
    world = overtaken()
    assert world.judge("change-1") == Refused(why=Why.OVERTAKEN)
    world.replay("change-1")
    plan = world.plan("change-1")
    assert (plan.state, plan.epoch) == (PlanState.COMPLETED, 1)
    assert world.states("change-1") == ["stale"]
    assert world.kinds(about="change-1")[-2:] == ["command.stale", "plan.completed"]
    binding = world.binding(AGENT)
    assert binding is not None
    assert binding.applied is not None
    assert binding.applied["name"] == "New Name"


def test_what_a_later_event_applied_all_the_same_counts_as_satisfied() -> None:
    world = overtaken(name="Old Name")
    assert world.judge("change-1") == Refused(why=Why.SATISFIED)
    world.replay("change-1")
    assert world.states("change-1") == ["stale"]


def test_a_later_event_that_failed_as_well_overtakes_nothing() -> None:
    world = failed()
    world.take(change("change-1", name="New Name"))
    world.run("change-1", "extension", FULL)
    assert isinstance(world.judge("hire-1"), Eligible)


def test_registration_is_still_fetched_after_a_later_event_made_the_extension() -> None:
    world = failed()
    world.take(change("change-1", name="New Name", extension="1001"))
    world.run("change-1", "extension", done(), created=True)
    assert world.replay("hire-1") == Eligible(account="acme_cn", operations=("tencent_ccc.DescribeExtension",))
    assert world.states("hire-1") == ["stale", "pending"]
    world.run("hire-1", "registration", done(full_extension="1001@acme"))
    completed = world.told("plan.completed", about="hire-1")[-1]
    assert [step["outcome"] for step in completed["data"]["steps"]] == ["stale", "succeeded"]


def test_two_failed_plans_of_one_subject_go_in_their_order() -> None:
    world = failed()
    world.take(change("change-1", name="New Name"))
    world.run("change-1", "extension", FULL)
    world.replay("hire-1")
    world.replay("change-1")
    assert world.step("change-1", "extension").cause is WaitCause.EARLIER_WORK
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", done())
    assert world.step("change-1", "extension").state is CommandState.PENDING


def test_replay_behind_a_later_event_that_has_begun_waits_and_then_ends_stale() -> None:
    world = overtaken()
    world.take(change("change-3", name="Newest"))
    later = world.claim("change-3", "extension")
    before = world.judge("change-1")
    assert before == Refused(why=Why.OVERTAKEN)
    world.settle(later, done())
    assert world.replay("change-1") == before


def test_a_replay_that_waited_is_overtaken_by_what_it_waited_for() -> None:
    world = failed()
    world.take(change("change-1", name="New Name", extension="1001"))
    later = world.claim("change-1", "extension")
    world.replay("hire-1")
    assert world.step("hire-1", "extension").cause is WaitCause.EARLIER_WORK
    world.settle(later, done(), created=True)
    assert world.states("hire-1") == ["stale", "pending"]


def test_resource_that_is_anothers_by_now_is_not_claimed_back() -> None:
    world = failed(TAKEN)
    world.take(hired("hire-2", agent_id="E2", name="Bo", extension="1001"))
    assert world.replay("hire-1") == Refused(why=Why.TAKEN)
    assert world.plan("hire-1").state is PlanState.FAILED


def test_reservation_that_ended_is_made_again() -> None:
    world = failed(TAKEN)
    binding = world.binding(AGENT)
    assert binding is None or not binding.held
    world.replay("hire-1")
    again = world.binding(AGENT)
    assert again is not None
    assert (again.held, again.resource) == (True, "extension:acme_cn/1001")


def test_number_that_the_review_refused_is_not_waited_for_again() -> None:
    world = World()
    world.take(make_inbound(PURCHASED, "buy-1"))
    world.run("buy-1", "application", done(number=NUMBER, apply_id="7"))
    world.take(make_inbound(REFUSED, "no-1"))
    assert world.replay("buy-1") == Refused(why=Why.REVIEWED)


def test_name_that_was_erased_can_not_be_sent() -> None:
    world = failed()
    extension = world.step("hire-1", "extension")
    world.commands[extension.id] = replace(extension, wanted={**extension.wanted, "name": ERASED})
    assert world.replay("hire-1") == Refused(why=Why.FORGOTTEN)


def test_credentials_that_were_rotated_pay_under_their_present_quota_group() -> None:
    world = failed()
    world.policy = make_intake_policy(make_account(quota_group="another"))
    world.replay("hire-1")
    assert {step.quota_group for step in world.steps("hire-1")} == {"another"}


def test_account_that_is_configured_no_more_can_not_be_replayed() -> None:
    world = failed()
    world.policy = make_intake_policy(make_account(name="other"))
    assert world.replay("hire-1") == Refused(why=Why.STILL_FAILING)


# --- plans that failed as they arrived --------------------------------------------------------------------------------


def incomplete() -> World:
    world = World(make_intake_policy(make_account(numbers=NumberDefaults())))
    world.take(make_inbound(PURCHASED, "buy-1"))
    assert not world.plan("buy-1").planned
    return world


def test_what_is_still_incomplete_is_refused_and_stays_as_it_is() -> None:
    world = incomplete()
    before = world.snapshot()
    assert world.replay("buy-1") == Refused(why=Why.STILL_FAILING)
    assert world.snapshot() == before


def test_plan_that_failed_as_incomplete_is_planned_again_by_the_settings_of_today() -> None:
    world = incomplete()
    world.policy = make_intake_policy()
    verdict = world.replay("buy-1")
    assert isinstance(verdict, Eligible)
    plan = world.plan("buy-1")
    assert (plan.state, plan.epoch, plan.planned) == (PlanState.OPEN, 1, True)
    application = world.step("buy-1", "application")
    assert (application.state, application.lane, application.epoch) == (CommandState.PENDING, Lane.REPLAY, 1)
    assert application.wanted["sip_trunk_id"] == 11


def test_plan_whose_event_was_erased_can_not_be_planned_again() -> None:
    world = incomplete()
    world.events.clear()
    assert world.replay("buy-1") == Refused(why=Why.FORGOTTEN)


def test_plan_that_lacked_its_account_moves_to_the_subject_it_is_about() -> None:
    world = World(make_intake_policy(make_account(name="other")))
    world.take(hired())
    assert not world.plan("hire-1").planned
    world.policy = make_intake_policy()
    assert isinstance(world.replay("hire-1"), Eligible)
    assert (world.plan("hire-1").subject, world.plan("hire-1").account) == (AGENT, "acme_cn")


def test_success_after_a_replay_keeps_the_result() -> None:
    world = failed()
    world.replay("hire-1")
    world.run("hire-1", "extension", done(Result.ADOPTED), created=False)
    assert world.step("hire-1", "extension").result == Result.ADOPTED
