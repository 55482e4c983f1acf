"""Members of one group on a real Kafka: slow ledgers, joins in the middle, frozen brokers, names that stay."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.system_clock import SystemClock
from service.application.intake import Intake
from service.application.ports import UnavailableError
from service.application.rounds import Stopping
from service.domain.record_reading import Record
from tests.fakes.durable import Durable
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.unit.application.events import POLICY, hired

PARTITIONS = 4
SESSION = 4.5  # seconds; a member of it is asked for a rebalance every third of them
INTERVAL = 1.5  # seconds a member may go without a poll
SEVERAL = 4 * INTERVAL
FETCHED_AHEAD = 16_384  # bytes of each partition


async def until(condition: Callable[[], bool], *, within: float = 40.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - what it watches tells nobody
            await asyncio.sleep(0.02)


async def passed(seconds: float) -> None:
    """Let intervals go by, which is what the test is about."""
    end = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= end)


class Door:
    """A ledger's first step: it lets through, hangs, or says that the ledger is away."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.waiting = 0

    async def step(self, moment: str) -> None:
        if moment != "before transact":
            return
        self.waiting += 1
        if self.away:
            raise UnavailableError("ledger", "no disk")
        await self.open.wait()
        self.waiting = 0


@dataclass
class Member:
    """One process: intake with its source, over the ledger of all."""

    source: KafkaEventSource
    durable: Durable
    telemetry: RecordingTelemetry
    door: Door = field(default_factory=Door)

    async def start(self) -> None:
        self.stopping = Stopping()
        intake = Intake(
            source=self.source,
            ledger=FakeLedger(step=self.door.step, durable=self.durable),
            clock=SystemClock(),
            telemetry=self.telemetry,
            policy=POLICY,
        )
        self.loop = asyncio.create_task(intake.run(self.stopping))

    async def close(self) -> None:
        self.door.away = False
        self.door.open.set()
        self.stopping.ask()
        await self.loop
        await self.source.close()

    @property
    def client(self) -> Any:
        return self.source._consumer

    def partitions(self) -> set[int]:
        return set() if self.client is None else {place.partition for place in self.client.assignment()}

    def membership(self) -> tuple[str, int]:
        """Who it is for the group, and in which generation."""
        return self.client._coordinator.member_id, self.client._coordinator.generation

    def rebalances(self) -> float:
        return self.telemetry.counted("rebalances_total")

    def pushed_out(self) -> bool:
        """Whether it had to join anew, or is not let in."""
        return self.rebalances() > 1 or self.telemetry.counted("loop_failures_total", part="kafka") > 0

    def held_back(self) -> float:
        return self.telemetry.levels["intake_held_back", ()]

    def fetched_ahead(self) -> dict[int, int]:
        """Bytes that the client holds of each partition."""
        held = self.client._fetcher._records.items()
        return {place.partition: ahead._partition_records._records.size_in_bytes() for place, ahead in held}


