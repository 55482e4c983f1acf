"""A real process dies on either side of every durable step, again and again, and nothing is lost or done twice."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.adapters.failpoints import ARMED, CHOSEN, POINTS
from tests.acceptance.aftermath import gather
from tests.acceptance.oracle import judge
from tests.acceptance.scene import Scene
from tests.acceptance.storm import QUOTAS, SETTINGS, Load, make_load
from tests.kafka.broker import KafkaBroker

WAVE = 6
"""Events that are produced for each death."""
ONCE = {"session", "takeover", "release", "commit", "intake", "taken"}
"""Steps that a process may come by only once while it has so little to do."""
LEAVES_ORPHANS = "mark.after"
QUICK: dict[str, Any] = {**SETTINGS, "kafka": {"session_timeout_ms": 1000}}


@dataclass
class Deaths:
    """Process after process over one scene, each dying where it is told to."""

    scene: Scene
    load: Load
    waves: Iterator[Any] = field(init=False)
    died_at: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.waves = iter(self.load.waves(-(-len(self.load.records) // WAVE)))

    async def die(self, point: str, nth: int) -> None:
        """Start a process that dies at a point, and give it work until it does."""
        self.scene.secrets |= {ARMED: "1", CHOSEN: f"{point}:{nth}"}
        worker = self.scene.start_worker()
        give_up = time.monotonic() + 30
        while worker.poll() is None:
            assert time.monotonic() < give_up, f"{point}:{nth} was not reached\n{self.scene.log_text[-2000:]}"
            await self.scene.produce(next(self.waves))
            if point.startswith("release"):
                await self.scene.until_async(self.scene.is_ready, seconds=15, what="a process to stop")
                worker.send_signal(signal.SIGTERM)
            await self._ended(worker, seconds=4.0)
        assert worker.returncode == -signal.SIGKILL, f"{point}: {worker.returncode}\n{self.scene.log_text[-3000:]}"
        self.died_at[point] += 1

    async def live(self) -> subprocess.Popen[bytes]:
        """Start a process that lives, and bring the rest of the work."""
        self.scene.secrets.clear()
        worker = self.scene.start_worker()
        for wave in self.waves:
            await self.scene.produce(wave)
        return worker

    async def _ended(self, worker: subprocess.Popen[bytes], seconds: float) -> None:
        with contextlib.suppress(AssertionError):  # it needs more work to get there
            await self.scene.until(lambda: worker.poll() is not None, seconds=seconds, what="")


@pytest.mark.parametrize("hits", [1, pytest.param(20, marks=pytest.mark.long)])
async def test_a_process_may_die_on_either_side_of_every_durable_step(
    kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], hits: int
) -> None:
    chance = random.Random(hits)  # noqa: S311 - reproducible, not cryptography
    deaths = _places(hits, chance)
    load = make_load(round(WAVE * len(deaths) * 1.4), seed=hits, repeated=0.02, misfits=0.0)
    begun = time.monotonic()
    sandbox = {"quotas": QUOTAS, "approval_seconds": 1.0}
    async with Scene(kafka, tmp_path, tag=f".fail{hits}", settings=QUICK, sandbox_settings=sandbox) as scene:
        run = Deaths(scene, load)
        for point, nth in deaths:
            await run.die(point, nth)
        evidence = await gather(scene, load, [await run.live()], seconds=60)
    verdict = judge(evidence)
    figures = {**verdict.figures, "deaths": run.died_at.total(), "points": len(run.died_at)}
    figures["seconds"] = round(time.monotonic() - begun, 1)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(f"  {name:40} {value}" for name, value in figures.items()) + "\n")
    assert not verdict.findings, verdict.report()
    assert {point: run.died_at[point] >= hits for point in POINTS} == dict.fromkeys(POINTS, True)


def _places(hits: int, chance: random.Random) -> list[tuple[str, int]]:
    """Where each process dies: every point so often, in any order, a takeover right after orphans were left."""
    places: list[tuple[str, int]] = []
    for _ in range(hits):
        points = list(POINTS)
        chance.shuffle(points)
        for point in points:
            if point.startswith("takeover"):
                places.append((LEAVES_ORPHANS, 1))
            places.append((point, 1 if point.partition(".")[0] in ONCE else chance.randint(1, 3)))
    return places
