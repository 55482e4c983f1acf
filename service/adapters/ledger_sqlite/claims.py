"""Sessions, claims, holds and slots in SQLite: who may run what, and when it may be sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.gate import START, Gate, RoomKey, Turns, page_of, place_of, room_key, take_in_turn
from service.adapters.ledger_sqlite.sql import json_list
from service.adapters.ledger_sqlite.state import SELECT_PLANS, is_open, load_bindings
from service.application.ports import Claim, ClaimRoom, Granted, SessionEndedError
from service.domain.command import Command, CommandState, Session
from service.domain.ledger_state import Hold, latest_bindings
from service.domain.value import replace

CLOCK_STEP = 5.0  # seconds: a slot further ahead than this means that the wall clock was set back
COLD_START = 1.0  # seconds: the longest window a quota counts over

END_SESSIONS = "UPDATE sessions SET ended_at = ? WHERE ended_at IS NULL"
INSERT_SESSION = "INSERT INTO sessions (owner, started_at) VALUES (?, ?)"
FREE_CLAIMED = """
UPDATE commands INDEXED BY commands_claimed SET owner = NULL
WHERE owner IS NOT NULL AND state IN ('pending', 'waiting', 'in_doubt')
"""
RELEASE_COMMANDS = """
UPDATE commands SET owner = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND owner = ? AND state IN ('pending', 'waiting', 'in_doubt')
"""
RELEASE_OTHERS = """
UPDATE commands INDEXED BY commands_claimed SET owner = NULL
WHERE owner = ? AND state IN ('pending', 'waiting', 'in_doubt') AND id NOT IN (SELECT value FROM json_each(?))
"""
SELECT_ORPHANS = f"""
SELECT {rows.COMMAND} FROM commands INDEXED BY commands_in_flight
WHERE state = 'in_flight' AND owner IS NOT ? ORDER BY order_at, arrival, step_no, id
"""  # noqa: S608
SELECT_NEXT_ACCOUNT = """
SELECT account FROM commands INDEXED BY commands_due
WHERE due_at IS NOT NULL AND owner IS NULL AND state IN ('pending', 'waiting', 'in_doubt')
    AND quota_group = ? AND operation = ? AND lane = ? AND account > ?
ORDER BY account LIMIT 1
"""
# Unfinished work `b` stands in the way of `c` while it is busy, or is an earlier step of the same plan, or belongs
# to another plan that has begun or comes earlier (and is effective). A plan that has begun waits for no other plan
# that is not busy: whoever was parked behind it would wait for ever. For the same reason parked work stands in nobody's
# way: what it waits for does, or it waits for `c` itself, which was claimed when it came and then handed back unsent.
STANDS_IN_THE_WAY = f"""
    b.live = 1 AND b.id <> c.id AND b.state IN {rows.UNFINISHED}
    AND (
        b.owner IS NOT NULL OR b.state IN ('in_flight', 'in_doubt')
        OR (b.plan_id = c.plan_id AND b.step_no < c.step_no)
        OR (
            b.plan_id <> c.plan_id
            AND NOT EXISTS (SELECT 1 FROM commands AS p INDEXED BY commands_of_plan
                            WHERE p.plan_id = c.plan_id AND (p.owner IS NOT NULL OR p.attempts > 0))
            AND (
                ((b.order_at, b.arrival) < (c.order_at, c.arrival)
                 AND (b.effective_at IS NULL OR b.effective_at <= :now)
                 AND NOT EXISTS (SELECT 1 FROM commands AS p INDEXED BY commands_of_plan
                                 WHERE p.plan_id = b.plan_id AND p.state = 'waiting' AND p.cause = 'earlier_work'))
                OR EXISTS (SELECT 1 FROM commands AS p INDEXED BY commands_of_plan
                           WHERE p.plan_id = b.plan_id AND (p.owner IS NOT NULL OR p.attempts > 0))
            )
        )
    )
"""  # noqa: S608
IN_THE_WAY = f"""(
    EXISTS (SELECT 1 FROM commands AS b INDEXED BY commands_live_of_subject
            WHERE b.subject = c.subject AND {STANDS_IN_THE_WAY})
    OR EXISTS (SELECT 1 FROM commands AS b INDEXED BY commands_live_of_resource
               WHERE b.resource = c.resource AND {STANDS_IN_THE_WAY})
)"""  # noqa: S608
SELECT_STANDING = f"""
SELECT {rows.HOLD} FROM holds INDEXED BY holds_standing WHERE released_at IS NULL ORDER BY id
"""  # noqa: S608
# Unfinished probes that time makes runnable, each with whether something stands in its way.
SELECT_PROBES = f"""
SELECT {rows.COMMAND}, {IN_THE_WAY} FROM commands AS c
WHERE c.id IN (SELECT value FROM json_each(:probes)) AND c.due_at IS NOT NULL
    AND +c.state IN {rows.UNFINISHED}
