"""How long topics keep their records, asked of a real Kafka and of one that can't say."""

from __future__ import annotations

import math

import pytest

from service.adapters.embedded_broker import EmbeddedBroker
from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_topics import KafkaTopicTimes
from service.application.ports import UnavailableError
from service.domain.retention import DAY
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker, unique_name

DAY_MS = int(DAY * 1000)


def times(servers: str, *topics: str) -> KafkaTopicTimes:
    return KafkaTopicTimes(connection=KafkaConnection(bootstrap_servers=servers), topics=topics)


@pytest.mark.parametrize(
    ("config", "days"),
    [
        ({"retention.ms": str(14 * DAY_MS), "segment.ms": str(DAY_MS)}, 15),
        ({"retention.ms": str(14 * DAY_MS)}, 21),  # Kafka's own segments last seven days
        ({"cleanup.policy": "compact,delete", "retention.ms": str(14 * DAY_MS)}, 21),
        ({"cleanup.policy": "compact", "retention.ms": str(14 * DAY_MS)}, math.inf),
        ({"retention.ms": "-1"}, math.inf),
    ],
)
async def test_topic_keeps_a_record_for_its_retention_and_a_segment_longer(
    kafka: KafkaBroker, make_topic: TopicMaker, config: dict[str, str], days: float
) -> None:
    topic = await make_topic(config=config)

    (found,) = await times(kafka.bootstrap_servers, topic).keeping()

    assert (found.topic, found.seconds) == (topic, days * DAY)


async def test_of_a_topic_that_is_missing_nobody_can_tell_and_the_others_are_told(
    kafka: KafkaBroker, make_topic: TopicMaker
) -> None:
    topic, missing = await make_topic(config={"retention.ms": str(DAY_MS)}), unique_name("missing")

    there, absent = await times(kafka.bootstrap_servers, topic, missing).keeping()

    assert there.seconds == 8 * DAY
    assert (absent.topic, absent.seconds) == (missing, None)
    assert absent.reason == "UnknownTopicOrPartitionError"


async def test_broker_that_knows_no_such_question_cannot_tell() -> None:
    with EmbeddedBroker(["hr.events"]) as broker:
        (found,) = await times(broker.bootstrap_servers, "hr.events").keeping()

    assert found.seconds is None


async def test_broker_that_is_away_is_away() -> None:
    with pytest.raises(UnavailableError):
        await times("127.0.0.1:1", "hr.events").keeping()
