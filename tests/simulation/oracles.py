"""The judges: what must hold when a schedule has come to rest. The letters are the promises' own.

L nothing lost, D nothing twice, G no effect without its record, O order, P publication, R rate, I in doubt, B bugs.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from contracts.outbound import CREDENTIALS_TOPIC
from service.domain.binding import BindingState
from service.domain.blueprint import Step
from service.domain.command import Command, CommandState, Plan, PlanState, WaitCause
from service.domain.idempotency_key import fact_id
from service.domain.ledger_state import OutboxMessage
from service.domain.outcome import ErrorClass
from service.domain.quota import window
from service.domain.record_reading import Ignored, Reading, Record, Understood, read_record
from tests.simulation.process import HUAWEI_RATE, TENCENT_RATE
from tests.simulation.vendors import CREATES, UNCLEAR, WRITES, stands_as_wanted

if TYPE_CHECKING:
    from tests.simulation.explorer import World

DOUBTS_ARE_SETTLED: Final = True
"""False: a doubt may stay for good whatever its operation. True: only an application nobody can read back may."""

FACTS: Final = frozenset({"crm.number.approved.v1", "crm.number.refused.v1"})
FOREIGN: Final = "other@example.com"
APPLY: Final = "tencent_ccc.CreateOwnNumberApply"
BETWEEN_LIVES: Final = 0.3
"""How late a request may leave after its slot, seconds, with one slot between two at these rates: the next process does
not know of it, and keeps to the slots.

A real process needs a second to start, so that no window reaches from one to the next; here some start at once.
"""
_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    oracle: str
    what: str

    def __str__(self) -> str:
        return f"{self.oracle}: {self.what}"


def judge(world: World) -> None:
    """Accuse whoever deserves it."""
    for check in (_lost, _twice, _ghosts, _anothers, _standing, _published, _rate, _doubts, _bugs):
        check(world)


def comes_before(one: Plan, other: Plan) -> bool:
    """True if the first must have its effects before the second; unknown counts as no."""
    if one.effective_at is not None or other.effective_at is not None:
        return False
    revisions = one.order.revision, other.order.revision
    if None not in revisions and one.event_source == other.event_source and revisions[0] != revisions[1]:
        return bool(revisions[0] < revisions[1])  # type: ignore[operator]
    if (revisions[0] is None) != (revisions[1] is None):
        return False
    return one.order.arrival < other.order.arrival


@lru_cache(maxsize=4096)
def read(record: Record) -> Reading:
    """What a record is, by the domain's own reading."""
    return read_record(record, max_event_bytes=1_048_576)


def has_dead_letter(kept: Any, record: Record) -> bool:
    """True if the record has its dead letter on disk."""
    return any((d.topic, d.offset) == (record.topic, record.offset) for d in kept.dead_letters.values())


# ---------------------------------------------------------------------- L


def _lost(world: World) -> None:
    kept = world.durable
    for place, record in enumerate(world.topics.records):
        if place not in world.topics.committed:
            world.accuse("L", f"{record.topic}/{record.offset} was never committed")
        _lost_record(world, record)
    for plan in kept.plans.values():
        if plan.state is PlanState.OPEN and not _may_stand(world, plan, set()):
            steps = [f"{c.step}:{c.state}:{c.cause}" for c in _steps(world, plan)]
            world.accuse("L", f"plan of {plan.event_id} has not ended: {steps}")
        if plan.state is not PlanState.OPEN and any(not c.state.ended for c in _steps(world, plan)):
            world.accuse("L", f"plan of {plan.event_id} has ended with a step that has not")


def _lost_record(world: World, record: Record) -> None:
    kept, reading = world.durable, read(record)
    if isinstance(reading, Ignored):
        return
    if not isinstance(reading, Understood):
        if not has_dead_letter(kept, record):
            world.accuse("L", f"{record.topic}/{record.offset} is bad and has no dead letter")
        return
    event = reading.event
    stored = kept.events.get((event.source, event.id))
    if stored is None:
        world.accuse("L", f"event {event.id} is not in the ledger")
    elif stored.digest != event.digest and not has_dead_letter(kept, record):
        world.accuse("L", f"the other content of event {event.id} has no dead letter")
    if event.type not in FACTS:
        if not any((p.event_source, p.event_id) == (event.source, event.id) for p in kept.plans.values()):
            world.accuse("L", f"event {event.id} has no plan")
    elif not any(f.id == fact_id(event.source, event.id) for f in kept.facts.values()):
        world.accuse("L", f"fact {event.id} is not in the ledger")


