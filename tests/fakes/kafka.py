"""Kafka in memory, as the application sees it: records to fetch, messages published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from service.application.ports import PublishRefusedError, UnavailableError
from service.domain.ledger_state import OutboxMessage
from service.domain.record_reading import Record
from service.domain.retention import DAY, TopicKeeping


@dataclass(slots=True)
class FakeEventSource:
    """The port `EventSource`: hands out what was put in, `batch` at a time, and remembers what may be committed.

    `on_taken` lets a test look at the world at the moment an offset is let go.
    """

    records: list[Record] = field(default_factory=list)
    batch: int = 100
    committed: list[Record] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    fetches: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    on_taken: Callable[[Sequence[Record]], None] = lambda records: None

    def add(self, value: object, *, topic: str = "hr.events", key: bytes | None = b"key") -> Record:
        """Append a record to a topic's only partition; what is not bytes or None is written as JSON."""
        offset = self.ends.get(topic, 0)
        self.ends[topic] = offset + 1
        raw = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        record = Record(
            topic=topic, partition=0, offset=offset, key=key, value=raw, headers=(), timestamp_ms=1_800_000_000_000
        )
        self.records.append(record)
        return record

    async def fetch(self) -> Sequence[Record]:
        """The next records; none if there are none."""
        self.fetches += 1
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble.pop(0)
        open_ones = [nth for nth, record in enumerate(self.records) if record.topic not in self.paused][: self.batch]
        taken = [self.records[nth] for nth in open_ones]
        self.records = [record for nth, record in enumerate(self.records) if nth not in set(open_ones)]
        return taken

    def taken(self, records: Sequence[Record]) -> None:
        """Remember."""
        self.on_taken(records)
        self.committed += records

    def give_back(self, records: Sequence[Record]) -> None:
        """They come before what was not fetched yet."""
        self.records = [*records, *self.records]

    def pause(self, topic: str) -> None:
        """Hand out nothing of the topic."""
        self.paused.add(topic)

    def resume(self, topic: str) -> None:
        """Hand it out again."""
        self.paused.discard(topic)


@dataclass(slots=True)
class FakePublisher:
    """The port `Publisher`: an ordered log.

    `away` raises UnavailableError that often; `stop_after` acknowledges only so many of a batch; a value of more than
    `most_bytes`, or headers of more than `most_header_bytes`, is refused, as are the ids in `never`; at the head of a
    batch only, as a real producer's order demands.
    """

    most_bytes: int = 1_000_000
    most_header_bytes: int = 1_000_000
    never: frozenset[str] = frozenset()
    away: int = 0
    stop_after: int | None = None
    log: list[OutboxMessage] = field(default_factory=list)

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        """Append in order; the ids that were."""
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise UnavailableError("publisher", "away")
        done: list[str] = []
        for message in messages[: self.stop_after]:
            if self._refuses(message):
                if not done:
                    raise PublishRefusedError(message.id, "MessageSizeTooLargeError")
                break
            self.log.append(message)
            done.append(message.id)
        return done

    def _refuses(self, message: OutboxMessage) -> bool:
        headers = sum(len(name) + len(value or b"") for name, value in message.headers)
        too_large = len(message.value or b"") > self.most_bytes or headers > self.most_header_bytes
        return too_large or message.id in self.never

    def types(self) -> list[str]:
        """The types of the events published, in order; a dead letter counts as its topic."""
        return [str(orjson.loads(m.value)["type"]) if m.value and m.value[:1] == b"{" else m.topic for m in self.log]


@dataclass(slots=True)
class FakeTopicTimes:
    """The port `TopicTimes`: what a test says, by topic; None while Kafka is away."""

    seconds: Mapping[str, float | None] | None = field(default_factory=lambda: {"hr.events": 14 * DAY})
    asked: int = 0

    async def keeping(self) -> Sequence[TopicKeeping]:
        """As it is set now."""
        self.asked += 1
        await asyncio.sleep(0)
        if self.seconds is None:
            raise UnavailableError("kafka", "away")
        return [TopicKeeping(topic=t, seconds=s, reason="as the test says") for t, s in self.seconds.items()]
