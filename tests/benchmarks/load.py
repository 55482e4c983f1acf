"""The work: agents are hired, each with a new extension."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Final

import orjson
from aiokafka import AIOKafkaProducer

FIRST_EXTENSION: Final = 10_000
LEFT_OUT_SECONDS: Final = 2.0


def hire(number: int) -> tuple[bytes, bytes]:
    """Key and value of a record: agent `number` is hired."""
    document = {
        "specversion": "1.0",
        "id": f"hire-{number}",
        "source": "/hr",
        "type": "hr.agent.hired.v1",
        "data": {
            "agent_id": f"A{number}",
            "name": f"Agent {number}",
            "email": f"a{number}@acme.example",
            "extension": str(FIRST_EXTENSION + number),
        },
    }
    return f"A{number}".encode(), orjson.dumps(document)


def hires(first: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """So many of them, from `first` on."""
    return (hire(number) for number in range(first, first + count))


async def produce(bootstrap_servers: str, topic: str, first: int, count: int) -> float:
    """Write a burst; when its first record was on its way (monotonic)."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        begun = time.monotonic()
        for key, value in hires(first, count):
            await producer.send(topic, value=value, key=key)
        await producer.flush()
        return begun
    finally:
        await producer.stop()


async def produce_paced(bootstrap_servers: str, topic: str, first: int, count: int, rate: float) -> dict[str, float]:
    """Write at an even pace; by extension, when its record was handed over (monotonic).

    The first two seconds are left out: producer, broker and consumer warm up.
    """
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    produced: dict[str, float] = {}
    try:
        await producer.partitions_for(topic)  # what it has to learn first is no part of anybody's lag
        begun = time.monotonic()
        for nth, (key, value) in enumerate(hires(first, count)):
            await asyncio.sleep(max(0.0, begun + nth / rate - time.monotonic()))
            if nth >= LEFT_OUT_SECONDS * rate:
                produced[str(FIRST_EXTENSION + first + nth)] = time.monotonic()
            await producer.send(topic, value=value, key=key)
        await producer.flush()
    finally:
        await producer.stop()
    return produced