def _steps(world: World, plan: Plan) -> list[Command]:
    return sorted((c for c in world.durable.commands.values() if c.plan_id == plan.id), key=lambda c: c.step_no)


def _may_stand(world: World, plan: Plan, seen: set[str]) -> bool:
    """In doubt, waiting for a review that never ends, or behind such."""
    seen.add(plan.id)
    steps = _steps(world, plan)
    now = next((c for c in steps if not c.state.ended), None)
    if now is None:
        return False
    if now.state is CommandState.IN_DOUBT:
        return now.owner is None  # whether it may is the business of I
    if now.step == Step.APPROVAL and now.cause is WaitCause.APPROVAL:
        return _review_goes_on(world, now)
    if now.state not in {CommandState.PENDING, CommandState.WAITING} or now.owner is not None or now.attempts:
        return False
    # a retry whose reads failed may meanwhile have got an earlier revision in front of it, and that one be in doubt
    if now.cause not in {None, WaitCause.EARLIER_WORK, WaitCause.EFFECTIVE_DATE, WaitCause.RETRY}:
        return False
    return any(
        _may_stand(world, other, seen)
        for other in world.durable.plans.values()
        if other.id not in seen and other.state is PlanState.OPEN and _share(world, plan, other)
    )


def _share(world: World, plan: Plan, other: Plan) -> bool:
    mine = {c.resource for c in _steps(world, plan)} | {plan.subject}
    return bool(mine & ({c.resource for c in _steps(world, other)} | {other.subject}))


def _review_goes_on(world: World, approval: Command) -> bool:
    mine = [c for c in world.durable.commands.values() if c.plan_id == approval.plan_id and c.step == Step.APPLICATION]
    reviews = [a for a in world.vendors.applications if mine and a.command == mine[0].id]
    return bool(reviews) and reviews[-1].verdict == "pending"


# ---------------------------------------------------------------------- D and G


def _twice(world: World) -> None:
    applied: Counter[tuple[str, str, str]] = Counter()
    for request in world.vendors.journal:
        if request.second:
            world.accuse("D", f"{request.name} made a second {request.resource}")
        if request.applied and request.name in CREATES and request.command is not None:
            applied[request.command, request.name, str(request.resource)] += 1
    for (_, name, resource), times in applied.items():
        if times > 1:
            world.accuse("D", f"{name} for {resource} applied {times} times")
    _applied_twice(world)
    _applied_blindly(world)


def _applied_twice(world: World) -> None:
    """A number has one form at a time, and none once it is live."""
    forms: dict[str, str] = {}
    for form in world.vendors.applications:
        if forms.get(form.number) in {"pending", "approved"}:
            world.accuse("D", f"a second application for {form.number} while the first is {forms[form.number]}")
        forms[form.number] = form.verdict


def _applied_blindly(world: World) -> None:
    """An application is never sent again while nobody knows what became of the first, wherever its answer stayed."""
    unclear: set[str] = set()
    for request in world.vendors.journal:
        if request.name != "CreateOwnNumberApply" or request.command is None:
            continue
        if request.command in unclear:
            world.accuse("D", f"an application for {request.resource} was sent again without knowing of the first")
        if request.fault in UNCLEAR or not request.heard:
            unclear.add(request.command)


def _ghosts(world: World) -> None:
    """What the ledger calls done was done."""
    effects = {r.command for r in world.vendors.journal if r.applied}
    refused = {r.command for r in world.vendors.journal if r.fault == "refused"}
    for command in world.durable.commands.values():
        if command.state is CommandState.FAILED and command.id in effects - refused:
            world.accuse("G", f"{command.step} of {command.resource} is called failed and was done")
        if command.state is not CommandState.SUCCEEDED:
            continue
        if command.operation.partition(".")[2] in WRITES and command.result == "done" and command.id not in effects:
            settled = _by_a_fact(world, command)
            if not settled:
                world.accuse("G", f"{command.step} of {command.resource} is called done and never was")
        if command.result != "done" and command.resource not in world.vendors.past:
            world.accuse("G", f"{command.step} of {command.resource} is called {command.result} and nothing is there")


