"""Topics on the brokers: which there are, and making those that are missing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from service.adapters.kafka_connection import KafkaConnection
from service.application.ports import UnavailableError

DEADLINE_SECONDS: Final = 10.0
REQUEST_MS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicManifest:
    """A topic as it should be, with Kafka's own names for its settings."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """What a client sees: how many brokers, and the names of the topics it may know of."""

    brokers: int
    topics: frozenset[str]


async def look_at_cluster(connection: KafkaConnection) -> ClusterView:
    """Ask the brokers who is there. Raises UnavailableError."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            consumer = AIOKafkaConsumer(**connection.client_arguments(), request_timeout_ms=REQUEST_MS)
            try:
                await consumer.start()
                topics = frozenset(await consumer.topics())
                brokers = consumer._client.cluster.brokers()  # noqa: SLF001 - aiokafka shows them nowhere else
                return ClusterView(brokers=len(brokers), topics=topics)
            finally:
                await consumer.stop()
    except (KafkaError, ssl.SSLError, OSError) as trouble:  # a TimeoutError is an OSError
        raise UnavailableError("kafka", type(trouble).__name__) from trouble


async def create_topics(connection: KafkaConnection, topics: Sequence[TopicManifest]) -> Mapping[str, str | None]:
    """Make topics; for each the error's name that the broker answered, or None. Raises UnavailableError."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            admin = AIOKafkaAdminClient(**connection.client_arguments(), request_timeout_ms=REQUEST_MS)
            try:
                await admin.start()
                answer = await admin.create_topics([_new(topic) for topic in topics])
            finally:
                await admin.close()
    except (KafkaError, ssl.SSLError, OSError) as trouble:
        raise UnavailableError("kafka", type(trouble).__name__) from trouble
    return {name: _error(code) for name, code, *_ in answer.topic_errors}  # type: ignore[attr-defined]  # every version of the response has it


def _new(topic: TopicManifest) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        topic_configs=dict(topic.settings),
    )


def _error(code: int) -> str | None:
    """A topic that somebody made meanwhile is as good as made."""
    kind = for_code(code)
    return None if code == 0 or kind is TopicAlreadyExistsError else kind.__name__
