"""Waking those who wait for a commit; what happens between two waits is not missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from service.domain.command import CommandState
from service.domain.ledger_state import Changes

LONGEST_WAIT = 1.0  # seconds a subscriber waits before it looks by itself
TOPICS = ("commands", "outbox")


def touched_by(changes: Changes) -> Iterable[str]:
    """The topics that a transaction's changes touch."""
    sent_only = all(command.state is CommandState.IN_FLIGHT for command in changes.commands)
    if not sent_only or changes.holds:  # what ends lets others begin, and a hold that is released frees work
        yield "commands"
    if changes.outbox:
        yield "outbox"


class Wakeups:
    """Tells subscribers that a commit touched their topic; what happens between two waits is not missed."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(TOPICS, 0)
        self._events = {topic: asyncio.Event() for topic in TOPICS}

    def touch(self, topics: Iterable[str]) -> None:
        """Wake whoever waits for these."""
        for topic in topics:
            self._counts[topic] += 1
            self._events[topic].set()
            self._events[topic] = asyncio.Event()

    def subscribe(self, topic: str) -> Callable[[], Awaitable[None]]:
        """As the port says; raises KeyError for a topic that is none."""
        seen = self._counts[topic]

        async def wait() -> None:
            nonlocal seen
            if self._counts[topic] == seen:
                try:
                    async with asyncio.timeout(LONGEST_WAIT):
                        await self._events[topic].wait()
                except TimeoutError:
                    pass  # time to look anyway
            seen = self._counts[topic]

        return wait
