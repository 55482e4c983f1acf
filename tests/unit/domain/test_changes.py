"""Walks of the events that change what stands: taken in, waited for, settled and told."""

from typing import Any

import pytest

from service.domain.command import CommandState, PlanState, WaitCause
from service.domain.outcome import ErrorClass, Failure, Result
from service.domain.record_reading import InboundEvent
from tests.builders import (
    APPROVED,
    CHANGED,
    HIRED,
    NOW,
    NUMBER,
    PURCHASED,
    ROUTED,
    make_account,
    make_inbound,
    make_intake_policy,
)
from tests.unit.domain.world import TAKEN, World, done

AGENT, NUMBER_SUBJECT = "agent:workday/E1", f"number:acme_cn/{NUMBER}"
ROUTE: dict[str, Any] = {"number": ..., "callback_url": ..., "account": "acme_hw", "access_code": "1000"}
LATER = "2027-01-15T08:01:00Z"  # a minute after NOW
NAMELESS = Failure(error_class=ErrorClass.INCOMPLETE, code="missing:name", message="known to nobody", field="name")


def change(event_id: str = "change-1", **data: Any) -> InboundEvent:
    return make_inbound(CHANGED, event_id, data=data)


def route(event_id: str = "routed-1", **data: Any) -> InboundEvent:
    return make_inbound(ROUTED, event_id, data=data)


def employed(world: World | None = None) -> World:
    """The agent has their extension."""
    world = world or World()
    world.take(make_inbound(HIRED, "hire-1"))
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", done())
    return world


def applied(world: World, subject: str = AGENT) -> dict[str, Any]:
    binding = world.binding(subject)
    assert binding is not None
    return dict(binding.applied or {})


# --- an agent ---------------------------------------------------------------------------------------------------------


def test_change_walks_to_completed_with_what_is_known_without_a_registration() -> None:
    world = employed()
    world.now += 60
    world.take(change(name="Li Na-Wang"))
    world.run("change-1", "extension", done(extension="1001"))
    assert world.kinds(about="change-1") == ["command.succeeded", "plan.completed"]
    (completed,) = world.told("plan.completed", about="change-1")
    assert completed["data"]["agent"] == {
        "agent_id": "E1",
        "account": "acme_cn",
        "extension": "1001",
        "full_extension": None,
        "domain": None,
        "outbound_proxy": None,
        "transport": None,
        "ready_at": "2027-01-15T08:01:00Z",
        "credential": "none",
    }
    assert (completed["data"]["number"], completed["data"]["route"]) == (None, None)


def test_change_applies_what_it_gives_over_what_stood() -> None:
    world = employed()
    world.take(change(name="Li Na-Wang"))
    world.run("change-1", "extension", done())
    world.take(change("change-2", skill_group_ids=[6]))
    world.run("change-2", "extension", done())
    stands = {"extension": "1001", "name": "Li Na-Wang", "email": "li.na@example.com", "skill_group_ids": [6]}
    assert {name: applied(world)[name] for name in stands} == stands
    assert world.step("change-2", "extension").wanted["last"]["name"] == "Li Na-Wang"


def test_change_there_and_back_is_work_each_time() -> None:
    world = employed()
    for event_id, name in [("one", "A"), ("two", "B"), ("three", "A")]:
        world.take(change(event_id, name=name))
        assert world.step(event_id, "extension").state is CommandState.PENDING
        world.run(event_id, "extension", done())
        assert applied(world)["name"] == name
    assert len({world.step(event_id, "extension").id for event_id in ("one", "two", "three")}) == 3


def test_change_waits_behind_the_hire_that_has_not_ended() -> None:
    world = World()
    world.take(make_inbound(HIRED, "hire-1"), change(name="Li Na-Wang"))
    command = world.step("change-1", "extension")
    assert (command.resource, command.cause) == ("extension:acme_cn/1001", WaitCause.EARLIER_WORK)
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-1", "registration", done())
    assert world.step("change-1", "extension").state is CommandState.PENDING


def test_change_of_an_agent_nobody_knows_reserves_the_extension_it_names() -> None:
    world = World()
    world.take(change(extension="1001", name="Li Na"))
    binding = world.binding(AGENT)
    assert binding is not None
    assert (binding.resource, binding.ours) == ("extension:acme_cn/1001", False)
    world.run("change-1", "extension", done(Result.ADOPTED), sent=False)
    assert applied(world) == {"extension": "1001", "name": "Li Na"}


def test_change_that_would_have_to_create_without_a_name_fails_incomplete() -> None:
    world = World()
    world.take(change(extension="1001"))
    world.run("change-1", "extension", NAMELESS, sent=False)
    (failed,) = world.told("plan.failed")
    failure = failed["data"]["failure"]
    assert (failure["error_class"], failure["field"], failure["replay_can_help"]) == ("incomplete", "name", True)


