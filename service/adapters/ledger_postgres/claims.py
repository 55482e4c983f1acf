"""Sessions, claims and holds in PostgreSQL: who may run what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from service.adapters.ledger_postgres.connection import Connection, Transaction, only_row
from service.adapters.ledger_postgres.sql import NOW
from service.adapters.ledger_postgres.state import bindings_of
from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.gate import START, Gate, RoomKey, Turns, place_of, room_key, take_in_turn
from service.application.ports import Claim, ClaimRoom, SessionEndedError
from service.domain.command import Command, CommandState, Session
from service.domain.ledger_state import Hold, latest_bindings

CLAIMS: Final = frozenset({"claims"})
"""One process of the fleet claims at a time: two claims beside each other could take work of one subject."""
LOOK_PAST: Final = 50  # blocked commands of an account that one claim looks past, beyond what fits into the room

UNSENT: Final = "('pending', 'waiting', 'in_doubt')"
CLAIMABLE: Final = f"state IN {UNSENT}"
WAITS: Final = f"due_at IS NOT NULL AND owner IS NULL AND {CLAIMABLE}"
END_FORMER = f"UPDATE sessions SET ended_at = {NOW} WHERE ended_at IS NULL AND owner = $1 RETURNING fence"  # noqa: S608
# One that is locked is at work at this very moment, or has stopped amid a transaction, which the server soon ends: the
# next look finds it. To wait for it would let our own session run out, and then two who wait may wait for each other.
END_EXPIRED = f"""
UPDATE sessions SET ended_at = {NOW}
WHERE fence IN (
    SELECT fence FROM sessions WHERE ended_at IS NULL AND expires_at <= {NOW} ORDER BY fence FOR UPDATE SKIP LOCKED
) RETURNING fence
"""  # noqa: S608
END_SESSION = f"UPDATE sessions SET ended_at = {NOW} WHERE fence = $1 AND ended_at IS NULL RETURNING fence"  # noqa: S608
INSERT_SESSION = f"""
INSERT INTO sessions (owner, started_at, expires_at) VALUES ($1, {NOW}, {NOW} + $2) RETURNING fence
"""  # noqa: S608
PROLONG_SESSION = f"""
UPDATE sessions SET expires_at = {NOW} + $2 WHERE fence = $1 AND ended_at IS NULL RETURNING fence
"""  # noqa: S608
COUNT_SESSIONS = "SELECT count(*) FROM sessions WHERE ended_at IS NULL"
FREE_CLAIMED = f"UPDATE commands SET owner = NULL WHERE owner = ANY($1::bigint[]) AND {CLAIMABLE}"  # noqa: S608
RELEASE_COMMANDS = f"UPDATE commands SET owner = NULL WHERE id = ANY($1::text[]) AND owner = $2 AND {CLAIMABLE}"  # noqa: S608
RELEASE_OTHERS = f"UPDATE commands SET owner = NULL WHERE owner = $1 AND {CLAIMABLE} AND id <> ALL($2::text[])"  # noqa: S608
SELECT_ORPHANS = f"""
SELECT {rows.COMMAND} FROM commands AS c
WHERE state = 'in_flight' AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.fence = c.owner AND s.ended_at IS NULL)
ORDER BY order_at, arrival, step_no, id
"""  # noqa: S608
# What a claim has to know first: whether the session stands, the holds that do, and the accounts that have anything
# waiting in each room, by hops through the index. Its commit need not wait for the disk: a server that crashes ends all
# connections, and a claim that it lost is found lost by whoever marks or settles under it.
LOOK_AROUND = f"""
WITH RECURSIVE hops AS (
    SELECT r.nth, r.quota_group, r.operation, r.lane, ''::text COLLATE "C" AS account
    FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS r(quota_group, operation, lane, nth)
    UNION ALL
    SELECT h.nth, h.quota_group, h.operation, h.lane, (
        SELECT c.account FROM commands AS c
        WHERE {WAITS} AND c.quota_group = h.quota_group AND c.operation = h.operation AND c.lane = h.lane
            AND c.account > h.account
        ORDER BY c.account LIMIT 1
    ) FROM hops AS h WHERE h.account IS NOT NULL
), own AS MATERIALIZED (
    SELECT fence FROM sessions WHERE fence = $1 AND ended_at IS NULL FOR KEY SHARE
)
SELECT pg_current_xact_id()::text, set_config('synchronous_commit', 'off', true), EXISTS (SELECT 1 FROM own),
    ARRAY(SELECT ROW({rows.HOLD}) FROM holds WHERE released_at IS NULL ORDER BY id),
    ARRAY(SELECT ROW(nth - 1, account) FROM hops WHERE account <> '' ORDER BY nth, account)