def _anothers(world: World) -> None:
    """What somebody else has is not touched, and what is ours is known to be."""
    for request in world.vendors.journal:
        owner = world.scenario.foreign_extensions.get(str(request.resource).rpartition("/")[2])
        if request.applied and str(request.resource).startswith("extension:") and owner == FOREIGN:
            world.accuse("G", f"{request.name} changed {request.resource}, which is another's")
    kept = world.durable
    bindings = list(kept.bindings.values())
    for command in kept.commands.values():
        writes = command.operation.partition(".")[2] in WRITES and command.operation != APPLY
        if writes and command.state is CommandState.SUCCEEDED:
            mine = [b for b in bindings if (b.subject, b.resource) == (command.subject, command.resource)]
            if not any(b.applied is not None for b in mine):
                world.accuse("G", f"{command.resource} was written and the ledger does not remember it as ours")
    for binding in bindings:
        plan = kept.plans.get(binding.plan_id)
        if binding.state is BindingState.RESERVED and plan is not None and _in_vain(world, plan, binding.subject):
            world.accuse(
                "G", f"{binding.resource} stays reserved by {plan.event_id}, which learnt that it is another's"
            )


def _in_vain(world: World, plan: Plan, subject: str) -> bool:
    if any(p.subject == subject and p.state is PlanState.OPEN for p in world.durable.plans.values()):
        return False
    return plan.failure is not None and plan.failure.error_class is ErrorClass.CONFLICT


def _by_a_fact(world: World, command: Command) -> bool:
    return command.operation == APPLY and any(
        f"number:acme_cn/{number}" == command.subject and apply_id is not None
        for number, _, apply_id in world.facts_told
    )


# ---------------------------------------------------------------------- O


def _standing(world: World) -> None:
    """What stands at the vendor is what the last finished work wanted."""
    by_resource: dict[str, list[tuple[Plan, Command]]] = defaultdict(list)
    kept = world.durable
    for command in kept.commands.values():
        if command.operation.partition(".")[2] in WRITES and command.operation != APPLY:
            by_resource[command.resource].append((kept.plans[command.plan_id], command))
    for resource, work in by_resource.items():
        clear = {CommandState.SUCCEEDED, CommandState.STALE, CommandState.SUPERSEDED}
        if any(c.state not in clear and c.attempts > 0 for _, c in work):
            continue  # something unfinished or failed may have left its mark
        done = [(p, c) for p, c in work if c.state is CommandState.SUCCEEDED]
        last = [(p, c) for p, c in done if not any(comes_before(p, q) for q, _ in done)]
        if len(last) != 1 or any(p.effective_at is not None for p, _ in done):
            continue
        command = last[0][1]
        state = world.vendors.now(resource)
        if not stands_as_wanted(command.wanted, state, resource):
            world.accuse("O", f"{resource} does not stand as the last work wanted: {dict(command.wanted)} and {state}")


# ---------------------------------------------------------------------- P


_ENDS: Final = {"succeeded", "failed", "cancelled", "superseded", "stale"}


def _published(world: World) -> None:
    kept = world.durable
    told = _told_once(world)
    ends = _ends_told(world, told)
    missing = [m for m in kept.outbox.values() if m.id not in told]
    if missing:
        world.accuse("P", f"{len(missing)} messages never reached Kafka")
    for plan in kept.plans.values():
        ends_of_plan = ends.pop((plan.id, plan.epoch), [])
        if ends_of_plan != ([] if plan.state is PlanState.OPEN else [str(plan.state)]):
            world.accuse("P", f"plan of {plan.event_id} is {plan.state} and was told {ends_of_plan}")
    for command in kept.commands.values():
        ends_of_command = ends.pop((command.id, command.epoch), [])
        if ends_of_command != ([str(command.state)] if command.state.ended else []):
            world.accuse("P", f"{command.step} of {command.resource} is {command.state} and was told {ends_of_command}")
    if ends:
        world.accuse("P", f"{len(ends)} ends were told of what the ledger does not have")
    _dead_letters_told(world, told.values())
    _credentials_told(world, told.values())


def _told_once(world: World) -> dict[str, OutboxMessage]:
    """What was published, once each, in order."""
    told: dict[str, OutboxMessage] = {}
    for message in world.topics.published:
        if told.setdefault(message.id, message).value != message.value:
            world.accuse("P", f"message {message.id} was told with two contents")
    return told


def _ends_told(world: World, told: dict[str, OutboxMessage]) -> dict[tuple[str, int], list[str]]:
    """The ends of plans and commands, by id and epoch."""
    ends: dict[tuple[str, int], list[str]] = defaultdict(list)
    for message in told.values():
        if message.topic.startswith("dlq."):
            continue
        value = orjson.loads(message.value or b"{}")
        about, _, what = value["type"].removeprefix("provisioning.").removesuffix(".v1").partition(".")
        data = value["data"]
        if about == "plan" and what in {"completed", "failed"}:
            ends[data["plan_id"], data["epoch"]].append(what)
        elif about == "command" and what in _ENDS:
            ends[data["command_id"], data["epoch"]].append(what)
            if (data["plan_id"], data["epoch"]) in ends:
                world.accuse("P", f"the end of {data['step']} was told after its plan's")
    return ends


