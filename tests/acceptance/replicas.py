"""Replicas that share a ledger in PostgreSQL: started, killed, frozen and stopped, and what they had under way then."""

import asyncio
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.acceptance.scene import Scene

HELD_BY = """
SELECT s.fence, c.id, c.epoch, c.attempts, c.state FROM sessions AS s LEFT JOIN commands AS c
    ON c.owner = s.fence AND c.state IN ('pending', 'waiting', 'in_flight', 'in_doubt')
WHERE s.fence = (SELECT max(fence) FROM sessions WHERE owner LIKE '%:' || $1::text)
"""
SENDING = """
SELECT DISTINCT s.owner FROM sessions AS s JOIN commands AS c ON c.owner = s.fence AND c.state = 'in_flight'
WHERE s.ended_at IS NULL
"""
STANDS = """
SELECT EXISTS (SELECT 1 FROM sessions WHERE ended_at IS NULL AND owner LIKE '%:' || $1::text
               AND expires_at > extract(epoch FROM clock_timestamp()))
"""
ENDED_AT = "SELECT ended_at FROM sessions WHERE fence = $1"
DOUBTED_AT = """
SELECT command_id, min(at) FROM history
WHERE command_id = ANY($1::text[]) AND before = 'in_flight' AND at > $2 GROUP BY command_id
"""

Attempt = tuple[str, int, int]
"""A command, its epoch, and which of its attempts."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a replica had under way when it was struck: calls marked as sent, and commands only claimed."""

    replica: int
    at: float
    fence: int | None
    """None if it had not opened its session yet."""
    marked: Sequence[Attempt]
    claimed: int


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """How long after a death its session was ended, and until the last call it had marked was in doubt."""

    session_seconds: float
    doubt_seconds: float | None


@dataclass
class Replicas:
    """The replicas of one scene, by number."""

    scene: Scene
    workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: dict[int, float] = field(default_factory=dict)

    async def start(self, *replicas: int) -> None:
        """Start replicas; returns when each has answered that it is ready."""
        for replica in replicas:
            self.launch(replica)
        for replica in replicas:
            await self.ready(replica)

    def launch(self, replica: int) -> None:
        """Start a replica; returns at once."""
        self.started[replica] = time.monotonic()
        self.workers[replica] = self.scene.start_worker(replica)

    async def ready(self, replica: int, seconds: float = 30.0) -> None:
        """Wait until a replica says that it is ready."""

        async def says_so() -> bool:
            return await self.scene.is_ready(replica)

        await self.scene.until_async(says_so, seconds=seconds, what=f"replica {replica} is ready")

    async def stands(self, replica: int) -> bool:
        """Whether a replica has a session whose time is not over."""
        ((stands,),) = await self.rows(STANDS, str(self.workers[replica].pid))
        return bool(stands)

    async def kill(self, replica: int) -> None:
        """SIGKILL a replica. Its place is free for another start."""
        await self.scene.kill_worker(self.workers.pop(replica))

    async def freeze(self, replica: int) -> Held:
        """SIGSTOP a replica; what it has under way."""
        self.workers[replica].send_signal(signal.SIGSTOP)
        return await self._held_by(replica, self.workers[replica])

    def wake(self, replica: int) -> None:
        """Let a frozen replica go on."""
        self.workers[replica].send_signal(signal.SIGCONT)

    async def stop(self, replica: int) -> float:
        """SIGTERM a replica; how long it took to end in order."""
        begun = time.monotonic()
        code = await self.scene.stop_worker(self.workers.pop(replica))
        assert code == 0, f"replica {replica} stopped with {code}\n{self.scene.log_text[-3000:]}"
        return time.monotonic() - begun

    async def freeze_amid_call(self, chance: random.Random, *, seconds: float = 10.0) -> Held:
        """SIGSTOP any replica that has a call marked as sent and without outcome.

        A call seen to be under way may be over by the time the signal comes: then the replica goes on, and another
        is tried.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            sending = {int(owner.rpartition(":")[2]) for (owner,) in await self.rows(SENDING)}
            for replica in chance.sample(sorted(self.workers), len(self.workers)):
                if self.workers[replica].pid not in sending:
                    continue
                held = await self.freeze(replica)
                if held.marked:
                    return held
                self.wake(replica)
        raise AssertionError(f"no replica had a call under way for {seconds} seconds: nothing would be shown")

    async def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Ask the ledger."""
        connection = await asyncpg.connect(self.scene.database)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def take_over_of(self, held: Held) -> TakenOver:
        """How a death was noticed by the others; asked when all is over."""
        ((ended,),) = await self.rows(ENDED_AT, held.fence)
        doubted = [at for _, at in await self.rows(DOUBTED_AT, [name for name, _, _ in held.marked], held.at)]
        return TakenOver(session_seconds=ended - held.at, doubt_seconds=max(doubted) - held.at if doubted else None)

    async def _held_by(self, replica: int, worker: subprocess.Popen[bytes]) -> Held:
        at = time.time()
        found = await self.rows(HELD_BY, str(worker.pid))
        mine = [row for row in found if row[1] is not None]
        return Held(
            replica=replica,
            at=at,
            fence=found[0][0] if found else None,
            marked=[(name, epoch, number) for _, name, epoch, number, state in mine if state == "in_flight"],
            claimed=sum(state != "in_flight" for *_, state in mine),
        )


async def until_moment(moment: float) -> None:
    """Let time pass until a moment that a fault's schedule says (monotonic seconds); nothing is awaited."""
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
