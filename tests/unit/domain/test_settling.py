from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.binding import BindingState
from service.domain.command import CommandState, Lane, PlanState, WaitCause
from service.domain.outcome import ErrorClass, Failure, NotYet, Outcome, Result
from service.domain.record_reading import InboundEvent
from service.domain.retry import RULES
from service.domain.value import replace
from tests.builders import APPROVED, NOW, NUMBER, PURCHASED, REFUSED, make_inbound
from tests.unit.domain.world import DOWN, LOST, TAKEN, WRONG, World, done

NUMBER_SUBJECT = f"number:acme_cn/{NUMBER}"
ROUTE: dict[str, Any] = {
    "number": ...,
    "callback_url": ...,
    "account": "acme_hw",
    "access_code": "1000",
    "route": {"ivr": 7},
}


def hire(event_id: str = "hire-1", **data: Any) -> InboundEvent:
    return make_inbound(event_id=event_id, data=data)


def buy(event_id: str = "buy-1", **data: Any) -> InboundEvent:
    return make_inbound(PURCHASED, event_id, data=data)


def approved(event_id: str = "ok-1", **data: Any) -> InboundEvent:
    return make_inbound(APPROVED, event_id, data=data)


def refused(event_id: str = "no-1", **data: Any) -> InboundEvent:
    return make_inbound(REFUSED, event_id, data=data)


def in_review(apply_id: str = "5", **data: Any) -> World:
    """A purchase whose application is in and waits for its review."""
    world = World()
    world.take(buy(**data))
    world.run("buy-1", "application", done(number=NUMBER, apply_id=apply_id), created=True)
    return world


def in_doubt() -> World:
    world = World()
    world.take(buy())
    world.run("buy-1", "application", LOST, created=True)
    return world


# --- whole plans ------------------------------------------------------------------------------------------------------


def test_hire_walks_to_completed_with_what_upstream_writes_back() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", done(extension="1001"), created=True)
    assert world.step("hire-1", "registration").state is CommandState.PENDING
    world.now += 5
    facts: dict[str, Any] = {
        "domain": "d.example",
        "full_extension": "1001@d.example",
        "outbound_proxy": "p:5060",
        "transport": "TLS",
    }
    world.run("hire-1", "registration", done(**facts, credential="none"))
    assert world.kinds(about="hire-1") == ["command.succeeded", "command.succeeded", "plan.completed"]
    agent = world.told("plan.completed")[0]["data"]["agent"]
    assert agent == {
        "agent_id": "E1",
        "account": "acme_cn",
        "extension": "1001",
        "ready_at": "2027-01-15T08:00:05Z",
        "credential": "none",
        **facts,
    }


def test_purchase_walks_through_review_to_a_bound_number() -> None:
    world = in_review()
    approval = world.step("buy-1", "approval")
    assert (approval.state, approval.cause, approval.lane) == (CommandState.WAITING, WaitCause.APPROVAL, Lane.SWEEP)
    assert approval.due_at == NOW + world.policy.settling.approval_poll_seconds
    world.now += 60
    world.take(approved(apply_id=5))
    assert world.step("buy-1", "call_in").state is CommandState.PENDING
    world.run("buy-1", "call_in", done(bound=True))
    assert world.plan("buy-1").state is PlanState.COMPLETED
    assert world.told("plan.completed")[0]["data"]["number"] == {
        "number": NUMBER,
        "account": "acme_cn",
        "apply_id": 5,
        "live_at": "2027-01-15T08:01:00Z",
        "bound": True,
    }
    assert world.kinds(about="buy-1") == [
        "command.succeeded",
        "plan.waiting",
        "command.succeeded",
        "command.succeeded",
        "plan.completed",
    ]


def test_number_that_only_calls_out_is_complete_once_it_is_live() -> None:
    world = in_review(call_type="outbound")
    world.run("buy-1", "approval", NotYet(), sent=False)
    world.now += 300
    world.run("buy-1", "approval", done(number=NUMBER), sent=False)
    number = world.told("plan.completed")[0]["data"]["number"]
    assert (number["bound"], number["live_at"], number["apply_id"]) == (False, "2027-01-15T08:05:00Z", 5)


