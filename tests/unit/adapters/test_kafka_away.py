"""Stopping, committing and leaving while Kafka is away: given up after a moment, never an error of the caller's."""

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from service.adapters import kafka_consumer, kafka_publisher
from service.adapters.kafka_connection import KafkaConnection, trouble_of
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.kafka_publisher import KafkaPublisher
from service.domain.record_reading import Record
from tests.fakes.telemetry import RecordingTelemetry

CONNECTION = KafkaConnection(bootstrap_servers="127.0.0.1:9")
PARTITION = TopicPartition("hr.events", 0)
RECORD = Record(topic="hr.events", partition=0, offset=7, key=None, value=None, headers=(), timestamp_ms=0)


class _Client:
    """A consumer or producer of a broker that is away: nothing of it ever ends, unless it has `trouble`."""

    def __init__(self, trouble: BaseException | None = None) -> None:
        self.trouble = trouble
        self.commits: list[object] = []
        self.answered: asyncio.Event | None = None

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    async def commit(self, offsets: object) -> None:
        self.commits.append(offsets)
        if self.answered is not None:
            await self.answered.wait()
            return
        await self.stop()

    async def stop(self) -> None:
        if self.trouble is not None:
            raise self.trouble
        await asyncio.Event().wait()


def _source(client: _Client, telemetry: RecordingTelemetry, *, session_timeout_ms: int = 10_000) -> KafkaEventSource:
    source = KafkaEventSource(
        connection=CONNECTION,
        group_id="g",
        topics=["hr.events"],
        telemetry=telemetry,
        session_timeout_ms=session_timeout_ms,
    )
    source._consumer = client  # type: ignore[assignment]  # joined, as far as it knows
    source.taken([RECORD])
    return source


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(kafka_consumer, "LEAVE_SECONDS", 0.0)
    monkeypatch.setattr(kafka_publisher, "STOP_SECONDS", 0.0)


async def test_a_commit_that_never_ends_is_given_up_and_wanted_again() -> None:
    telemetry = RecordingTelemetry()
    source = _source(_Client(), telemetry)
    assert await source.commit_durable() is False
    assert source._offsets.due() == {PARTITION: 8}
    assert source._commit_wanted.is_set()


async def test_partitions_are_let_go_within_a_third_of_a_short_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "COMMIT_SECONDS", 3.0)
    client, loop = _Client(), asyncio.get_running_loop()
    source = _source(client, RecordingTelemetry(), session_timeout_ms=90)
    began = loop.time()
    await source.let_go({PARTITION})
    assert loop.time() - began < 3.0
    assert len(client.commits) == 1
    assert source._offsets.due() == {}, "whoever has the partition now commits for it"


async def test_commit_waits_for_the_one_before_it_and_repeats_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_consumer, "COMMIT_SECONDS", 3.0)
    client = _Client()
    client.answered = asyncio.Event()
    source = _source(client, RecordingTelemetry())
    both = asyncio.gather(source.commit_durable(), source.let_go({PARTITION}))
    await asyncio.sleep(0)
    client.answered.set()
    committed, _ = await both
    assert committed
    assert len(client.commits) == 1


@pytest.mark.parametrize("trouble", [KafkaError(), asyncio.CancelledError(), None])
async def test_leaving_a_group_without_kafka_ends_and_raises_nothing(trouble: BaseException | None) -> None:
    source = _source(_Client(trouble), RecordingTelemetry())
    await source.close()
    assert source._consumer is None


async def test_a_commit_for_partitions_that_somebody_else_has_is_not_tried_again() -> None:
    client = _Client(CommitFailedError())
    source = _source(client, RecordingTelemetry())
    assert await source.commit_durable() is True
    assert await source.commit_durable() is True
    assert len(client.commits) == 1


@pytest.mark.parametrize("trouble", [KafkaError(), asyncio.CancelledError(), None])
async def test_a_publisher_without_kafka_closes_and_raises_nothing(trouble: BaseException | None) -> None:
    publisher = KafkaPublisher(connection=CONNECTION, telemetry=RecordingTelemetry())
    publisher._producer = _Client(trouble)  # type: ignore[assignment]  # connected, as far as it knows
    await publisher.close()
    assert publisher._producer is None


async def test_a_call_that_goes_well_has_no_trouble() -> None:
    async def goes_well() -> str:
        return "fine"

    assert await trouble_of(goes_well(), within=1.0) is None


async def test_a_call_whose_caller_is_cancelled_is_cancelled_with_it() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def lasts() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    caller = asyncio.ensure_future(trouble_of(lasts(), within=60.0))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await ended.wait()
