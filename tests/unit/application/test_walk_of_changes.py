"""Events that change what stands, from Kafka to Kafka, at once and at their date."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes.clock import VirtualClock
from tests.unit.application.events import event, hired, route_purchased
from tests.unit.application.house import House, World

NUMBER = "+8675512345678"
TOMORROW = "2027-01-16"  # begins 8 hours after the tests' present at both accounts: 16:00 UTC


@dataclass
class ChangingWorld(World):
    """Both vendors, which also modify what they hold."""

    def ModifyExtension(self, body: Any) -> Any:  # noqa: N802 - the vendor's names
        given = {name: body[name] for name in ("ExtensionName", "Relation") if name in body}
        self.extensions[body["ExtensionId"]] = {**self.extensions[body["ExtensionId"]], **given}
        return {}

    def modifyCalledRoute(self, body: Any) -> Any:  # noqa: N802
        given = {"devicetype": body["devicetype"], "deviceId": body["deviceId"]}
        self.routes = [{**route, **given} if route["id"] == body["id"] else route for route in self.routes]
        return {}


def changed(event_id: str = "change-1", **data: Any) -> dict[str, Any]:
    return event("hr.agent.changed.v1", event_id, agent_id="E1", **data)


def routed(event_id: str = "routed-1", **data: Any) -> dict[str, Any]:
    return event("crm.number.routed.v1", event_id, **data)


@pytest.fixture
def world() -> ChangingWorld:
    return ChangingWorld()


def bodies(house: House, operation: str) -> list[Mapping[str, Any]]:
    """What was sent, in order, without what every request of the account carries."""
    arrivals = [arrival for vendor in house.vendors.values() for arrival in vendor.journal]
    sent = [arrival.call.body for arrival in arrivals if arrival.call.operation.endswith(f".{operation}")]
    return [{name: value for name, value in body.items() if name != "SdkAppId"} for body in sent]


def completed(house: House, event_id: str) -> Mapping[str, Any]:
    told = house.published("provisioning.plan.completed.v1")
    found: list[Mapping[str, Any]] = [one["data"] for one in told if one["causationid"] == event_id]
    assert len(found) == 1
    return found[0]


async def test_change_modifies_given_fields_there_and_back_again(house: House) -> None:
    await house.take(hired(1))
    for event_id, name in [("one", "Ada B"), ("two", "Ada Example"), ("three", "Ada B")]:
        await house.take(changed(event_id, name=name))
    await house.take(changed("four", email="ada.b@example.com"))
    await house.take(changed("five", email="ada.b@example.com", name="Ada B"))
    assert bodies(house, "ModifyExtension") == [
        {"ExtensionId": "1001", "ExtensionName": "Ada B"},
        {"ExtensionId": "1001", "ExtensionName": "Ada Example"},
        {"ExtensionId": "1001", "ExtensionName": "Ada B"},
        {"ExtensionId": "1001", "Relation": "ada.b@example.com"},
    ]
    assert house.calls().count("DescribeExtension") == 1  # a change fetches no registration
    assert [completed(house, e)["steps"][0]["result"] for e in ("four", "five")] == ["done", "unchanged"]
    assert completed(house, "five")["agent"]["extension"] == "1001"


async def test_extension_that_vanished_is_made_again_from_what_was_applied_last(house: House, world: World) -> None:
    await house.take(hired(1))
    world.extensions.clear()
    await house.clock.advance(60.0)  # long after our own work: the read shows what is
    await house.take(changed(skill_group_ids=[5]))
    given = {"ExtensionName": "Ada Example", "Relation": "e1@example.com", "SkillGroupIds": [5]}
    assert bodies(house, "CreateExtension")[1] == {"ExtensionId": "1001", **given}


async def test_change_of_an_agent_without_extension_or_name_is_incomplete(house: House) -> None:
    await house.take(changed("one", name="Ada"), changed("two", extension="1001"))
    failures = {one["causationid"]: one["data"]["failure"] for one in house.published("provisioning.plan.failed.v1")}
    assert {cause: (f["error_class"], f["field"]) for cause, f in failures.items()} == {
        "one": ("incomplete", "extension"),
        "two": ("incomplete", "name"),
    }
    assert house.calls() == ["DescribeExtensions"]


async def test_number_is_bound_anew_and_told_as_bound(house: House) -> None:
    await house.take(routed(number=NUMBER, callback_url="https://crm.example.com/night"), topic="crm.events")
    await house.take(routed("routed-2", number="0755 1234 5678"), topic="crm.events")
    assert [body["CallInInterface"]["URL"] for body in bodies(house, "BindNumberCallInInterface")] == [
        "https://crm.example.com/night",
        "https://crm.example.com/call",
    ]
    for event_id in ("routed-1", "routed-2"):
        number = completed(house, event_id)["number"]
        assert (number["number"], number["bound"], number["apply_id"], number["live_at"]) == (NUMBER, True, None, None)


async def test_route_is_changed_by_its_id(house: House, world: World) -> None:
    await house.take(route_purchased("4001"), topic="crm.events")
    await house.take(routed(account="acme_hw", access_code="4001", route={"ivr": 7}), topic="crm.events")
    assert bodies(house, "modifyCalledRoute") == [{"id": world.routes[0]["id"], "devicetype": 3, "deviceId": 7}]
    route = completed(house, "routed-1")["route"]
    assert (route["access_code"], route["ivr"], route["skill_queue"]) == ("4001", 7, None)


async def test_change_waits_for_its_day_in_the_accounts_zone_and_holds_nobody(
    house: House, world: World, clock: VirtualClock
) -> None:
    await house.take(hired(1))
    await house.take(changed("future", name="Ada Future", effective_at=TOMORROW))
    (waiting,) = house.published("provisioning.plan.waiting.v1")
    assert (waiting["data"]["cause"], waiting["data"]["expected_at"]) == ("effective_date", "2027-01-15T16:00:00Z")
    await house.take(changed("now", name="Ada Now"))
    await clock.advance(8 * 3600.0 - 60)
    await house.work()
    assert world.extensions["1001"]["ExtensionName"] == "Ada Now"
    await clock.advance(61.0)
    await house.work()
    assert world.extensions["1001"]["ExtensionName"] == "Ada Future"
    assert completed(house, "future")["agent"]["extension"] == "1001"


async def test_routing_waits_for_its_moment_and_holds_nobody(house: House, clock: VirtualClock) -> None:
    night, day = "https://crm.example.com/night", "https://crm.example.com/day"
    later = routed("later", number=NUMBER, callback_url=night, effective_at="2027-01-15T17:00:00+08:00")
    await house.take(later, routed("now", number=NUMBER, callback_url=day), topic="crm.events")
    assert [body["CallInInterface"]["URL"] for body in bodies(house, "BindNumberCallInInterface")] == [day]
    assert [one["causationid"] for one in house.published("provisioning.plan.waiting.v1")] == ["later"]
    await clock.advance(3601.0)  # 17:00 at +08:00 is an hour after the tests' present
    await house.work()
    assert [body["CallInInterface"]["URL"] for body in bodies(house, "BindNumberCallInInterface")] == [day, night]
    assert completed(house, "later")["number"]["bound"] is True