def test_number_found_live_is_adopted_and_looked_at_once() -> None:
    world = World()
    world.take(buy())
    world.run("buy-1", "application", done(Result.ADOPTED, number=NUMBER, live=True), sent=False)
    approval = world.step("buy-1", "approval")
    assert (approval.state, approval.due_at) == (CommandState.PENDING, NOW)
    world.run("buy-1", "approval", done(number=NUMBER), sent=False)
    world.run("buy-1", "call_in", done())
    completed = world.told("plan.completed")[0]["data"]
    assert completed["steps"][0]["result"] == "adopted"
    assert completed["number"]["apply_id"] is None
    assert world.told("plan.waiting") == []


@pytest.mark.parametrize(("device", "other"), [("skill_queue", "ivr"), ("ivr", "skill_queue")])
def test_route_walks_to_completed(device: str, other: str) -> None:
    world = World()
    world.take(buy(**{**ROUTE, "route": {device: 7}, "ext_code": "12"}))
    world.run("buy-1", "route", done(), created=True)
    route = world.told("plan.completed")[0]["data"]["route"]
    assert (route["access_code"], route["ext_code"], route["media_type"]) == ("1000", "12", 5)
    assert (route[device], route[other]) == (7, None)


OUTCOMES = st.sampled_from(
    [
        done(),
        done(Result.UNCHANGED),
        done(Result.ADOPTED),
        NotYet(),
        DOWN,
        LOST,
        WRONG,
        TAKEN,
        Failure(error_class=ErrorClass.THROTTLED, code="RequestLimitExceeded", message="m", retries=1),
    ]
)


@settings(deadline=None)
@given(st.lists(OUTCOMES, max_size=40), st.sampled_from([hire("e"), buy("e"), buy("e", **ROUTE)]))
def test_every_command_ends_once_and_every_plan_ends_once(outcomes: list[Outcome], event: InboundEvent) -> None:
    world = World()
    world.take(event)
    for outcome in outcomes:
        runnable = [c for c in world.steps("e") if c.due_at is not None]
        if runnable and not (isinstance(outcome, NotYet) and runnable[0].step != "approval"):
            world.now += 1
            world.settle(runnable[0], outcome, created=True)
    ends = [e["data"]["command_id"] for e in world.told() if ".command." in e["type"] and "in_doubt" not in e["type"]]
    assert sorted(ends) == sorted(c.id for c in world.steps("e") if c.state.ended)
    plan_ends = world.told("plan.completed") + world.told("plan.failed")
    assert len(plan_ends) == (world.plan("e").state is not PlanState.OPEN)
    if plan_ends:
        assert len(ends) == len(world.steps("e"))
        assert [e["type"] for e in world.told()][-1].startswith("provisioning.plan.")
    assert len(world.told("plan.waiting")) <= 1


@settings(deadline=None)
@given(st.lists(OUTCOMES, max_size=20))
def test_history_is_a_path_without_gaps(outcomes: list[Outcome]) -> None:
    world = World()
    world.take(hire("e"))
    for outcome in outcomes:
        runnable = [c for c in world.steps("e") if c.due_at is not None]
        if runnable and not isinstance(outcome, NotYet):
            world.settle(runnable[0], outcome)
    for command in world.steps("e"):
        rows = [row for row in world.history if row.command_id == command.id]
        assert [row.before for row in rows] == [None, *(row.after for row in rows[:-1])]
        assert rows[-1].after is command.state


# --- failing ----------------------------------------------------------------------------------------------------------


def test_failed_step_cancels_later_steps_and_fails_the_plan() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", WRONG, created=True)
    assert world.states("hire-1") == ["failed", "cancelled"]
    assert world.kinds(about="hire-1") == ["command.failed", "command.cancelled", "plan.failed"]
    (cancelled,), (failed,) = world.told("command.cancelled"), world.told("plan.failed")
    assert (cancelled["data"]["because"], cancelled["data"]["because_step"]) == ("earlier_step", "extension")
    assert (failed["data"]["failed_step"], failed["data"]["failure"]["code"]) == ("extension", "InvalidParameter")