def _credentials_told(world: World, told: Iterable[OutboxMessage]) -> None:
    """Whoever was hired has a credential of theirs, told before the end that speaks of it."""
    values = [orjson.loads(m.value or b"{}") for m in told if m.topic == CREDENTIALS_TOPIC]
    sealed = {(value["data"]["command_id"], value["data"]["epoch"]): value["data"] for value in values}
    if len(sealed) != len(values):
        world.accuse("P", "a credential was told under two ids")
    for command in world.durable.commands.values():
        if command.facts.get("credential") != "delivered":
            continue
        data = sealed.get((command.id, command.epoch))
        if data is None:
            world.accuse("P", f"the credential of {command.resource} was never told")
        elif [_plain(part) for part in data["jwe"].split(".")[:2]] != [command.subject, command.account]:
            world.accuse("P", f"the credential of {command.resource} is sealed for another")


def _plain(part: str) -> str:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def _dead_letters_told(world: World, told: Iterable[OutboxMessage]) -> None:
    dead = Counter((message.topic, message.value) for message in told if message.topic.startswith("dlq."))
    by_place = {(r.topic, r.offset): r.value for r in world.topics.records}
    letters = world.durable.dead_letters.values()
    wanted = Counter((f"dlq.{d.topic}", by_place[d.topic, d.offset]) for d in letters)
    if wanted != dead:
        world.accuse("P", f"{sum(wanted.values())} dead letters are noted, {sum(dead.values())} were told")


# ---------------------------------------------------------------------- R


def _rate(world: World) -> None:
    arrivals: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for request in world.vendors.journal:
        if request.arrived_at is not None:
            arrivals[request.call.operation].append((request.arrived_at, request.life))
    for operation, times in arrivals.items():
        most, span = window(TENCENT_RATE if operation.startswith("tencent") else HUAWEI_RATE)
        times.sort()
        for (earlier, life), (later, then) in zip(times, times[most:], strict=False):
            allowed = _EPSILON if life == then else BETWEEN_LIVES
            if later - earlier < span - allowed:
                world.accuse("R", f"more than {most} of {operation} in {span} s")


# ---------------------------------------------------------------------- I


def _doubts(world: World) -> None:
    kept = world.durable
    history: dict[str, list[Any]] = defaultdict(list)
    for row in kept.history:
        if row.after is CommandState.IN_DOUBT:
            history[row.command_id].append(row)
    for (command_id, epoch, number), attempt in kept.attempts.items():
        command = kept.commands[command_id]
        if command.operation.partition(".")[2] not in WRITES:
            continue
        unclear = attempt.outcome in {None, "ambiguous"}
        sent = (command_id, epoch, number) in world.marks
        current = command.epoch == epoch and command.attempts == number
        if unclear and sent and not history[command_id] and not (current and not command.state.ended):
            world.accuse("I", f"attempt {number} of {command.step} has no clear outcome and was never in doubt")
        if current and command.state is CommandState.IN_DOUBT and not unclear:
            world.accuse("I", f"{command.step} of {command.resource} is in doubt about a clear {attempt.outcome}")
    for command in kept.commands.values():
        if command.state is CommandState.IN_FLIGHT:
            world.accuse("I", f"{command.step} of {command.resource} is in flight and nobody sends it")
        if command.state is CommandState.IN_DOUBT:
            _may_be_in_doubt(world, command)


def _may_be_in_doubt(world: World, command: Command) -> None:
    if not DOUBTS_ARE_SETTLED:
        return
    if command.operation != APPLY:
        world.accuse("I", f"{command.step} of {command.resource} is still in doubt, and could be known")
        return
    if world.vendors.now(command.resource) is not None:
        world.accuse("I", f"{command.step} of {command.resource} is still in doubt, and the number is live")
    forms = {a.apply_id for a in world.vendors.applications if a.command == command.id}
    if any(apply_id in forms for _, _, apply_id in world.facts_told):
        world.accuse("I", f"{command.step} of {command.resource} is still in doubt, and its verdict was told")


# ---------------------------------------------------------------------- B


def _bugs(world: World) -> None:
    for bug in dict.fromkeys(world.bugs.found):
        world.accuse("B", bug)
