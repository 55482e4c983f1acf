"""The watchdog on a real Kafka: a consumer that silently stalls is found; everything else is let be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.system_clock import SystemClock
from service.application.intake import Intake
from service.application.rounds import Stopping
from service.application.watchdog import Watchdog
from service.domain.liveness import LivenessPolicy, SourceStanding
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.unit.application.events import POLICY

PATIENCE = LivenessPolicy(loop_seconds=60.0, stalled_seconds=3.0)


@dataclass
class Life:
    """Intake and its watchdog over one topic of the broker."""

    broker: KafkaBroker
    topic: str
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    looked: int = 0

    def __post_init__(self) -> None:
        self.stopping = Stopping()
        self.source = KafkaEventSource(
            connection=KafkaConnection(bootstrap_servers=self.broker.bootstrap_servers),
            group_id=f"watched-{self.topic}",
            topics=[self.topic],
            telemetry=self.telemetry,
        )
        clock = SystemClock()
        self.watchdog = Watchdog(clock=clock, telemetry=self.telemetry, policy=PATIENCE)
        self.intake = Intake(
            source=self.source, ledger=FakeLedger(), clock=clock, telemetry=self.telemetry, policy=POLICY
        )

    async def start(self) -> None:
        self.loop = asyncio.create_task(self.intake.run(self.stopping, self.watchdog))
        self.watching = asyncio.create_task(self.watchdog.run(self))

    async def close(self) -> None:
        self.stopping.ask()
        await self.loop
        self.watching.cancel()
        await self.source.close()

    async def produce(self, count: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap_servers)
        await producer.start()
        try:
            for number in range(count):
                await producer.send_and_wait(self.topic, b'{"nothing": "of ours"}', key=str(number).encode())
        finally:
            await producer.stop()

    def taken(self) -> float:
        return self.telemetry.counted("records_total", topic=self.topic)

    async def standing(self) -> SourceStanding | None:
        """What the watchdog asks, counted."""
        self.looked += 1
        return await self.source.standing()

    async def looks(self, count: int) -> None:
        """Return when the watchdog has looked that often."""
        before = self.looked
        await until(lambda: self.looked >= before + count, 60.0)


@pytest.fixture
async def life(kafka: KafkaBroker, make_topic: TopicMaker) -> AsyncIterator[Life]:
    life = Life(kafka, await make_topic(partitions=2))
    await life.start()
    await life.produce(4)
    await until(lambda: life.taken() == 4)
    yield life
    await life.close()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "not within the time"
        await asyncio.sleep(0.05)


async def test_consumer_whose_fetching_died_in_silence_is_found(life: Life) -> None:
    consumer: Any = life.source._consumer
    consumer._fetcher._fetch_task.cancel()  # as a stray cancellation does; no exception reaches anybody
    await life.looks(8)
    assert life.watchdog.standstills() == (), "there is nothing to fetch"
    await life.produce(6)
    await until(lambda: "the process makes no progress" in life.telemetry.events("error"))
    assert life.taken() == 4
    assert life.watchdog.standstills()
    assert all(told.startswith(f"partition {life.topic}/") for told in life.watchdog.standstills())


async def test_position_and_end_of_every_partition_are_told(life: Life) -> None:
    standing = await life.source.standing()
    assert standing is not None
    assert standing.partitions.keys() == {f"{life.topic}/0", f"{life.topic}/1"}
    assert sum(partition.end for partition in standing.partitions.values()) == 4
    assert not any(partition.behind for partition in standing.partitions.values())


async def test_paused_topic_with_records_is_let_be_and_caught_up_with(life: Life) -> None:
    life.source.pause(life.topic)
    await life.produce(6)
    await life.looks(10)
    assert (life.watchdog.standstills(), life.taken()) == ((), 4)
    life.source.resume(life.topic)
    await until(lambda: life.taken() == 10)
    assert life.watchdog.standstills() == ()


async def test_transaction_that_stays_open_is_no_standstill(life: Life) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=life.broker.bootstrap_servers, transactional_id=life.topic)
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(life.topic, b"{}", partition=0)
        await life.looks(10)
        assert (life.watchdog.standstills(), life.taken()) == ((), 4)
        await producer.commit_transaction()
        await until(lambda: life.taken() == 5)
        await life.looks(10)
        assert life.watchdog.standstills() == (), "the marker behind it is nothing to wait for"
    finally:
        await producer.stop()


async def test_broker_that_is_away_is_no_standstill(own_kafka: KafkaBroker) -> None:
    topic = await TopicMaker(own_kafka.bootstrap_servers)(partitions=2)
    life = Life(own_kafka, topic)
    await life.start()
    try:
        await life.produce(4)
        await until(lambda: life.taken() == 4)
        await asyncio.to_thread(own_kafka.stop)
        await until(lambda: life.telemetry.parts.get("kafka", (True, ""))[0] is False)
        await life.looks(2)  # each of them takes its whole deadline
        assert life.watchdog.standstills() == ()
        await asyncio.to_thread(own_kafka.start)
        await life.produce(3)
        await until(lambda: life.taken() == 7, seconds=40.0)
        assert life.watchdog.standstills() == ()
    finally:
        await life.close()
