"""The benchmarks: `python -m tests.benchmarks` runs them all, `--only throughput` one, `--rounds 5` as often.

They measure and do not judge. Results go to `--out` as tables, JSON and pictures. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.progress import Progress

from tests.benchmarks import report
from tests.benchmarks.contenders.table import (
    BARE,
    CORDBOARD_POSTGRES,
    CORDBOARD_SQLITE,
    DBOS,
    PARALLEL_CONSUMER,
    PROCRASTINATE,
)
from tests.benchmarks.contest import PARTITIONS, Arena, Contender, Measured, contest
from tests.benchmarks.environment import environment
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.postgres.server import PostgresServer

RESULT_TOPICS: Final = ("provisioning.results", "provisioning.failures")


@dataclass(frozen=True)
class Scenario:
    """The same work for all, each with as many hires as its speed makes sensible."""

    name: str
    what: str
    contenders: Sequence[tuple[Contender, int]]
    delay: float = 0.0


SCENARIOS: Final = (
    Scenario(
        "throughput",
        "quota lifted, a vendor that answers at once",
        (
            (BARE, 10_000),
            (CORDBOARD_SQLITE, 2_000),
            (CORDBOARD_POSTGRES, 2_000),
            (PARALLEL_CONSUMER, 10_000),
            (PROCRASTINATE, 1_000),
            (DBOS, 300),
        ),
    ),
    Scenario(
        "slow-vendor",
        "quota lifted, a vendor that takes 50 ms",
        (
            (BARE, 3_000),
            (CORDBOARD_SQLITE, 2_000),
            (CORDBOARD_POSTGRES, 2_000),
            (PARALLEL_CONSUMER, 3_000),
            (PROCRASTINATE, 500),
            (DBOS, 200),
        ),
        delay=0.05,
    ),
)


async def run(scenarios: Sequence[Scenario], rounds: int, out: Path) -> None:
    """Round after round, everybody once in each, whose turn is first changing."""
    with KafkaBroker() as kafka, PostgresServer() as postgres:
        for topic in RESULT_TOPICS:
            await TopicMaker(kafka.bootstrap_servers)(topic, partitions=PARTITIONS)
        where = environment(Path.cwd())
        with Progress() as progress:
            for scenario in scenarios:
                arena = Arena(kafka=kafka, postgres=postgres, delay=scenario.delay)
                task = progress.add_task(scenario.name, total=rounds * len(scenario.contenders))
                measured: list[dict[str, Measured]] = []
                for nth in range(rounds):
                    turn = nth % len(scenario.contenders)
                    found: dict[str, Measured] = {}
                    for contender, hires in (*scenario.contenders[turn:], *scenario.contenders[:turn]):
                        progress.update(task, description=f"{scenario.name}: {contender.name}")
                        found[contender.name] = await contest(arena, contender, hires)
                        progress.advance(task)
                    measured.append({one.name: found[one.name] for one, _ in scenario.contenders})
                text = report.write(out, scenario.name, measured, BARE.name, where)
                progress.console.print(
                    f"\n{scenario.name}: {scenario.what}, {rounds} rounds\n\n{text}\n", soft_wrap=True
                )


def main() -> int:
    """Run what was asked for."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="this scenario; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"), help="where results go")
    asked = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if asked.only is None or scenario.name in asked.only]
    asyncio.run(run(chosen, asked.rounds, asked.out))
    sys.stdout.write(f"tables, JSON and pictures: {asked.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