@pytest.mark.parametrize("error_class", [c for c in ErrorClass if c not in {*RULES, ErrorClass.CREDENTIALS}])
def test_what_stays_wrong_fails_at_once(error_class: ErrorClass) -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", Failure(error_class=error_class, code="C", message="m"), created=True)
    assert world.plan("hire-1").state is PlanState.FAILED


def test_retryable_failure_waits_for_its_time_untold() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", DOWN, sent=False)
    command = world.step("hire-1", "extension")
    assert (command.state, command.cause, command.retries) == (CommandState.WAITING, WaitCause.RETRY, 1)
    assert command.due_at is not None
    assert command.due_at > NOW
    assert world.told() == []


def test_retries_end_by_count() -> None:
    world = World()
    world.take(hire())
    for _ in range(RULES[ErrorClass.RETRYABLE].attempts):
        world.run("hire-1", "extension", DOWN, sent=False)
        assert world.plan("hire-1").state is PlanState.OPEN
    world.run("hire-1", "extension", DOWN, sent=False)
    assert world.plan("hire-1").state is PlanState.FAILED


def test_code_with_retries_of_its_own_is_counted_in_a_row_and_apart_from_others() -> None:
    once = Failure(
        error_class=ErrorClass.RETRYABLE, code="HTTP401", message="m", retries=1, afterwards=ErrorClass.CREDENTIALS
    )
    world = World()
    world.take(hire())
    for failure in (DOWN, DOWN, once, DOWN, once):
        world.run("hire-1", "extension", failure, sent=False)
        assert world.plan("hire-1").state is PlanState.OPEN, "a first refusal after other trouble is tried again"
    world.run("hire-1", "extension", once, sent=False)
    command = world.step("hire-1", "extension")
    assert command.failure is not None
    assert (command.cause, command.failure.error_class) == (WaitCause.QUARANTINE, ErrorClass.CREDENTIALS)


@pytest.mark.parametrize("outcome", [DOWN, LOST])
def test_wait_for_approval_is_bounded_by_neither_count_nor_age(outcome: Failure) -> None:
    world = in_review()
    for _ in range(30):
        world.now += 3600
        world.run("buy-1", "approval", outcome, sent=False)
    approval = world.step("buy-1", "approval")
    assert (approval.state, approval.cause, approval.failure) == (CommandState.WAITING, WaitCause.APPROVAL, outcome)
    world.take(approved())
    assert world.step("buy-1", "approval").state is CommandState.SUCCEEDED


def test_look_at_an_adopted_number_that_keeps_failing_becomes_a_wait() -> None:
    world = World()
    world.take(buy())
    world.run("buy-1", "application", done(Result.ADOPTED), sent=False)
    for _ in range(20):
        world.run("buy-1", "approval", DOWN, sent=False)
    assert world.step("buy-1", "approval").cause is WaitCause.APPROVAL
    assert world.plan("buy-1").state is PlanState.OPEN


def test_number_that_is_stopped_at_the_vendor_ends_the_wait() -> None:
    world = in_review()
    world.run("buy-1", "approval", WRONG, sent=False)
    assert world.states("buy-1") == ["succeeded", "failed", "cancelled"]


def test_create_that_was_certainly_not_done_proves_no_ownership() -> None:
    for outcome, ours in [(DOWN, False), (LOST, True)]:
        world = World()
        world.take(hire())
        world.run("hire-1", "extension", outcome, created=True)
        binding = world.binding("agent:workday/E1")
        assert binding is not None
        assert binding.ours is ours


# --- in doubt ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["extension", "application", "route", "call_in"])
def test_write_without_a_clear_answer_is_in_doubt_told_and_never_sent_again_by_itself(step: str) -> None:
    world = World() if step != "call_in" else in_review()
    if step == "call_in":
        world.take(approved())
    else:
        world.take({"extension": hire("buy-1"), "application": buy(), "route": buy(**ROUTE)}[step])
    world.run("buy-1", step, LOST, created=True)
    command = world.step("buy-1", step)
    assert (command.state, command.owner) == (CommandState.IN_DOUBT, None)
    assert world.plan("buy-1").state is PlanState.OPEN
    assert "command.in_doubt" in world.kinds(about="buy-1")
    assert len(world.told("plan.waiting")) == 1


