"""Sealed credentials through every step: told once for each time they are asked for, and nowhere in clear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.adapters.credentials_sealed import SealedCredentials, read_public_key
from service.domain.ledger_state import OutboxMessage
from service.domain.outcome import Call
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.sealed_credentials import Receiver
from tests.unit.application.events import event, hired
from tests.unit.application.house import PASSWORD, House, World

SEALED = "provisioning.credential.sealed.v1"
RECEIVER = Receiver.with_ec()


@pytest.fixture
async def house(
    clock: VirtualClock, telemetry: RecordingTelemetry, world: World, tmp_path: Path
) -> AsyncIterator[House]:
    credentials = SealedCredentials(read_public_key(RECEIVER.publish(tmp_path)))
    house = House(clock, telemetry, world, credentials=credentials)
    await house.open()
    yield house
    await house.close()


def sealed(house: House) -> list[OutboxMessage]:
    return [m for m in house.publisher.log if m.topic == "provisioning.credentials"]


def opened(told: dict[str, Any]) -> dict[str, Any]:
    return RECEIVER.open(told["data"]["jwe"])


async def test_hire_tells_a_credential_that_its_receiver_opens_before_the_end_it_is_part_of(house: House) -> None:
    await house.take(hired(1))
    assert house.types() == ["command.succeeded", "credential.sealed", "command.succeeded", "plan.completed"]
    (told,) = house.published(SEALED)
    assert (told["data"]["agent_id"], told["data"]["extension"], told["data"]["step"]) == ("E1", "1001", "registration")
    assert opened(told) == {
        "subject": "agent:workday/E1",
        "account": "acme_cn",
        "extension": "1001",
        "password": PASSWORD,
    }
    (message,) = sealed(house)
    assert message.key == b"agent:workday/E1"
    (completed,) = house.published("provisioning.plan.completed.v1")
    assert completed["data"]["agent"]["credential"] == "delivered"


async def test_password_is_in_clear_in_no_row_message_or_line(house: House) -> None:
    await house.take(hired(1), hired(1, event_id="again"))
    durable = house.ledger.durable
    assert len(sealed(house)) == 2
    rows = [durable.events, durable.plans, durable.commands, durable.attempts, durable.history, durable.bindings]
    assert PASSWORD not in str([*rows, durable.outbox, house.publisher.log, house.telemetry.lines])
    jwes = [told["data"]["jwe"] for told in house.published(SEALED)]
    assert not [jwe for jwe in jwes if jwe in str([durable.commands, durable.history, house.telemetry.lines])]


async def test_adopted_and_unchanged_extensions_give_their_credential_too_each_under_its_own_id(
    house: House, world: World
) -> None:
    await house.take(hired(1), hired(1, event_id="again"))
    world.extensions["1002"] = {
        "ExtensionId": "1002",
        "ExtensionName": "Ada Example",
        "Relation": "e2@example.com",
        "SkillGroupId": "",
    }
    await house.take(hired(2))
    told = house.published(SEALED)
    assert [opened(one)["extension"] for one in told] == ["1001", "1001", "1002"]
    assert len({one["id"] for one in told}) == 3
    (adopted,) = house.published("provisioning.plan.completed.v1")[2:]
    assert [step["result"] for step in adopted["data"]["steps"]] == ["adopted", "done"]


async def test_a_change_tells_no_credential(house: House) -> None:
    await house.take(hired(1), event("hr.agent.changed.v1", "change-1", agent_id="E1", name="Ada Other"))
    assert len(sealed(house)) == 1


async def test_event_that_comes_again_tells_nothing_again(house: House) -> None:
    await house.take(hired(1), hired(1))
    assert len(sealed(house)) == 1


async def test_process_that_dies_with_the_password_in_hand_reads_it_again_and_tells_it_once(house: House) -> None:
    house.source.add(hired(1))
    read = _hold_replies(house, "tencent_ccc.DescribeExtension")
    await house.clock.finish(house.intake.run_once())
    await house.clock.finish(house.execution.run_once())
    await house.clock.finish(house.execution.idle())
    await house.clock.finish(house.execution.run_once())
    await house.clock.until(lambda: house.calls()[-1:] == ["DescribeExtension"])
    await house.restart()
    read.set()
    await house.work()
    assert house.calls().count("DescribeExtension") == 2
    assert house.calls().count("CreateExtension") == 1
    (told,) = house.published(SEALED)
    assert opened(told)["password"] == PASSWORD


def _hold_replies(house: House, operation: str) -> asyncio.Event:
    """From the first call of an operation on, the vendor's replies do not arrive."""
    vendor = house.vendors["acme_cn"]

    def hold(call: Call) -> None:
        if call.operation == operation:
            vendor.answering.clear()
            vendor.on_arrival = lambda call: None

    vendor.on_arrival = hold
    return vendor.answering
