"""One event from Kafka to Kafka, through every step, with the vendors' own operations: only the edges are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from service.adapters.credentials_none import NoCredentials
from service.adapters.quota_slots import SlotQuota
from service.application.execution import Execution
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import VendorOperation
from service.application.present_reader import BatchingPresentReader
from service.application.settlement import Settlement
from service.application.takeover import take_over
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Reply
from service.vendors.huawei_aicc import vendor as huawei
from service.vendors.tencent_ccc import vendor as tencent
from tests.fakes.clock import FixedRandomness, VirtualClock
from tests.fakes.kafka import FakeEventSource, FakePublisher
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import LOST, FakeVendor
from tests.unit.application.events import HUAWEI, POLICY, TENCENT, approved, hired, purchased, route_purchased

CREATE = "tencent_ccc.CreateExtension"
APPLY = "tencent_ccc.CreateOwnNumberApply"
BIND = "tencent_ccc.BindNumberCallInInterface"
LIST_NUMBERS = "tencent_ccc.DescribeNumbers"
CREATE_ROUTE = "huawei_aicc.createCalledRoute"
PASSWORD = "FAKE-sip-password"


@dataclass
class World:
    """What both vendors hold, and how they answer."""

    extensions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    numbers: list[str] = field(default_factory=list)
    routes: list[Mapping[str, Any]] = field(default_factory=list)
    requests: int = 0

    def answer(self, call: Call) -> Reply:
        self.requests += 1
        reply = getattr(self, call.operation.partition(".")[2])(call.body)
        return reply if isinstance(reply, Failure) else Answer(body=reply, request_id=f"req-{self.requests}")

    def DescribeExtensions(self, body: Any) -> Any:  # noqa: N802 - the vendor's names
        found = [self.extensions[i] for i in body["ExtensionIds"] if i in self.extensions]
        return {"Total": len(found), "ExtensionList": found}

    def CreateExtension(self, body: Any) -> Any:  # noqa: N802
        if body["ExtensionId"] in self.extensions:
            return Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="exists")
        self.extensions[body["ExtensionId"]] = {
            "ExtensionId": body["ExtensionId"],
            "ExtensionName": body["ExtensionName"],
            "Relation": body.get("Relation", ""),
            "SkillGroupId": "",
        }
        return {}

    def DescribeExtension(self, body: Any) -> Any:  # noqa: N802
        return {
            "ExtensionId": body["ExtensionId"],
            "ExtensionDomain": "sip.example.com",
            "Register": True,
            "Password": PASSWORD,
            "OutboundProxy": "proxy.example.com",
            "Transport": "tls",
        }

    def DescribeNumbers(self, body: Any) -> Any:  # noqa: N802
        return {"TotalCount": len(self.numbers), "Numbers": [{"Number": n, "State": 1} for n in self.numbers]}

    def CreateOwnNumberApply(self, body: Any) -> Any:  # noqa: N802
        return {"ApplyId": 4711}

    def BindNumberCallInInterface(self, body: Any) -> Any:  # noqa: N802
        return {}

    def queryCalledRoute(self, body: Any) -> Any:  # noqa: N802
        found = [route for route in self.routes if route["accessCode"] == body["accessCode"]]
        return {"data": {"total": len(found), "calledRouteList": found}}

    def createCalledRoute(self, body: Any) -> Any:  # noqa: N802
        self.routes.append(
            {
                "id": str(9_000 + len(self.routes)),
                "accessCode": body["accessCode"],
                "devicetype": body["devicetype"],
                "deviceId": body["deviceId"],
                "mediatypeId": body["mediaTypeId"],
            }
        )
        return {}


class House:
    """All steps of one process over a ledger, driven round by round."""

    def __init__(self, clock: VirtualClock, telemetry: RecordingTelemetry, world: World) -> None:
        self.clock, self.telemetry, self.world = clock, telemetry, world
        self.source, self.publisher = FakeEventSource(), FakePublisher()
        operations: dict[str, Mapping[str, VendorOperation]] = {
            "acme_cn": tencent._operations(TENCENT, NoCredentials()),
            "acme_hw": huawei._operations(HUAWEI),
        }
        self.vendors = {
            name: FakeVendor(*rows.values(), clock=clock, answer=world.answer, seconds=0.05)
            for name, rows in operations.items()
        }
        self.ledger = FakeLedger()

    async def open(self) -> None:
        """Start the process over what is durable."""
        clock, telemetry, ledger = self.clock, self.telemetry, self.ledger
        session = await ledger.open_session("house", clock.now())
        await take_over(
            ledger=ledger,
            session=session,
            clock=clock,
            telemetry=telemetry,
            policy=POLICY.settling,
            rules={name: op.when_unclear for v in self.vendors.values() for name, op in v.operations.items()},
        )
        accounts = POLICY.planning.accounts
        self.quota = SlotQuota(ledger=ledger, clock=clock, telemetry=telemetry)
        self.reader = BatchingPresentReader(
            quota=self.quota, accounts=accounts, clients=self.vendors, clock=clock, telemetry=telemetry
        )
        self.intake = Intake(source=self.source, ledger=ledger, clock=clock, telemetry=telemetry, policy=POLICY)
        self.execution = Execution(
            ledger=ledger,
            session=session,
            settlement=Settlement(
                ledger=ledger,
                session=session,
                clock=clock,
                randomness=FixedRandomness(),
                telemetry=telemetry,
                policy=POLICY.settling,
            ),
            reader=self.reader,
            quota=self.quota,
            accounts=accounts,
            clients=self.vendors,
            clock=clock,
            telemetry=telemetry,
            policy=POLICY.settling,
        )
        self.relay = OutboxRelay(ledger=ledger, publisher=self.publisher, clock=clock, telemetry=telemetry)

    async def close(self) -> None:
        """Stop: hand back, settle, and be gone."""
        await self.clock.finish(self.execution.drain(5.0))
        await self.reader.close()
        await self.quota.close()

    async def restart(self) -> None:
        """Die without a word, and start again."""
        await self.close_abruptly()
        self.ledger = self.ledger.reopen()
        await self.open()

    async def close_abruptly(self) -> None:
        """Nothing is handed back, nothing is settled."""
        for task in list(self.execution._tasks.values()):
            task.cancel()
        await self.reader.close()
        await self.quota.close()
        await self.clock.settle()

    async def work(self) -> None:
        """Every step until none has anything to do now."""
        busy = True
        while busy:
            taken = await self.clock.finish(self.intake.run_once())
            claimed = await self.clock.finish(self.execution.run_once())
            await self.clock.finish(self.execution.idle())
            told = await self.clock.finish(self.relay.run_once())
            busy = bool(taken or claimed or told)

    async def take(self, *events: Mapping[str, Any], topic: str = "hr.events") -> None:
        """Put events on the topic and work."""
        for one in events:
            self.source.add(one, topic=topic)
        await self.work()

    def published(self, kind: str) -> list[dict[str, Any]]:
        """The published events of a type."""
        values = [orjson.loads(m.value) for m in self.publisher.log if m.value and m.topic.startswith("provisioning.")]
        return [value for value in values if value["type"] == kind]

    def types(self) -> list[str]:
        return [name.removeprefix("provisioning.").removesuffix(".v1") for name in self.publisher.types()]

    def calls(self) -> list[str]:
        arrivals = [arrival for vendor in self.vendors.values() for arrival in vendor.journal]
        return [arrival.call.operation.partition(".")[2] for arrival in sorted(arrivals, key=lambda a: a.at)]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def house(clock: VirtualClock, telemetry: RecordingTelemetry, world: World) -> AsyncIterator[House]:
    house = House(clock, telemetry, world)
    await house.open()
    yield house
    await house.close()


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
