"""The real broker of the tests: it keeps what was acknowledged, through an orderly stop and through a kill."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError

from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker, unique_name


async def _produce(broker: KafkaBroker, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, enable_idempotence=True, acks="all", max_request_size=3_000_000
    )
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, key=b"one-subject")
    finally:
        await producer.stop()


async def _consume(broker: KafkaBroker, topic: str, *, group: str, count: int) -> list[bytes | None]:
    """Read `count` records as a member of the group, commit behind them and leave."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.commit()
        return values
    finally:
        await consumer.stop()


async def test_committed_offset_is_where_the_next_member_goes_on(kafka: KafkaBroker, make_topic: TopicMaker) -> None:
    topic, group = await make_topic(), unique_name("group")
    await _produce(kafka, topic, [b"1", b"2", b"3"])

    assert await _consume(kafka, topic, group=group, count=2) == [b"1", b"2"]
    assert await _consume(kafka, topic, group=group, count=1) == [b"3"]


async def test_topic_has_the_partitions_it_was_made_with(kafka: KafkaBroker, make_topic: TopicMaker) -> None:
    topic = await make_topic(partitions=3)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(topic, partition) for partition in range(3)])
    finally:
        await consumer.stop()

    assert sorted(ends.values()) == [0, 0, 0]


async def test_topic_takes_large_records_only_when_made_for_them(kafka: KafkaBroker, make_topic: TopicMaker) -> None:
    large = b"x" * 2_000_000
    ordinary, raised = await make_topic(), await make_topic(max_message_bytes=3_000_000)

    await _produce(kafka, raised, [large])
    with pytest.raises(MessageSizeTooLargeError):
        await _produce(kafka, ordinary, [large])


async def test_making_a_topic_twice_is_refused(make_topic: TopicMaker) -> None:
    topic = await make_topic()

    with pytest.raises(TopicAlreadyExistsError):
        await make_topic(topic)


async def test_kill_and_restart_keep_acknowledged_records_and_committed_offsets(own_kafka: KafkaBroker) -> None:
    topic = await TopicMaker(own_kafka.bootstrap_servers)()
    address = own_kafka.bootstrap_servers
    await _produce(own_kafka, topic, [b"1", b"2"])
    await _consume(own_kafka, topic, group="readers", count=1)

    await asyncio.to_thread(own_kafka.kill)
    assert own_kafka.pid is None
    await asyncio.to_thread(own_kafka.restart)

    assert own_kafka.bootstrap_servers == address
    await _produce(own_kafka, topic, [b"3"])
    assert await _consume(own_kafka, topic, group="readers", count=2) == [b"2", b"3"]


@pytest.mark.kafka
def test_closed_broker_leaves_neither_process_nor_files() -> None:
    broker = KafkaBroker()
    broker.start()
    process = Path(f"/proc/{broker.pid}")
    assert process.exists()

    broker.close()

    assert not process.exists()
    assert not broker.data_dir.exists()
