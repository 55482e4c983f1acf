"""What stands between due work and a claim in SQLite: other work of its subject or resource, and holds."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from service.adapters import ledger_sqlite_rows as rows
from service.application.ports import ClaimRoom
from service.domain.command import Command, CommandState
from service.domain.ledger_state import Hold

# Unfinished work `b` stands in the way of `c` while it is busy, or is an earlier step of the same plan, or belongs
# to another plan that has begun or comes earlier (and is effective). A plan that has begun waits for no other plan
# that is not busy: whoever was parked behind it would wait for ever.
STANDS_IN_THE_WAY = """
    b.live = 1 AND b.id <> c.id AND b.state IN ('pending', 'waiting', 'in_flight', 'in_doubt')
    AND (
        b.owner IS NOT NULL OR b.state IN ('in_flight', 'in_doubt')
        OR (b.plan_id = c.plan_id AND b.step_no < c.step_no)
        OR (
            b.plan_id <> c.plan_id
            AND NOT EXISTS (SELECT 1 FROM commands AS p INDEXED BY commands_of_plan
                            WHERE p.plan_id = c.plan_id AND (p.owner IS NOT NULL OR p.attempts > 0))
            AND (
                ((b.order_at, b.arrival) < (c.order_at, c.arrival)
                 AND (b.effective_at IS NULL OR b.effective_at <= :now))
                OR EXISTS (SELECT 1 FROM commands AS p INDEXED BY commands_of_plan
                           WHERE p.plan_id = b.plan_id AND (p.owner IS NOT NULL OR p.attempts > 0))
            )
        )
    )
"""
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
    AND +c.state IN ('pending', 'waiting', 'in_flight', 'in_doubt')
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


@dataclass(slots=True)
class Gate:
    """The holds that stand, as of one call of `claim`.

    `closed` let nothing through but their probes. `ajar` have lost theirs: each lets one command through, which
    closes it. `probes` are the ids of all probes, also of lost ones.
    """

    closed: list[Hold] = field(default_factory=list)
    ajar: list[Hold] = field(default_factory=list)
    probes: frozenset[str] = frozenset()

    def passes(self, command: Command) -> bool:
        """True if no hold stops the command now."""
        return not any(hold.stops(command) for hold in self.closed)

    def taken(self, command: Command) -> None:
        """The command is claimed: what was ajar for it is closed."""
        for hold in [hold for hold in self.ajar if hold.stops(command)]:
            self.ajar.remove(hold)
            self.closed.append(hold)

    def shuts(self, account: str, operation: str) -> bool:
        """True if nothing of the account's operation passes except probes."""
        return any(
            hold.account in {None, account}
            and hold.operation in {None, operation}
            and hold.subject is None
            and hold.resource is None
            for hold in self.closed
        )


def open_gate(connection: sqlite3.Connection, now: float) -> Gate:
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


def due_probes(connection: sqlite3.Connection, gate: Gate, now: float, room: ClaimRoom) -> list[Command]:
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
    return connection.execute(SELECT_PROBES, {"probes": rows.json_list(gate.probes), "now": now}).fetchall()


def _is_under_way(connection: sqlite3.Connection, hold: Hold) -> bool:
    scope = {name: getattr(hold, name) for name in ("account", "operation", "subject", "resource")}
    return bool(connection.execute(IS_UNDER_WAY, scope).fetchone()[0])
