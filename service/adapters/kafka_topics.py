"""Topics on the brokers: which there are, how long they keep their records, and making those that are missing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    TopicAlreadyExistsError,
    UnsupportedVersionError,
    for_code,
)

from service.adapters.kafka_connection import UNREACHED, KafkaConnection, trouble_of
from service.domain.retention import TopicKeeping

DEADLINE_SECONDS: Final = 10.0
REQUEST_MS: Final = 5_000
STOP_SECONDS: Final = 2.0
CLEANUP, RETENTION, SEGMENT = "cleanup.policy", "retention.ms", "segment.ms"


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
            consumer = AIOKafkaConsumer(**connection.client_arguments("kafka"), request_timeout_ms=REQUEST_MS)
            try:
                await consumer.start()
                topics = frozenset(await consumer.topics())
                brokers = consumer._client.cluster.brokers()  # noqa: SLF001 - aiokafka shows them nowhere else
                return ClusterView(brokers=len(brokers), topics=topics)
            finally:
                await trouble_of(consumer.stop(), within=STOP_SECONDS)
    except UNREACHED as trouble:
        raise await connection.unreachable("kafka", trouble) from trouble


async def create_topics(connection: KafkaConnection, topics: Sequence[TopicManifest]) -> Mapping[str, str | None]:
    """Make topics; for each the error's name that the broker answered, or None. Raises UnavailableError."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            admin = AIOKafkaAdminClient(**connection.client_arguments("kafka"), request_timeout_ms=REQUEST_MS)
            try:
                await admin.start()
                answer = await admin.create_topics([_new(topic) for topic in topics])
            finally:
                await trouble_of(admin.close(), within=STOP_SECONDS)
    except UNREACHED as trouble:
        raise await connection.unreachable("kafka", trouble) from trouble
    return {name: _error(code) for name, code, *_ in answer.topic_errors}  # type: ignore[attr-defined]  # every version of the response has it


class KafkaTopicTimes:
    """Fulfils the port `TopicTimes`: asks anew each time, for a topic's settings can change while it is read."""

    def __init__(self, *, connection: KafkaConnection, topics: Sequence[str]) -> None:
        """Nothing is opened yet, nor kept open."""
        self._connection = connection
        self._topics = topics

    async def keeping(self) -> Sequence[TopicKeeping]:
        """How long each topic keeps a record at most. Raises UnavailableError."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                admin = AIOKafkaAdminClient(**self._connection.client_arguments("kafka"), request_timeout_ms=REQUEST_MS)
                try:
                    await admin.start()
                    answers = await admin.describe_configs([_settings_of(topic) for topic in self._topics])
                finally:
                    await trouble_of(admin.close(), within=STOP_SECONDS)
        except (IncompatibleBrokerVersion, UnsupportedVersionError) as trouble:
            return [TopicKeeping(topic=t, seconds=None, reason=type(trouble).__name__) for t in self._topics]
        except UNREACHED as trouble:
            raise await self._connection.unreachable("kafka", trouble) from trouble
        found = {name: row for answer in answers for row in answer.resources for name in [row[3]]}  # type: ignore[attr-defined]  # every version of the response has them
        return [_keeping(topic, found.get(topic)) for topic in self._topics]


def _settings_of(topic: str) -> ConfigResource:
    wanted: dict[str, None] = {CLEANUP: None, RETENTION: None, SEGMENT: None}
    return ConfigResource(ConfigResourceType.TOPIC, topic, configs=wanted)


def _keeping(topic: str, row: tuple[Any, ...] | None) -> TopicKeeping:
    """What a topic's settings come to.

    A segment goes as a whole once its newest record is old enough, so its oldest outlasts `retention.ms` by up to
    `segment.ms`. Compaction alone keeps the last record of a key for ever.
    """
    if row is None or row[0] != 0:
        return TopicKeeping(topic=topic, seconds=None, reason="no answer" if row is None else for_code(row[0]).__name__)
    settings = {name: value for name, value, *_ in row[4]}
    if not settings.keys() >= {CLEANUP, RETENTION, SEGMENT}:
        return TopicKeeping(topic=topic, seconds=None, reason="the broker does not show its settings")
    deletes = "delete" in str(settings[CLEANUP]).split(",")
    retention = int(settings[RETENTION])
    bounded = deletes and retention >= 0
    return TopicKeeping(topic=topic, seconds=(retention + int(settings[SEGMENT])) / 1000 if bounded else math.inf)


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
