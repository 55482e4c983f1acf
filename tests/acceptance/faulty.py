"""A worker that can be made to fail from outside: `faulty run --config …`.

SIGUSR1: whoever fetches from Kafka dies in silence, as by a stray cancellation; no exception reaches anybody.
SIGUSR2: from now on something in it does not give way, for `BLOCK_SECONDS` again and again; at the next it is well.
The blocks come a little more often than the watchdog feels, so that it meets each of them.
"""

import asyncio
import signal
import time
from typing import Any

from service.adapters.kafka_consumer import KafkaEventSource
from service.application.watchdog import FEEL_SECONDS
from service.entrypoints import cli, worker

BLOCK_SECONDS = 0.35
BREATH_SECONDS = FEEL_SECONDS - 0.05
real_worker = worker.run_worker
real_source = KafkaEventSource.__init__
sources: list[Any] = []


def _noted(source: KafkaEventSource, *given: Any, **named: Any) -> None:
    real_source(source, *given, **named)
    sources.append(source)


def _stop_fetching() -> None:
    for source in sources:
        source._consumer._fetcher._fetch_task.cancel()


async def _block() -> None:
    while True:
        time.sleep(BLOCK_SECONDS)  # noqa: ASYNC251 - that is the fault
        await asyncio.sleep(BREATH_SECONDS)


async def _run_worker(*given: Any, **named: Any) -> int:
    loop = asyncio.get_running_loop()
    blocking: list[asyncio.Task[None]] = []

    def toggle() -> None:
        if blocking:
            blocking.pop().cancel()
        else:
            blocking.append(loop.create_task(_block()))

    loop.add_signal_handler(signal.SIGUSR1, _stop_fetching)
    loop.add_signal_handler(signal.SIGUSR2, toggle)
    return await real_worker(*given, **named)


if __name__ == "__main__":
    KafkaEventSource.__init__ = _noted  # type: ignore[assignment, method-assign]
    worker.run_worker = _run_worker
    cli.main()
