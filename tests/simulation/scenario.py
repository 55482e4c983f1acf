"""What a seed stands for: events and when they come, what goes wrong at the vendors and brokers, where the crashes lie.

Everything is drawn from one seed. A scenario is a value: it can be printed, cut down and run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import orjson

from contracts.inbound import INBOUND

NOW: Final = 1_800_000_000.0
MOST_COMMANDS: Final = 20
CHANGED: Final = "hr.agent.changed.v1"
ROUTED: Final = "crm.number.routed.v1"

BOUNDARIES: Final = (
    *(
        f"{side} {what}"
        for what in (
            "open_session",
            "orphans",
            "takeover",
            "intake",
            "claim",
            "reserve_slots",
            "mark",
            "settle",
            "unpublished",
            "mark_published",
            "commit",
            "publish",
            "exchange",
        )
        for side in ("before", "after")
    ),
    "fetch",
    "appended",
    "arrived",
    "applied",
)
"""Every durable boundary a process is sent to die at; between them it can die at any await."""
SELDOM: Final = ("before release_others", "after release_others")
"""Passed only after a claim that nobody knows the end of: a process may die there, but is not sent."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record that is appended to a topic; `at` counts seconds from the start."""

    at: float
    topic: str
    value: bytes
    key: bytes = b"key"


@dataclass(frozen=True, slots=True)
class Crash:
    """Where one life of the process ends: at the nth visit of a boundary, of any, or at the nth turn of the loop."""

    boundary: str | None  # None: any
    turn: bool
    nth: int
    restart_after: float


@dataclass(slots=True)
class Fate:
    """How a number's review ends, how long it takes, and who hears of it."""

    verdict: str  # approved, refused, never
    after: float
    told: bool
    with_apply_id: bool
    listed_after: float


@dataclass(slots=True)
class Scenario:
    """One schedule."""

    seed: int
    arrivals: list[Arrival] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)
    clock_steps: list[tuple[float, float]] = field(default_factory=list)
    rebalances: list[float] = field(default_factory=list)
    fates: dict[str, list[Fate]] = field(default_factory=dict)
    foreign_extensions: dict[str, str] = field(default_factory=dict)
    shuffled: bool = True
    vendor_faults: int = 0
    vendor_trouble: float = 0.0
    ledger_faults: int = 0
    kafka_faults: int = 0
    read_lag: float = 0.0
    duplicate_create: str = "error"  # error, success, db_error, second
    commands: int = 0


def draw(seed: int) -> Scenario:
    """The schedule of a seed."""
    random = Random(seed)  # noqa: S311 - schedules, not secrets
    scenario = Scenario(seed, shuffled=random.random() < 0.8)
    _Town(random, scenario).live()
    _trouble(random, scenario)
    _crashes(random, scenario)
    return scenario


def _trouble(random: Random, scenario: Scenario) -> None:
    if random.random() < 0.75:
        scenario.vendor_faults = random.randint(1, 8)
        scenario.vendor_trouble = random.choice((0.1, 0.3, 0.6))
    if random.random() < 0.25:
        scenario.ledger_faults = random.randint(1, 4)
    if random.random() < 0.4:
        scenario.kafka_faults = random.randint(1, 4)
    if random.random() < 0.2:
        scenario.clock_steps = [
            (random.uniform(0.0, 8.0), random.choice((-600.0, -3.0, -0.3, 0.3, 3.0, 600.0)))
            for _ in range(random.randint(1, 2))
        ]
    if random.random() < 0.2:
        scenario.rebalances = [random.uniform(0.0, 4.0) for _ in range(random.randint(1, 3))]
    if random.random() < 0.4:
        scenario.read_lag = random.choice((0.05, 2.5, 2.5))
    scenario.duplicate_create = random.choices(("error", "success", "db_error", "second"), (3, 2, 2, 3))[0]


