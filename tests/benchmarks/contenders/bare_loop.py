"""The bare loop: aiokafka → aiohttp → aiokafka, a batch at a time, with nothing durable but Kafka's offsets."""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import orjson
from aiokafka import ConsumerRecord

from tests.benchmarks.contenders.task import CONCURRENCY, Task, calls_of, consumer_of, producer_of, until_told


async def run(task: Task) -> None:
    """Work until told to stop."""
    consumer, producer = consumer_of(task), producer_of(task)
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    slots = asyncio.Semaphore(CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def handle(record: ConsumerRecord[bytes, bytes]) -> None:
            hire = orjson.loads(record.value or b"")
            async with slots:
                for action, body in calls_of(hire):
                    async with session.post(task.vendor, data=body, headers={"X-TC-Action": action}) as response:
                        answer = orjson.loads(await response.read())
            result = orjson.dumps({"id": hire["id"], "request_id": answer["Response"]["RequestId"]})
            await producer.send(task.results, value=result, key=record.key)

        async def work() -> None:
            while True:
                found = await consumer.getmany(timeout_ms=200, max_records=500)
                records = [record for batch in found.values() for record in batch]
                if records:
                    await asyncio.gather(*(handle(record) for record in records))
                    await producer.flush()
                    await consumer.commit()

        await consumer.start()
        await producer.start()
        try:
            await until_told(work())
        finally:
            await consumer.stop()
            await producer.stop()


if __name__ == "__main__":
    asyncio.run(run(Task.parse(sys.argv[1])))