def test_ambiguous_failure_before_anything_was_sent_is_only_retried() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", LOST, sent=False)
    assert world.step("hire-1", "extension").cause is WaitCause.RETRY


def test_unclear_answer_to_a_read_is_only_retried() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", LOST)
    assert world.step("hire-1", "registration").cause is WaitCause.RETRY


# --- facts ------------------------------------------------------------------------------------------------------------


def test_approval_ends_the_wait_without_queueing() -> None:
    world = in_review()
    world.claim("buy-1", "approval")
    world.take(buy("buy-2"))
    world.take(approved())
    approval = world.step("buy-1", "approval")
    assert (approval.state, approval.owner) == (CommandState.SUCCEEDED, None)
    assert world.step("buy-1", "call_in").state is CommandState.PENDING
    assert next(iter(world.facts.values())).taken_by == approval.id


@pytest.mark.parametrize("when", ["before the purchase", "before the application", "while it is sent"])
def test_approval_before_the_wait_begins_is_kept_and_taken_then(when: str) -> None:
    world = World()
    if when == "before the purchase":
        world.take(approved(), buy())
    else:
        world.take(buy())
        if when == "while it is sent":
            sending = replace(world.step("buy-1", "application"), state=CommandState.IN_FLIGHT, attempts=1)
            world.commands[sending.id] = sending
        world.take(approved())
    assert next(iter(world.facts.values())).taken_by is None
    world.run("buy-1", "application", done(apply_id="5"), created=True)
    assert world.states("buy-1") == ["succeeded", "succeeded", "pending"]
    assert world.told("plan.waiting") == []


def test_approval_of_another_application_is_kept() -> None:
    world = in_review(apply_id="5")
    world.take(approved(apply_id=6))
    assert world.step("buy-1", "approval").state is CommandState.WAITING
    assert next(iter(world.facts.values())).taken_by is None
    world.take(approved("ok-2", apply_id=5))
    assert world.step("buy-1", "approval").state is CommandState.SUCCEEDED


def test_approval_with_its_application_settles_one_in_doubt() -> None:
    world = in_doubt()
    world.now += 60
    world.take(approved(apply_id=7))
    assert world.states("buy-1") == ["succeeded", "succeeded", "pending"]
    world.run("buy-1", "call_in", done())
    assert world.told("plan.completed")[0]["data"]["number"]["apply_id"] == 7
    binding = world.binding(NUMBER_SUBJECT)
    assert binding is not None
    assert binding.state is BindingState.LIVE


def test_approval_that_names_no_application_leaves_one_in_doubt() -> None:
    world = in_doubt()
    world.take(approved())
    assert world.step("buy-1", "application").state is CommandState.IN_DOUBT
    assert next(iter(world.facts.values())).taken_by is None


def test_refusal_with_its_application_fails_a_plan_in_doubt() -> None:
    world = in_doubt()
    world.take(refused(apply_id=7))
    assert world.states("buy-1") == ["succeeded", "failed", "cancelled"]


@pytest.mark.parametrize("early", [True, False])
def test_refusal_fails_the_plan(early: bool) -> None:
    world = World()
    world.take(*([refused()] if early else []), buy())
    world.run("buy-1", "application", done(apply_id="5"), created=True)
    world.take(*([] if early else [refused()]))
    assert world.states("buy-1") == ["succeeded", "failed", "cancelled"]
    (failed,) = world.told("plan.failed")
    assert (failed["data"]["failure"]["code"], failed["data"]["failed_step"]) == ("refused", "approval")


def test_number_purchased_again_after_a_refusal_is_new_work() -> None:
    world = in_review()
    world.take(refused(), buy("buy-2"))
    first, second = world.step("buy-1", "application"), world.step("buy-2", "application")
    assert first.id != second.id
    assert second.state is CommandState.PENDING
    world.run("buy-2", "application", done(apply_id="6"), created=True)
    world.take(approved(apply_id=6))
    assert world.states("buy-2") == ["succeeded", "succeeded", "pending"]


