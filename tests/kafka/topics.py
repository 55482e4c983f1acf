"""Topics on the tests' real Kafka: made through the admin client, ready to use when the call returns."""

import asyncio
import uuid
from collections.abc import Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code

READY_DEADLINE_SECONDS = 20.0


def unique_name(prefix: str) -> str:
    """Return a name that no other test uses: the prefix, a dot and twelve random hex digits."""
    return f"{prefix}.{uuid.uuid4().hex[:12]}"


class TopicMaker:
    """Makes topics on one broker; the fixture `make_topic` hands out one of these."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers

    async def __call__(
        self,
        name: str | None = None,
        *,
        partitions: int = 1,
        max_message_bytes: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> str:
        """Make one topic and return its name once every partition has a leader.

        Args:
            name: taken as it is; without it a unique one.
            partitions: how many.
            max_message_bytes: the topic's `max.message.bytes`, of a record batch; Kafka's default is 1,048,588.
            config: further topic settings by their Kafka names.

        Raises the Kafka error that the broker answered, `TopicAlreadyExistsError` among them.

        """
        topic = name or unique_name("test")
        settings = dict(config or {})
        if max_message_bytes is not None:
            settings["max.message.bytes"] = str(max_message_bytes)
        new = NewTopic(topic, num_partitions=partitions, replication_factor=1, topic_configs=settings)
        await self._create(new)
        async with asyncio.timeout(READY_DEADLINE_SECONDS):
            await self._wait_for_leaders(topic, partitions)
        return topic

    async def _create(self, new: NewTopic) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers)
        await admin.start()
        try:
            answer = await admin.create_topics([new])
        finally:
            await admin.close()
        for error in answer.to_object()["topic_errors"]:
            if error["error_code"] != 0:
                raise for_code(error["error_code"])(error["error_message"])

    async def _wait_for_leaders(self, topic: str, partitions: int) -> None:
        client = AIOKafkaClient(bootstrap_servers=self._bootstrap_servers)
        await client.bootstrap()
        try:
            client.add_topic(topic)
            while len(client.cluster.available_partitions_for_topic(topic) or ()) < partitions:
                await client.force_metadata_update()
                await asyncio.sleep(0.02)
        finally:
            await client.close()
