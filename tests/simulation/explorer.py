"""Runs schedules: a world, one process after another in it, and the oracles' judgement of what is left."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from random import Random
from typing import Any, Final

import phonenumbers

from service.domain.command import Command, CommandState, Plan
from service.domain.outcome import Call
from service.domain.record_reading import Record, Understood
from tests.simulation.oracles import Violation, comes_before, has_dead_letter, judge, read
from tests.simulation.process import Bugs, Life, SimulatedLedger, Topics
from tests.simulation.scenario import NOW, Scenario, draw, envelope
from tests.simulation.vendors import WRITES, Request, Vendors, resource_of
from tests.simulation.virtual_loop import RunawayError, SimulatedClock, VirtualLoop

SHARE: Final = 250  # schedules that a process of many is given at once
CALM: Final = 170.0  # seconds without trouble after which everything has to have settled
REPEATABLE: Final = frozenset(
    {"intake", "claim", "mark", "settle", "takeover", "mark_published", "orphans", "unpublished", "reserve_slots"}
)
"""What may have been written though the ledger said it was away: all but what runs before there is any work."""


@dataclass(slots=True)
class Report:
    """What became of one schedule."""

    seed: int
    violations: list[Violation]
    hits: Counter[str]
    lives: int
    commands: int
    turns: int
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)


class World:
    """Everything around the process, and what it is accused of."""

    def __init__(self, scenario: Scenario) -> None:
        random = Random(scenario.seed ^ 0x5EED)  # noqa: S311 - schedules, not secrets
        self.scenario, self.random = scenario, random
        self.loop = VirtualLoop(random, shuffled=scenario.shuffled)
        self.clock = SimulatedClock(self.loop, NOW)
        self.bugs = Bugs()
        self.topics = Topics()
        self.vendors = Vendors(self.loop, random, scenario, self._tell)
        self.vendors.on_effect = self._effect
        self.vendors.on_moment = self._moment
        self.vendors.on_fault = self.disturb
        self.violations: list[Violation] = []
        self.hits: Counter[str] = Counter()
        self.life: Life | None = None
        self.lives = 0
        self.ledger: SimulatedLedger | None = None
        self.execution: Any = None
        self.disturbed_at = self.loop.monotonic
        self.ledger_faults, self.kafka_faults = scenario.ledger_faults, scenario.kafka_faults
        self.facts_told: list[tuple[str, str, int | None]] = []
        self._marks: set[tuple[str, int, int]] = set()
        self._last_effect: dict[str, Plan] = {}
        self._crashes = list(scenario.crashes)
        self._set_back = sum(-seconds for _, seconds in scenario.clock_steps if seconds < 0)
        self._schedule()

    @property
    def durable(self) -> Any:
        """What is on the ledger's disk."""
        assert self.ledger is not None
        return self.ledger.durable

    @property
    def marks(self) -> set[tuple[str, int, int]]:
        """Attempts under which a request went out."""
        return self._marks

    def accuse(self, oracle: str, what: str) -> None:
        """Note a broken promise."""
        self.violations.append(Violation(oracle, what))

    def disturb(self) -> None:
        """Something happened from outside: everything gets its time to settle again."""
        self.disturbed_at = self.loop.monotonic

    def until(self) -> float:
        """When the schedule ends at the latest."""
        return self.disturbed_at + CALM + self._set_back

    # ------------------------------------------------------------------ lives

    def start(self) -> None:
        """A process starts."""
        crash = self._crashes.pop(0) if self._crashes else None
        self.lives += 1
        self.disturb()
        self.life = Life(self, self._open, crash)
        self.loop.create_task(self.life.live()).add_done_callback(self._started)

    def _started(self, task: Any) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.accuse("B", f"the process did not start: {task.exception()!r}")

    def _open(self, step: Any) -> SimulatedLedger:
        before = None if self.ledger is None else self.ledger.durable
        self.ledger = SimulatedLedger(step=step, durable=before)
        return self.ledger

    def die(self) -> None:
        """Kill -9, and a new start later."""
        life = self.life
        assert life is not None
        assert life.crash is not None
        assert self.ledger is not None
        life.alive = False
        self.ledger._closed = True
        self.loop.kill()
        self.topics.waiting.clear()
        where = life.hit or ("any await" if life.crash.turn else "any boundary")
        self.hits[where] += 1
        self.life = None
        self.disturb()
        self.loop.call_world(self.loop.monotonic + life.crash.restart_after, self.start)

    # ------------------------------------------------------------------ what happens around it

    def _schedule(self) -> None:
        begin, loop = self.loop.monotonic, self.loop
        for arrival in self.scenario.arrivals:
            loop.call_world(begin + arrival.at, self._append, arrival.topic, arrival.value, arrival.key)
        for at, seconds in self.scenario.clock_steps:
            loop.call_world(begin + at, self._step_clock, seconds)
        for at in self.scenario.rebalances:
            loop.call_world(begin + at, self._rebalance)

    def _append(self, topic: str, value: bytes, key: bytes) -> None:
        self.disturb()
        self.topics.append(topic, value, key)

    def _tell(self, number: str, verdict: str, apply_id: int | None) -> None:
        data: dict[str, Any] = {"number": number}
        if apply_id is not None:
            data["apply_id"] = apply_id
        self.facts_told.append((number, verdict, apply_id))
        event_id = f"{verdict}-{number}-{len(self.facts_told)}"
        value = envelope(f"crm.number.{verdict}.v1", event_id, data)
        self._append("crm.events", value, number.encode())
        if self.random.random() < 0.2:
            self._append("crm.events", value, number.encode())

    def _step_clock(self, seconds: float) -> None:
        self.disturb()
        self.clock.step_wall(seconds)
        if self.ledger is not None:
            self.ledger.wake()

    def _rebalance(self) -> None:
        if self.life is not None and self.life.started:
            self.life.source.rebalance()

    def ledger_is_away(self, name: str, *, after: bool = False) -> bool:
        """True if the disk does not answer this time; `after` it has written."""
        if self.ledger_faults <= 0 or self.random.random() > 0.03:
            return False
        if after and name not in REPEATABLE:
            return False
        self.ledger_faults -= 1
        self.disturb()
        return True

    def kafka_is_away(self) -> bool:
        """True if the broker does not answer this time."""
        if self.kafka_faults <= 0 or self.random.random() > 0.2:
            return False
        self.kafka_faults -= 1
        self.disturb()
        return True

    # ------------------------------------------------------------------ what is checked as it happens

    def let_go(self, records: Sequence[Record]) -> None:
        """Offsets may be committed: what they stand for must be durable."""
        kept = self.durable
        for record in records:
            reading = read(record)
            if isinstance(reading, Understood):
                event = kept.events.get((reading.event.source, reading.event.id))
                stored = event is not None and event.digest == reading.event.digest
                if event is not None and not stored:
                    stored = has_dead_letter(kept, record)
            else:
                stored = type(reading).__name__ == "Ignored" or has_dead_letter(kept, record)
            if not stored:
                self.accuse("L", f"offset {record.topic}/{record.offset} let go before the ledger has it")

    def sending(self, call: Call) -> tuple[str | None, int]:
        """A request leaves: under which command's mark."""
        name = call.operation.partition(".")[2]
        if name not in WRITES:
            return None, 0
        self.disturb()
        resource = resource_of(call)
        kept = self.durable
        in_flight = [c for c in kept.commands.values() if c.resource == resource and c.state is CommandState.IN_FLIGHT]
        marked = [c for c in in_flight if self._open_attempt(c, call)]
        if len(in_flight) > 1:
            self.accuse("O", f"{len(in_flight)} commands of {resource} in flight at once")
        if not marked:
            self.accuse("G", f"{name} for {resource} sent without a recorded attempt")
            return None, 0
        command = marked[0]
        self._check_order(command)
        mark = (command.id, command.epoch, command.attempts)
        if mark in self._marks:
            self.accuse("G", f"{name} for {resource} sent twice under attempt {command.attempts}")
        self._marks.add(mark)
        return command.id, command.attempts

    def _open_attempt(self, command: Command, call: Call) -> bool:
        attempt = self.durable.attempts.get((command.id, command.epoch, command.attempts))
        return attempt is not None and attempt.ended_at is None and attempt.call == call.operation

    def _check_order(self, command: Command) -> None:
        for other in self.durable.commands.values():
            if other.id == command.id:
                continue
            if other.plan_id == command.plan_id and other.step_no < command.step_no and not other.state.ended:
                self.accuse("O", f"step {command.step} sent before step {other.step} has ended")
            elif (other.subject == command.subject or other.resource == command.resource) and other.owner is not None:
                self.accuse("O", f"two commands of {command.subject} run at once: {other.step} and {command.step}")

    def _moment(self, name: str) -> None:
        """Something happened at a vendor: the process may die in the meantime."""
        if self.life is not None:
            self.life.pass_by(name)

    def _effect(self, request: Request) -> None:
        """The vendor changed something."""
        if not request.applied or request.command is None or request.resource is None:
            return
        command: Command = self.durable.commands[request.command]
        plan: Plan = self.durable.plans[command.plan_id]
        last = self._last_effect.get(request.resource)
        if last is not None and last.id != plan.id and comes_before(plan, last):
            self.accuse("O", f"{request.name} of {plan.event_id} applied after that of the later {last.event_id}")
        self._last_effect[request.resource] = plan


