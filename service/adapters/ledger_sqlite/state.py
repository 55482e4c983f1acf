"""The two halves of every SQLite ledger transaction: load what is known, write what was decided."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.grouping import (
    NO_DESK,
    Loaded,
    Parts,
    accounts_of,
    names_in,
    names_of,
    together,
    union,
)
from service.adapters.ledger_sqlite import desk, moves, tallies
from service.adapters.ledger_sqlite.sql import insert, json_list, upsert
from service.application.ports import LostClaimError
from service.domain.binding import Binding
from service.domain.command import Command, Plan, PlanState
from service.domain.desk import NO_DESK_KEYS
from service.domain.ledger_state import Changes, EventKey, Fact, Hold, Keys, Known

T = TypeVar("T")
W = TypeVar("W", Plan, Command)

IS_SESSION_OPEN = "SELECT 1 FROM sessions WHERE fence = ? AND ended_at IS NULL"
SELECT_DIGESTS = "SELECT event_hash, digest FROM event_digests WHERE event_hash IN (SELECT value FROM json_each(?))"
SELECT_LAST_ARRIVAL = "SELECT coalesce(max(arrival), 0) FROM event_digests"
SELECT_PLANS = f"SELECT {rows.PLAN} FROM plans WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608
# the plans named, and those that the subjects and resources may have to wait for
SELECT_PLANS_AROUND = f"""
SELECT {rows.PLAN} FROM plans WHERE id IN (
    SELECT value FROM json_each(:plans)
    UNION SELECT id FROM plans INDEXED BY plans_open
        WHERE state = 'open' AND subject IN (SELECT value FROM json_each(:subjects))
    UNION SELECT plan_id FROM commands INDEXED BY commands_live_of_subject
        WHERE live = 1 AND subject IN (SELECT value FROM json_each(:subjects))
    UNION SELECT plan_id FROM commands INDEXED BY commands_live_of_resource
        WHERE live = 1 AND resource IN (SELECT value FROM json_each(:resources))
) ORDER BY id
"""  # noqa: S608
SELECT_COMMANDS_OF_PLANS = f"""
SELECT {rows.COMMAND} FROM commands WHERE plan_id IN (SELECT value FROM json_each(?)) ORDER BY plan_id, step_no, id
"""  # noqa: S608
SELECT_COMMANDS = f"SELECT {rows.COMMAND} FROM commands WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
SELECT_HELD_OF_RESOURCES = f"""
SELECT {rows.BINDING} FROM bindings INDEXED BY bindings_held
WHERE state <> 'released' AND resource IN (SELECT value FROM json_each(?))
"""  # noqa: S608
SELECT_BINDINGS_OF_SUBJECTS = f"""
SELECT {rows.BINDING} FROM bindings AS b
WHERE subject IN (SELECT value FROM json_each(?)) AND (
    state <> 'released'
    OR generation = (SELECT max(generation) FROM bindings AS r WHERE r.subject = b.subject AND r.state = 'released')
)
"""  # noqa: S608
SELECT_WAITING_FACTS = f"""
SELECT {rows.FACT} FROM facts INDEXED BY facts_waiting
WHERE taken_by IS NULL AND subject IN (SELECT value FROM json_each(?)) ORDER BY received_at, id
"""  # noqa: S608
SELECT_QUARANTINES = f"""
SELECT {rows.HOLD} FROM holds INDEXED BY holds_standing
WHERE released_at IS NULL AND kind = 'quarantine' AND account IN (SELECT value FROM json_each(?)) ORDER BY id
"""  # noqa: S608

UPSERT_PLAN = upsert("plans", rows.PLAN, "id")
UPDATE_LIVE = f"""
UPDATE commands SET live = ?1 OR state IN {rows.UNFINISHED}
WHERE plan_id = ?2 AND live <> (?1 OR state IN {rows.UNFINISHED})
"""  # noqa: S608
UPSERT_COMMAND = upsert("commands", f"{rows.COMMAND}, live", "id")
UPSERT_ATTEMPT = upsert("attempts", rows.ATTEMPT, "command_id, epoch, number")
INSERT_HISTORY = insert("history", rows.HISTORY)
UPSERT_BINDING = upsert("bindings", rows.BINDING, "subject, generation")
UPSERT_FACT = upsert("facts", rows.FACT, "id")
UPSERT_HOLD = upsert("holds", rows.HOLD, "id")
INSERT_OUTBOX = f"{insert('outbox', rows.OUTBOX)} ON CONFLICT (id) DO NOTHING"
INSERT_DEAD_LETTER = f"{insert('dead_letters', rows.DEAD_LETTER)} ON CONFLICT DO NOTHING"
INSERT_ACT = insert("acts", rows.ACT)
INSERT_EVENT = f"{insert('events', rows.EVENT)} ON CONFLICT (source, id) DO NOTHING"
INSERT_DIGEST = f"{insert('event_digests', rows.DIGEST)} ON CONFLICT (event_hash) DO NOTHING"


@dataclass(slots=True, eq=False)
class Decision:
    """One caller's transaction: what it is about, what is decided, and what came of it."""

    keys: Keys
    decide: Callable[[Known], Changes]
    changes: Changes | None = None
    error: Exception | None = None


