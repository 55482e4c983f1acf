"""A Kafka broker inside this process, for the demo: librdkafka's mock cluster, through confluent-kafka.

It keeps about 5 MB a partition and silently drops older records: for a demo's day, never for more.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

TIMEOUT_SECONDS: Final = 10.0


class EmbeddedBrokerMissingError(RuntimeError):
    """confluent-kafka is not installed; the message says how to install it."""


class EmbeddedBroker:
    """Runs while it is open; `bootstrap_servers` is where clients of this machine find it."""

    def __init__(self, topics: Sequence[str]) -> None:
        """Nothing is started yet."""
        self._topics = topics
        self._owner: Any = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        """Start the broker and make the topics."""
        try:
            from confluent_kafka import Producer  # noqa: PLC0415 - an extra that only the demo needs
        except ImportError as missing:
            raise EmbeddedBrokerMissingError(
                "the demo's broker needs confluent-kafka: pip install 'cordboard[demo]'"
            ) from missing
        self._owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
        brokers = self._owner.list_topics(timeout=TIMEOUT_SECONDS).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        for topic in self._topics:  # the mock cluster has no admin side; asking for a topic makes it
            self._owner.list_topics(topic, timeout=TIMEOUT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The broker ends with the client that owns it."""
        self._owner = None
