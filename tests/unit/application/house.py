"""All steps of one process with the vendors' own operations, between fakes at the edges, and the world they act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.adapters.credentials_none import NoCredentials
from service.adapters.quota_slots import SlotQuota
from service.application.execution import Execution
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import Credentials, VendorOperation
from service.application.present_reader import BatchingPresentReader
from service.application.settlement import Settlement
from service.application.takeover import take_over
from service.application.tracing import Tracer
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Reply
from service.vendors.huawei_aicc import vendor as huawei
from service.vendors.tencent_ccc import vendor as tencent
from tests.fakes.clock import FixedRandomness, VirtualClock
from tests.fakes.kafka import FakeEventSource, FakePublisher
from tests.fakes.ledger import FakeLedger
from tests.fakes.session import FakeOwnSession
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import FakeVendor
from tests.unit.application.events import HUAWEI, POLICY, TENCENT

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

    def __init__(
        self,
        clock: VirtualClock,
        telemetry: RecordingTelemetry,
        world: World,
        tracer: Tracer | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.clock, self.telemetry, self.world, self.tracer = clock, telemetry, world, tracer
        self.source, self.publisher = FakeEventSource(), FakePublisher()
        operations: dict[str, Mapping[str, VendorOperation]] = {
            "acme_cn": tencent._operations(TENCENT, credentials or NoCredentials()),
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
            tracer=self.tracer,
        )
        accounts = POLICY.planning.accounts
        self.quota = SlotQuota(ledger=ledger, clock=clock, telemetry=telemetry)
        self.reader = BatchingPresentReader(
            quota=self.quota,
            accounts=accounts,
            clients=self.vendors,
            clock=clock,
            telemetry=telemetry,
            tracer=self.tracer,
        )
        self.intake = Intake(
            source=self.source, ledger=ledger, clock=clock, telemetry=telemetry, policy=POLICY, tracer=self.tracer
        )
        self.execution = Execution(
            ledger=ledger,
            own=FakeOwnSession(session),
            settlement=Settlement(
                ledger=ledger,
                clock=clock,
                randomness=FixedRandomness(),
                telemetry=telemetry,
                policy=POLICY.settling,
                tracer=self.tracer,
            ),
            reader=self.reader,
            quota=self.quota,
            accounts=accounts,
            clients=self.vendors,
            clock=clock,
            telemetry=telemetry,
            policy=POLICY.settling,
            tracer=self.tracer,
        )
        self.relay = OutboxRelay(
            ledger=ledger, publisher=self.publisher, clock=clock, telemetry=telemetry, tracer=self.tracer
        )

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