def transact(connection: sqlite3.Connection, decisions: Sequence[Decision]) -> None:
    """Load for all, decide one after another, write for all; whatever `decide` raises is its own caller's.

    Those that are about the same take turns: the later one is shown what the earlier one wrote. What is raised is
    nobody's own, and undoes everything.
    """
    waiting = list(decisions)
    while waiting:
        waiting = _decide(connection, waiting)


def _decide(connection: sqlite3.Connection, decisions: Sequence[Decision]) -> list[Decision]:
    """Those that must wait for what the others wrote."""
    loaded = load(connection, union(decision.keys for decision in decisions))
    parts = Parts(loaded)
    standing = {fence for fence in {d.keys.session for d in decisions} if fence is None or is_open(connection, fence)}
    waiting: list[Decision] = []
    decided: list[Changes] = []
    taken: set[str] = set()
    for decision in decisions:
        known, accounts = parts.known(decision.keys), accounts_of(decision.keys)
        names = names_of(decision.keys) | names_in(known)
        if taken & (names | accounts):
            waiting.append(decision)
            continue
        decision.changes, decision.error = None, None
        try:
            if decision.keys.session not in standing:
                raise LostClaimError(f"session {decision.keys.session} has ended")
            decision.changes = decision.decide(known).numbered(parts.next_arrival)
        except Exception as error:  # noqa: BLE001 - its caller gets it, whatever it is
            decision.error = error
            continue
        decided.append(decision.changes)
        taken |= names | (accounts if decision.changes.holds else set())
    if decided:
        write(connection, together(decided), plans=loaded.plans, commands=loaded.commands)
    return waiting


def is_open(connection: sqlite3.Connection, fence: int) -> bool:
    """Whether a session still stands."""
    return connection.execute(IS_SESSION_OPEN, (fence,)).fetchone() is not None


def load(connection: sqlite3.Connection, keys: Keys) -> Loaded:
    """What the ledger holds for the keys."""
    plans = load_plans(connection, keys)
    return Loaded(
        digests=_load_digests(connection, keys.events),
        bindings=load_bindings(connection, keys.subjects, keys.resources),
        plans=plans,
        commands=_load_commands(connection, plans),
        facts=_load_facts(connection, keys.subjects),
        holds=_load_quarantines(connection, keys.accounts),
        next_arrival=connection.execute(SELECT_LAST_ARRIVAL).fetchone()[0] + 1,
        desk=NO_DESK if keys.desk is NO_DESK_KEYS else desk.load(connection, keys.desk),
    )