ORDER BY c.due_at, c.arrival, c.step_no
"""  # noqa: S608
MATCHES = """
    (:account IS NULL OR c.account = :account) AND (:operation IS NULL OR c.operation = :operation)
    AND (:subject IS NULL OR c.subject = :subject) AND (:resource IS NULL OR c.resource = :resource)
"""
IS_UNDER_WAY = f"""
SELECT EXISTS (SELECT 1 FROM commands AS c INDEXED BY commands_claimed
               WHERE c.owner IS NOT NULL AND c.state IN ('pending', 'waiting', 'in_doubt') AND {MATCHES})
    OR EXISTS (SELECT 1 FROM commands AS c INDEXED BY commands_in_flight WHERE c.state = 'in_flight' AND {MATCHES})
"""  # noqa: S608
# One page of an account's due commands, oldest first, each with whether something stands in its way.
SELECT_DUE = f"""
SELECT {rows.COMMAND}, {IN_THE_WAY}
FROM commands AS c INDEXED BY commands_due
WHERE c.due_at IS NOT NULL AND c.owner IS NULL AND c.state IN ('pending', 'waiting', 'in_doubt')
    AND c.quota_group = :quota_group AND c.operation = :operation AND c.lane = :lane AND c.account = :account
    AND c.due_at <= :now AND (c.due_at, c.arrival, c.step_no) > (:due_at, :arrival, :step_no)
ORDER BY c.due_at, c.arrival, c.step_no LIMIT :page
"""  # noqa: S608
REGROUP_COMMANDS = f"""
UPDATE commands INDEXED BY commands_live_of_subject SET quota_group = g.value FROM json_each(?) AS g
WHERE live = 1 AND commands.state IN {rows.UNFINISHED}
    AND commands.account = g."key" AND commands.quota_group <> g.value
"""  # noqa: S608
SET_OWNER = "UPDATE commands SET owner = ?, claims = claims + 1 WHERE id = ?"
SELECT_RATE = "SELECT rate FROM quota_rates WHERE quota_group = ? AND operation = ?"
SELECT_NEXT_SLOT = "SELECT next_at FROM quota_slots WHERE quota_group = ? AND operation = ?"
UPSERT_NEXT_SLOT = """
INSERT INTO quota_slots (quota_group, operation, next_at) VALUES (?, ?, ?)
ON CONFLICT (quota_group, operation) DO UPDATE SET next_at = excluded.next_at
"""


def open_session(connection: sqlite3.Connection, owner: str, now: float) -> Session:
    """End what stood before, free what it had claimed and not marked, start anew."""
    connection.execute(END_SESSIONS, (now,))
    connection.execute(FREE_CLAIMED)
    fence = connection.execute(INSERT_SESSION, (owner, now)).lastrowid
    return Session(fence or 0, owner)


def keep_session(connection: sqlite3.Connection, session: Session) -> int:
    """A file has one process: a session stands, alone, until the next one is opened. Raises SessionEndedError."""
    if not is_open(connection, session.fence):
        raise SessionEndedError(session)
    return 1


def end_session(connection: sqlite3.Connection, session: Session, now: float) -> None:
    """End it and free what it had claimed and not marked."""
    if is_open(connection, session.fence):
        connection.execute(END_SESSIONS, (now,))
        connection.execute(FREE_CLAIMED)


def orphans(connection: sqlite3.Connection, session: Session) -> list[Command]:
    """Commands in flight that are not this session's, oldest work first."""
    return [rows.command(row) for row in connection.execute(SELECT_ORPHANS, (session.fence,))]


def release(connection: sqlite3.Connection, session: Session, command_ids: Sequence[str]) -> int:
    """Hand back what this session claimed and did not mark; how many."""
    return connection.execute(RELEASE_COMMANDS, (json_list(command_ids), session.fence)).rowcount


def release_others(connection: sqlite3.Connection, session: Session, command_ids: Collection[str]) -> int:
    """Hand back what this session claimed and did not mark, but for these; how many."""
    return connection.execute(RELEASE_OTHERS, (session.fence, json_list(command_ids))).rowcount


def regroup(connection: sqlite3.Connection, groups: Mapping[str, str]) -> int:
    """Let unfinished commands pay to their account's present quota group; how many changed."""
    return connection.execute(REGROUP_COMMANDS, (rows.to_json(groups),)).rowcount


def claim(
    connection: sqlite3.Connection, turns: Turns, session: Session, now: float, rooms: Sequence[ClaimRoom]
) -> list[Claim]:
    """Fill the rooms one after another; raises SessionEndedError."""
    keep_session(connection, session)
    claimed: list[Command] = []
    gate = _open_gate(connection, now)
    for room in rooms:
        taken = _fill(connection, turns, gate, now, room)
        connection.executemany(SET_OWNER, [(session.fence, command.id) for command in taken])
        claimed += (replace(command, owner=session.fence, claims=command.claims + 1) for command in taken)
    return _claims(connection, claimed)


