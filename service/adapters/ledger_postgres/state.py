"""The two halves of every PostgreSQL ledger transaction: load what is known, write what was decided.

Both are done for many jobs at once, a statement a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from service.adapters.ledger_postgres import desk
from service.adapters.ledger_postgres.connection import LOCKED, Connection, Transaction, lock_key, only_row
from service.adapters.ledger_postgres.sql import arrays, as_one, insert, upsert
from service.adapters.ledger_sql import rows
from service.adapters.ledger_sql.grouping import NO_DESK, Loaded, together
from service.domain.command import Command, PlanState
from service.domain.desk import NO_DESK_KEYS
from service.domain.ledger_state import Changes, Keys

T = TypeVar("T")


def bindings_of(subjects: str) -> str:
    """All held ones of the subjects, and each subject's last released one; `subjects` is what `=` takes."""
    return f"""
    SELECT ROW({rows.BINDING}) FROM bindings AS b
    WHERE subject = {subjects} AND (state <> 'released' OR generation = (
        SELECT max(generation) FROM bindings AS r WHERE r.subject = b.subject AND r.state = 'released'
    ))"""  # noqa: S608


# As at the beginning of a transaction; for who learns only amid it what it needs.
LOCK = f"SELECT pg_current_xact_id()::text, {LOCKED}" % "$1::bigint[]"
# Everything that decisions are shown, in one round trip. Sessions are locked before commands are (the count of them is
# looked at first), as by whoever ends a session: else the two could wait for each other. Commands are locked because
# claims lock no names: what was not begun when it was read must not be claimed before that is written.
# Plans are those named, and those that the subjects and resources may have to wait for.
LOAD = f"""
WITH standing AS MATERIALIZED (
    SELECT fence FROM sessions WHERE fence = ANY($1::bigint[]) AND ended_at IS NULL ORDER BY fence FOR KEY SHARE
), around AS MATERIALIZED (
    SELECT {rows.PLAN} FROM plans WHERE id IN (
        SELECT unnest($3::text[])
        UNION SELECT id FROM plans WHERE state || '' = 'open' AND subject = ANY($4::text[])
        UNION SELECT plan_id FROM commands WHERE live AND subject = ANY($4::text[])
        UNION SELECT plan_id FROM commands WHERE live::integer = 1 AND resource = ANY($5::text[])
    )
), steps AS MATERIALIZED (
    SELECT {rows.COMMAND} FROM commands
    WHERE (SELECT count(*) >= 0 FROM standing) AND plan_id IN (SELECT id FROM around)
    ORDER BY plan_id, step_no, id FOR NO KEY UPDATE OF commands
)
SELECT pg_current_xact_id()::text,
    ARRAY(SELECT fence FROM standing),
    ARRAY(SELECT ROW(event_hash, digest) FROM event_digests WHERE event_hash = ANY($2::text[])),
    ARRAY(SELECT ROW(around.*) FROM around ORDER BY id),
    ARRAY(SELECT ROW(steps.*) FROM steps ORDER BY plan_id, step_no, id),
    ARRAY({bindings_of("ANY($4::text[])")}),
    ARRAY(SELECT ROW({rows.BINDING}) FROM bindings WHERE state <> 'released' AND resource = ANY($5::text[])),
    ARRAY(SELECT ROW({rows.FACT}) FROM facts
          WHERE taken_by IS NULL AND subject = ANY($4::text[]) ORDER BY received_at, id),
    ARRAY(SELECT ROW({rows.HOLD}) FROM holds
          WHERE released_at IS NULL AND kind = 'quarantine' AND account = ANY($6::text[]) ORDER BY id),
    (SELECT coalesce(max(arrival), 0) FROM event_digests)
"""  # noqa: S608

INSERT_EVENTS = f"{insert('events', rows.EVENT)} ON CONFLICT (source, id) DO NOTHING"
INSERT_DIGESTS = f"{insert('event_digests', rows.DIGEST)} ON CONFLICT (event_hash) DO NOTHING"
UPSERT_PLANS = upsert("plans", rows.PLAN, "id")
# Of plans whose state is written, the commands that are not.
UPDATE_LIVE = f"""
UPDATE commands AS c SET live = p.open OR c.state IN {rows.UNFINISHED}
FROM unnest($1::text[], $2::boolean[]) AS p(id, open)
WHERE c.plan_id = p.id AND c.id <> ALL($3::text[]) AND c.live <> (p.open OR c.state IN {rows.UNFINISHED})
"""  # noqa: S608
# What is not known of a command's plan from the same write stands in the ledger.
LIVE = "coalesce(r.is_live, EXISTS (SELECT 1 FROM plans AS p WHERE p.id = r.plan_id AND p.state = 'open'))"
UPSERT_COMMANDS = upsert("commands", rows.COMMAND, "id", ("live", LIVE), aside=("is_live boolean",))
UPSERT_ATTEMPTS = upsert("attempts", rows.ATTEMPT, "command_id, epoch, number")
INSERT_HISTORY = insert("history", rows.HISTORY)
UPSERT_BINDINGS = upsert("bindings", rows.BINDING, "subject, generation")
UPSERT_FACTS = upsert("facts", rows.FACT, "id")
UPSERT_HOLDS = upsert("holds", rows.HOLD, "id")
INSERT_OUTBOX = f"{insert('outbox', rows.OUTBOX, ('owner', '$8::bigint'))} ON CONFLICT (id) DO NOTHING"
INSERT_DEAD_LETTERS = f"{insert('dead_letters', rows.DEAD_LETTER)} ON CONFLICT DO NOTHING"
INSERT_ACTS = insert("acts", rows.ACT)


