"""Polls that keep a member in its group, and what is said while a batch waits for the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from service.adapters.kafka_stay import NOWHERE, Stay
from tests.fakes.telemetry import RecordingTelemetry


class _Client:
    """aiokafka's consumer, polled; `trouble` is raised once."""

    def __init__(self) -> None:
        self.polled: list[tuple[TopicPartition, ...]] = []
        self.trouble: list[BaseException] = []

    async def getmany(self, *partitions: TopicPartition) -> dict[TopicPartition, list[object]]:
        self.polled.append(partitions)
        if self.trouble:
            raise self.trouble.pop()
        return {}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it watches tells nobody
            await asyncio.sleep(0)


@asynccontextmanager
async def staying(stay: Stay, client: _Client) -> AsyncIterator[None]:
    task = asyncio.create_task(stay.run(client))  # type: ignore[arg-type]  # as far as it asks it
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_polls_thrice_in_an_interval_for_what_nobody_has() -> None:
    client = _Client()
    stay = Stay(max_poll_interval_ms=30, telemetry=RecordingTelemetry())
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with staying(stay, client):
        await until(lambda: len(client.polled) == 3)
    assert loop.time() - began > 0.029
    assert set(client.polled) == {(NOWHERE,)}


async def test_trouble_of_such_a_poll_is_told_and_ends_nothing() -> None:
    client, telemetry = _Client(), RecordingTelemetry()
    client.trouble = [KafkaError(), asyncio.CancelledError()]
    async with staying(Stay(max_poll_interval_ms=3, telemetry=telemetry), client):
        await until(lambda: len(client.polled) == 4)
    reasons = [line.fields["reason"] for line in telemetry.lines if line.level == "warning"]
    assert reasons == ["CancelledError", "KafkaError"]


async def test_batch_that_waits_for_the_ledger_is_told_and_its_end_too() -> None:
    telemetry = RecordingTelemetry()
    stay = Stay(max_poll_interval_ms=3, telemetry=telemetry)
    async with staying(stay, _Client()):
        stay.out()
        await until(lambda: telemetry.levels.get(("intake_held_back", ())) == 1)
        stay.back()
        assert telemetry.levels["intake_held_back", ()] == 0
    assert telemetry.events() == [
        "intake is held back: the ledger has yet to take what was fetched",
        "intake goes on: the ledger took what was fetched",
    ]


async def test_batch_that_is_stored_soon_is_not_told() -> None:
    client, telemetry = _Client(), RecordingTelemetry()
    stay = Stay(max_poll_interval_ms=3, telemetry=telemetry)
    async with staying(stay, client):
        stay.out()
        stay.back()
        await until(lambda: len(client.polled) == 2)
    assert telemetry.events() == []
