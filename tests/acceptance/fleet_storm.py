"""A storm over a fleet: the load in waves, what is counted on the way, and the judgement at its end."""

import random
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.acceptance.aftermath import gather
from tests.acceptance.oracle import Evidence, judge
from tests.acceptance.replicas import Held, Replicas
from tests.acceptance.scene import Scene
from tests.acceptance.spoiling import unseen
from tests.acceptance.storm import SESSION_SECONDS, Load, fleet_settings, make_load, sandbox_settings
from tests.kafka.broker import KafkaBroker

REPLICAS = 3


@dataclass
class FleetStorm:
    """A fleet under a load that comes in waves."""

    scene: Scene
    load: Load
    chance: random.Random
    waves: Iterator[Any]
    fleet: Replicas = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Replicas(self.scene)

    async def wave(self) -> None:
        """Bring the next part of the load."""
        await self.scene.produce(next(self.waves))

    async def amid_work(self) -> None:
        """Bring the next part of the load, and return at a moment amid the work on it."""
        seen, begun = self.scene.arrivals, self.chance.randrange(1, 12)
        await self.wave()
        await self.scene.until(lambda: self.scene.arrivals >= seen + begun, seconds=30, what="a wave being worked on")

    async def stop_one_amid_calls(self) -> Held:
        """Bring the next part of the load, and make a replica stand still (SIGSTOP) amid a call of its own."""
        for replica in range(REPLICAS):
            await self.fleet.ready(replica)
        await self.amid_work()
        return await self.fleet.freeze_amid_call(self.chance)

    async def calm(self, seconds: float) -> Evidence:
        """Bring what is left of the load, wait for quiet, and gather what there is to judge."""
        for wave in self.waves:
            await self.scene.produce(wave)
        return await gather(self.scene, self.load, list(self.fleet.workers.values()), seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What a storm is over, and how it is told apart from others."""

    broker: KafkaBroker
    database: str
    folder: Path
    tag: str
    events: int
    waves: int
    session_seconds: float = SESSION_SECONDS
    seed: int = 1

    @asynccontextmanager
    async def storm(self) -> AsyncIterator[FleetStorm]:
        """A scene with its load, before any replica runs."""
        load = make_load(self.events, seed=self.seed)
        chance = random.Random(self.seed)  # noqa: S311 - reproducible, not cryptography
        async with Scene(
            self.broker,
            self.folder,
            tag=f".{self.tag}{self.events}",
            database=self.database,
            settings=fleet_settings(self.session_seconds),
            sandbox_settings=sandbox_settings(self.seed),
        ) as scene:
            yield FleetStorm(scene, load, chance, iter(load.waves(self.waves)))


def told(capsys: pytest.CaptureFixture[str], what: str, figures: dict[str, Any]) -> None:
    """Print a storm's figures."""
    with capsys.disabled():
        sys.stdout.write(f"\n  {what}\n" + "".join(f"  {name:44} {value}\n" for name, value in figures.items()))


def spread(times: Sequence[float]) -> str:
    """Median and maximum of some seconds."""
    return f"p50 {median(times):.2f} s, max {max(times):.2f} s, of {len(times)}" if times else "none"


def hold_up(evidence: Evidence, capsys: pytest.CaptureFixture[str], what: str, figures: dict[str, Any]) -> None:
    """Judge a storm, print it, and insist that nothing was broken and that the judge would have seen it."""
    verdict = judge(evidence)
    told(capsys, what, {**verdict.figures, **figures})
    assert not verdict.findings, verdict.report()
    blind = unseen(evidence)
    assert not blind, f"an oracle that does not see these proves nothing: {blind}"