def explore(scenario: Scenario) -> tuple[Report, World]:
    """Run one schedule to its end and judge it."""
    world = World(scenario)
    loop = world.loop
    with loop.current():
        world.start()
        try:
            while loop.run(world.until):
                world.die()
        except RunawayError as runaway:
            world.accuse("L", str(runaway))
        judge(world)
        loop.kill()
        loop._dead = True
    violations = list(dict.fromkeys(world.violations))
    faults = Counter(r.fault for r in world.vendors.journal if r.fault is not None)
    seconds = loop.monotonic - 1_000.0
    commands = len(world.durable.commands)
    return Report(scenario.seed, violations, world.hits, world.lives, commands, loop.turns, seconds, faults), world


def run(seeds: Iterable[int]) -> Iterator[Report]:
    """Run the schedules of many seeds, fast."""
    with quickly():
        for number, seed in enumerate(seeds):
            if number % 400 == 399:
                gc.collect()
            yield explore(draw(seed))[0]


def run_on_all_cores(seeds: range) -> Iterator[Report]:
    """As `run`, by one process a core: what a process has patched, a planted bug say, the others do not have."""
    shares = [seeds[begin : begin + SHARE] for begin in range(0, len(seeds), SHARE)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for reports in pool.map(_reports, shares):
            yield from reports


def _reports(seeds: range) -> list[Report]:
    return list(run(seeds))


@contextmanager
def quickly() -> Iterator[None]:
    """Without the collector's interruptions, and with phone numbers parsed once: they are always the same few."""
    parse = phonenumbers.parse
    phonenumbers.parse = lru_cache(maxsize=1024)(parse)
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        phonenumbers.parse = parse
