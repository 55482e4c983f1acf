"""Staying in the group while a batch waits for the ledger: the client leaves when nobody polls for its interval.

So somebody polls, for a partition that nobody has. Such a poll brings nothing and gives up nothing: what was fetched
ahead stays where it is, in its order, and a partition that came meanwhile is not touched. Memory stays bounded, as
the client fetches no more of a partition whose records wait.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.application.telemetry import Telemetry

STAY_SECONDS: Final = 5.0  # or thrice in the interval, where that is shorter
NOWHERE: Final = TopicPartition("", 0)


class Stay:
    """Polls for nothing at regular times, and tells when a batch has been out for longer than that."""

    def __init__(self, *, max_poll_interval_ms: int, telemetry: Telemetry) -> None:
        """No batch is out."""
        self._every = min(STAY_SECONDS, max_poll_interval_ms / 3_000)
        self._telemetry = telemetry
        self._out_since: float | None = None
        self._held_back = False

    def out(self) -> None:
        """A batch was handed out; nothing is fetched until it is stored."""
        self._out_since = asyncio.get_running_loop().time()

    def back(self) -> None:
        """It was stored or given back."""
        self._out_since = None
        self._tell()

    async def run(self, consumer: AIOKafkaConsumer) -> None:
        """Poll until cancelled. Beside a poll that is under way it does no harm; trouble is that one's to tell."""
        self._telemetry.level("intake_held_back", 0)
        while True:
            await asyncio.sleep(self._every)
            self._tell()
            outcomes = await asyncio.gather(consumer.getmany(NOWHERE), return_exceptions=True)
            for trouble in outcomes:
                if isinstance(trouble, BaseException):
                    self._telemetry.log("warning", "a poll to stay in the group failed", reason=type(trouble).__name__)

    def _tell(self) -> None:
        """Say it when it changes."""
        now = asyncio.get_running_loop().time()
        held_back = self._out_since is not None and now - self._out_since >= self._every
        if held_back == self._held_back:
            return
        self._held_back = held_back
        self._telemetry.level("intake_held_back", int(held_back))
        if held_back:
            self._telemetry.log("warning", "intake is held back: the ledger has yet to take what was fetched")
        else:
            self._telemetry.log("info", "intake goes on: the ledger took what was fetched")
