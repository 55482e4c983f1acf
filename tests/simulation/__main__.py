"""Runs schedules from the command line: `python -m tests.simulation --seed N -v` shows one, `--seeds N` many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import nullcontext

from tests.simulation.explorer import World, explore, quickly, run
from tests.simulation.mutants import MOST_SEEDS, MUTANTS, hunt, planted, row
from tests.simulation.scenario import draw


def main() -> int:
    """Run what was asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, help="run this schedule")
    parser.add_argument("--seeds", type=int, default=1000, help="run so many, from --start on")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="plant this bug first")
    parser.add_argument("--mutants", action="store_true", help="which oracle sees which planted bug, and where first")
    parser.add_argument("-v", action="store_true", help="tell the story")
    asked = parser.parse_args()
    if asked.mutants:
        return _table()
    with planted(asked.mutant) if asked.mutant else nullcontext():
        return _one(asked.seed, tell=asked.v) if asked.seed is not None else _many(asked.start, asked.seeds)


def _one(seed: int, *, tell: bool) -> int:
    scenario = draw(seed)
    with quickly():
        report, world = explore(scenario)
    if tell:
        _story(world)
    for violation in report.violations:
        print(violation)  # noqa: T201
    print(f"seed {seed}: {report.lives} lives, {report.commands} commands, {report.turns} turns")  # noqa: T201
    return 1 if report.violations else 0


def _many(start: int, seeds: int) -> int:
    begun, hits, broken, turns, commands = time.perf_counter(), Counter[str](), 0, 0, 0
    for report in run(range(start, start + seeds)):
        hits.update(report.hits)
        turns += report.turns
        commands += report.commands
        if report.violations:
            broken += 1
            if broken <= 20:
                print(f"seed {report.seed}: {'; '.join(map(str, report.violations[:3]))}")  # noqa: T201
    spent = time.perf_counter() - begun
    print(  # noqa: T201
        f"{seeds} schedules in {spent:.1f} s ({seeds / spent * 60:.0f}/min), {turns} turns, {commands} commands, "
        f"{sum(hits.values())} crashes, {broken} broken"
    )
    print(dict(hits.most_common()))  # noqa: T201
    return 1 if broken else 0


def _table() -> int:
    """Every planted bug, who saw it and where first."""
    unseen = 0
    for name in MUTANTS:
        report = hunt(name, range(MOST_SEEDS))
        unseen += report is None
        print(row(name, report), flush=True)  # noqa: T201
    return 1 if unseen else 0


def _story(world: World) -> None:
    """Everything that happened, in order."""
    start, ahead = 1_000.0, world.clock.now() - world.loop.monotonic
    print(world.scenario)  # noqa: T201
    lines: list[tuple[float, str]] = []
    for request in world.vendors.journal:
        what = f"{request.name} {request.resource or ''} fault={request.fault} applied={request.applied}"
        lines.append((request.sent_at - start, f"  -> {what} attempt={request.attempt} {dict(request.call.body)}"))
    steps = {
        c.id: f"{c.step} {c.resource} of {world.durable.plans[c.plan_id].event_id}"
        for c in world.durable.commands.values()
    }
    for change in world.durable.history:
        moved = f"{change.before} -> {change.after} ({change.cause})"
        lines.append((change.at - ahead - start, f"{steps[change.command_id]}: {moved}"))
    for message in world.topics.published:
        kind = (dict(message.headers).get("ce_type") or message.topic.encode()).decode()
        lines.append((message.created_at - ahead - start, f"     told {kind} {message.id[-6:]}"))
    for at, line in sorted(lines, key=lambda one: one[0]):
        print(f"{at:9.3f} {line}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
