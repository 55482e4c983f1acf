"""The benchmarks: `python -m tests.benchmarks` runs them all, `--only throughput` one, `--rounds 3` as often.

They measure and do not judge. Results go to `--out` as tables, JSON and pictures. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, Final

from rich.progress import Progress

from tests.benchmarks import report
from tests.benchmarks.contenders.table import (
    BARE,
    CORDBOARD_POSTGRES,
    CORDBOARD_SQLITE,
    DBOS,
    PARALLEL_CONSUMER,
    PROCRASTINATE,
    cordboard,
)
from tests.benchmarks.contest import CALLS, DATABASE_CPU, OWN_CPU, PARTITIONS, Arena, Contender, Figures, contest
from tests.benchmarks.environment import environment
from tests.benchmarks.scenarios import at_quota, flood, paced, statements
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.postgres.server import PostgresServer

RESULT_TOPICS: Final = ("provisioning.results", "provisioning.failures")
SLOW_EVERY: Final = 100

Measure = Callable[[Arena, Contender], Awaitable[Figures]]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The same work for all, each with as much of it as its speed makes sensible."""

    name: str
    what: str
    contenders: Sequence[tuple[Contender, Measure]]
    compared: Sequence[str] = ()
    delay: float = 0.0
    rounds: int = 5
    """How often, unless asked otherwise."""

    @property
    def base(self) -> str:
        """Whom the others are compared with."""
        return self.contenders[0][0].name


def bursts(**hires: int) -> list[tuple[Contender, Measure]]:
    """Who works off a burst of how many hires."""
    known = {
        "bare": BARE,
        "sqlite": CORDBOARD_SQLITE,
        "postgres": CORDBOARD_POSTGRES,
        "parallel": PARALLEL_CONSUMER,
        "procrastinate": PROCRASTINATE,
        "dbos": DBOS,
    }
    return [(known[name], partial(contest, hires=count)) for name, count in hires.items()]


def each(measure: Measure, *contenders: Contender) -> list[tuple[Contender, Measure]]:
    """The same measurement of everybody."""
    return [(one, measure) for one in contenders]


async def beside_slow(arena: Arena, contender: Contender) -> Figures:
    """200 hires a second, one of a hundred slow by 5 s: the others' wait, and how much longer it is than without.

    Without is measured before and after, for at this pace a machine's mood moves a p99 by half.
    """
    pace = partial(paced, contender=contender, rate=200, seconds=10)
    before = await pace(arena)
    found = await pace(replace(arena, slow_every=SLOW_EVERY))
    after = await pace(arena)
    return {**found, "p99 x without slow ones": found["p99 ms"] / mean((before["p99 ms"], after["p99 ms"]))}


def both(what: str, **how: Any) -> tuple[Contender, Contender]:
    """Cordboard on either ledger, with something about it."""
    return (
        cordboard(f"cordboard (SQLite){what}", postgres=False, **how),
        cordboard(f"cordboard (PostgreSQL){what}", postgres=True, **how),
    )