"""  # noqa: S608
# Unfinished work `b` stands in the way of `c` while it is busy, or is an earlier step of the same plan, or belongs
# to another plan that has begun or comes earlier (and is effective). A plan that has begun waits for no other plan
# that is not busy: whoever was parked behind it would wait for ever. For the same reason parked work stands in nobody's
# way: what it waits for does, or it waits for `c` itself, which was claimed when it came and then handed back unsent.
# Subqueries are written so that each is looked up by its plan, never read as a whole beforehand; `state || ''` keeps
# the planner from an index of all that is unfinished, which seems empty while the statistics are of a quiet hour.
BEGUN = """((
    SELECT true FROM commands AS p WHERE p.plan_id = {}.plan_id AND (p.owner IS NOT NULL OR p.attempts > 0) LIMIT 1
) IS NOT NULL)"""
STANDS_IN_THE_WAY = f"""
    b.id <> c.id AND b.state || '' IN {rows.UNFINISHED}
    AND (
        b.owner IS NOT NULL OR b.state IN ('in_flight', 'in_doubt')
        OR (b.plan_id = c.plan_id AND b.step_no < c.step_no)
        OR (
            b.plan_id <> c.plan_id AND NOT {BEGUN.format("c")}
            AND (
                ((b.order_at, b.arrival) < (c.order_at, c.arrival)
                 AND (b.effective_at IS NULL OR b.effective_at <= $1)
                 AND (SELECT true FROM commands AS p
                      WHERE p.plan_id = b.plan_id AND p.state || '' = 'waiting' AND p.cause = 'earlier_work'
                      LIMIT 1) IS NULL)
                OR {BEGUN.format("b")}
            )
        )
    )
"""  # noqa: S608
IN_THE_WAY = f"""(
    EXISTS (SELECT 1 FROM commands AS b WHERE b.subject = c.subject AND b.live AND {STANDS_IN_THE_WAY})
    OR EXISTS (SELECT 1 FROM commands AS b
               WHERE b.resource = c.resource AND b.live::integer = 1 AND {STANDS_IN_THE_WAY})
)"""  # noqa: S608
# One page of the due commands of each account in its room, oldest first, each with whether something is in its way.
SELECT_DUE = f"""
SELECT {rows.COMMAND}, {IN_THE_WAY}, nth - 1
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::bigint[], $8::integer[], $9::integer[])
    WITH ORDINALITY AS r(in_group, of_operation, in_lane, of_account, from_due, from_arrival, from_step, page, nth)
CROSS JOIN LATERAL (
    SELECT * FROM commands
    WHERE {WAITS} AND quota_group = r.in_group AND operation = r.of_operation AND lane = r.in_lane
        AND account = r.of_account AND due_at <= $1
        AND (due_at, arrival, step_no) > (r.from_due, r.from_arrival, r.from_step)
    ORDER BY due_at, arrival, step_no LIMIT r.page
) AS c
ORDER BY nth, due_at, arrival, step_no
"""  # noqa: S608
# What others have locked is left to the next claim.
LOCK_CHOSEN = "SELECT id FROM commands WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE SKIP LOCKED"
# Looked at once more, by a statement of its own: what was decided between the choice and the lock is seen only now, and
# from now on nobody decides as if these had not begun.
TAKE = f"""
WITH chosen AS MATERIALIZED (
    SELECT c.id AS free FROM commands AS c WHERE c.id = ANY($2::text[]) AND NOT {IN_THE_WAY}
), taken AS (
    UPDATE commands AS c SET owner = $3, claims = claims + 1
    FROM chosen
    WHERE c.id = chosen.free AND due_at <= $1 AND owner IS NULL AND c.state || '' IN {UNSENT}
    RETURNING {rows.COMMAND}
)
SELECT ARRAY(SELECT ROW(taken.*) FROM taken),
    ARRAY(SELECT ROW({rows.PLAN}) FROM plans WHERE id IN (SELECT plan_id FROM taken)),
    ARRAY({bindings_of("ANY(ARRAY(SELECT subject FROM taken))")})