def _load_digests(connection: sqlite3.Connection, events: Iterable[EventKey]) -> dict[EventKey, str]:
    hashes = {rows.event_hash(key): key for key in events}
    if not hashes:
        return {}
    found = connection.execute(SELECT_DIGESTS, (json_list(hashes),))
    return {hashes[hashed]: digest for hashed, digest in found}


def load_bindings(
    connection: sqlite3.Connection, subjects: Iterable[str], resources: Iterable[str]
) -> tuple[Binding, ...]:
    """All held ones of the subjects and resources, and each subject's last released one."""
    found: list[rows.Row] = []
    if subjects:
        found += connection.execute(SELECT_BINDINGS_OF_SUBJECTS, (json_list(subjects),))
    if resources:
        found += connection.execute(SELECT_HELD_OF_RESOURCES, (json_list(resources),))
    unique = {(row[0], row[1]): row for row in found}
    return tuple(rows.binding(unique[key]) for key in sorted(unique))


def load_plans(connection: sqlite3.Connection, keys: Keys) -> list[Plan]:
    """The named plans, and every open one around the subjects and resources."""
    if keys.subjects or keys.resources:
        found = connection.execute(
            SELECT_PLANS_AROUND,
            {
                "plans": json_list(keys.plans),
                "subjects": json_list(keys.subjects),
                "resources": json_list(keys.resources),
            },
        )
    elif keys.plans:
        found = connection.execute(SELECT_PLANS, (json_list(keys.plans),))
    else:
        return []
    plans = [rows.plan(row) for row in found]
    return [plan for plan in plans if plan.state is PlanState.OPEN or plan.id in keys.plans]


def _load_commands(connection: sqlite3.Connection, plans: Sequence[Plan]) -> tuple[Command, ...]:
    if not plans:
        return ()
    ids = json_list(plan.id for plan in plans)
    return tuple(map(rows.command, connection.execute(SELECT_COMMANDS_OF_PLANS, (ids,))))


def _load_facts(connection: sqlite3.Connection, subjects: Iterable[str]) -> tuple[Fact, ...]:
    if not subjects:
        return ()
    return tuple(map(rows.fact, connection.execute(SELECT_WAITING_FACTS, (json_list(subjects),))))


def _load_quarantines(connection: sqlite3.Connection, accounts: Iterable[str]) -> tuple[Hold, ...]:
    if not accounts:
        return ()
    return tuple(map(rows.hold, connection.execute(SELECT_QUARANTINES, (json_list(accounts),))))


def write(
    connection: sqlite3.Connection, changes: Changes, *, plans: Iterable[Plan] = (), commands: Iterable[Command] = ()
) -> None:
    """Write whole rows, in an order that the schema's references and uniqueness allow.

    Of plans and commands only what changes as they are carried out, if nothing else has. How they stood is looked up
    but for those of `plans` and `commands`, which have just been loaded.
    """
    _write_events(connection, changes)
    _write_work(connection, changes, plans, commands)
    released_first = sorted(changes.bindings, key=lambda binding: binding.held)
    _write_all(connection, UPSERT_ATTEMPT, rows.attempt_row, changes.attempts)
    _write_all(connection, INSERT_HISTORY, rows.history_row, changes.history)
    _write_all(connection, UPSERT_BINDING, rows.binding_row, released_first)
    _write_all(connection, UPSERT_FACT, rows.fact_row, changes.facts)
    _write_all(connection, UPSERT_HOLD, rows.hold_row, changes.holds)
    _write_all(connection, INSERT_OUTBOX, rows.outbox_row, changes.outbox)
    _write_all(connection, INSERT_DEAD_LETTER, rows.dead_letter_row, changes.dead_letters)
    _write_all(connection, INSERT_ACT, rows.act_row, changes.acts)
    if changes.desk:
        desk.write(connection, changes.desk)


