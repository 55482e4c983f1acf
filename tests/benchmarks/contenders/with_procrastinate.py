"""procrastinate: a loop hands each batch of records over as jobs, a worker in the same process runs them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import orjson
import procrastinate

from tests.benchmarks.contenders.task import CONCURRENCY, Task, calls_of, consumer_of, producer_of, until_told


async def run(task: Task) -> None:
    """Work until told to stop."""
    consumer, producer = consumer_of(task), producer_of(task)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=task.database, max_size=20))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        @app.task(name="hire")
        async def hire(event: dict[str, Any]) -> None:
            for action, body in calls_of(event):
                async with session.post(task.vendor, data=body, headers={"X-TC-Action": action}) as response:
                    answer = orjson.loads(await response.read())
            result = orjson.dumps({"id": event["id"], "request_id": answer["Response"]["RequestId"]})
            await producer.send(task.results, value=result, key=event["data"]["agent_id"].encode())

        async def take_in() -> None:
            while True:
                found = await consumer.getmany(timeout_ms=200, max_records=500)
                events = [orjson.loads(record.value or b"") for batch in found.values() for record in batch]
                if events:
                    await hire.batch_defer_async(*({"event": event} for event in events))
                    await consumer.commit()

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await consumer.start()
            await producer.start()
            worker = app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
            try:
                await until_told(_both(take_in(), worker))
            finally:
                await consumer.stop()
                await producer.stop()


async def _both(first: Any, second: Any) -> None:
    await asyncio.gather(first, second)


if __name__ == "__main__":
    asyncio.run(run(Task.parse(sys.argv[1])))
