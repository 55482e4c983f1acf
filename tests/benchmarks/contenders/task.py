"""What every contender in Python is told, and the calls of a hire."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SDK_APP_ID = 1400000000
CONCURRENCY = 100


@dataclass(frozen=True, kw_only=True)
class Task:
    """Where the hires come from, who the vendor is, where results go; `database` for those who need one."""

    kafka: str
    topic: str
    results: str
    group: str
    vendor: str
    database: str = ""

    def dump(self) -> str:
        """As one argument of a command line."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read back what :meth:`dump` gave."""
        return cls(**orjson.loads(text))


def consumer_of(task: Task) -> AIOKafkaConsumer:
    """Reads the hires; whoever reads commits."""
    return AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.kafka,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=6_000,
    )


def producer_of(task: Task) -> AIOKafkaProducer:
    """Writes the results."""
    return AIOKafkaProducer(bootstrap_servers=task.kafka, linger_ms=2, enable_idempotence=True)


def calls_of(hire: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """The two calls of a hire: create its extension, describe it."""
    data = hire["data"]
    create = {
        "SdkAppId": SDK_APP_ID,
        "ExtensionId": data["extension"],
        "ExtensionName": data["name"],
        "Relation": data["email"],
    }
    describe = {"SdkAppId": SDK_APP_ID, "ExtensionId": data["extension"]}
    return [("CreateExtension", orjson.dumps(create)), ("DescribeExtension", orjson.dumps(describe))]


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
