"""The process under test: the real steps over the fake ledger, with Kafka and vendors of the simulated world.

One `Life` is one process from start to crash. Every durable boundary passes through `Life.point`.
"""

from __future__ import annotations

import asyncio
import inspect
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, Final, TypeVar

from service.adapters.quota_slots import SlotQuota
from service.application.execution import Execution
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import Claim, ClaimRoom, HeldBackError, UnavailableError, VendorOperation
from service.application.present_reader import BatchingPresentReader
from service.application.rounds import Stopping
from service.application.settlement import Settlement
from service.application.takeover import take_over
from service.domain.command import Session
from service.domain.ledger_state import Changes, Keys, Known, OutboxMessage
from service.domain.outcome import Call, Reply, held_back
from service.domain.planning import PlanningPolicy, TopicDefaults
from service.domain.record_reading import Record
from service.domain.settling import SettlingPolicy
from service.domain.taking_in import IntakePolicy
from service.vendors.huawei_aicc import vendor as huawei
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.tencent_ccc import vendor as tencent
from service.vendors.tencent_ccc.account import TencentCccAccount
from tests.fakes.durable import Durable
from tests.fakes.ledger import FakeLedger, Step
from tests.fakes.session import FakeOwnSession
from tests.simulation.scenario import Crash
from tests.simulation.vendors import Request, Vendors, resource_of
from tests.simulation.virtual_loop import VirtualLoop, give_way

T = TypeVar("T")

TENCENT_RATE: Final = 4.0
HUAWEI_RATE: Final = 2.0
NUMBERS: Final = {
    "sip_trunk_id": 7,
    "call_type": "both",
    "max_concurrent_calls": 10,
    "max_calls_per_second": 2,
    "callback_url": "https://crm.example.com/call",
}
SETTLING: Final = SettlingPolicy(approval_poll_seconds=50.0, absent_gap_seconds=8.0)


@cache
def accounts() -> Mapping[str, Any]:
    """One account a vendor, with quotas so small that a handful of commands fills a window."""
    return {
        "acme_cn": TencentCccAccount.model_validate(
            {
                "name": "acme_cn",
                "sdk_app_id": 1400000000,
                "secret_id": "AKIDFAKEFAKEFAKE",
                "secret_key": "FakeSecretKeyForTestsOnly",
                "numbers": NUMBERS,
                "quotas": {"default": TENCENT_RATE},
                "quota_group": "tencent",
            }
        ),
        "acme_hw": HuaweiAiccAccount.model_validate(
            {
                "name": "acme_hw",
                "base_url": "https://aicc.example.com",
                "app_key": "FAKE-app-key",
                "app_secret": "FAKE-app-secret",
                "quotas": {"default": HUAWEI_RATE},
                "quota_group": "huawei",
            }
        ),
    }


@cache
def policy() -> IntakePolicy:
    """What events are planned with."""
    defaults = {
        "hr.events": TopicDefaults(account="acme_cn", realm="town"),
        "crm.events": TopicDefaults(account="acme_cn"),
    }
    return IntakePolicy(planning=PlanningPolicy(accounts=accounts(), defaults=defaults), settling=SETTLING)


class RestlessSeal:
    """The port `Credentials`: as with real sealing no two are alike, but whom it is for can be read."""

    def __init__(self) -> None:
        self.sealed = 0

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str:
        """A different text every time."""
        self.sealed += 1
        named = (subject, account, extension, str(self.sealed), password[:4])
        return ".".join(urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in named)


@cache
def operations() -> Mapping[str, Mapping[str, VendorOperation]]:
    """The rooms' own operations by account; they hold no state that a schedule could notice."""
    return {
        "acme_cn": tencent._operations(accounts()["acme_cn"], RestlessSeal()),
        "acme_hw": huawei._operations(accounts()["acme_hw"]),
    }