def _crashes(random: Random, scenario: Scenario) -> None:
    slow = 1.0 if scenario.clock_steps else 0.02  # a process needs a second to start, and clocks are set rarely
    for _ in range(random.randint(1, 5)):
        kind = random.random()
        restart = slow + random.choice((0.0, 0.1, 0.5, 3.0)) * random.random()
        if kind < 0.35:
            crash = Crash(None, False, 1 + int(80 * random.random() ** 1.5), restart)
        elif kind < 0.75:
            crash = Crash(random.choice(BOUNDARIES), False, 1 + int(4 * random.random() ** 2), restart)
        else:
            crash = Crash(None, True, 1 + int(700 * random.random() ** 1.5), restart)
        scenario.crashes.append(crash)


class _Town:
    """Makes up who is hired, which numbers are bought, and what else lies on the topics."""

    def __init__(self, random: Random, scenario: Scenario) -> None:
        self.random, self.scenario = random, scenario
        self.at = 0.0
        self.ids = 0
        self.limit = min(MOST_COMMANDS, int((MOST_COMMANDS + 1) ** random.random() ** 1.3 + 0.5))
        self.resources = random.choice((1, 2, 3, 6, 10))
        self.burst = random.random() < 0.5
        self.by_revision: dict[str, list[int]] = {}

    def live(self) -> None:
        """Fill the topics."""
        kinds = random_kinds(self.random)
        while True:
            kind = self.random.choice(kinds)
            cost = {"hire": 2, "change": 1, "buy": 3, "route": 1, "reroute": 1}[kind]
            if self.scenario.commands + cost > self.limit and self.scenario.commands:
                break
            self.scenario.commands += cost
            getattr(self, f"_{kind}")(self.random.randint(1, self.resources))
            if self.scenario.commands >= self.limit:
                break
        self._litter()
        self._again()

    def _hire(self, number: int) -> None:
        random = self.random
        extension: dict[str, Any] = {"extension": str(1000 + number)}
        if random.random() < 0.04:
            extension = {}  # incomplete, unless the agent has one
        elif random.random() < 0.04:
            extension = {"extension": str(1000 + random.randint(1, self.resources))}  # perhaps another's
        data = {"agent_id": f"E{number}", "name": random.choice("AB"), "email": f"e{number}@example.com", **extension}
        if random.random() < 0.05:
            owner = random.choice((f"e{number}@example.com", "other@example.com"))
            self.scenario.foreign_extensions.setdefault(str(1000 + number), owner)
        self._event("hr.agent.hired.v1", f"agent-{number}", data)

    def _change(self, number: int) -> None:
        data = {"agent_id": f"E{number}", "name": self.random.choice("AB")}
        self._event(CHANGED, f"agent-{number}", data)

    def _buy(self, number: int) -> None:
        given = {"number": phone(number), "callback_url": f"https://crm.example.com/{self.random.choice('AB')}"}
        if self.random.random() < 0.1:
            given["call_type"] = "outbound"
        self._event("crm.number.purchased.v1", f"number-{number}", given, topic="crm.events")
        self._fate(number)

    def _reroute(self, number: int) -> None:
        if self.random.random() < 0.5:
            data: dict[str, Any] = {
                "number": phone(number),
                "callback_url": f"https://crm.example.com/{self.random.choice('AB')}",
            }
            self._event(ROUTED, f"number-{number}", data, topic="crm.events")
        else:
            data = {
                "account": "acme_hw",
                "access_code": f"40{number:02d}",
                "route": {"skill_queue": self.random.randint(1, 2)},
            }
            self._event(ROUTED, f"route-{number}", data, topic="crm.events")

    def _route(self, number: int) -> None:
        data = {
            "account": "acme_hw",
            "access_code": f"40{number:02d}",
            "media_type": 5,
            "route": {"skill_queue": self.random.randint(1, 2)},
        }
        self._event("crm.number.purchased.v1", f"route-{number}", data, topic="crm.events")

    def _fate(self, number: int) -> None:
        random = self.random
        verdict = random.choices(("approved", "refused", "never"), (70, 22, 8))[0]
        told = verdict == "refused" or random.random() < 0.7
        fates = self.scenario.fates.setdefault(phone(number), [])
        for fate in fates:
            fate.listed_after = 0.0  # a listing behind the verdict would have the next purchase apply again
        fates.append(
            Fate(
                verdict,
                after=_after(random),
                told=told,
                with_apply_id=random.random() < 0.5,
                listed_after=random.choice((0.0, 30.0)) if told and not fates else 0.0,
            )
        )

    def _event(self, kind: str, about: str, data: dict[str, Any], *, topic: str = "hr.events") -> None:
        random = self.random
        self.ids += 1
        self._pass_time()
        if about not in self.by_revision:
            self.by_revision[about] = [random.randint(1, 9), 1] if random.random() < 0.3 else []
        if revisions := self.by_revision[about]:
            revisions[0] += random.choice((1, 1, 2, -1))
            data["revision"] = max(1, revisions[0])
        elif random.random() < 0.05:
            moment = datetime.fromtimestamp(NOW + self.at + random.choice((-60.0, 3.0, 20.0)), UTC)
            data["effective_at"] = moment.isoformat().replace("+00:00", "Z")
        self._append(topic, envelope(kind, f"{about}-{self.ids}", data), about)

    def _pass_time(self) -> None:
        if not self.burst:
            self.at += self.random.choice((0.0, 0.01, 0.3, 2.0)) * self.random.random()

    def _append(self, topic: str, value: bytes, key: str) -> None:
        self.scenario.arrivals.append(Arrival(round(self.at, 6), topic, value, key.encode()))

    def _litter(self) -> None:
        """Records that are no events of ours, and ids used for something else."""
        random = self.random
        if random.random() < 0.15:
            self._insert("hr.events", random.choice((b"<xml/>", b"", b'{"specversion":"1.0"', b"\xff\xfe")))
        if random.random() < 0.1:
            self._insert("hr.events", envelope("hr.payroll.run.v1", "foreign-1", {}))
        if random.random() < 0.15:
            event = orjson.loads(random.choice(self._events()).value)
            field_name = "name" if event["type"].startswith("hr.") else "callback_url"
            if field_name in event["data"]:
                event["data"][field_name] = "https://crm.example.com/other"
                event["data"].pop("effective_at", None)
                self._insert("hr.events" if field_name == "name" else "crm.events", orjson.dumps(event))

    def _again(self) -> None:
        """Producers send some records twice, and not always right after."""
        random = self.random
        if random.random() < 0.4:
            for _ in range(random.randint(1, 4)):
                once = random.choice(self._events())
                late = once.at + random.choice((0.0, 0.5, 4.0)) * random.random()
                self.scenario.arrivals.append(Arrival(late, once.topic, once.value, once.key))
        self.scenario.arrivals.sort(key=lambda arrival: arrival.at)

    def _events(self) -> list[Arrival]:
        return [a for a in self.scenario.arrivals if a.key != b"litter"]

    def _insert(self, topic: str, value: bytes) -> None:
        at = self.random.uniform(0.0, self.at + 0.1)
        self.scenario.arrivals.append(Arrival(at, topic, value, b"litter"))


def _after(random: Random) -> float:
    """How long a review takes, seconds: little, or just until somebody looks."""
    if random.random() < 0.25:
        return 50.0 + 0.4 * random.random()
    return random.choice((0.0, 0.01, 0.2, 5.0)) * random.random()


def random_kinds(random: Random) -> list[str]:
    """Which kinds of work a schedule has: one alone, or a mixture."""
    kinds = ["hire", "hire", "buy", "route", "route"]
    if CHANGED in INBOUND:
        kinds.append("change")
    if ROUTED in INBOUND:
        kinds.append("reroute")
    return [random.choice(kinds)] if random.random() < 0.4 else kinds


def phone(number: int) -> str:
    """The nth number of the town, E.164."""
    return f"+86755123456{number:02d}"


def envelope(kind: str, event_id: str, data: dict[str, Any], source: str = "urn:town") -> bytes:
    """A structured CloudEvent."""
    return orjson.dumps({"specversion": "1.0", "type": kind, "id": event_id, "source": source, "data": data})