def test_second_purchase_waits_behind_the_first_and_then_goes_on() -> None:
    world = in_review()
    world.take(buy("buy-2"))
    assert world.step("buy-2", "application").cause is WaitCause.EARLIER_WORK
    world.take(approved())
    assert world.step("buy-2", "application").cause is WaitCause.EARLIER_WORK
    world.run("buy-1", "call_in", done())
    application = world.step("buy-2", "application")
    assert (application.state, application.due_at) == (CommandState.PENDING, NOW)


def test_early_approval_of_a_number_found_live_ends_no_later_wait() -> None:
    world = World()
    world.take(approved(), buy())
    world.run("buy-1", "application", done(Result.ADOPTED), sent=False)
    assert next(iter(world.facts.values())).taken_by == world.step("buy-1", "approval").id
    assert world.step("buy-1", "approval").state is CommandState.PENDING


def test_fact_ends_one_wait_only() -> None:
    world = in_review()
    world.take(buy("buy-2"), approved())
    world.run("buy-1", "call_in", done())
    world.run("buy-2", "application", done(apply_id="6"), created=True)
    assert world.step("buy-2", "approval").state is CommandState.WAITING


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "cause", "who"), [(in_review, "approval", "vendor"), (in_doubt, "in_doubt", "operator")]
)
def test_wait_for_the_outside_is_told_with_who_ends_it(begin: Any, cause: str, who: str) -> None:
    (waiting,) = begin().told("plan.waiting")
    assert (waiting["data"]["cause"], waiting["data"]["who_acts"]) == (cause, who)


def test_wait_is_told_once_in_an_epoch() -> None:
    world = in_review()
    for _ in range(3):
        world.now += 300
        world.run("buy-1", "approval", NotYet(), sent=False)
    world.take(approved())
    world.run("buy-1", "call_in", LOST)
    assert len(world.told("plan.waiting")) == 1


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("outcome", [done(apply_id="5"), LOST])
def test_work_behind_a_wait_for_the_outside_is_told_whenever_it_came(early: bool, outcome: Outcome) -> None:
    world = World()
    world.take(buy(), *([buy("buy-2")] if early else []))
    world.run("buy-1", "application", outcome, created=True)
    world.take(*([] if early else [buy("buy-2")]))
    (waiting,) = world.told("plan.waiting", about="buy-2")
    assert (waiting["data"]["cause"], waiting["data"]["who_acts"]) == ("earlier_work", "cordboard")


def test_work_behind_a_wait_that_is_over_is_not_told() -> None:
    world = in_review()
    world.take(approved(), buy("buy-2"))
    assert world.told("plan.waiting", about="buy-2") == []


def test_waiting_behind_ordinary_work_or_a_retry_is_not_told() -> None:
    world = World()
    world.take(hire("one"), hire("two"))
    world.run("one", "extension", DOWN, sent=False)
    world.take(hire("three"))
    assert world.told("plan.waiting") == []


# --- what stands now --------------------------------------------------------------------------------------------------


def test_success_is_remembered_as_applied_with_its_revision() -> None:
    world = World()
    world.take(make_inbound(sequence=4))
    world.run("hire-1", "extension", done(), created=True)
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert (binding.state, dict(binding.revisions)) == (BindingState.LIVE, {"urn:hr": 4})
    assert binding.applied == {"extension": "1001", "name": "Li Na", "email": "li.na@example.com"}


def test_fields_an_event_does_not_give_stay_applied() -> None:
    world = World()
    world.take(hire("one", skill_group_ids=[5]), hire("two", name="Li Na 2", email=...))
    for event in ("one", "two"):
        world.run(event, "extension", done(), created=True)
        world.run(event, "registration", done())
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert binding.applied == {
        "extension": "1001",
        "name": "Li Na 2",
        "email": "li.na@example.com",
        "skill_group_ids": [5],
    }


def test_read_applies_nothing() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", done(), created=True)
    before = world.binding("agent:workday/E1")
    world.run("hire-1", "registration", done(domain="d"))
    assert world.binding("agent:workday/E1") == before


def test_vendors_request_id_is_told_with_a_success() -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", done(), created=True)
    assert world.told("command.succeeded")[0]["data"]["request_id"] == "req-1"