class Bugs:
    """The port `Telemetry`: keeps only what no schedule may ever lead to, unexpected exceptions."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def count(self, metric: str, amount: float = 1, **labels: str) -> None:
        """Not counted."""

    def observe(self, metric: str, value: float, **labels: str) -> None:
        """Not measured."""

    def level(self, metric: str, value: float, **labels: str) -> None:
        """Not measured."""

    def log(self, level: str, event: str, **fields: object) -> None:
        """Keep a bug."""
        if fields.get("exc_info") is not None:
            self.found.append(f"{event}: {fields['exc_info']!r}")

    def health(self, part: str, *, ready: bool, detail: str = "") -> None:
        """Nobody asks."""


class SeededRandomness:
    """The port `Randomness` from the schedule's seed."""

    def __init__(self, random: Random) -> None:
        self.fraction = random.random


@dataclass(slots=True)
class Topics:
    """Kafka: what lies on the topics, what the group has committed, what was published. It outlives every process."""

    records: list[Record] = field(default_factory=list)
    committed: set[int] = field(default_factory=set)
    published: list[OutboxMessage] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def append(self, topic: str, value: bytes, key: bytes) -> None:
        """A producer sends a record."""
        offset = sum(record.topic == topic for record in self.records)
        self.records.append(
            Record(
                topic=topic,
                partition=0,
                offset=offset,
                key=key,
                value=value,
                headers=(),
                timestamp_ms=1_800_000_000_000,
            )
        )
        self.wake()

    def wake(self) -> None:
        """There may be something to fetch."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def places(self) -> dict[str, list[int]]:
        """Where the records of each topic stand in `records`, in their order."""
        places: dict[str, list[int]] = {}
        for place, record in enumerate(self.records):
            places.setdefault(record.topic, []).append(place)
        return places


class Life:
    """One process: alive until the loop is killed."""

    def __init__(self, world: Any, ledger_of: Callable[[Step], FakeLedger], crash: Crash | None) -> None:
        self.world = world
        self.loop: VirtualLoop = world.loop
        self.random: Random = world.random
        self.alive = True
        self.started = False
        self.crash = crash
        self.hit: str | None = None
        self.visits: Counter[str] = Counter()
        self.visited = 0
        self.bugs: Bugs = world.bugs
        self.ledger = ledger_of(self.step)
        if isinstance(self.ledger, SimulatedLedger):
            self.ledger.life = self
        if crash is not None and crash.turn:
            self.loop.halt_at = self.loop.turns + crash.nth

    async def step(self, moment: str) -> None:
        """Nothing: the simulated ledger names its boundaries itself."""

    def pass_by(self, name: str) -> bool:
        """A boundary is passed; True if it is the end."""
        self.visited += 1
        crash = self.crash
        if crash is None or crash.turn:
            return False
        self.visits[name] += 1
        here = self.visited if crash.boundary is None else self.visits[name] if crash.boundary == name else 0
        if here != crash.nth:
            return False
        self.hit = name
        self.loop.halt()
        return True

    async def point(self, name: str) -> None:
        """A boundary of the process's own: die here, or let the others run."""
        if self.pass_by(name):
            await self.loop.never()
        chance = self.random.random()
        if chance < 0.9 or name == "before exchange":  # from its slot to the wire a request is not held up
            await give_way()
        elif chance < 0.97:
            await give_way()
            await give_way()
        else:
            await asyncio.sleep(self.random.random() * 0.03)

    async def live(self) -> None:
        """Start as the service does, and run its loops."""
        world, ledger = self.world, self.ledger
        clients = {name: Client(self, rows) for name, rows in operations().items()}
        offered: dict[str, Any] = {
            "ledger": ledger,
            "clock": world.clock,
            "telemetry": world.bugs,
            "randomness": SeededRandomness(self.random),
            "accounts": accounts(),
            "clients": clients,
            "policy": SETTLING,
            "rules": {name: op.when_unclear for rows in operations().values() for name, op in rows.items()},
        }
        while "session" not in offered:
            try:
                session = await ledger.open_session("town", world.clock.now())
                await _given(take_over, session=session, **offered)
                offered["session"], offered["own"] = session, FakeOwnSession(session)
            except UnavailableError:
                await world.clock.sleep(1.0)  # the process would exit and be started again
        offered["quota"] = _given(SlotQuota, **offered)
        offered["reader"] = _given(BatchingPresentReader, **offered)
        offered["settlement"] = _given(Settlement, **offered)
        offered["source"] = self.source = Source(self)
        offered["publisher"] = Publisher(self)
        execution, relay = self.execution, _ = _given(Execution, **offered), _given(OutboxRelay, **offered)
        intake = _given(Intake, **{**offered, "policy": policy()})
        stopping = Stopping()
        self.started = True
        for loop in (intake.run(stopping), execution.run(stopping), relay.run(stopping)):
            self.loop.create_task(loop)


