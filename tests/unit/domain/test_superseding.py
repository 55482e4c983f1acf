"""Unsent earlier work that a later event makes pointless ends `superseded`; anything else is left alone."""

from typing import Any

import pytest

from service.domain.command import PlanState
from service.domain.record_reading import InboundEvent
from tests.builders import NOW, make_inbound
from tests.unit.domain.test_settling import hire
from tests.unit.domain.world import LOST, World, done

CHANGED = "hr.agent.changed.v1"
ROUTED = "crm.number.routed.v1"


def change(event_id: str, **data: Any) -> InboundEvent:
    return make_inbound(CHANGED, event_id, data={"agent_id": "A1", **data})


def hired() -> World:
    """An agent with an extension, as HR wanted it."""
    world = World()
    world.take(hire("hire", agent_id="A1", extension="1001"))
    world.run("hire", "extension", done(), created=True)
    world.run("hire", "registration", done(), sent=True)
    return world


def test_unsent_change_is_superseded_by_a_later_one_that_gives_all_it_gives() -> None:
    world = hired()
    world.take(change("c1", name="B"), change("c2", name="C", email="c@example.com"))
    assert world.states("c1") == ["superseded"]
    assert world.plan("c1").state is PlanState.COMPLETED
    assert world.states("c2") == ["pending"]
    (told,) = world.told("command.superseded")
    assert told["data"]["by_event_id"] == "c2"
    assert len(world.told("plan.completed", about="c1")) == 1


def test_only_the_last_of_many_is_left() -> None:
    world = hired()
    world.take(*[change(f"c{n}", name=f"N{n}") for n in range(5)])
    assert [world.states(f"c{n}") for n in range(5)] == [["superseded"]] * 4 + [["pending"]]


def test_change_that_gives_less_supersedes_nothing() -> None:
    world = hired()
    world.take(change("c1", name="B", email="b@example.com"), change("c2", name="C"))
    assert (world.states("c1"), world.states("c2")) == (["pending"], ["waiting"])


@pytest.mark.parametrize("begun", ["claimed", "in doubt"])
def test_work_that_has_begun_is_never_superseded(begun: str) -> None:
    world = hired()
    world.take(change("c1", name="B"))
    if begun == "claimed":
        world.claim("c1", "extension")
    else:
        world.run("c1", "extension", LOST)
    world.take(change("c2", name="C"))
    assert world.states("c1") in (["pending"], ["in_doubt"])
    assert world.states("c2") == ["waiting"]


def test_hire_is_not_superseded_since_its_registration_was_asked_for() -> None:
    world = World()
    world.take(hire("hire", agent_id="A1", extension="1001", name="B"), change("c1", name="C"))
    assert world.states("hire") == ["pending", "waiting"]
    assert world.states("c1") == ["waiting"]


def test_work_of_a_date_to_come_makes_nothing_pointless_now() -> None:
    world = hired()
    world.take(change("c1", name="B"), change("c2", name="C", effective_at="2030-01-01T00:00:00Z"))
    assert world.states("c1") == ["pending"]


def test_lower_revision_that_comes_late_supersedes_nothing() -> None:
    world = hired()
    world.take(change("c2", name="C", revision=2), change("c1", name="B", revision=1))
    assert world.states("c2") in (["pending"], ["waiting"])
    assert "superseded" not in world.states("c2")


def test_routing_is_superseded_by_a_later_one() -> None:
    number = "+8675512345678"
    world = World()
    urls = ("https://a.example.com/1", "https://b.example.com/2")
    world.take(*[make_inbound(ROUTED, f"r{n}", data={"number": number, "callback_url": u}) for n, u in enumerate(urls)])
    assert (world.states("r0"), world.states("r1")) == (["superseded"], ["pending"])
    assert world.now == NOW
