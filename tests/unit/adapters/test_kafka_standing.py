"""How far the partitions are read, and polls that take their time: what the watchdog sees, and what intake sees."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError

from service.adapters import kafka_consumer
from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from service.application.ports import UnavailableError
from service.domain.liveness import PartitionStanding, SourceStanding
from tests.fakes.telemetry import RecordingTelemetry

PARTITION = TopicPartition("hr.events", 0)
NAME = "hr.events/0"


async def nothing() -> dict[TopicPartition, list[Any]]:
    return {}


async def never() -> Any:
    await asyncio.Event().wait()


@dataclass
class Member:
    """aiokafka's consumer, as far as the source asks it."""

    poll: Callable[[], Awaitable[dict[TopicPartition, list[Any]]]] = nothing
    at: int | None = 5
    end: int = 9
    stable: int | None = 9
    fetched_at: int = 0
    mine: set[TopicPartition] = field(default_factory=lambda: {PARTITION})
    held: set[TopicPartition] = field(default_factory=set)
    trouble: Exception | None = None
    polls: int = 0

    def assignment(self) -> set[TopicPartition]:
        return set(self.mine)

    def paused(self) -> set[TopicPartition]:
        return set(self.held)

    async def getmany(self, **_: object) -> dict[TopicPartition, list[Any]]:
        self.polls += 1
        return await self.poll()

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if self.trouble is not None:
            raise self.trouble
        return dict.fromkeys(partitions, self.end)

    async def position(self, _: TopicPartition) -> int:
        return await never() if self.at is None else self.at

    def last_poll_timestamp(self, _: TopicPartition) -> int:
        return self.fetched_at

    def last_stable_offset(self, _: TopicPartition) -> int | None:
        return self.stable

    async def commit(self, _: object) -> None: ...

    async def stop(self) -> None: ...


@pytest.fixture
def member() -> Member:
    return Member()