class Fleet:
    """Members of one group over one topic, and the ledger that they share."""

    def __init__(self, broker: KafkaBroker, topic: str, opened: AsyncExitStack) -> None:
        self.broker = broker
        self.topic = topic
        self.durable = Durable()
        self.produced: dict[int, list[str]] = defaultdict(list)
        self._opened = opened

    async def join(self, name: str | None = None) -> Member:
        """Another process; it is ended with the test, if not before."""
        telemetry = RecordingTelemetry()
        source = KafkaEventSource(
            connection=KafkaConnection(bootstrap_servers=self.broker.bootstrap_servers),
            group_id=f"fleet-{self.topic}",
            topics=[self.topic],
            telemetry=telemetry,
            group_instance_id=name,
            session_timeout_ms=int(SESSION * 1_000),
            max_poll_interval_ms=int(INTERVAL * 1_000),
            max_poll_records=20,
            max_partition_fetch_bytes=FETCHED_AHEAD,
        )
        member = Member(source, self.durable, telemetry)
        await member.start()
        self._opened.push_async_callback(self.leave, member)
        return member

    async def leave(self, member: Member) -> None:
        if not member.loop.done():
            await member.close()

    async def produce(self, count: int, *, partitions: Sequence[int] = range(PARTITIONS)) -> None:
        """As many hires into each of these partitions."""
        producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap_servers, enable_idempotence=True)
        await producer.start()
        try:
            for partition in partitions:
                for _ in range(count):
                    number = len(self.produced[partition])
                    name = f"{partition}-{number}"
                    value = orjson.dumps(hired(partition * 1_000 + number, event_id=name, account="acme_cn"))
                    await producer.send(self.topic, value, partition=partition)
                    self.produced[partition].append(name)
            await producer.flush()
        finally:
            await producer.stop()

    def stored(self) -> dict[int, list[str]]:
        """What the ledger has, by partition, in the order in which it came."""
        stored: dict[int, list[str]] = defaultdict(list)
        for event in self.durable.events.values():
            stored[event.partition].append(event.id)
        return stored

    def last_stored(self, place: TopicPartition) -> Record:
        """As if it had been taken in just now."""
        last = len(self.stored()[place.partition]) - 1
        topic, partition = place
        return Record(topic=topic, partition=partition, offset=last, key=None, value=None, headers=(), timestamp_ms=0)

    async def all_is_stored_in_order(self) -> None:
        """Every record once, each partition's in its order."""
        await until(lambda: len(self.durable.events) == sum(map(len, self.produced.values())))
        assert self.stored() == self.produced
        assert self.durable.dead_letters == {}

    async def everything_is_committed(self) -> None:
        """The group's offsets stand at the ends."""
        ends = {partition: len(names) for partition, names in self.produced.items()}
        reader = AIOKafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers, group_id=f"fleet-{self.topic}", enable_auto_commit=False
        )
        await reader.start()
        try:
            async with asyncio.timeout(20):
                while {p: await reader.committed(TopicPartition(self.topic, p)) or 0 for p in ends} != ends:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        finally:
            await reader.stop()


@pytest.fixture
async def fleet(kafka: KafkaBroker, make_topic: TopicMaker) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as opened:
        yield Fleet(kafka, await make_topic(partitions=PARTITIONS), opened)


def divided(*members: Member) -> bool:
    """Whether they share the partitions, each with some."""
    shares = [member.partitions() for member in members]
    return all(shares) and sorted(nth for share in shares for nth in share) == list(range(PARTITIONS))


# --- a slow ledger --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["hangs", "is away"])
async def test_member_stays_in_its_group_however_long_its_ledger_takes(fleet: Fleet, how: str) -> None:
    slow, other = await fleet.join(), await fleet.join()
    await until(lambda: divided(slow, other))
    membership, rebalances = slow.membership(), other.rebalances()
    slow.door.away = how == "is away"
    if how == "hangs":
        slow.door.open.clear()
    await fleet.produce(400)
    await until(lambda: slow.door.waiting > 0)
    await passed(SEVERAL)
    assert slow.held_back() == 1
    assert slow.membership() == membership
    assert other.rebalances() == rebalances
    assert set(slow.fetched_ahead()) <= slow.partitions()
    assert max(slow.fetched_ahead().values()) <= FETCHED_AHEAD
    slow.door.away = False
    slow.door.open.set()
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()
    assert slow.held_back() == 0
    assert (slow.membership(), other.rebalances()) == (membership, rebalances)
    assert slow.telemetry.counted("events_total", outcome="delivered_before") == 0


async def test_join_during_a_slow_write_loses_no_record_and_no_member(fleet: Fleet) -> None:
    slow = await fleet.join()
    await until(lambda: len(slow.partitions()) == PARTITIONS)
    who, _ = slow.membership()
    slow.door.open.clear()
    await fleet.produce(60)
    await until(lambda: slow.door.waiting > 0)
    held = slow.partitions()
    other = await fleet.join()
    await until(lambda: divided(slow, other))
    generation, rebalances = slow.membership(), other.rebalances()
    assert generation[0] == who
    await until(lambda: all(fleet.stored()[partition] == fleet.produced[partition] for partition in other.partitions()))
    await passed(SEVERAL)
    assert slow.membership() == generation, "it stays while its batch waits, through the join and after it"
    assert held > slow.partitions()
    slow.door.open.set()
    await fleet.all_is_stored_in_order()
    await fleet.produce(10)
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()
    assert (slow.membership(), other.rebalances()) == (generation, rebalances)


