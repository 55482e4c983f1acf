"""E1: thousands of seeded schedules with crashes anywhere keep every promise. E2: the explorer sees planted bugs.

A failure names its seed: `python -m tests.simulation --seed N -v` tells what happened in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulation.explorer import Report, World, explore, quickly, run_on_all_cores
from tests.simulation.mutants import MOST_SEEDS, MUTANTS, hunt, row
from tests.simulation.scenario import BOUNDARIES, MOST_COMMANDS, SELDOM, draw

ROOT = Path(__file__).parents[2]


def test_ten_thousand_schedules_keep_every_promise() -> None:
    reports = list(run_on_all_cores(range(10_000)))
    assert _broken(reports) == []
    crashes = sum((report.hits for report in reports), Counter[str]())
    faults = sum((report.faults for report in reports), Counter[str]())
    print(f"\ncrashes: {dict(crashes.most_common())}\nfaults: {dict(faults.most_common())}")  # noqa: T201
    assert {*BOUNDARIES, *SELDOM, "any await"} == set(crashes)
    assert min(crashes[boundary] for boundary in BOUNDARIES) >= 20
    assert max(report.commands for report in reports) >= MOST_COMMANDS - 1


@pytest.mark.long
def test_hundred_thousand_more_schedules_keep_every_promise() -> None:
    assert _broken(run_on_all_cores(range(10_000, 110_000))) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_seen(name: str) -> None:
    report = hunt(name, range(MOST_SEEDS))
    print(f"\n{row(name, report)}")  # noqa: T201
    assert report is not None, f"{MUTANTS[name].what}: not seen in {MOST_SEEDS} schedules"


@pytest.mark.parametrize("seed", [3, 17, 240])
def test_seed_tells_the_same_story_again(seed: int) -> None:
    with quickly():
        first, second = (_story(explore(draw(seed))[1]) for _ in range(2))
    assert first == second


def test_seed_tells_the_same_story_in_every_process() -> None:
    stories = {_in_a_process_with_hash_seed(number) for number in ("1", "2")}
    assert len(stories) == 1


# ---------------------------------------------------------------------- what it has found


@dataclass(frozen=True, slots=True)
class Found:
    """A schedule that broke a promise, and how."""

    seed: int
    why: str


CLOSED = {
    "two_revisions_wait_for_each_other": Found(
        212,
        "a lower revision arrives while the higher one is looked at, and waits behind it; the look fails, or the "
        "process dies: the higher one has not begun any more, and waits behind the lower; nobody wakes either",
    ),
    "listing_behind_our_own_work": Found(
        1,
        "the next work for a resource looks within the vendor's read lag after ours, sees nothing, and creates again",
    ),
    "leaping_clock_proves_absence": Found(
        56_074,
        "the wall clock leaps ahead between two looks that show nothing: the gap seems over, the listing still lags, "
        "and what was done is sent again",
    ),
    "late_answer_shows_the_past": Found(
        51_886,
        "a look that began within the read lag of our own work is answered so late that the work seems old by then: "
        "what it shows is the past all the same, and what was done is sent again",
    ),
    "settlement_written_twice_meets_the_next_run": Found(
        576,
        "the ledger takes a settlement and says it was away; the repetition finds the same command claimed again by "
        "the same session, and settles a run that is about to send",
    ),
    "claim_that_looked_failed": Found(
        54,
        "the ledger takes a claim and says it was away: the session owns a command that nobody runs before a restart",
    ),
}
"""Mended: they stay among the ten thousand, and here by name."""


@pytest.mark.parametrize("name", CLOSED)
def test_what_was_found_stays_mended(name: str) -> None:
    with quickly():
        report, _ = explore(draw(CLOSED[name].seed))
    assert report.violations == []


def _broken(reports: Iterable[Report]) -> list[str]:
    return [f"seed {one.seed}: {'; '.join(map(str, one.violations))}" for one in reports if one.violations]


def _story(world: World) -> list[object]:
    kept = world.durable
    requests = [(r.sent_at, r.call.operation, r.fault, r.applied) for r in world.vendors.journal]
    return [kept.history, requests, [m.id for m in world.topics.published], world.hits]


def _in_a_process_with_hash_seed(number: str) -> str:
    program = [sys.executable, "-m", "tests.simulation", "--seed", "17", "-v"]
    environment = {**os.environ, "PYTHONHASHSEED": number}
    return subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout  # noqa: S603