def test_change_of_another_agents_extension_fails_and_holds_nothing() -> None:
    world = World()
    world.take(change(extension="1001"))
    world.run("change-1", "extension", TAKEN, sent=False)
    binding = world.binding(AGENT)
    assert binding is not None
    assert not binding.held


# --- a number, a route ------------------------------------------------------------------------------------------------


def test_routed_number_walks_to_completed_as_bound() -> None:
    world = World()
    world.take(route())
    world.run("routed-1", "call_in", done(number=NUMBER, bound=True))
    assert world.kinds(about="routed-1") == ["command.succeeded", "plan.completed"]
    (completed,) = world.told("plan.completed")
    assert completed["data"]["number"] == {
        "number": NUMBER,
        "account": "acme_cn",
        "apply_id": None,
        "live_at": None,
        "bound": True,
    }
    assert (completed["data"]["agent"], completed["data"]["route"]) == (None, None)
    assert applied(world, NUMBER_SUBJECT)["callback_url"] == "https://pbx.example.com/night"


def test_routing_a_number_in_review_waits_until_it_is_bound() -> None:
    world = World()
    world.take(make_inbound(PURCHASED, "buy-1"))
    world.run("buy-1", "application", done(apply_id="5"), created=True)
    world.take(route())
    assert world.step("routed-1", "call_in").cause is WaitCause.EARLIER_WORK
    world.take(make_inbound(APPROVED, "ok-1"))
    world.run("buy-1", "call_in", done())
    assert world.step("routed-1", "call_in").state is CommandState.PENDING


def test_routed_access_code_keeps_its_media_type_and_tells_the_new_route() -> None:
    world = World()
    world.take(make_inbound(PURCHASED, "buy-1", data={**ROUTE, "media_type": 19, "route": {"ivr": 7}}))
    world.run("buy-1", "route", done(), created=True)
    world.take(route(**ROUTE, route={"skill_queue": 8}))
    world.run("routed-1", "route", done())
    (completed,) = world.told("plan.completed", about="routed-1")
    assert completed["data"]["route"] == {
        "account": "acme_hw",
        "access_code": "1000",
        "ext_code": None,
        "media_type": 19,
        "skill_queue": 8,
        "ivr": None,
        "ready_at": "2027-01-15T08:00:00Z",
    }


def test_routing_there_and_back_is_work_each_time() -> None:
    world = World()
    for event_id, where in [("one", "a"), ("two", "b"), ("three", "a")]:
        world.take(route(event_id, callback_url=f"https://pbx.example.com/{where}"))
        world.run(event_id, "call_in", done())
        assert applied(world, NUMBER_SUBJECT)["callback_url"].endswith(where)
    assert len({world.step(event_id, "call_in").id for event_id in ("one", "two", "three")}) == 3


# --- effective dates --------------------------------------------------------------------------------------------------

BOTH = [(change, "extension", {"skill_group_ids": [6]}), (route, "call_in", {})]


@pytest.mark.parametrize(("event", "step", "data"), BOTH)
def test_future_change_waits_holds_nobody_and_then_goes_before_what_comes_later(
    event: Any, step: str, data: dict[str, Any]
) -> None:
    world = employed()
    world.take(event("future", effective_at=LATER, **data), event("now", **data))
    future = world.step("future", step)
    assert (future.state, future.cause, future.due_at) == (
        CommandState.WAITING,
        WaitCause.EFFECTIVE_DATE,
        NOW + 60,
    )
    (waiting,) = world.told("plan.waiting")
    assert (waiting["data"]["cause"], waiting["data"]["expected_at"]) == ("effective_date", LATER)
    assert world.step("now", step).state is CommandState.PENDING
    world.run("now", step, done())
    world.now += 60
    world.claim("future", step)
    world.take(event("later", **data))
    assert world.step("later", step).cause is WaitCause.EARLIER_WORK
    world.run("future", step, done())
    assert world.plan("future").state is PlanState.COMPLETED
    assert world.step("later", step).state is CommandState.PENDING


@pytest.mark.parametrize(("event", "step", "data"), BOTH)
@pytest.mark.parametrize(
    ("zone", "begins"),
    [("Asia/Shanghai", "2027-01-15T16:00:00Z"), ("America/New_York", "2027-01-16T05:00:00Z"), ("UTC", None)],
)
def test_day_begins_in_the_accounts_time_zone(
    event: Any, step: str, data: dict[str, Any], zone: str, begins: str | None
) -> None:
    world = employed(World(make_intake_policy(make_account(time_zone=zone))))
    world.take(event("dated", effective_at="2027-01-16" if begins else "2027-01-15", **data))
    waits = [told["data"]["expected_at"] for told in world.told("plan.waiting")]
    assert waits == ([begins] if begins else [])
    assert (world.step("dated", step).cause is WaitCause.EFFECTIVE_DATE) == bool(begins)