def _write_all(
    connection: sqlite3.Connection, statement: str, row: Callable[[T], rows.Row], values: Sequence[T]
) -> None:
    if len(values) == 1:
        connection.execute(statement, row(values[0]))
    elif values:
        connection.executemany(statement, map(row, values))


def _write_events(connection: sqlite3.Connection, changes: Changes) -> None:
    """An event is written once; what comes again under its key is left out."""
    if not changes.events:
        return
    orders = {(plan.event_source, plan.event_id): plan.order for plan in changes.plans}

    _write_all(connection, INSERT_EVENT, rows.event_row, changes.events)
    _write_all(connection, INSERT_DIGEST, partial(rows.digest_row, orders=orders), changes.events)


def _write_work(
    connection: sqlite3.Connection, changes: Changes, loaded_plans: Iterable[Plan], loaded_commands: Iterable[Command]
) -> None:
    """Plans and their commands; `live` follows from how a plan stands when all of it is written."""
    written = {plan.id: plan for plan in changes.plans}
    touched = {*written, *(command.plan_id for command in changes.commands)}
    plans = _as_they_stood(connection, SELECT_PLANS, rows.plan, touched, loaded_plans)
    changed = {command.id for command in changes.commands}
    commands = _as_they_stood(connection, SELECT_COMMANDS, rows.command, changed, loaded_commands)
    open_plans = {plan_id for plan_id, plan in (plans | written).items() if plan.state is PlanState.OPEN}

    def has_moved(command: Command) -> bool:
        keeps_live = command.plan_id in written or command.plan_id in open_plans
        return keeps_live and command.id in commands and moves.OF_COMMAND.are_all(commands[command.id], command)

    def command_row(command: Command) -> rows.Row:
        return *rows.command_row(command), int(command.plan_id in open_plans or not command.state.ended)

    moved_plans, other_plans = _parted(
        changes.plans, lambda plan: plan.id in plans and moves.OF_PLAN.are_all(plans[plan.id], plan)
    )
    moved_commands, other_commands = _parted(changes.commands, has_moved)
    turned = [plan for plan in changes.plans if plan.id in plans and plans[plan.id].state is not plan.state]
    _write_all(connection, moves.OF_PLAN.statement, moves.OF_PLAN.row, moved_plans)
    _write_all(connection, UPSERT_PLAN, rows.plan_row, other_plans)
    _write_all(connection, moves.OF_COMMAND.statement, moves.OF_COMMAND.row, moved_commands)
    _write_all(connection, UPSERT_COMMAND, command_row, other_commands)
    _write_all(connection, UPDATE_LIVE, lambda plan: (plan.state is PlanState.OPEN, plan.id), turned)
    tallies.count_written(
        connection,
        chain(
            _compared(tallies.of_command, commands, changes.commands), _compared(tallies.of_plan, plans, changes.plans)
        ),
    )


def _as_they_stood(
    connection: sqlite3.Connection,
    statement: str,
    value: Callable[[rows.Row], W],
    ids: Iterable[str],
    loaded: Iterable[W],
) -> dict[str, W]:
    """What the ledger has of these rows, by their ids; what was loaded is not read again."""
    found = {one.id: one for one in loaded}
    missing = set(ids) - found.keys()
    if missing:
        found |= {row[0]: value(row) for row in connection.execute(statement, (json_list(missing),))}
    return found


def _compared(
    standing: Callable[[W], tallies.Standing], stood: Mapping[str, W], written: Iterable[W]
) -> Iterator[tuple[tallies.Standing | None, tallies.Standing]]:
    """Each row as it stood, if it did, and as it stands."""
    for one in written:
        yield standing(stood[one.id]) if one.id in stood else None, standing(one)


def _parted(values: Iterable[T], condition: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    """Those that fulfil the condition, and the others."""
    yes: list[T] = []
    no: list[T] = []
    for value in values:
        (yes if condition(value) else no).append(value)
    return yes, no
