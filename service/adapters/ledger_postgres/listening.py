"""Wake-ups between processes by LISTEN and NOTIFY. What is missed is found by polling: they only make it sooner."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from service.adapters.ledger_postgres.connection import AWAY, COMMAND_SECONDS, Database
from service.application.ports import UnavailableError

CHANNEL: Final = "cordboard"
GATHER_SECONDS: Final = 0.02  # what is committed meanwhile is told with it: a NOTIFY locks out every other one
AGAIN_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 10.0  # between two signs of life of the connection that listens


class Listening:
    """Tells other processes which topics a commit touched, and hears it of theirs."""

    def __init__(self, database: Database, heard: Callable[[Iterable[str]], None]) -> None:
        """`heard` is called on the loop with the topics that others touched."""
        self._database = database
        self._heard = heard
        self._me = uuid.uuid4().hex
        self._touched: set[str] = set()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to tell."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._listen()), loop.create_task(self._tell())]

    async def close(self) -> None:
        """Stop both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def tell(self, topics: Iterable[str]) -> None:
        """Others should know, soon."""
        self._touched.update(topics)
        if self._touched:
            self._wanted.set()

    async def _tell(self) -> None:
        while True:
            await self._wanted.wait()
            await asyncio.sleep(GATHER_SECONDS)
            topics, self._touched = sorted(self._touched), set()
            self._wanted.clear()
            with suppress(UnavailableError):  # they look by themselves
                async with self._database.connection() as connection:
                    await connection.execute(
                        "SELECT pg_notify($1, $2 || ':' || t) FROM unnest($3::text[]) AS t", CHANNEL, self._me, topics
                    )

    async def _listen(self) -> None:
        while True:
            with suppress(*AWAY):
                await self._listen_once()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen_once(self) -> None:
        """Listen on a connection of its own for as long as it lives."""
        connection = await asyncpg.connect(**self._database.arguments(), command_timeout=COMMAND_SECONDS)
        try:
            await connection.add_listener(CHANNEL, self._hear)
            self._heard(("commands", "outbox"))  # nobody knows what was missed
            while not connection.is_closed():
                await asyncio.sleep(LOOK_SECONDS)
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: Any) -> None:
        sender, _, topic = str(payload).partition(":")
        if sender != self._me and topic in {"commands", "outbox"}:
            self._heard((topic,))
