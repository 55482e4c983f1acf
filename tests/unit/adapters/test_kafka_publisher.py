"""Producers die in many ways: each is survived, counted, and answered with a new producer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, ProducerClosed

from service.adapters import kafka_publisher
from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_publisher import KafkaPublisher
from service.application.ports import PublishRefusedError, UnavailableError
from service.domain.ledger_state import OutboxMessage
from tests.fakes.telemetry import RecordingTelemetry

CANCELLED, PENDING, FINE = "cancelled", "pending", "fine"
Fate = str | Exception


class Producer:
    """Does with each message what was said."""

    def __init__(self, fates: Sequence[Fate], refuses: Exception | None = None) -> None:
        self.fates, self.refuses, self.stopped = list(fates), refuses, False

    async def send(self, *_: object, **__: object) -> asyncio.Future[Any]:
        if self.refuses is not None:
            raise self.refuses
        acknowledgement: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        match self.fates.pop(0):
            case Exception() as trouble:
                acknowledgement.set_exception(trouble)
            case "cancelled":
                acknowledgement.cancel()
            case "fine":
                acknowledgement.set_result(None)
        return acknowledgement

    async def stop(self) -> None:
        self.stopped = True


def message(number: int) -> OutboxMessage:
    return OutboxMessage(
        id=f"m{number}", topic="t", key=None, value=b"{}", headers=(), order_by="k", created_at=0.0, seq=number
    )


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
def publisher(telemetry: RecordingTelemetry, monkeypatch: pytest.MonkeyPatch) -> KafkaPublisher:
    monkeypatch.setattr(kafka_publisher, "DEADLINE_SECONDS", 0.05)
    return KafkaPublisher(connection=KafkaConnection(bootstrap_servers="127.0.0.1:9"), telemetry=telemetry)


def connected(publisher: KafkaPublisher, *fates: Fate, refuses: Exception | None = None) -> Producer:
    producer = Producer(fates, refuses)
    publisher._producer = producer  # type: ignore[assignment]  # connected, as far as it knows
    return producer


@pytest.mark.parametrize("fate", [KafkaTimeoutError(), ProducerClosed(), CANCELLED, PENDING])
async def test_producer_that_fails_is_thrown_away_counted_and_what_it_did_acknowledge_counts(
    publisher: KafkaPublisher, telemetry: RecordingTelemetry, fate: Fate
) -> None:
    producer = connected(publisher, FINE, fate, FINE)
    assert await publisher.publish([message(n) for n in range(3)]) == ["m0"]
    assert producer.stopped
    assert publisher._producer is None
    assert telemetry.counted("producer_rebuilds_total") == 1
    assert telemetry.counted("publish_failures_total", reason="indefinite") == 1


@pytest.mark.parametrize("fate", [KafkaTimeoutError(), CANCELLED, PENDING])
async def test_nothing_acknowledged_is_trouble_of_the_publisher(publisher: KafkaPublisher, fate: Fate) -> None:
    connected(publisher, fate)
    with pytest.raises(UnavailableError) as away:
        await publisher.publish([message(0)])
    assert away.value.part == "publisher"


async def test_closed_producer_is_rebuilt(publisher: KafkaPublisher, telemetry: RecordingTelemetry) -> None:
    connected(publisher, refuses=ProducerClosed())
    with pytest.raises(UnavailableError):
        await publisher.publish([message(0)])
    assert publisher._producer is None
    assert telemetry.counted("producer_rebuilds_total") == 1


async def test_refused_message_is_named_and_the_producer_kept(publisher: KafkaPublisher) -> None:
    producer = connected(publisher, MessageSizeTooLargeError())
    with pytest.raises(PublishRefusedError) as refused:
        await publisher.publish([message(7)])
    assert refused.value.message_id == "m7"
    assert not producer.stopped