def _claims(connection: sqlite3.Connection, commands: Sequence[Command]) -> list[Claim]:
    """Each command with its plan and its subject's binding."""
    if not commands:
        return []
    named = json_list({command.plan_id for command in commands})
    plans = {row[0]: rows.plan(row) for row in connection.execute(SELECT_PLANS, (named,))}
    bindings = latest_bindings(load_bindings(connection, {command.subject for command in commands}, ()))
    return [
        Claim(command=command, plan=plans[command.plan_id], binding=bindings.get(command.subject))
        for command in commands
    ]


def _fill(connection: sqlite3.Connection, turns: Turns, gate: Gate, now: float, room: ClaimRoom) -> list[Command]:
    """One command of each waiting account in turn, until the room is full; no subject or resource twice."""
    accounts = list(_waiting_accounts(connection, room_key(room))) if room.room > 0 else []
    probes = _due_probes(connection, gate, now, room) if accounts else []
    queues = {
        name: chain(
            [c for c in probes if c.account == name], _free(connection, turns, gate, now, room=room, account=name)
        )
        for name in accounts
    }
    return take_in_turn(room, queues, gate, turns, set())


def _waiting_accounts(connection: sqlite3.Connection, key: RoomKey) -> Iterator[str]:
    """The accounts that have anything waiting in the room, by hops through the index."""
    row = connection.execute(SELECT_NEXT_ACCOUNT, (*key, "")).fetchone()
    while row is not None:
        yield row[0]
        row = connection.execute(SELECT_NEXT_ACCOUNT, (*key, row[0])).fetchone()


def _free(
    connection: sqlite3.Connection, turns: Turns, gate: Gate, now: float, *, room: ClaimRoom, account: str
) -> Iterator[Command]:
    """An account's next due commands that no work stands in the way of, read as they are asked for, up to a page.

    What is stopped as a whole is not read at all; probes come by their ids.
    """
    if gate.shuts(account, room.operation):
        return
    key = (room_key(room), account)
    place, page = turns.places.pop(key, START), page_of(room)
    names = {"quota_group": room.quota_group, "operation": room.operation, "lane": room.lane, "account": account}
    spot = {"due_at": place[0], "arrival": place[1], "step_no": place[2]}
    left, row = page, None
    for row in connection.execute(SELECT_DUE, {**names, **spot, "now": now, "page": page}):
        left -= 1
        if not row[-1] and row[0] not in gate.probes:
            yield rows.command(row)
    if row is not None and left == 0:
        turns.places[key] = place_of(rows.command(row))


def _open_gate(connection: sqlite3.Connection, now: float) -> Gate:
    """The gate as it stands before anything is claimed.

    A probe is lost when it has ended, or can't be claimed in time because something stands in its way. Nothing is
    let through in its place while anything of the hold's scope is under way.
    """
    holds = [rows.hold(row) for row in connection.execute(SELECT_STANDING)]
    gate = Gate(probes=frozenset(hold.probe for hold in holds if hold.probe is not None))
    fit = {row[0] for row in _probes(connection, gate, now) if not row[-1]}
    for hold in holds:
        lost = hold.probe is not None and hold.probe not in fit
        (gate.ajar if lost and not _is_under_way(connection, hold) else gate.closed).append(hold)
    return gate


def _due_probes(connection: sqlite3.Connection, gate: Gate, now: float, room: ClaimRoom) -> list[Command]:
    """The room's probes that could be claimed, longest due first."""
    return [
        probe
        for probe in (rows.command(row) for row in _probes(connection, gate, now) if not row[-1])
        if (probe.quota_group, probe.operation, probe.lane) == (room.quota_group, room.operation, room.lane)
        and probe.owner is None
        and probe.state is not CommandState.IN_FLIGHT
        and probe.due_at is not None
        and probe.due_at <= now
    ]


def _probes(connection: sqlite3.Connection, gate: Gate, now: float) -> list[rows.Row]:
    if not gate.probes:
        return []
    return connection.execute(SELECT_PROBES, {"probes": json_list(gate.probes), "now": now}).fetchall()


def _is_under_way(connection: sqlite3.Connection, hold: Hold) -> bool:
    scope = {name: getattr(hold, name) for name in ("account", "operation", "subject", "resource")}
    return bool(connection.execute(IS_UNDER_WAY, scope).fetchone()[0])


def reserve_slots(
    connection: sqlite3.Connection, quota_group: str, operation: str, *, count: int, spacing: float, not_before: float
) -> Granted:
    """The time of the first of `count` slots; the next free one is remembered for whoever asks next."""
    row = connection.execute(SELECT_NEXT_SLOT, (quota_group, operation)).fetchone()
    first = not_before if row is None else max(row[0], not_before)
    if first > not_before + CLOCK_STEP + count * spacing:
        first = not_before + COLD_START
    connection.execute(UPSERT_NEXT_SLOT, (quota_group, operation, first + count * spacing))
    changed = connection.execute(SELECT_RATE, (quota_group, operation)).fetchone()
    return Granted(first=first, rate=None if changed is None else changed[0])
