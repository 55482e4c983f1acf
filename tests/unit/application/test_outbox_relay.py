"""The relay: in order, marked only after the broker's acknowledgement, the same id however often it is sent."""

from __future__ import annotations

import asyncio

import pytest

from service.application.outbox_relay import OutboxRelay
from service.application.ports import UnavailableError
from service.application.rounds import Stopping
from service.domain.ledger_state import Changes, Keys, OutboxMessage
from service.domain.value import replace
from tests.builders import NOW
from tests.fakes.clock import VirtualClock
from tests.fakes.kafka import FakePublisher
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry

AWAY = UnavailableError("ledger", "disk full")


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def relay(
    ledger: FakeLedger, publisher: FakePublisher, clock: VirtualClock, telemetry: RecordingTelemetry
) -> OutboxRelay:
    return OutboxRelay(ledger=ledger, publisher=publisher, clock=clock, telemetry=telemetry)


def a_message(number: int, **fields: object) -> OutboxMessage:
    values = {
        "id": f"m-{number}",
        "topic": "provisioning.results",
        "key": b"k",
        "value": b"{}",
        "headers": (("h", b"1"),),
        "order_by": "agent:realm/1",
        "created_at": NOW,
    }
    return OutboxMessage(**{**values, **fields})  # type: ignore[arg-type]


async def tell(ledger: FakeLedger, *messages: OutboxMessage) -> None:
    await ledger.transact(Keys(), lambda _: Changes(outbox=messages))


def sent(publisher: FakePublisher) -> list[str]:
    return [message.id for message in publisher.log]


async def test_messages_go_out_in_the_order_they_were_written(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher, telemetry: RecordingTelemetry
) -> None:
    await tell(ledger, a_message(3), a_message(1))
    await tell(ledger, a_message(2))
    assert await relay.run_once() == 3
    assert sent(publisher) == ["m-3", "m-1", "m-2"]
    assert set(ledger.durable.published) == {"m-1", "m-2", "m-3"}
    assert telemetry.counted("messages_published_total", topic="provisioning.results") == 3


async def test_only_what_the_broker_acknowledged_is_marked_and_the_rest_follows_in_order(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher
) -> None:
    await tell(ledger, *[a_message(n) for n in range(1, 6)])
    publisher.stop_after = 2
    assert await relay.run_once() == 2
    assert set(ledger.durable.published) == {"m-1", "m-2"}
    publisher.stop_after = None
    assert await relay.run_once() == 3
    assert sent(publisher) == [f"m-{n}" for n in range(1, 6)]