@cache
def _parameters(what: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(what).parameters)


def _given(what: Callable[..., Any], **offered: Any) -> Any:
    """Call with those of the offered things that it asks for: what the steps need grows while they are built."""
    wanted = _parameters(what)
    return what(**{name: value for name, value in offered.items() if name in wanted})


_NAMES: Final[dict[str, str]] = {"Settlement.mark": "mark", "Settlement.settle": "settle", "_put_in_doubt": "takeover"}


@cache
def _name(decision: str) -> str:
    """The step that a decision belongs to, from its qualified name."""
    owner = decision.partition(".<locals>")[0]
    return "intake" if owner.startswith("Intake.") else _NAMES[owner]


class SimulatedLedger(FakeLedger):
    """The ledger of the conformance suite, its transactions named after the step that makes them.

    It can be away before or after a transaction, and its waits end when something is due instead of every second.
    """

    def __init__(self, *, step: Step, durable: Durable | None = None) -> None:
        super().__init__(step=step, durable=durable)
        self.life: Life | None = None
        self._looked_at = 0.0
        self._waiting: dict[str, list[asyncio.Future[None]]] = {"commands": [], "outbox": []}

    async def transact(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """As the base does, under the step's name."""

        def work() -> Changes:
            changes = decide(self._load(keys))
            self._check(changes)
            return self._write(changes)

        return await self._transaction(_name(decide.__qualname__), work)

    async def _transaction(self, name: str, work: Callable[[], T]) -> T:
        life = self.life
        assert life is not None
        await life.point(f"before {name}")
        if self._closed or life.world.ledger_is_away(name):
            raise UnavailableError("ledger", "away")
        result = work()
        await life.point(f"after {name}")
        if self._closed or life.world.ledger_is_away(name, after=True):
            raise UnavailableError("ledger", "away, after all")
        return result

    async def claim(self, session: Session, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """As the base does; remembers as of when, and asks only for rooms that somebody waits for."""
        self._looked_at = now
        waiting = {(c.operation, c.lane) for c in self._unfinished.values() if c.owner is None}
        return await super().claim(session, now, [room for room in rooms if (room.operation, room.lane) in waiting])

    def subscribe(self, topic: str) -> Callable[[], Any]:
        """Wait for the next commit that touched the topic, or until something becomes due."""
        seen = self._touched[topic]

        async def wait() -> None:
            nonlocal seen
            if self._touched[topic] == seen:
                await self._until(topic)
            seen = self._touched[topic]

        return wait

    async def _until(self, topic: str) -> None:
        life = self.life
        assert life is not None
        pause = self._due_after() if topic == "commands" else 1.0 if self._unpublished else None
        touched: asyncio.Future[None] = life.loop.create_future()
        self._waiting[topic].append(touched)
        timer = None if pause is None else life.loop.call_later(pause, self._wake, topic)
        await touched
        if timer is not None:
            timer.cancel()

    def _due_after(self) -> float | None:
        """Seconds until something becomes due that was not when it was last looked for."""
        assert self.life is not None
        times = [c.due_at for c in self._unfinished.values() if c.owner is None and c.due_at is not None]
        due = min((due for due in times if due > self._looked_at), default=None)
        return None if due is None else max(0.0, due - self.life.world.clock.now()) + 0.001

    def _touch(self, topic: str) -> None:
        self._touched[topic] += 1
        self._wake(topic)

    def _wake(self, topic: str) -> None:
        waiting, self._waiting[topic] = self._waiting[topic], []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def wake(self) -> None:
        """Somebody set the clock: look again."""
        self._touch("commands")


class Client:
    """The port `VendorClient` of one account: sends into the world."""

    def __init__(self, life: Life, rows: Mapping[str, VendorOperation]) -> None:
        self._life = life
        self._vendors: Vendors = life.world.vendors
        self.operations = rows

    async def prepare(self) -> None:
        """Nothing is needed beforehand."""
        return

    async def exchange(self, call: Call, on_write: Callable[[], None] | None = None) -> Reply:
        """Out it goes; what the vendor does with it no longer depends on us."""
        life = self._life
        await life.point("before exchange")
        answer: asyncio.Future[Reply] = life.loop.create_future()

        def reply(value: Reply) -> None:
            if life.alive and not answer.done():
                self._vendors.hear(request)
                answer.set_result(value)

        try:
            if on_write is not None:
                on_write()
        except HeldBackError as held:
            return held_back(held)
        command, attempt = life.world.sending(call)
        request = Request(call, life.loop.monotonic, resource_of(call), command, attempt, life.world.lives, reply)
        self._vendors.receive(request)
        value = await answer
        await life.point("after exchange")
        return value

    async def close(self) -> None:
        """Nothing is open."""


class Source:
    """The port `EventSource` of one life: starts at what the group has committed."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._topics: Topics = life.world.topics
        self._fetched: set[int] = set(self._topics.committed)
        self._places: dict[tuple[str, int], int] = {}

    async def fetch(self) -> Sequence[Record]:
        """A few records, in their partitions' order."""
        life = self._life
        await life.point("fetch")
        while not (places := self._next()):
            waiting = life.loop.create_future()
            self._topics.waiting.append(waiting)
            await waiting
        if life.world.kafka_is_away():
            raise UnavailableError("kafka", "away")
        for place in places:
            record = self._topics.records[place]
            self._places[record.topic, record.offset] = place
        self._fetched.update(places)
        return [self._topics.records[place] for place in places]

    def _next(self) -> list[int]:
        random, most = self._life.random, 1 + int(6 * self._life.random.random() ** 2)
        queues = [[p for p in places if p not in self._fetched] for places in self._topics.places().values()]
        queues = [queue for queue in queues if queue]
        chosen: list[int] = []
        while queues and len(chosen) < most:
            queue = random.choice(queues) if len(queues) > 1 else queues[0]
            chosen.append(queue.pop(0))
            queues = [queue for queue in queues if queue]
        return chosen

    def taken(self, records: Sequence[Record]) -> None:
        """Commit in the background."""
        self._life.world.let_go(records)
        self._life.loop.create_task(self._commit([self._places[r.topic, r.offset] for r in records]))

    async def _commit(self, places: list[int]) -> None:
        await self._life.point("before commit")
        self._topics.committed.update(places)
        await self._life.point("after commit")

    def rebalance(self) -> None:
        """The partitions come back: reading goes on at what is committed."""
        self._fetched = set(self._topics.committed)
        self._topics.wake()


class Publisher:
    """The port `Publisher` of one life."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        """Append in order; the broker may go away before, in between, or after what it took."""
        life = self._life
        await life.point("before publish")
        if life.world.kafka_is_away():
            raise UnavailableError("publisher", "away")
        done: list[str] = []
        for message in messages:
            life.world.topics.published.append(message)
            done.append(message.id)
            if len(done) < len(messages):
                await life.point("appended")
                if life.world.kafka_is_away():
                    return done[: life.random.randrange(len(done) + 1)]  # took more than it acknowledged
        await life.point("after publish")
        if life.world.kafka_is_away():
            raise UnavailableError("publisher", "away before it acknowledged")
        return done
