"""Chaos on the real thing: processes killed, stopped and frozen, a broker restarted, a vendor that breaks its word."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import pytest

from tests.acceptance.aftermath import gather
from tests.acceptance.oracle import Verdict, judge
from tests.acceptance.scene import Scene
from tests.acceptance.spoiling import unseen
from tests.acceptance.storm import SETTINGS, Load, make_load, sandbox_settings
from tests.kafka.broker import KafkaBroker

Blow = Literal["kill", "term", "freeze", "broker"]
SEEDS = [int(seed) for seed in os.environ.get("CHAOS_SEEDS", "1").split(",")]
"""Others by `CHAOS_SEEDS=2,3`. A seed fixes the load, the vendor's faults and the moments, not the races."""
RECOVERY_SECONDS = 3.0
STARTING_SECONDS = 1.5
"""A signal that comes earlier may end a process before it has learnt what to do on one."""
FROZEN_SECONDS = 4.0
"""More than twice the session timeout of a storm."""


@dataclass
class Storm:
    """One storm over one scene: blow after blow, with new work before each."""

    scene: Scene
    load: Load
    chance: random.Random
    worker: subprocess.Popen[bytes] = field(init=False)
    started: float = 0.0
    blows: list[Blow] = field(default_factory=list)
    hits: int = 0
    marked: int = 0
    recoveries: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)

    async def rage(self, blows: Sequence[Blow]) -> None:
        """Bring the load in waves, and a blow after each."""
        waves = self.load.waves(len(blows) + 1)
        self._start()
        for wave, blow in zip(waves, blows, strict=False):
            await self.scene.produce(wave)
            await self._moment()
            self.blows.append(blow)
            match blow:
                case "kill":
                    await self._kill()
                case "term":
                    await self._terminate()
                case "freeze":
                    await self._freeze()
                case "broker":
                    await self._restart_broker()
        for wave in waves[len(blows) :]:
            await self.scene.produce(wave)

    async def _moment(self) -> None:
        """A seeded moment: anywhere in the first three seconds of a process, or amid the work that it does."""
        if self.chance.random() < 0.25:
            await _pass(self.started + self.chance.uniform(0.2, 3.0))
            return
        seen = len(self.scene.journal)
        await self.scene.until(lambda: len(self.scene.journal) > seen + 5, seconds=20, what="a wave being worked on")
        await _pass(time.monotonic() + self.chance.uniform(0.0, 0.4))

    def _start(self) -> None:
        self.started = time.monotonic()
        self.worker = self.scene.start_worker()

    async def _kill(self) -> None:
        await self.scene.kill_worker(self.worker)
        now = time.time()
        ((marked, claimed, due),) = self.scene.ledger_rows(
            "SELECT count(*) FILTER (WHERE state = 'in_flight'),"  # noqa: S608 - a number of our own
            " count(*) FILTER (WHERE state <> 'in_flight' AND owner IS NOT NULL),"
            f" count(*) FILTER (WHERE state IN ('pending', 'in_doubt') AND due_at <= {now}) FROM commands"
        )
        self.marked += marked
        self.hits += marked + claimed > 0
        self._start()
        if due > 0:
            await self._recovered()

    async def _recovered(self) -> None:
        """How long after its start the new process made its first call for work that was in the ledger."""
        calls: list[float] = []

        def called() -> bool:
            calls[:] = [e.arrival for e in self.scene.journal[-400:] if e.arrival > self.started]
            return bool(calls)

        await self.scene.until(called, seconds=20, what="the first call after a kill")
        self.recoveries.append(min(calls) - self.started)

    async def _terminate(self) -> None:
        begun = time.monotonic()
        code = await self.scene.stop_worker(self.worker)
        untouched = begun - self.started < STARTING_SECONDS and code == -signal.SIGTERM  # it was not yet listening
        assert code == 0 or untouched, f"stopped with {code}\n{self.scene.log_text[-3000:]}"
        self.stops.append(time.monotonic() - begun)
        self._start()

    async def _freeze(self) -> None:
        self.worker.send_signal(signal.SIGSTOP)
        await _pass(time.monotonic() + FROZEN_SECONDS)
        self.worker.send_signal(signal.SIGCONT)

    async def _restart_broker(self) -> None:
        await asyncio.to_thread(self.scene.broker.kill)
        await _pass(time.monotonic() + self.chance.uniform(0.5, 3.0))
        await asyncio.to_thread(self.scene.broker.start)

    def table(self, verdict: Verdict, seed: int, seconds: float) -> str:
        """The storm in figures."""
        times = sorted(self.recoveries)
        rows: dict[str, Any] = {"seed": seed, **verdict.figures}
        rows |= {blow: self.blows.count(blow) for blow in ("kill", "term", "freeze", "broker")}
        rows |= {"kills that hit work in flight": self.hits, "commands sent without outcome at kills": self.marked}
        if times:
            rows["first call after kill -9"] = (
                f"p50 {median(times):.2f} s, max {times[-1]:.2f} s, of {len(times)} starts"
            )
        if self.stops:
            rows["SIGTERM to exit"] = f"p50 {median(self.stops):.2f} s, max {max(self.stops):.2f} s"
        rows["seconds"] = round(seconds, 1)
        return "\n".join(f"  {name:40} {value}" for name, value in rows.items())


@pytest.mark.parametrize("seed", SEEDS)
async def test_three_hundred_events_through_five_kills(
    kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    blows = blows_of(kill=5, term=1)
    await _storm(kafka, tmp_path, capsys, seed=seed, events=300, blows=blows, calm_seconds=45)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
async def test_two_thousand_events_through_a_long_storm(
    own_kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    blows = blows_of(kill=20, term=10, freeze=1, broker=1)
    await _storm(own_kafka, tmp_path, capsys, seed=seed, events=2000, blows=blows, calm_seconds=180)


async def _storm(
    broker: KafkaBroker,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    seed: int,
    events: int,
    blows: list[Blow],
    calm_seconds: float,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible, not cryptography
    chance.shuffle(blows)
    load = make_load(events, seed=seed)
    begun = time.monotonic()
    async with Scene(
        broker, folder, tag=f".chaos{seed}", settings=dict(SETTINGS), sandbox_settings=sandbox_settings(seed)
    ) as scene:
        storm = Storm(scene, load, chance)
        await storm.rage(blows)
        evidence = await gather(scene, load, [storm.worker], seconds=calm_seconds)
    verdict = judge(evidence)
    with capsys.disabled():
        sys.stdout.write(f"\n{storm.table(verdict, seed, time.monotonic() - begun)}\n")
    assert not verdict.findings, f"seed {seed}\n{verdict.report()}"
    assert unseen(evidence) == [], "an oracle that does not see these proves nothing"
    assert storm.hits >= 0.4 * storm.blows.count("kill"), "too few kills hit work in flight to show anything"
    assert storm.recoveries, "no kill left work behind that was due"
    assert max(storm.recoveries) <= RECOVERY_SECONDS


def blows_of(*, kill: int = 0, term: int = 0, freeze: int = 0, broker: int = 0) -> list[Blow]:
    """So many of each."""
    counts: dict[Blow, int] = {"kill": kill, "term": term, "freeze": freeze, "broker": broker}
    return [blow for blow, count in counts.items() for _ in range(count)]


async def _pass(moment: float) -> None:
    """Let time pass until a moment that the dice chose; nothing is awaited."""
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