async def lock(transaction: Transaction, names: Iterable[str]) -> None:
    """Wait until no other transaction holds any of the names; they come free with the transaction's end."""
    transaction.xid, _ = await only_row(transaction.connection, LOCK, [lock_key(name) for name in names])


async def load(transaction: Transaction, keys: Keys, fences: Iterable[int]) -> tuple[frozenset[int], Loaded]:
    """Those of the sessions that stand, and will until the transaction ends; and what the ledger holds for the keys."""
    hashes = {rows.event_hash(key): key for key in keys.events}
    wanted = (hashes, keys.plans, keys.subjects, keys.resources, keys.accounts)
    row = await only_row(transaction.connection, LOAD, sorted(set(fences)), *map(sorted, wanted))
    transaction.xid, standing, digests, plans, commands, mine, others, facts, holds, last_arrival = row
    of_acts = NO_DESK if keys.desk is NO_DESK_KEYS else await desk.load(transaction.connection, keys.desk)
    return frozenset(standing), Loaded(
        digests={hashes[hashed]: digest for hashed, digest in digests},
        bindings=[rows.binding(one) for one in (*mine, *others)],
        plans=[rows.plan(one) for one in plans],
        commands=[rows.command(one) for one in commands],
        facts=[rows.fact(one) for one in facts],
        holds=[rows.hold(one) for one in holds],
        next_arrival=last_arrival + 1,
        desk=of_acts,
    )


async def write(connection: Connection, many: Sequence[Changes], owner: int | None) -> None:
    """Write whole rows of several jobs, in one round trip.

    No two jobs may change the same row. `owner` is the session that will publish the messages.
    """
    parts = list(_parts(together(many), owner))
    if parts:
        statement = as_one(tuple(statement for statement, _ in parts))
        await connection.execute(statement, *chain.from_iterable(arguments for _, arguments in parts))


def _parts(changes: Changes, owner: int | None) -> Iterator[tuple[str, Sequence[Any]]]:
    """The statements that write the changes, each with its arguments. References are checked when all have run."""
    orders = {(plan.event_source, plan.event_id): plan.order for plan in changes.plans}
    is_open = {plan.id: plan.state is PlanState.OPEN for plan in changes.plans}
    released_first = sorted(changes.bindings, key=lambda binding: binding.held)

    def command_row(command: Command) -> rows.Row:
        return *rows.command_row(command), is_open.get(command.plan_id) if command.state.ended else True

    if changes.events:
        yield INSERT_EVENTS, arrays(rows.event_row, changes.events)
        yield INSERT_DIGESTS, arrays(partial(rows.digest_row, orders=orders), changes.events)
    if changes.plans:
        yield UPSERT_PLANS, arrays(rows.plan_row, changes.plans)
        yield UPDATE_LIVE, (list(is_open), list(is_open.values()), [command.id for command in changes.commands])
    if changes.commands:
        yield UPSERT_COMMANDS, arrays(command_row, changes.commands)
    if changes.outbox:
        yield INSERT_OUTBOX, (*arrays(rows.outbox_row, changes.outbox), owner)
    yield from _whole(UPSERT_ATTEMPTS, rows.attempt_row, changes.attempts)
    yield from _whole(INSERT_HISTORY, rows.history_row, changes.history)
    yield from _whole(UPSERT_BINDINGS, rows.binding_row, released_first)
    yield from _whole(UPSERT_FACTS, rows.fact_row, changes.facts)
    yield from _whole(UPSERT_HOLDS, rows.hold_row, changes.holds)
    yield from _whole(INSERT_DEAD_LETTERS, rows.dead_letter_row, changes.dead_letters)
    yield from _whole(INSERT_ACTS, rows.act_row, changes.acts)
    if changes.desk:
        yield from desk.parts(changes.desk)


def _whole(statement: str, row: Callable[[T], rows.Row], values: Sequence[T]) -> Iterator[tuple[str, Sequence[Any]]]:
    if values:
        yield statement, arrays(row, values)