"""  # noqa: S608
# Unfinished probes that time makes runnable, each with whether something stands in its way.
SELECT_PROBES = f"""
SELECT {rows.COMMAND}, {IN_THE_WAY} FROM commands AS c
WHERE c.id = ANY($2::text[]) AND c.due_at IS NOT NULL AND c.state || '' IN {rows.UNFINISHED}
ORDER BY c.due_at, c.arrival, c.step_no
"""  # noqa: S608
MATCHES = """
    ($1::text IS NULL OR c.account = $1) AND ($2::text IS NULL OR c.operation = $2)
    AND ($3::text IS NULL OR c.subject = $3) AND ($4::text IS NULL OR c.resource = $4)
"""
IS_UNDER_WAY = f"""
SELECT EXISTS (SELECT 1 FROM commands AS c WHERE c.owner IS NOT NULL AND c.{CLAIMABLE} AND {MATCHES})
    OR EXISTS (SELECT 1 FROM commands AS c WHERE c.state = 'in_flight' AND {MATCHES})
"""  # noqa: S608
REGROUP_COMMANDS = f"""
UPDATE commands AS c SET quota_group = g.quota_group
FROM unnest($1::text[], $2::text[]) AS g(account, quota_group)
WHERE c.live AND c.state IN {rows.UNFINISHED}
    AND c.account = g.account AND c.quota_group <> g.quota_group
"""  # noqa: S608


def affected(status: str) -> int:
    """How many rows a statement changed, from what PostgreSQL says of it: `UPDATE 3`."""
    return int(status.rpartition(" ")[2])


async def open_session(transaction: Transaction, owner: str, seconds: float) -> Session:
    """End the owner's session before it, and those whose time is over; start anew."""
    connection = transaction.connection
    former = [row[0] for row in await connection.fetch(END_FORMER, owner)]
    expired = [row[0] for row in await connection.fetch(END_EXPIRED)]
    await connection.execute(FREE_CLAIMED, former + expired)
    return Session(await connection.fetchval(INSERT_SESSION, owner, seconds), owner)


async def keep_session(transaction: Transaction, session: Session, seconds: float) -> tuple[int, int]:
    """Prolong it and end those whose time is over: how many are open, and how many were ended."""
    connection = transaction.connection
    if await connection.fetchval(PROLONG_SESSION, session.fence, seconds) is None:
        raise SessionEndedError(session)
    ended = [row[0] for row in await connection.fetch(END_EXPIRED)]
    if ended:
        await connection.execute(FREE_CLAIMED, ended)
    return await connection.fetchval(COUNT_SESSIONS), len(ended)


async def end_session(transaction: Transaction, session: Session) -> None:
    """End it and free what it had claimed and not marked."""
    if await transaction.connection.fetchval(END_SESSION, session.fence) is not None:
        await transaction.connection.execute(FREE_CLAIMED, [session.fence])


async def orphans(connection: Connection) -> list[Command]:
    """Commands in flight that no standing session owns, oldest work first."""
    return [rows.command(row) for row in await connection.fetch(SELECT_ORPHANS)]


async def release(connection: Connection, session: Session, command_ids: Sequence[str]) -> int:
    """Hand back what this session claimed and did not mark; how many."""
    return affected(await connection.execute(RELEASE_COMMANDS, list(command_ids), session.fence))


async def release_others(connection: Connection, session: Session, command_ids: Collection[str]) -> int:
    """Hand back what this session claimed and did not mark, but for these; how many."""
    return affected(await connection.execute(RELEASE_OTHERS, session.fence, list(command_ids)))


async def regroup(connection: Connection, groups: Mapping[str, str]) -> int:
    """Let unfinished commands pay to their account's present quota group; how many changed."""
    return affected(await connection.execute(REGROUP_COMMANDS, list(groups), list(groups.values())))


async def claim(
    transaction: Transaction, turns: Turns, session: Session, now: float, rooms: Sequence[ClaimRoom]
) -> list[Claim]:
    """Fill the rooms one after another, as the holder of CLAIMS; raises SessionEndedError."""
    connection = transaction.connection
    rooms = [room for room in rooms if room.room > 0]
    keys = [room_key(room) for room in rooms]
    found = await only_row(connection, LOOK_AROUND, session.fence, *([key[part] for key in keys] for part in range(3)))
    transaction.xid, _, stands, holds, waiting = found
    if not stands:
        raise SessionEndedError(session)
    gate, probes = await _open_gate(connection, [rows.hold(row) for row in holds], now)
    free = await _free(connection, turns, gate, now, [(nth, rooms[nth], account) for nth, account in waiting])
    probes = [probe for probe in probes if _is_due(probe, now)]
    chosen: list[Command] = []
    busy: set[str] = set()
    for nth, room in enumerate(rooms):
        mine = [p for p in probes if (p.quota_group, p.operation, str(p.lane)) == room_key(room)]
        queues = {
            account: chain([p for p in mine if p.account == account], commands)
            for account, commands in free[nth].items()
        }
        chosen += take_in_turn(room, queues, gate, turns, busy)
    return await _take(connection, session, now, chosen)