@pytest.fixture
def source(member: Member, monkeypatch: pytest.MonkeyPatch) -> KafkaEventSource:
    monkeypatch.setattr(kafka_consumer, "POLL_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(kafka_consumer, "POSITION_SECONDS", 0.0)
    monkeypatch.setattr(kafka_consumer, "LEAVE_SECONDS", 0.02)
    source = KafkaEventSource(
        connection=KafkaConnection(bootstrap_servers="127.0.0.1:9"),
        group_id="g",
        topics=["hr.events"],
        telemetry=RecordingTelemetry(),
    )
    source._consumer = member  # type: ignore[assignment]  # joined, as far as it knows
    return source


async def only(source: KafkaEventSource) -> PartitionStanding:
    standing = await source.standing()
    assert standing is not None
    return standing.partitions[NAME]


# --- standing -------------------------------------------------------------------------------------------------------


async def test_position_end_and_pause_are_told(source: KafkaEventSource, member: Member) -> None:
    assert await only(source) == PartitionStanding(position=5, end=9)
    member.held = {PARTITION}
    assert (await only(source)).paused


async def test_topic_that_the_brake_holds_is_paused_before_its_new_partitions_are(source: KafkaEventSource) -> None:
    source._paused.add("hr.events")
    assert (await only(source)).paused


async def test_position_that_the_client_has_yet_to_learn_is_none(source: KafkaEventSource, member: Member) -> None:
    member.at = None
    assert (await only(source)).position is None


async def test_open_transaction_is_no_backlog_as_long_as_the_partition_is_fetched(
    source: KafkaEventSource, member: Member
) -> None:
    member.stable, member.fetched_at = 5, 1
    assert (await only(source)).end == 5
    assert (await only(source)).end == 9, "fetched no more since the last look: what it said then is old"
    member.fetched_at = 2
    assert (await only(source)).end == 5


@pytest.mark.parametrize("trouble", [KafkaConnectionError(), TimeoutError()])
async def test_broker_that_does_not_answer_tells_nothing(
    source: KafkaEventSource, member: Member, trouble: Exception
) -> None:
    member.trouble = trouble
    assert await source.standing() is None


async def test_member_without_partitions_and_nobody_joined_tell_nothing(
    source: KafkaEventSource, member: Member
) -> None:
    member.mine = set()
    assert await source.standing() == SourceStanding(asked=0, partitions={})
    source._consumer = None
    assert await source.standing() is None


async def test_only_fetches_without_trouble_count_as_asked(source: KafkaEventSource, member: Member) -> None:
    async def fails() -> dict[TopicPartition, list[Any]]:
        raise KafkaError

    await source.fetch()
    member.poll = fails
    with pytest.raises(UnavailableError):
        await source.fetch()
    standing = await source.standing()
    assert standing is not None
    assert standing.asked == 1


# --- polls ----------------------------------------------------------------------------------------------------------


async def test_poll_that_waits_for_the_group_is_neither_cancelled_nor_repeated(
    source: KafkaEventSource, member: Member
) -> None:
    assigned = asyncio.Event()

    async def waits() -> dict[TopicPartition, list[Any]]:
        await assigned.wait()
        return {}

    member.poll = waits
    for _ in range(5):
        assert await source.fetch() == []
    assert member.polls == 1
    standing = await source.standing()
    assert standing is not None
    assert standing.asked == 5, "a poll that never ends is what the watchdog looks for"
    assigned.set()
    await asyncio.sleep(0)
    await source.fetch()
    assert member.polls == 1
    await source.fetch()
    assert member.polls == 2


async def test_what_was_polled_before_its_partition_went_is_handed_out_and_not_committed(
    source: KafkaEventSource, member: Member
) -> None:
    arrived = asyncio.Event()
    message = SimpleNamespace(topic="hr.events", partition=0, offset=5, key=None, value=b"", headers=(), timestamp=0)

    async def brings() -> dict[TopicPartition, list[Any]]:
        await arrived.wait()
        return {PARTITION: [message]}

    member.poll = brings
    assert await source.fetch() == []
    arrived.set()
    await asyncio.sleep(0)
    await source.let_go({PARTITION})
    records = await source.fetch()
    source.taken(records)
    assert [record.offset for record in records] == [5]
    assert source._offsets.due() == {}


async def test_group_that_does_not_come_to_an_assignment_is_told(
    source: KafkaEventSource, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "REGROUPING_SECONDS", -1.0)
    member.poll = never
    for _ in range(2):
        with pytest.raises(UnavailableError, match="does not come to an assignment"):
            await source.fetch()
    assert (member.polls, source._asked) == (1, 2)
    await source.close()
    assert source._polling is None


async def test_poll_that_the_client_cancelled_is_trouble_and_the_next_is_made_anew(
    source: KafkaEventSource, member: Member
) -> None:
    async def cancelled() -> dict[TopicPartition, list[Any]]:
        raise asyncio.CancelledError

    member.poll = cancelled
    with pytest.raises(UnavailableError, match="cancelled inside the client"):
        await source.fetch()
    member.poll = nothing
    assert await source.fetch() == []


async def test_caller_that_is_cancelled_leaves_the_poll_alone(source: KafkaEventSource, member: Member) -> None:
    member.poll = never
    await source.fetch()
    polling = source._polling
    caller = asyncio.ensure_future(source.fetch())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    assert polling is not None
    assert not polling.done()
    await source.close()
    assert polling.cancelled()


async def test_group_is_left_after_its_regrouping_if_that_ends_in_time(
    source: KafkaEventSource, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_consumer, "LEAVE_SECONDS", 60.0)
    assigned = asyncio.Event()
    stopped_before: list[bool] = []

    async def waits() -> dict[TopicPartition, list[Any]]:
        await assigned.wait()
        return {}

    async def stop() -> None:
        stopped_before.append(not assigned.is_set())

    member.poll = waits
    member.stop = stop  # type: ignore[method-assign]
    await source.fetch()
    closing = asyncio.ensure_future(source.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assigned.set()
    await closing
    assert stopped_before == [False]