AS_DELIVERED: Final = (CORDBOARD_SQLITE, CORDBOARD_POSTGRES)
AT_20: Final = both(", 20/s", quota=20)
SLOW_DISK: Final = both(", flushes + 5 ms", altered="flush=0.005")
UNTOLD: Final = both(", telemetry off", altered="untold")
SCENARIOS: Final = (
    Scenario(
        name="throughput",
        what="quota lifted, a vendor that answers at once",
        contenders=bursts(bare=10_000, sqlite=4_000, postgres=2_000, parallel=10_000, procrastinate=1_000, dbos=300),
        compared=(CALLS, OWN_CPU),
    ),
    Scenario(
        name="slow-vendor",
        what="quota lifted, a vendor that takes 50 ms",
        contenders=bursts(bare=3_000, sqlite=2_000, postgres=2_000, parallel=3_000, procrastinate=500, dbos=200),
        compared=(CALLS, OWN_CPU),
        delay=0.05,
    ),
    Scenario(
        name="paced",
        what="20 hires a second, quota lifted: from production to creation",
        contenders=each(partial(paced, rate=20, seconds=15), BARE, *AS_DELIVERED),
    ),
    Scenario(
        name="quota",
        what="10,000 hires at a quota of 20 a second",
        contenders=each(partial(at_quota, hires=10_000, rate=20), *AT_20),
        rounds=1,  # of nine minutes for each
    ),
    Scenario(
        name="head-of-line",
        what="200 hires a second, one of a hundred slow by 5 s: the others",
        contenders=each(beside_slow, *AS_DELIVERED),
    ),
    Scenario(
        name="flood",
        what="100,000 events from Kafka into the ledger beside 20 calls a second, then kill -9 and a start",
        contenders=each(partial(flood, events=100_000), *AT_20),
    ),
    Scenario(
        name="grown-sqlite",
        what="the ledger empty, and with 1 M finished commands",
        contenders=each(
            partial(contest, hires=2_000),
            CORDBOARD_SQLITE,
            cordboard("cordboard (SQLite), 1 M finished", postgres=False, finished=1_000_000),
        ),
        compared=(CALLS, OWN_CPU),
    ),
    Scenario(
        name="grown-postgres",
        what="the ledger empty, and with 1 M and 10 M finished commands",
        contenders=each(
            partial(contest, hires=2_000),
            CORDBOARD_POSTGRES,
            cordboard("cordboard (PostgreSQL), 1 M finished", postgres=True, finished=1_000_000),
            cordboard("cordboard (PostgreSQL), 10 M finished", postgres=True, finished=10_000_000),
        ),
        compared=(CALLS, OWN_CPU, DATABASE_CPU),
    ),
    Scenario(
        name="slow-disk",
        what="5 ms added to every flush of the ledger",
        contenders=[*bursts(bare=10_000), *each(partial(contest, hires=2_000), *SLOW_DISK)],
        compared=(CALLS,),
    ),
    *(
        Scenario(
            name=f"telemetry-{name}",
            what="telemetry off and on: CPU",
            contenders=each(partial(contest, hires=1_000), off, on),
            compared=(OWN_CPU,),
            rounds=20,
        )
        for name, off, on in zip(("sqlite", "postgres"), UNTOLD, AS_DELIVERED, strict=True)
    ),
    Scenario(
        name="statements",
        what="what the ledger is asked for a hire",
        contenders=each(partial(statements, hires=2_000), *both(", counted", altered="counted")),
    ),
)


async def run(scenarios: Sequence[Scenario], asked_rounds: int | None, out: Path) -> None:
    """Round after round, everybody once in each, whose turn is first changing."""
    with KafkaBroker() as kafka, PostgresServer() as postgres:
        for topic in RESULT_TOPICS:
            await TopicMaker(kafka.bootstrap_servers)(topic, partitions=PARTITIONS)
        where = environment(Path.cwd())
        with Progress() as progress:
            for scenario in scenarios:
                rounds = asked_rounds or scenario.rounds
                arena = Arena(kafka=kafka, postgres=postgres, delay=scenario.delay)
                task = progress.add_task(scenario.name, total=rounds * len(scenario.contenders))
                measured: list[dict[str, Figures]] = []
                for nth in range(rounds):
                    turn = nth % len(scenario.contenders)
                    found: dict[str, Figures] = {}
                    for contender, measure in (*scenario.contenders[turn:], *scenario.contenders[:turn]):
                        progress.update(task, description=f"{scenario.name}: {contender.name}")
                        found[contender.name] = await measure(arena, contender)
                        progress.advance(task)
                    measured.append({one.name: found[one.name] for one, _ in scenario.contenders})
                text = report.write(
                    out, scenario.name, measured, base=scenario.base, compared=scenario.compared, where=where
                )
                progress.console.print(
                    f"\n{scenario.name}: {scenario.what}, {rounds} rounds\n\n{text}\n", soft_wrap=True
                )


def main() -> int:
    """Run what was asked for."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="this scenario; may be given again")
    parser.add_argument("--rounds", type=int, help="how often; else five times, or as a scenario says")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="where results go")
    asked = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if asked.only is None or scenario.name in asked.only]
    asyncio.run(run(chosen, asked.rounds, asked.out))
    sys.stdout.write(f"tables, JSON and pictures: {asked.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
