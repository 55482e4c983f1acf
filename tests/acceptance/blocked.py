"""A worker whose loop is kept busy now and then, as by a large batch or a slow library: `blocked MS run --config …`.

The blocks take a tenth of the time, at random moments.
"""

import asyncio
import random
import sys
import time
from typing import Any

from service.entrypoints import cli, worker

SHARE = 0.1
real_worker = worker.run_worker


async def _block(seconds: float) -> None:
    chance = random.Random()  # noqa: S311 - no secret
    while True:
        await asyncio.sleep(chance.uniform(0.5, 1.5) * seconds * (1 - SHARE) / SHARE)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass


async def _run_worker(*given: Any, **named: Any) -> int:
    blocking = asyncio.create_task(_block(int(MILLISECONDS) / 1000))
    try:
        return await real_worker(*given, **named)
    finally:
        blocking.cancel()


if __name__ == "__main__":
    MILLISECONDS = sys.argv.pop(1)
    worker.run_worker = _run_worker
    cli.main()
