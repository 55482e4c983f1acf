"""The brake on a real Kafka: what it holds back stays there through rebalances and restarts, and comes once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.system_clock import SystemClock
from service.application.intake import Intake
from service.application.rounds import Stopping
from service.domain.brake import BrakePolicy
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.unit.application.events import POLICY, hired

HR, CRM, GROUP = "hr.events", "crm.events", "brake"
PARTITIONS = 3
BAD = b"not json"


def good(number: int) -> bytes:
    return orjson.dumps(hired(number))


@dataclass
class House:
    """Intake on the broker, over a ledger that outlives it."""

    broker: KafkaBroker
    ledger: FakeLedger = field(default_factory=FakeLedger)
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)

    async def make_topics(self) -> None:
        make = TopicMaker(self.broker.bootstrap_servers)
        await make(HR, partitions=PARTITIONS)
        await make(CRM)

    async def produce(self, topic: str, values: Sequence[bytes], *, partition: int | None = None) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap_servers, enable_idempotence=True)
        await producer.start()
        try:
            for nth, value in enumerate(values):
                place = nth % PARTITIONS if topic == HR else 0
                await producer.send(topic, value, partition=place if partition is None else partition)
            await producer.flush()
        finally:
            await producer.stop()

    @asynccontextmanager
    async def taking_in(self, brake: BrakePolicy) -> AsyncIterator[KafkaEventSource]:
        """One life of intake."""
        source = KafkaEventSource(
            connection=KafkaConnection(bootstrap_servers=self.broker.bootstrap_servers),
            group_id=GROUP,
            topics=[HR, CRM],
            telemetry=self.telemetry,
        )
        intake = Intake(
            source=source,
            ledger=self.ledger,
            clock=SystemClock(),
            telemetry=self.telemetry,
            policy=POLICY,
            brake=brake,
        )
        stopping = Stopping()
        loop = asyncio.create_task(intake.run(stopping))
        try:
            yield source
        finally:
            stopping.ask()
            await loop
            await source.close()

    def taken(self, topic: str) -> int:
        """How many records were taken in, repetitions and all."""
        return int(self.telemetry.counted("records_total", topic=topic))

    def dead(self) -> int:
        return len(self.ledger.durable.dead_letters)

    async def committed(self) -> Mapping[TopicPartition, int]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers, group_id=GROUP, enable_auto_commit=False
        )
        await consumer.start()
        try:
            places = [TopicPartition(HR, partition) for partition in range(PARTITIONS)] + [TopicPartition(CRM, 0)]
            return {place: await consumer.committed(place) or 0 for place in places}
        finally:
            await consumer.stop()

    async def join_and_leave(self) -> None:
        """Another member comes, which takes partitions away, and goes, which brings them back."""
        other = AIOKafkaConsumer(
            HR, CRM, bootstrap_servers=self.broker.bootstrap_servers, group_id=GROUP, enable_auto_commit=False
        )
        await other.start()
        try:
            await until(lambda: bool(other.assignment()))
        finally:
            await other.stop()


async def until(condition: Callable[[], bool], *, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what it watches tells nobody
            await asyncio.sleep(0.02)


def paused(source: KafkaEventSource) -> set[TopicPartition]:
    assert source._consumer is not None
    return set(source._consumer.paused())


async def test_what_the_brake_holds_back_stays_in_its_topic_and_comes_exactly_once_after_a_restart(
    own_kafka: KafkaBroker,
) -> None:
    house = House(own_kafka)
    await house.make_topics()
    await house.produce(HR, [BAD] * 150 + [good(number) for number in range(60)])
    await house.produce(CRM, [good(number) for number in range(100, 130)])
    async with house.taking_in(BrakePolicy(resume_seconds=3600)) as source:
        await until(lambda: house.telemetry.counted("topic_pauses_total", topic=HR) == 1 and house.taken(CRM) == 30)
        held_at = house.taken(HR)
        assert 49 <= held_at < 210  # the brake judges in the order of arrival, which the partitions mix

        rebalances = house.telemetry.counted("rebalances_total")
        await house.join_and_leave()
        await until(lambda: house.telemetry.counted("rebalances_total") >= rebalances + 1)
        await until(lambda: len(paused(source)) == PARTITIONS)
        await house.produce(CRM, [good(number) for number in range(130, 140)])
        await until(lambda: house.taken(CRM) == 40)
        assert house.taken(HR) == held_at
        assert house.telemetry.parts["kafka"] == (True, f"paused for too many bad records: {HR}")
    committed = await house.committed()
    assert sum(offset for place, offset in committed.items() if place.topic == HR) == held_at
    assert committed[TopicPartition(CRM, 0)] == 40

    async with house.taking_in(BrakePolicy(share=1.0)):
        await until(lambda: house.taken(HR) == 210)
    assert house.dead() == 150
    assert len(house.ledger.durable.plans) == 100
    assert sum((await house.committed()).values()) == 250


async def test_paused_topic_is_probed_until_it_reads_well_and_no_record_is_lost_or_taken_twice(
    own_kafka: KafkaBroker,
) -> None:
    house = House(own_kafka)
    await house.make_topics()
    await house.produce(HR, [BAD] * 70, partition=0)
    await house.produce(HR, [good(number) for number in range(40)], partition=0)
    async with house.taking_in(BrakePolicy(resume_seconds=0.3)):
        await until(lambda: house.taken(HR) == 110)
        assert house.telemetry.counted("topic_pauses_total", topic=HR) >= 6
        await until(lambda: house.telemetry.levels["topic_paused", (("topic", HR),)] == 0)
        await until(lambda: house.telemetry.parts["kafka"] == (True, ""))
    assert house.dead() == 70
    assert len(house.ledger.durable.plans) == 40
    assert (await house.committed())[TopicPartition(HR, 0)] == 110
