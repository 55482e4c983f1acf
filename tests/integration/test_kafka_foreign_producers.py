"""What other producers write is read: compressed as they like, with header names that are no text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer

from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from service.domain.record_reading import Record
from tests.fakes.telemetry import RecordingTelemetry
from tests.kafka.batches import make_batch, write_batch
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker, unique_name


@dataclass
class Reader:
    """A member of a group of its own, on a topic of its own with two partitions."""

    topic: str
    source: KafkaEventSource

    async def fetched(self, number: int) -> Sequence[Record]:
        """So many records, partition by partition."""
        found: list[Record] = []
        async with asyncio.timeout(30):
            while len(found) < number:
                found += await self.source.fetch()
        return sorted(found, key=lambda record: (record.partition, record.offset))


@pytest.fixture
async def reader(kafka: KafkaBroker, make_topic: TopicMaker) -> AsyncIterator[Reader]:
    topic = await make_topic(partitions=2)
    source = KafkaEventSource(
        connection=KafkaConnection(bootstrap_servers=kafka.bootstrap_servers),
        group_id=unique_name("group"),
        topics=[topic],
        telemetry=RecordingTelemetry(),
    )
    yield Reader(topic, source)
    await source.close()


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_records_are_read_however_their_producer_compressed_them(
    codec: str, kafka: KafkaBroker, reader: Reader
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "compression.type": codec, "linger.ms": 200})
    for number in range(20):
        producer.produce(reader.topic, b"v" * 500, partition=number % 2, headers=[("name", b"1")])
    assert producer.flush(20) == 0

    found = await reader.fetched(20)

    assert [(record.value, record.headers) for record in found] == [(b"v" * 500, (("name", b"1"),))] * 20


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_header_name_that_is_no_text_stops_nobody(compressed: bool, kafka: KafkaBroker, reader: Reader) -> None:
    bad = [(b"before", ()), (b"bad", ((b"\xff\xfename", b"1"), (b"other", None))), (b"after", ())]
    await write_batch(kafka.bootstrap_servers, reader.topic, 0, make_batch([(b"good", ())]))
    await write_batch(kafka.bootstrap_servers, reader.topic, 1, make_batch(bad, compressed=compressed))

    found = await reader.fetched(4)

    assert [record.value for record in found] == [b"good", b"before", b"bad", b"after"]
    assert found[2].headers == (("\ufffd\ufffdname", b"1"), ("other", None))