async def _take(connection: Connection, session: Session, now: float, chosen: Sequence[Command]) -> list[Claim]:
    """Those of the chosen that are still free and that nobody else has locked, each with its plan and binding."""
    if not chosen:
        return []
    locked = [row[0] for row in await connection.fetch(LOCK_CHOSEN, [command.id for command in chosen])]
    commands, plans, bindings = await only_row(connection, TAKE, now, locked, session.fence)
    taken = {row[0]: rows.command(row) for row in commands}
    by_id = {row[0]: rows.plan(row) for row in plans}
    bound = latest_bindings(rows.binding(row) for row in bindings)
    return [
        Claim(command=command, plan=by_id[command.plan_id], binding=bound.get(command.subject))
        for command in (taken[one.id] for one in chosen if one.id in taken)
    ]


async def _free(
    connection: Connection, turns: Turns, gate: Gate, now: float, queues: Sequence[tuple[int, ClaimRoom, str]]
) -> dict[int, dict[str, Iterator[Command]]]:
    """By room its accounts, each with its due commands that no work stands in the way of, oldest first, up to a page.

    `queues` are the rooms' numbers, the rooms, and the accounts that have anything waiting in them. Of what is stopped
    as a whole nothing is read; probes come by their ids.
    """
    free: dict[int, dict[str, Iterator[Command]]] = defaultdict(dict)
    pages: list[tuple[int, tuple[RoomKey, str], tuple[Any, ...]]] = []
    for nth, room, account in queues:
        free[nth][account] = iter(())
        if not gate.shuts(account, room.operation):
            key = (room_key(room), account)
            place = turns.places.pop(key, START)
            pages.append((nth, key, (*key[0], account, *place, room.room + LOOK_PAST)))
    if not pages:
        return free
    columns = zip(*(page for _, _, page in pages), strict=True)
    found: list[list[Any]] = [[] for _ in pages]
    for row in await connection.fetch(SELECT_DUE, now, *columns):
        found[row[-1]].append(row)
    for (nth, key, (*_, most)), due in zip(pages, found, strict=True):
        free[nth][key[1]] = _leafed(turns, key, due, gate, is_full=len(due) == most)
    return free


def _leafed(
    turns: Turns, key: tuple[RoomKey, str], due: Sequence[Any], gate: Gate, *, is_full: bool
) -> Iterator[Command]:
    """What is free of a page; if that is not enough and more may follow, the next scan goes on behind the page."""
    for row in due:
        if not row[-2] and row[0] not in gate.probes:
            yield rows.command(row)
    if is_full:
        turns.places[key] = place_of(rows.command(due[-1]))


def _is_due(probe: Command, now: float) -> bool:
    """Whether a probe could be claimed now."""
    claimable = probe.owner is None and probe.state is not CommandState.IN_FLIGHT
    return claimable and probe.due_at is not None and probe.due_at <= now


async def _open_gate(connection: Connection, holds: Sequence[Hold], now: float) -> tuple[Gate, list[Command]]:
    """The gate as it stands before anything is claimed, and the probes that nothing stands in the way of.

    A probe is lost when it has ended, or can't be claimed in time because something stands in its way. Nothing is
    let through in its place while anything of the hold's scope is under way.
    """
    gate = Gate(probes=frozenset(hold.probe for hold in holds if hold.probe is not None))
    if not holds:
        return gate, []
    found = await connection.fetch(SELECT_PROBES, now, sorted(gate.probes))
    fit = {row[0]: rows.command(row) for row in found if not row[-1]}
    for hold in holds:
        lost = hold.probe is not None and hold.probe not in fit
        (gate.ajar if lost and not await _is_under_way(connection, hold) else gate.closed).append(hold)
    return gate, list(fit.values())


async def _is_under_way(connection: Connection, hold: Hold) -> bool:
    scope = (hold.account, hold.operation, hold.subject, hold.resource)
    return bool(await connection.fetchval(IS_UNDER_WAY, *scope))
