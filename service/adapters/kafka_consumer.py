"""Records from Kafka, as bytes; offsets are committed explicitly, behind the ledger, in the background.

Every trap of aiokafka 0.14 that matters here is met where it bites: no auto-commit, explicit offsets per partition,
commit failures survived (a redelivered event is known by its digest), a bounded poll, a probe for a silent broker,
a place in the group that is kept while the ledger is slow, and left in time when the group regroups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from service.adapters.kafka_connection import UNREACHED, KafkaConnection, trouble_of
from service.adapters.kafka_offsets import Offsets
from service.adapters.kafka_records import read_any_header_name
from service.adapters.kafka_stay import Stay
from service.application.ports import UnavailableError
from service.application.telemetry import Telemetry
from service.domain.liveness import PartitionStanding, SourceStanding
from service.domain.record_reading import Record

POLL_MS: Final = 500
HEARTBEAT_MS: Final = 3_000  # or thrice in a session, where that is shorter: else the group forgets its member
POLL_PATIENCE_SECONDS: Final = 2.0  # while the group regroups aiokafka's poll knows no end
REGROUPING_SECONDS: Final = 15.0  # from then on it is told; a rebalance takes a session's length at most
PROBE_SECONDS: Final = 5.0
POSITION_SECONDS: Final = 0.5  # it is there at once, or has yet to be asked for by the client itself
START_SECONDS: Final = 10.0
COMMIT_SECONDS: Final = 3.0  # without a coordinator aiokafka would try for ever
COMMIT_SHARE: Final = 1 / 3  # of a session, where that is shorter: who gives partitions back later than that is missed
LEAVE_SECONDS: Final = 3.0
LOST: Final = (CommitFailedError, IllegalStateError)
"""Somebody else has the partitions now; what they read again is known by its digest."""
GATHER_SECONDS: Final = 0.05  # a commit costs the broker milliseconds

Polled = Mapping[TopicPartition, Sequence[Any]]


class KafkaEventSource:
    """The consumer group's member of this process."""

    def __init__(
        self,
        *,
        connection: KafkaConnection,
        group_id: str,
        topics: Sequence[str],
        telemetry: Telemetry,
        group_instance_id: str | None = None,
        session_timeout_ms: int = 10_000,
        max_poll_interval_ms: int = 300_000,
        max_poll_records: int = 500,
        max_partition_fetch_bytes: int = 1_048_576,
    ) -> None:
        """Nothing is opened yet; the first `fetch` joins the group."""
        self._connection = connection
        self._topics = list(topics)
        self._telemetry = telemetry
        self._membership = {
            "group_id": group_id,
            "group_instance_id": group_instance_id,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": min(HEARTBEAT_MS, session_timeout_ms // 3),
            "max_poll_interval_ms": max_poll_interval_ms,
            "max_poll_records": max_poll_records,
            "max_partition_fetch_bytes": max_partition_fetch_bytes,
        }
        self._most = max_poll_records
        self._consumer: AIOKafkaConsumer | None = None
        self._offsets = Offsets()
        self._stay = Stay(max_poll_interval_ms=max_poll_interval_ms, telemetry=telemetry)
        self._paused: set[str] = set()
        self._commit_wanted = asyncio.Event()
        self._commit_alone = asyncio.Lock()
        self._commit_seconds = min(COMMIT_SECONDS, session_timeout_ms / 1_000 * COMMIT_SHARE)
        self._beside: Sequence[asyncio.Task[None]] = ()
        self._probed_at = 0.0
        self._polling: asyncio.Task[Polled] | None = None
        self._polling_since = 0.0
        self._asked = 0
        self._fetched_at: dict[TopicPartition, int | None] = {}

    async def fetch(self) -> Sequence[Record]:
        """The next records, partition by partition in their order; empty after half a second without any."""
        self._stay.back()
        consumer = await self._joined()
        found = await self._poll(consumer)
        records = [_record(message) for messages in found.values() for message in messages]
        if records:
            self._stay.out()
        else:
            await self._probe(consumer)
        self._asked += 1
        return records

    async def standing(self) -> SourceStanding | None:
        """How far each partition is read; None when the broker does not answer, or nothing is joined."""
        consumer = self._consumer
        if consumer is None:
            return None
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await self._standing(consumer)
        except (TimeoutError, KafkaError, IllegalStateError):
            return None

    async def _standing(self, consumer: AIOKafkaConsumer) -> SourceStanding:
        partitions = list(consumer.assignment())
        if not partitions:
            return SourceStanding(asked=self._asked, partitions={})
        ends = await consumer.end_offsets(partitions)
        positions = await asyncio.gather(*(_position(consumer, partition) for partition in partitions))
        paused = consumer.paused()
        standings = {
            f"{partition.topic}/{partition.partition}": PartitionStanding(
                position=position,
                end=self._end(consumer, partition, ends[partition]),
                paused=partition in paused or partition.topic in self._paused,
            )
            for partition, position in zip(partitions, positions, strict=True)
            if consumer.assignment() >= {partition}
        }
        return SourceStanding(asked=self._asked, partitions=standings)

    def _end(self, consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> int:
        """Where reading ends for now: before a transaction that is still open, if the partition is being fetched."""
        fetched_at = consumer.last_poll_timestamp(partition)
        before, self._fetched_at[partition] = self._fetched_at.get(partition), fetched_at
        stable = consumer.last_stable_offset(partition)
        is_fetched = fetched_at is not None and fetched_at != before
        return min(end, stable) if is_fetched and stable is not None and stable >= 0 else end

    async def _poll(self, consumer: AIOKafkaConsumer) -> Polled:
        """One poll, which may take several calls: it must not be cancelled, and waits for the group's regrouping."""
        now = asyncio.get_running_loop().time
        if self._polling is None:
            self._polling_since = now()
            self._polling = asyncio.get_running_loop().create_task(self._polled(consumer))
        await asyncio.wait({self._polling}, timeout=POLL_PATIENCE_SECONDS)
        if not self._polling.done():
            if now() - self._polling_since > REGROUPING_SECONDS:
                self._asked += 1  # it does ask: the watchdog has to see a poll that never ends
                raise UnavailableError("kafka", "the consumer group does not come to an assignment")
            return {}
        polled, self._polling = self._polling, None
        if polled.cancelled():
            raise UnavailableError("kafka", "the poll was cancelled inside the client")
        try:
            return polled.result()
        except KafkaError as trouble:
            raise UnavailableError("kafka", type(trouble).__name__) from trouble

    async def _polled(self, consumer: AIOKafkaConsumer) -> Polled:
        """Poll, and note at that very moment whose these records are: later they may have been taken away."""
        polled: Polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._most)
        self._offsets.fetched()
        return polled

    def taken(self, records: Sequence[Record]) -> None:
        """These are durable: commit behind them, in the background."""
        self._stay.back()
        self._offsets.taken(records)
        self._commit_wanted.set()

    def give_back(self, records: Sequence[Record]) -> None:
        """Go back to the first of these in each partition; who has lost one need not: its new owner has no offset."""
        first = self._offsets.first(records)
        for partition in self._of(self._topics):
            if partition in first and self._consumer is not None:
                self._consumer.seek(partition, first[partition])

    def pause(self, topic: str) -> None:
        """Fetch nothing of the topic until it is resumed. What was fetched ahead of it is discarded, not lost."""
        self._paused.add(topic)
        self.pause_again()

    def pause_again(self) -> None:
        """Pause what should be: every assignment begins without the pauses of the one before."""
        if self._consumer is not None:
            self._consumer.pause(*self._of(self._paused))

    def resume(self, topic: str) -> None:
        """Fetch the topic again, from where it was given back."""
        self._paused.discard(topic)
        if self._consumer is not None:
            self._consumer.resume(*self._of({topic}))

    def _of(self, topics: Collection[str]) -> list[TopicPartition]:
        """This member's partitions of the topics."""
        assigned = set() if self._consumer is None else self._consumer.assignment()
        return [partition for partition in assigned if partition.topic in topics]

    async def close(self) -> None:
        """Commit what is durable and leave the group; while Kafka is away, give up on both after a few seconds."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._consumer is not None:
            await self.commit_durable()
            if self._polling is not None:  # the group regroups: who leaves in the middle of it is missed for a session
                await asyncio.wait({self._polling}, timeout=LEAVE_SECONDS)
            consumer, self._consumer = self._consumer, None
            trouble = await trouble_of(consumer.stop(), within=LEAVE_SECONDS)
            await self._end_poll()
            if trouble is not None:
                self._telemetry.log("warning", "the group was not left in order", reason=type(trouble).__name__)

    async def _end_poll(self) -> None:
        """What was polled and not taken in comes again; its offset was not let go."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)
            self._polling = None

    async def let_go(self, partitions: Collection[TopicPartition]) -> None:
        """Commit what is durable while the group waits for it, and for a bounded time: who takes longer is missed."""
        self._offsets.going(partitions)
        await self.commit_durable()
        self._offsets.gone(partitions)

    async def commit_durable(self) -> bool:
        """Commit the offsets behind what is durable; a failure is counted and left to redelivery or the next try.

        False when it should be tried again.
        """
        if self._consumer is None:
            return True
        trouble = await trouble_of(self._commit(self._consumer), within=self._commit_seconds)
        if trouble is None:
            return True
        self._commit_failed(trouble)
        if isinstance(trouble, LOST):
            return True
        self._commit_wanted.set()
        return False

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """One at a time: one that was begun earlier must not end in a later assignment, with that one's blessing."""
        async with self._commit_alone:
            offsets = self._offsets.due()
            if not offsets:
                return
            try:
                await consumer.commit(offsets)
            except LOST:
                self._offsets.settled(offsets)
                raise
            self._offsets.settled(offsets)

    def _commit_failed(self, trouble: BaseException) -> None:
        self._telemetry.count("offset_commit_failures_total")
        self._telemetry.log("warning", "an offset commit failed", reason=type(trouble).__name__)

    async def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            read_any_header_name()
            consumer = AIOKafkaConsumer(
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                **self._membership,
                **self._connection.client_arguments("kafka", self._telemetry),
            )
            try:
                await asyncio.wait_for(consumer.start(), START_SECONDS)
            except UNREACHED as trouble:
                await trouble_of(consumer.stop(), within=LEAVE_SECONDS)
                raise await self._connection.unreachable("kafka", trouble, "on joining") from trouble
            consumer.subscribe(self._topics, listener=_Assignments(self, self._telemetry))
            self._consumer = consumer
            password = self._connection.keep_password(consumer._client)  # noqa: SLF001 - shown nowhere else
            self._run_beside(self._commit_in_background(), self._stay.run(consumer), password)
        return self._consumer

    def _run_beside(self, *work: Coroutine[Any, Any, None]) -> None:
        """What goes on between fetches, until the group is left."""
        self._beside = [asyncio.get_running_loop().create_task(each) for each in work]

    async def _commit_in_background(self) -> None:
        while True:
            await self._commit_wanted.wait()
            self._commit_wanted.clear()
            committed = await self.commit_durable()
            await asyncio.sleep(GATHER_SECONDS if committed else COMMIT_SECONDS)

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        """An idle poll can't tell a quiet topic from a dead broker: ask for an end offset now and then."""
        now = asyncio.get_running_loop().time()
        partition = next(iter(consumer.assignment()), None)
        if partition is None or now - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = now
        try:
            await asyncio.wait_for(consumer.end_offsets([partition]), PROBE_SECONDS)
        except (TimeoutError, KafkaError) as trouble:
            self._probed_at = 0.0
            raise await self._connection.unreachable("kafka", trouble, "on asking for an offset") from trouble


class _Assignments(ConsumerRebalanceListener):
    """Commits behind the ledger before partitions go away; counts what comes."""

    def __init__(self, source: KafkaEventSource, telemetry: Telemetry) -> None:
        self._source = source
        self._telemetry = telemetry

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._source.let_go(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._source.pause_again()
        self._telemetry.count("rebalances_total")
        self._telemetry.log(
            "info", "partitions assigned", partitions=sorted(f"{p.topic}/{p.partition}" for p in assigned)
        )


async def _position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The offset fetched next; None while the client has yet to learn it."""
    try:
        async with asyncio.timeout(POSITION_SECONDS):
            return int(await consumer.position(partition))
    except TimeoutError:
        return None


def _record(message: object) -> Record:
    return Record(
        topic=message.topic,  # type: ignore[attr-defined]
        partition=message.partition,  # type: ignore[attr-defined]
        offset=message.offset,  # type: ignore[attr-defined]
        key=message.key,  # type: ignore[attr-defined]
        value=message.value,  # type: ignore[attr-defined]
        headers=tuple(message.headers),  # type: ignore[attr-defined]
        timestamp_ms=message.timestamp,  # type: ignore[attr-defined]
    )
