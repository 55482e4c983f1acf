"""Replicas that share a PostgreSQL ledger, as processes of one scene."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from tests.acceptance.scene import Scene
from tests.kafka.broker import KafkaBroker


@dataclass
class Fleet:
    """The running replicas, by number; `url` is the ledger's, with its password."""

    scene: Scene
    url: str
    workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *replicas: int) -> None:
        """Start replicas, each under a name of its own that it keeps; returns at once."""
        for replica in replicas:
            kafka = {**self.scene.settings.get("kafka", {}), "group_instance_id": f"pod-{replica}"}
            self.scene.settings["kafka"] = kafka
            self.workers[replica] = self.scene.start_worker(replica)

    async def ready(self) -> None:
        """Wait until every replica says so."""
        for replica in self.workers:
            await self.scene.until_async(
                lambda replica=replica: self.scene.is_ready(replica),  # type: ignore[misc]
                seconds=30,
                what=f"replica {replica} to be ready",
            )

    async def kill(self, replica: int) -> None:
        """End it at once, with SIGKILL."""
        await self.scene.kill_worker(self.workers.pop(replica))

    async def stop(self, replica: int) -> None:
        """End it in order, and see that it did."""
        assert await self.scene.stop_worker(self.workers.pop(replica)) == 0

    async def stop_all(self) -> None:
        """End all of them in order, side by side."""
        await asyncio.gather(*(self.stop(replica) for replica in list(self.workers)))

    async def ask(self, statement: str, *values: Any) -> list[Any]:
        """Ask the ledger's database, or change what no operator's tool can change yet."""
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()


@asynccontextmanager
async def open_fleet(kafka: KafkaBroker, url: str, folder: Path, **scene: Any) -> AsyncIterator[Fleet]:
    """A scene whose workers share the database at `url`; nothing is started yet but the sandbox."""
    parts = urlsplit(url)
    settings = {"ledger": url.replace(f":{parts.password}@", "@"), **scene.pop("settings", {})}
    secrets = {"CORDBOARD_LEDGER_PASSWORD": parts.password or ""}
    async with Scene(kafka, folder, settings=settings, secrets=secrets, **scene) as opened:
        yield Fleet(opened, url)
