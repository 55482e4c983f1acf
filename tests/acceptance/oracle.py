"""The judge of a storm: input, journal, ledger and output laid side by side; every broken promise is a sentence.

It shares no rule with what it judges: what stands at the vendors and in which order it came there is taken from the
sandbox's journal, which was written before each reply.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import asyncpg

from service.sandbox.journal import CONSOLE, Entry, duplicate_effects, windows_over_quota
from tests.acceptance.storm import QUOTAS, Chain, Load

Row = Mapping[str, Any]

WRITES = {
    "tencent_ccc.CreateExtension": ("CreateExtension", "ModifyExtension"),
    "tencent_ccc.CreateOwnNumberApply": ("CreateOwnNumberApply",),
    "tencent_ccc.BindNumberCallInInterface": ("BindNumberCallInInterface",),
    "huawei_aicc.createCalledRoute": ("createCalledRoute", "modifyCalledRoute"),
}
WRITE_ACTIONS = {action for actions in WRITES.values() for action in actions}
APPLY = "tencent_ccc.CreateOwnNumberApply"
EFFECTS = {"created", "modified", "applied", "bound"}
SAME_MOMENT = 0.005
"""Seconds by which a mark's time of day may seem later than the arrival it came before: the clocks' grain."""
PLAN_END = {
    "completed": "provisioning.plan.completed.v1",
    "failed": "provisioning.plan.failed.v1",
}
_EVERYTHING = (
    "SELECT * FROM events",
    "SELECT * FROM plans",
    "SELECT * FROM commands",
    "SELECT * FROM attempts ORDER BY command_id, epoch, number",
    "SELECT * FROM outbox WHERE published_at IS NULL",
)
COMMAND_END = {
    "succeeded": "provisioning.command.succeeded.v1",
    "failed": "provisioning.command.failed.v1",
    "superseded": "provisioning.command.superseded.v1",
    "stale": "provisioning.command.stale.v1",
    "cancelled": "provisioning.command.cancelled.v1",
}


@dataclass(kw_only=True)
class LedgerRows:
    """Everything a ledger holds, read once, after its owners have gone. Both ledgers have the same columns."""

    events: list[Row]
    plans: dict[str, Row]
    commands: dict[str, Row]
    attempts: list[Row]
    untold: list[Row]

    @classmethod
    def of_sqlite(cls, path: Path) -> Self:
        """Read a ledger in a file."""
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        connection.row_factory = sqlite3.Row
        try:
            return cls._of([[dict(row) for row in connection.execute(sql)] for sql in _EVERYTHING])
        finally:
            connection.close()

    @classmethod
    async def of_postgres(cls, url: str) -> Self:
        """Read a ledger in a database."""
        connection = await asyncpg.connect(url)
        try:
            return cls._of([[dict(row) for row in await connection.fetch(sql)] for sql in _EVERYTHING])
        finally:
            await connection.close()

    @classmethod
    def _of(cls, tables: Sequence[list[Row]]) -> Self:
        events, plans, commands, attempts, untold = tables
        return cls(
            events=events,
            plans={row["id"]: row for row in plans},
            commands={row["id"]: row for row in commands},
            attempts=attempts,
            untold=untold,
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a storm left behind. `state` is the sandbox's, `told` every out-event as it was read, repeats included."""

    load: Load
    journal: Sequence[Entry]
    state: Mapping[str, Any]
    ledger: LedgerRows
    told: Sequence[Mapping[str, Any]]
    dead_letters: int

    @cached_property
    def doubted(self) -> dict[str, Row]:
        """Commands left in doubt, by id."""
        return {row["id"]: row for row in self.ledger.commands.values() if row["state"] == "in_doubt"}

    @cached_property
    def stopped_subjects(self) -> set[str]:
        """Subjects whose work stands behind an application in doubt."""
        return {row["subject"] for row in self.doubted.values() if row["operation"] == APPLY}

    @cached_property
    def effects(self) -> list[tuple[Entry, Row | None]]:
        """What changed at the vendors, each with the attempt that was marked last before it."""
        return [(entry, attempt) for entry, attempt in self.writes if entry.effect_applied and entry.effect in EFFECTS]

    @cached_property
    def writes(self) -> list[tuple[Entry, Row | None]]:
        """Every request that asked for a change, whatever came of it, each with the attempt marked last before it."""
        marks: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for attempt in self.ledger.attempts:
            command = self.ledger.commands[attempt["command_id"]]
            marks[command["resource"], attempt["call"].rpartition(".")[2]].append(attempt)
        keys = {chain.key: chain.resource for chain in self.load.chains.values()}
        return [
            (entry, _last_before(marks[keys.get(str(entry.natural_key), ""), str(entry.action)], entry.wall))
            for entry in self.journal
            if entry.vendor != CONSOLE and entry.action in WRITE_ACTIONS
        ]

    @cached_property
    def place(self) -> dict[str, tuple[Chain, int]]:
        """By event id: its chain, and its place in it."""
        return {s.event_id: (chain, n) for chain in self.load.chains.values() for n, s in enumerate(chain.wanted)}

    def number_is_live(self, resource: str) -> bool:
        """Whether the vendor has the number by now."""
        stored = self.load.chains[resource].key.rpartition("/")[2]
        return stored in self.state["tencent_ccc"]["1400000000"]["numbers"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Sentences about broken promises, by the promise; and what was counted on the way."""

    findings: Mapping[str, Sequence[str]]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def report(self, most: int = 8) -> str:
        """The findings, the first few of each."""
        lines = []
        for promise, sentences in self.findings.items():
            lines += [f"{promise}: {sentence}" for sentence in sentences[:most]]
            if len(sentences) > most:
                lines.append(f"{promise}: … and {len(sentences) - most} more")
        return "\n".join(lines)


def judge(evidence: Evidence) -> Verdict:
    """Hold the evidence against every promise."""
    checks = {
        "lost": lost,
        "twice": twice,
        "ghost": ghosts,
        "order": out_of_order,
        "last state": last_states,
        "in doubt": wrongly_in_doubt,
        "told": wrongly_told,
        "over quota": over_quota,
    }
    findings = {promise: found for promise, check in checks.items() if (found := list(check(evidence)))}
    return Verdict(findings=findings, figures=_figures(evidence))


def lost(evidence: Evidence) -> Iterator[str]:
    """Every valid event is in the ledger, and its plan ended well, or stands in doubt, or waits behind such a one."""
    taken = Counter(row["id"] for row in evidence.ledger.events)
    plans = {row["event_id"]: row for row in evidence.ledger.plans.values()}
    for event_id in evidence.place:
        if taken[event_id] != 1 or event_id not in plans:
            yield f"event {event_id} is in the ledger {taken[event_id]} times, its plan {event_id in plans}"
            continue
        plan = plans[event_id]
        if plan["state"] == "open" and plan["subject"] not in evidence.stopped_subjects:
            yield f"the plan of {event_id} is open: {_steps(evidence, plan)}"
        if plan["state"] == "failed":
            yield f"the plan of {event_id} failed: {plan['failure']}"
    for stranger in taken.keys() - evidence.place.keys():
        yield f"nobody sent event {stranger}"
    if evidence.dead_letters != evidence.load.malformed:
        yield f"{evidence.load.malformed} records were unreadable, {evidence.dead_letters} are dead letters"


def twice(evidence: Evidence) -> Iterator[str]:
    """No second create or application for a key, and no attempt with two effects."""
    for _, key, entries in duplicate_effects(evidence.journal):
        yield f"{key} was made {len(entries)} times: {[(e.seq, e.action, e.fault) for e in entries]}"
    used = Counter(_name(attempt) for _, attempt in evidence.effects if attempt is not None)
    for name, count in used.items():
        if count > 1:
            yield f"attempt {name} had {count} effects"


def ghosts(evidence: Evidence) -> Iterator[str]:
    """No effect without an attempt recorded before it; no command done by a call that had none."""
    changed_by = set()
    for entry, attempt in evidence.effects:
        if attempt is None:
            yield f"{entry.action} {entry.natural_key} (seq {entry.seq}) came without an attempt in the ledger"
        else:
            changed_by.add(attempt["command_id"])
    for command in evidence.ledger.commands.values():
        if command["operation"] in WRITES and command["result"] == "done" and command["id"] not in changed_by:
            yield f"{command['operation']} {command['resource']} is done, yet nothing changed at the vendor"


def out_of_order(evidence: Evidence) -> Iterator[str]:
    """The effects on a resource follow its events, and each wrote what its event wants."""
    reached: dict[str, int] = {}
    for entry, attempt in evidence.effects:
        if attempt is None:
            continue
        command = evidence.ledger.commands[attempt["command_id"]]
        event_id = evidence.ledger.plans[command["plan_id"]]["event_id"]
        chain, place = evidence.place[event_id]
        if place < reached.get(chain.resource, 0):
            yield f"{entry.action} {chain.resource} (seq {entry.seq}) for event {event_id} came too late"
        reached[chain.resource] = max(place, reached.get(chain.resource, 0))
        if not _asks_for(entry, chain.wanted[place].state):
            yield f"{entry.action} {chain.resource} (seq {entry.seq}) asks for something else than event {event_id}"


def last_states(evidence: Evidence) -> Iterator[str]:
    """What stands at the vendors is what was wanted last, but where an application is in doubt."""
    stands = _standing(evidence.state)
    for chain in evidence.load.chains.values():
        if chain.resource in evidence.stopped_subjects:
            continue
        want, found = chain.wanted[-1].state, stands.get(chain.key)
        if found is None or any(found[name] != value for name, value in want.items()):
            yield f"{chain.resource} stands as {found}, wanted last is {want}"


def wrongly_in_doubt(evidence: Evidence) -> Iterator[str]:
    """In doubt are exactly the applications that were marked, have no clear outcome, and whose number is not live."""
    unclear = set()
    for command in evidence.ledger.commands.values():
        if command["operation"] != APPLY:
            continue
        tries = [row for row in evidence.ledger.attempts if row["command_id"] == command["id"] and _is_send(row)]
        if tries and tries[-1]["outcome"] in {None, "ambiguous"} and not evidence.number_is_live(command["resource"]):
            unclear.add(command["id"])
    for command_id in unclear - evidence.doubted.keys():
        command = evidence.ledger.commands[command_id]
        yield f"{command['resource']} should be in doubt, and is {command['state']}"
    for command_id in evidence.doubted.keys() - unclear:
        command = evidence.doubted[command_id]
        yield f"{command['operation']} {command['resource']} should not be in doubt: {command['failure']}"


def wrongly_told(evidence: Evidence) -> Iterator[str]:
    """Every end is told under one id, as what it is; nothing is told that did not end."""
    if evidence.ledger.untold:
        yield f"{len(evidence.ledger.untold)} messages were never published"
    plans, commands = _ends(evidence.told, "plan_id", PLAN_END), _ends(evidence.told, "command_id", COMMAND_END)
    yield from _compare("plan", evidence.ledger.plans, plans, PLAN_END)
    yield from _compare("command", evidence.ledger.commands, commands, COMMAND_END)


def over_quota(evidence: Evidence) -> Iterator[str]:
    """No window of a second holds more arrivals than the quota, over all processes that lived."""
    for window in windows_over_quota(evidence.journal, QUOTAS):
        yield f"{window.action}: {window.arrivals} in the second from {window.start:.3f}"


def _figures(evidence: Evidence) -> dict[str, Any]:
    commands = Counter(row["state"] for row in evidence.ledger.commands.values())
    settled = commands["succeeded"] + commands["failed"]
    calls = [entry for entry in evidence.journal if entry.vendor in QUOTAS and entry.effect != "token"]
    applied = [entry for entry, _ in evidence.effects]
    return {
        "resources": len(evidence.load.chains),
        "events": evidence.load.events,
        "commands": dict(commands),
        "effects": len(applied),
        "harmless repeats": sum(1 for e in applied if e.effect in {"modified", "bound"} and not e.changed),
        "faults that struck": dict(
            Counter(kind for e in calls for kind in (e.fault or "").split("+") if kind not in {"", "latency"})
        ),
        "left in doubt": len(evidence.doubted),
        "plans behind them": sum(1 for plan in evidence.ledger.plans.values() if plan["state"] == "open")
        - len({row["plan_id"] for row in evidence.doubted.values()}),
        "vendor calls per settled command": round(len(calls) / max(1, settled), 3),
    }


def _last_before(attempts: Sequence[Row], wall: float) -> Row | None:
    """The attempt marked last before that moment, of those not over by then if there are any.

    A mark that only seems to be later counts where no other fits: the next attempt may follow within the grain.
    """
    before = [row for row in attempts if row["marked_at"] <= wall + SAME_MOMENT]
    running = [row for row in before if row["ended_at"] is None or row["ended_at"] >= wall - SAME_MOMENT]
    return max(running or before, key=lambda row: (row["marked_at"] <= wall, row["marked_at"]), default=None)


def _name(attempt: Row) -> tuple[str, int, int]:
    return attempt["command_id"], attempt["epoch"], attempt["number"]


def _is_send(attempt: Row) -> bool:
    return bool(attempt["call"] == APPLY)


def _steps(evidence: Evidence, plan: Row) -> list[tuple[Any, ...]]:
    steps = [row for row in evidence.ledger.commands.values() if row["plan_id"] == plan["id"]]
    names = ("step", "state", "cause", "due_at", "owner", "attempts", "retries", "failure")
    return [tuple(row[name] for name in names) for row in sorted(steps, key=lambda row: row["step_no"])]


def _asks_for(entry: Entry, state: Mapping[str, Any]) -> bool:
    """Whether a write asks for (a part of) a state; an application says nothing of where calls go."""
    asked = dict(entry.wanted or {})
    given = {
        "name": asked.get("ExtensionName"),
        "skill_group_ids": asked.get("SkillGroupIds"),
        "url": (asked.get("CallInInterface") or {}).get("URL"),
        "devicetype": asked.get("devicetype"),
        "deviceId": asked.get("deviceId"),
    }
    return all(given[name] is None or given[name] == value for name, value in state.items())


def _standing(state: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What stands at both vendors, by the journal's keys."""
    stands: dict[str, Mapping[str, Any]] = {}
    for app, instance in state["tencent_ccc"].items():
        stands |= {f"extension:{app}/{name}": found for name, found in instance["extensions"].items()}
        stands |= {f"number:{app}/{name}": found for name, found in instance["numbers"].items()}
    for app_key, routes in state["huawei_aicc"].items():
        stands |= {f"route:{app_key}/{route['accessCode']}/{route['extCode']}": route for route in routes}
    return stands


def _ends(told: Sequence[Mapping[str, Any]], name: str, kinds: Mapping[str, str]) -> dict[str, set[tuple[str, str]]]:
    """By plan or command: the ends that were told, each once, as (id, type)."""
    ends: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for event in told:
        if event["type"] in kinds.values():
            ends[event["data"][name]].add((event["id"], event["type"]))
    return ends


def _compare(
    what: str, rows: Mapping[str, Row], ends: Mapping[str, set[tuple[str, str]]], kinds: Mapping[str, str]
) -> Iterator[str]:
    for key, row in rows.items():
        told, expected = ends.get(key, set()), kinds.get(row["state"])
        if {kind for _, kind in told} != ({expected} if expected else set()) or len(told) > 1:
            yield f"{what} {key} is {row['state']}, told was {sorted(told)}"
    for stranger in ends.keys() - rows.keys():
        yield f"{what} {stranger} is in no ledger, yet its end was told"