async def test_publisher_away_marks_nothing_and_is_tried_again(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    await tell(ledger, a_message(1))
    publisher.away = 3
    stopping = Stopping()
    loop = asyncio.ensure_future(relay.run(stopping))
    await clock.advance(0.1)
    assert telemetry.parts["publisher"] == (False, "publisher: away")
    assert ledger.durable.published == {}
    await clock.until(lambda: bool(ledger.durable.published))
    assert sent(publisher) == ["m-1"]
    assert telemetry.parts["publisher"] == (True, "")
    stopping.ask()
    await clock.finish(loop)


async def test_crash_between_acknowledgement_and_mark_publishes_the_same_id_again(
    clock: VirtualClock, telemetry: RecordingTelemetry, publisher: FakePublisher
) -> None:
    async def step(moment: str) -> None:
        await asyncio.sleep(0)
        if moment == "before mark_published":
            raise AWAY

    async def calm(moment: str) -> None:
        await asyncio.sleep(0)

    ledger = FakeLedger(step=step)
    await tell(ledger, a_message(1))
    relay = OutboxRelay(ledger=ledger, publisher=publisher, clock=clock, telemetry=telemetry)
    with pytest.raises(UnavailableError):
        await relay.run_once()
    again = ledger.reopen(step=calm)
    relay = OutboxRelay(ledger=again, publisher=publisher, clock=clock, telemetry=telemetry)
    assert await relay.run_once() == 1
    assert sent(publisher) == ["m-1", "m-1"]
    assert publisher.log[0] == publisher.log[1]
    assert set(again.durable.published) == {"m-1"}


async def test_message_too_large_for_the_broker_goes_out_as_digest_and_size(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher, telemetry: RecordingTelemetry
) -> None:
    publisher.most_bytes = 100
    letter = a_message(2, topic="dlq.hr.events", value=b"x" * 200, order_by="hr.events/0")
    await tell(ledger, a_message(1), letter, a_message(3))
    for _ in range(3):
        await relay.run_once()
    assert sent(publisher) == ["m-1", "m-2", "m-3"]
    carried = publisher.log[1]
    headers = dict(carried.headers)
    assert carried.value is None
    assert carried.key == letter.key
    assert headers["h"] == b"1"
    assert headers["cordboard_value_size"] == b"200"
    assert len(headers["cordboard_value_sha256"] or b"") == 64
    assert telemetry.counted("publish_failures_total", reason="refused") == 1
    assert set(ledger.durable.published) == {"m-1", "m-2", "m-3"}


async def test_refused_message_is_refused_anew_after_a_restart_and_still_goes_out(
    ledger: FakeLedger, publisher: FakePublisher, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    publisher.most_bytes = 100
    await tell(ledger, a_message(1, value=b"x" * 200))
    for _ in range(2):
        relay = OutboxRelay(ledger=ledger, publisher=publisher, clock=clock, telemetry=telemetry)
        assert await relay.run_once() == 0
    assert await relay.run_once() == 1


async def test_message_whose_headers_are_too_large_goes_out_with_our_own_alone(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher
) -> None:
    publisher.most_header_bytes = 1000
    letter = replace(
        a_message(1, topic="dlq.hr.events"), headers=(("theirs", b"x" * 2000), ("cordboard_class", b"not_json"))
    )
    await tell(ledger, letter, a_message(2))
    for _ in range(4):
        await relay.run_once()
    assert sent(publisher) == ["m-1", "m-2"]
    assert {name for name, _ in publisher.log[0].headers} == {
        "cordboard_class",
        "cordboard_value_sha256",
        "cordboard_value_size",
    }


async def test_message_that_no_form_of_is_taken_is_given_up_loudly_and_holds_up_nobody(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher, telemetry: RecordingTelemetry
) -> None:
    publisher.never = frozenset({"m-1"})
    await tell(ledger, a_message(1), a_message(2))
    for _ in range(6):
        await relay.run_once()
    assert sent(publisher) == ["m-2"]
    assert set(ledger.durable.published) == {"m-1", "m-2"}
    assert telemetry.counted("publish_failures_total", reason="given_up") == 1
    assert "a message that no broker takes is given up" in telemetry.events("error")


async def test_nothing_to_tell_is_no_work(relay: OutboxRelay, publisher: FakePublisher) -> None:
    assert await relay.run_once() == 0
    assert publisher.log == []


async def test_loop_wakes_when_something_is_to_be_told(
    relay: OutboxRelay, ledger: FakeLedger, publisher: FakePublisher, clock: VirtualClock
) -> None:
    stopping = Stopping()
    loop = asyncio.ensure_future(relay.run(stopping))
    await clock.advance(0.5)
    await tell(ledger, a_message(1))
    await clock.settle()
    assert sent(publisher) == ["m-1"]
    stopping.ask()
    await clock.finish(loop)


async def test_pending_is_shown(relay: OutboxRelay, ledger: FakeLedger, telemetry: RecordingTelemetry) -> None:
    await tell(ledger, a_message(1), a_message(2))
    await relay.run_once()
    assert telemetry.levels["outbox_pending", ()] == 2
    await relay.run_once()
    assert telemetry.levels["outbox_pending", ()] == 0