async def test_what_was_taken_away_during_a_slow_write_is_stored_but_no_longer_committed_by_who_had_it(
    fleet: Fleet,
) -> None:
    slow = await fleet.join()
    await until(lambda: len(slow.partitions()) == PARTITIONS)
    slow.door.open.clear()
    await fleet.produce(3)
    await until(lambda: slow.door.waiting > 0)
    other = await fleet.join()
    await until(lambda: divided(slow, other))
    other.door.open.clear()
    committed = recorded_commits(slow)
    slow.door.open.set()
    await until(lambda: slow.telemetry.counted("records_total") >= 3)
    await until(lambda: {place.partition for place in committed} == slow.partitions())
    other.door.open.set()
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()


def recorded_commits(member: Member) -> dict[TopicPartition, int]:
    """What the member commits from now on."""
    commits: dict[TopicPartition, int] = {}
    commit = member.client.commit

    async def recording(offsets: dict[TopicPartition, int]) -> None:
        commits.update(offsets)
        await commit(offsets)

    member.client.commit = recording
    return commits


# --- a coordinator that does not answer -----------------------------------------------------------------------------


async def test_partitions_are_given_back_in_time_although_the_coordinator_does_not_answer(
    own_kafka: KafkaBroker,
) -> None:
    topic = await TopicMaker(own_kafka.bootstrap_servers)(partitions=PARTITIONS)
    async with AsyncExitStack() as opened:
        fleet = Fleet(own_kafka, topic, opened)
        first = await fleet.join()
        await fleet.produce(30)
        await fleet.all_is_stored_in_order()
        took = frozen_while_letting_go(fleet, first)
        other = await fleet.join()
        await until(lambda: len(took) > 0)
        assert took[0] < SESSION / 3 + 0.5
        await until(lambda: divided(first, other))
        await fleet.produce(30)
        await fleet.all_is_stored_in_order()
        await fleet.everything_is_committed()


def frozen_while_letting_go(fleet: Fleet, member: Member) -> list[float]:
    """The broker stops in the moment in which partitions are taken away; how long the member then takes."""
    took: list[float] = []
    let_go = member.source.let_go

    async def frozen(partitions: Collection[TopicPartition]) -> None:
        pid = fleet.broker.pid
        assert pid is not None
        member.source.taken([fleet.last_stored(place) for place in partitions])
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            await let_go(partitions)
        finally:
            os.kill(pid, signal.SIGCONT)
        took.append(time.monotonic() - began)
        member.source.let_go = let_go  # type: ignore[method-assign]

    member.source.let_go = frozen  # type: ignore[method-assign]
    return took


# --- a name that stays ----------------------------------------------------------------------------------------------


async def test_restart_under_the_same_instance_id_moves_no_partitions(fleet: Fleet) -> None:
    first, second = await fleet.join("pod-0"), await fleet.join("pod-1")
    await until(lambda: divided(first, second))
    mine, rebalances = first.partitions(), second.rebalances()
    await fleet.leave(first)
    await fleet.produce(20)
    again = await fleet.join("pod-0")
    await until(lambda: again.partitions() == mine)
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()
    assert second.rebalances() == rebalances


async def test_partitions_of_a_named_member_that_does_not_return_idle_until_its_session_ends(fleet: Fleet) -> None:
    first, second = await fleet.join("pod-0"), await fleet.join("pod-1")
    await until(lambda: divided(first, second))
    left_at = time.monotonic()
    await fleet.leave(first)
    await fleet.produce(20)
    await until(lambda: len(second.partitions()) == PARTITIONS)
    assert time.monotonic() - left_at > SESSION / 2, "nobody told the group"
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()


async def test_of_two_members_under_one_instance_id_one_is_pushed_out_and_nothing_is_lost(fleet: Fleet) -> None:
    first, twin = await fleet.join("pod-0"), await fleet.join("pod-0")
    await until(lambda: first.pushed_out() or twin.pushed_out())
    await fleet.produce(5)
    await fleet.all_is_stored_in_order()
    await fleet.leave(twin)
    await fleet.produce(5)
    await fleet.all_is_stored_in_order()
    await fleet.everything_is_committed()
