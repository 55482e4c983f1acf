"""A ledger that many processes share: each under a session of its own, and nobody in another's way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from service.adapters.ledger_postgres import claims
from service.adapters.ledger_postgres.connection import Database, lock_key
from service.adapters.ledger_postgres.ledger import PostgresLedger
from service.application.ports import Lent, LostClaimError, SessionEndedError, UnavailableError
from service.domain.command import Command, CommandState, Session
from service.domain.desk import QuotaRate
from service.domain.ledger_state import Changes, Keys, Known
from service.domain.quota_tokens import LEASE_SECONDS
from service.domain.retention import Erasable
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW, make_command, make_event, make_plan
from tests.conformance.ledger.bench import (
    claimed,
    known,
    message,
    open_postgres,
    put,
    put_desk,
    put_work,
    room,
    stored,
)
from tests.conformance.ledger.test_erasing import erase, plans, put_ended
from tests.conformance.ledger.test_outbox_and_listings import returns_soon
from tests.postgres.server import PostgresServer

BRIEF = 0.2  # seconds that a session lasts which is meant to run out


class Fleet:
    """Processes that share a database; each `join` is one more."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ledgers: list[PostgresLedger] = []

    async def join(self, *, session_seconds: float = 60.0) -> PostgresLedger:
        ledger = await open_postgres(self.url, session_seconds=session_seconds)
        self.ledgers.append(ledger)
        return ledger


@pytest.fixture
async def fleet(postgres_url: str) -> AsyncIterator[Fleet]:
    fleet = Fleet(postgres_url)
    yield fleet
    await asyncio.gather(*(ledger.close() for ledger in fleet.ledgers))


@pytest.fixture
async def a(fleet: Fleet) -> PostgresLedger:
    return await fleet.join()


@pytest.fixture
async def b(fleet: Fleet, a: PostgresLedger) -> PostgresLedger:
    return await fleet.join()


def work(*numbers: int, **fields: Any) -> list[Command]:
    return [make_command(make_plan(number), **fields) for number in numbers]


async def until_ended(ledger: PostgresLedger, mine: Session, lost: Session) -> None:
    """Keep a session until the other one has run out."""
    give_up = time.monotonic() + 10
    while await ledger.keep_session(mine) > 1:
        assert time.monotonic() < give_up
        await asyncio.sleep(BRIEF / 10)


async def test_sessions_of_different_owners_stand_beside_each_other(a: PostgresLedger, b: PostgresLedger) -> None:
    first, second = await a.open_session("a", NOW), await b.open_session("b", NOW)

    assert (await a.keep_session(first), await b.keep_session(second)) == (2, 2)


async def test_a_session_ends_with_the_next_of_its_owner_and_what_it_claimed_is_free(
    a: PostgresLedger, b: PostgresLedger
) -> None:
    before = await a.open_session("pod-0", NOW)
    await put_work(a, *work(1, 2))
    await claimed(a, before, room(1))
    after = await b.open_session("pod-0", NOW)

    assert len(await claimed(b, after)) == 2
    with pytest.raises(SessionEndedError):
        await a.keep_session(before)
    with pytest.raises(SessionEndedError):
        await a.claim(before, NOW, (room(),))


async def test_a_session_that_runs_out_is_ended_by_whoever_keeps_his_own(fleet: Fleet, b: PostgresLedger) -> None:
    frozen = await fleet.join(session_seconds=BRIEF)
    lost = await frozen.open_session("frozen", NOW)
    flying = make_command(make_plan(2), state=CommandState.IN_FLIGHT, owner=lost.fence)
    await put_work(b, make_command(make_plan(1)), flying)
    await claimed(frozen, lost)
    mine = await b.open_session("b", NOW)
    assert await claimed(b, mine) == []
    assert list(await b.orphans(mine)) == []

    await until_ended(b, mine, lost)

    assert await claimed(b, mine) == ["plan-000001-0"]
    assert list(await b.orphans(mine)) == [flying]
    with pytest.raises(SessionEndedError):
        await frozen.keep_session(lost)


async def test_a_session_kept_in_time_never_ends_and_one_that_nobody_ended_can_be_kept_late(fleet: Fleet) -> None:
    late = await fleet.join(session_seconds=BRIEF)
    session = await late.open_session("late", NOW)
    await asyncio.sleep(2 * BRIEF)

    assert await late.keep_session(session) == 1


async def test_a_session_that_runs_out_amid_a_transaction_holds_up_nobody_and_is_ended_after_it(
    fleet: Fleet, b: PostgresLedger
) -> None:
    frozen = await fleet.join(session_seconds=BRIEF)
    mine, lost = await b.open_session("b", NOW), await frozen.open_session("frozen", NOW)
    connection = await asyncpg.connect(fleet.url)
    try:
        async with connection.transaction(), asyncio.timeout(5):
            await connection.execute("SELECT 1 FROM sessions WHERE fence = $1 FOR KEY SHARE", lost.fence)
            await asyncio.sleep(2 * BRIEF)
            assert await b.keep_session(mine) == 2
            mine = await b.open_session("b", NOW)
            assert await b.keep_session(mine) == 2
        assert await b.keep_session(mine) == 1
    finally:
        await connection.close()


async def test_a_session_ended_in_order_frees_at_once(a: PostgresLedger, b: PostgresLedger) -> None:
    leaving, staying = await a.open_session("a", NOW), await b.open_session("b", NOW)
    await put_work(a, *work(1))
    await claimed(a, leaving)

    await a.end_session(leaving, NOW)
    await a.end_session(leaving, NOW)

    assert await claimed(b, staying) == ["plan-000001-0"]


async def test_a_transaction_of_a_session_that_has_ended_is_refused(a: PostgresLedger, b: PostgresLedger) -> None:
    session = await a.open_session("pod-0", NOW)
    await a.transact(Keys(session=session.fence), lambda _: Changes())
    await b.open_session("pod-0", NOW)

    with pytest.raises(LostClaimError):
        await a.transact(Keys(session=session.fence), lambda _: Changes())


async def test_processes_that_claim_beside_each_other_share_the_work_and_no_subject(fleet: Fleet) -> None:
    ledgers = [await fleet.join() for _ in range(3)]
    sessions = [await ledger.open_session(f"pod-{n}", NOW) for n, ledger in enumerate(ledgers)]
    plans = [make_plan(number, subject=f"agent:realm/{number % 40}") for number in range(1, 121)]
    await put_work(ledgers[0], *(make_command(plan, resource=f"extension:acme_cn/{plan.id}") for plan in plans))

    found = await asyncio.gather(
        *(
            ledger.claim(session, NOW, (room(10),))
            for ledger, session in zip(ledgers, sessions, strict=True)
            for _ in range(4)
        )
    )

    claims = [claim.command for part in found for claim in part]
    assert len({command.id for command in claims}) == len(claims) == 40
    assert len({command.subject for command in claims}) == 40


async def test_what_another_transaction_has_locked_is_left_to_the_next_claim(fleet: Fleet, a: PostgresLedger) -> None:
    session = await a.open_session("a", NOW)
    await put_work(a, *work(1, 2))
    connection = await asyncpg.connect(fleet.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM commands WHERE id = 'plan-000001-0' FOR UPDATE")
            assert await claimed(a, session) == ["plan-000002-0"]
        assert await claimed(a, session) == ["plan-000001-0"]
    finally:
        await connection.close()


async def test_what_a_decision_is_about_is_claimed_by_nobody_before_it_is_written(
    a: PostgresLedger, b: PostgresLedger
) -> None:
    session = await b.open_session("b", NOW)
    (command,) = work(1)
    await put_work(a, command)
    looking, go_on = threading.Event(), threading.Event()

    def decide(_: Known) -> Changes:
        looking.set()
        go_on.wait(10)
        return Changes()

    so_many_that_a_thread_decides = frozenset({command.subject, *(f"agent:realm/{n}" for n in range(40))})
    deciding = asyncio.create_task(a.transact(Keys(subjects=so_many_that_a_thread_decides), decide))
    try:
        await asyncio.to_thread(looking.wait, 10)
        assert await claimed(b, session) == []
    finally:
        go_on.set()
    await deciding

    assert await claimed(b, session) == [command.id]


async def test_what_earlier_work_came_for_while_it_was_being_claimed_is_left_to_it(
    a: PostgresLedger, b: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, take = await a.open_session("a", NOW), claims._take
    subject = "agent:realm/one"
    await put_work(b, make_command(make_plan(2, subject=subject)))

    async def take_late(*around: Any) -> Any:
        await put_work(b, make_command(make_plan(1, subject=subject)))
        return await take(*around)

    monkeypatch.setattr(claims, "_take", take_late)
    assert await claimed(a, session) == []
    monkeypatch.undo()

    assert await claimed(a, session) == ["plan-000001-0"]


async def test_a_decision_sees_a_claim_that_was_made_while_it_began(fleet: Fleet, a: PostgresLedger) -> None:
    session = await a.open_session("a", NOW)
    (command,) = work(1)
    await put_work(a, command)
    seen: list[int | None] = []

    def decide(known: Known) -> Changes:
        seen.extend(one.owner for one in known.commands)
        return Changes()

    connection = await asyncpg.connect(fleet.url)
    try:
        async with connection.transaction():
            await connection.execute("UPDATE commands SET owner = $1 WHERE id = $2", session.fence, command.id)
            deciding = asyncio.create_task(a.transact(Keys(subjects=frozenset({command.subject})), decide))
            await asyncio.wait({deciding}, timeout=0.2)
        await deciding
    finally:
        await connection.close()

    assert seen == [session.fence]


async def test_decisions_about_one_subject_never_run_beside_each_other(a: PostgresLedger, b: PostgresLedger) -> None:
    command = make_command()
    await put_work(a, command)
    keys = Keys(subjects=frozenset({command.subject}), resources=frozenset({command.resource}))

    def count(seen: Known) -> Changes:
        return Changes(commands=tuple(replace(c, attempts=c.attempts + 1) for c in seen.commands))

    await asyncio.gather(*(ledger.transact(keys, count) for ledger in (a, b) for _ in range(25)))

    assert (await stored(a, command.id)).attempts == 50


async def test_a_decision_that_reaches_another_subjects_work_locks_that_as_well(
    a: PostgresLedger, b: PostgresLedger
) -> None:
    """Two subjects share a resource: whoever names one of them changes the other's work too."""
    shared = [make_command(make_plan(number), resource="extension:acme_cn/1") for number in (1, 2)]
    await put_work(a, *shared)

    def count(seen: Known) -> Changes:
        return Changes(commands=tuple(replace(c, attempts=c.attempts + 1) for c in seen.commands))

    by_resource = Keys(resources=frozenset({"extension:acme_cn/1"}))
    by_subject = Keys(subjects=frozenset({shared[0].subject}), resources=frozenset({"extension:acme_cn/1"}))
    await asyncio.gather(
        *(ledger.transact(keys, count) for ledger in (a, b) for keys in (by_resource, by_subject) for _ in range(10))
    )

    assert [(await stored(a, command.id)).attempts for command in shared] == [40, 40]


async def test_arrivals_of_a_fleet_are_unique_and_grow(a: PostgresLedger, b: PostgresLedger) -> None:
    async def take(ledger: PostgresLedger, number: int) -> int:
        event = make_event(number)
        keys = Keys(events=frozenset({(event.source, event.id)}))
        changes = await ledger.transact(keys, lambda _: Changes(events=(event,)))
        return changes.events[0].arrival

    arrivals = await asyncio.gather(*(take((a, b)[number % 2], number) for number in range(1, 41)))

    assert sorted(arrivals) == list(range(1, 41))


async def test_a_job_that_is_refused_fails_alone(a: PostgresLedger) -> None:
    orphan = make_command(make_plan(9))

    good, bad, other = await asyncio.gather(
        put_work(a, make_command(make_plan(1))),
        put(a, commands=[orphan]),
        put_work(a, make_command(make_plan(2))),
        return_exceptions=True,
    )

    assert (good, other) == (None, None)
    assert isinstance(bad, ValueError)
    assert [(await stored(a, f"plan-00000{n}-0")).id for n in (1, 2)] == ["plan-000001-0", "plan-000002-0"]


# ---------------------------------------------------------------------- the outbox of a fleet


async def test_each_session_sends_what_it_wrote_and_what_ended_ones_left(a: PostgresLedger, b: PostgresLedger) -> None:
    first, second = await a.open_session("a", NOW), await b.open_session("b", NOW)
    await put(a, outbox=[message(1, order_by="agent:1")])
    await put(b, outbox=[message(2, order_by="agent:2")])
    assert [[m.id for m in await ledger.unpublished(10)] for ledger in (a, b)] == [["message-1"], ["message-2"]]

    await a.end_session(first, NOW)

    assert [m.id for m in await b.unpublished(10)] == ["message-1", "message-2"]
    assert second.fence > first.fence


async def test_messages_about_one_subject_leave_in_their_order_whoever_wrote_them(
    a: PostgresLedger, b: PostgresLedger
) -> None:
    await a.open_session("a", NOW)
    await b.open_session("b", NOW)
    await put(a, outbox=[message(1)])
    await put(b, outbox=[message(2), message(3, order_by="agent:other")])
    assert [m.id for m in await b.unpublished(10)] == ["message-3"]

    await a.mark_published(["message-1"], NOW)

    assert [m.id for m in await b.unpublished(10)] == ["message-2", "message-3"]


async def test_a_commit_wakes_who_waits_in_another_process(a: PostgresLedger, b: PostgresLedger) -> None:
    waiting = b.subscribe("commands")
    await waiting()  # what came before
    await asyncio.sleep(0)
    task = asyncio.create_task(returns_soon(waiting))
    await put_work(a, make_command())

    assert await task


# ---------------------------------------------------------------------- erasing in a fleet


async def test_processes_that_erase_beside_each_other_take_everything_once(
    a: PostgresLedger, b: PostgresLedger
) -> None:
    await put_ended(a, *range(1, 121))
    await put(a, outbox=[message(number) for number in range(60)])
    await a.mark_published([f"message-{number}" for number in range(60)], NOW)

    erased = await asyncio.gather(*(erase(ledger, *Erasable, limit=7) for ledger in (a, b, a, b)))

    left = await erase(a, *Erasable)
    assert sum(erased) + left == 120 * 4 + 120 + 60 + 119  # the newest identity stays
    assert await plans(a) == []


async def test_what_another_transaction_has_locked_is_left_to_the_next_batch(fleet: Fleet, a: PostgresLedger) -> None:
    await put_ended(a, 1, 2)
    await put(a, outbox=[message(1), message(2)])
    await a.mark_published(["message-1", "message-2"], NOW)
    connection = await asyncpg.connect(fleet.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM plans WHERE id = 'plan-000001' FOR UPDATE")
            await connection.execute("SELECT 1 FROM outbox WHERE id = 'message-2' FOR UPDATE")
            assert await erase(a, Erasable.PLANS, Erasable.MESSAGES) == 4 + 1
        assert await erase(a, Erasable.PLANS, Erasable.MESSAGES) == 4 + 1
    finally:
        await connection.close()


async def test_a_plan_that_is_opened_again_at_that_moment_stays(fleet: Fleet, a: PostgresLedger) -> None:
    (command,) = await put_ended(a, 1)
    connection = await asyncpg.connect(fleet.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", lock_key(command.subject))
            erasing = asyncio.create_task(a.erase(Erasable.PLANS, before=NOW, limit=10))
            async with asyncio.timeout(10):
                while not await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    pass
            await connection.execute("UPDATE plans SET state = 'open', ended_at = NULL")
        assert await erasing == 0
    finally:
        await connection.close()
    assert (await stored(a, command.id)).id == command.id


# ---------------------------------------------------------------------- the quota of a fleet


async def lend(ledger: PostgresLedger, wanted: int, *, most: int = 4, **returned: float) -> Lent:
    """Ask for tokens of a quota of `most` in a second; return some, as `_<number>=<free again in>`."""
    back = {int(name.strip("_")): free for name, free in returned.items()}
    return await ledger.lend_tokens(GROUP, CREATE, wanted=wanted, returned=back, rate=most, gap=1.015)


def numbers(lent: Lent) -> list[int]:
    return [token.number for token in lent.tokens]


async def test_tokens_of_a_quota_nobody_used_begin_a_window_ahead_one_after_another(a: PostgresLedger) -> None:
    await a.open_session("a", NOW)

    tokens = (await lend(a, 4)).tokens

    assert [round(token.free_in, 2) for token in tokens] == [1.0, 1.25, 1.5, 1.75]
    assert {round(token.lasts, 2) for token in tokens} == {LEASE_SECONDS}


async def test_no_token_is_lent_to_two_and_each_gets_its_share(a: PostgresLedger, b: PostgresLedger) -> None:
    await a.open_session("a", NOW)
    await b.open_session("b", NOW)
    assert numbers(await lend(a, 9)) == [0, 1, 2, 3]

    other = await lend(b, 9)
    back = await lend(a, 9, _0=0.5, _2=0.25)
    after = await lend(b, 9)

    assert (numbers(other), other.share) == ([], 2)
    assert (numbers(back), back.share) == ([1, 3], 2)
    assert numbers(after) == [0, 2]
    assert [token.free_in for token in after.tokens] == pytest.approx([0.5, 0.25], abs=0.1)


async def test_a_token_that_was_not_returned_comes_free_a_window_after_its_time(fleet: Fleet) -> None:
    dead, heir = await fleet.join(), await fleet.join()
    await dead.open_session("dead", NOW)
    await heir.open_session("heir", NOW)
    await lend(dead, 4)
    connection = await asyncpg.connect(fleet.url)
    await connection.execute("UPDATE quota_tokens SET until = until - $1::float8", LEASE_SECONDS + 0.5)
    await connection.execute("UPDATE quota_asks SET asked_at = 0")
    await connection.close()

    tokens = (await lend(heir, 4)).tokens

    assert len(tokens) == 4
    assert all(token.free_in >= 1.015 - 0.5 - 0.01 for token in tokens)


async def test_tokens_that_a_quota_gains_are_cold_and_those_it_loses_are_gone(a: PostgresLedger) -> None:
    await a.open_session("a", NOW)
    await lend(a, 9, most=2)

    more = await lend(a, 9, most=4)
    fewer = await lend(a, 9, most=1)

    assert numbers(more) == [0, 1, 2, 3]
    assert min(token.free_in for token in more.tokens[2:]) >= 0.99
    assert numbers(fewer) == [0]


async def test_a_quota_is_changed_for_all_and_changed_back(a: PostgresLedger, b: PostgresLedger) -> None:
    for ledger, name in ((a, "a"), (b, "b")):
        await ledger.open_session(name, NOW)
    rate = QuotaRate(
        quota_group=GROUP, operation=CREATE, rate=2.0, changed_at=NOW, actor="ann", reason="the vendor asked"
    )
    await put_desk(a, rates=[rate])

    lent = await lend(b, 9)
    await put_desk(a, rates=[replace(rate, rate=None, changed_at=NOW + 1)])

    assert (len(lent.tokens), lent.rate) == (2, 2.0)
    assert (await lend(b, 9)).rate == 4.0


# ---------------------------------------------------------------------- a database that goes away


def losing(when: str) -> Callable[..., Any]:
    """A `COMMIT` whose connection is lost before or after the server has it."""

    async def commit(self: Database, connection: Any) -> Exception | None:
        if when == "after":
            await connection.execute("COMMIT")
        connection.terminate()
        return ConnectionResetError()

    return commit


async def test_a_commit_whose_reply_was_lost_is_known_to_have_happened(
    a: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await a.open_session("a", NOW)
    await put_work(a, *work(1, 2))
    with monkeypatch.context() as patched:
        patched.setattr(Database, "_commit", losing("after"))
        await put_work(a, make_command(make_plan(3)))
        claims = await claimed(a, session)

    assert claims == ["plan-000001-0", "plan-000002-0", "plan-000003-0"]
    assert [(await stored(a, one)).owner for one in claims] == [session.fence] * 3


async def test_a_commit_that_never_came_is_known_not_to_have_happened(
    a: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Database, "_commit", losing("before"))
        with pytest.raises(UnavailableError):
            await put_work(a, make_command())

    assert await a.story(make_command().id) is None


async def test_a_connection_that_was_lost_and_taken_back_by_the_pool_spoils_no_outcome(
    a: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncpg.Pool.release

    async def release_what_is_free(pool: Any, connection: Any, **how: Any) -> None:
        await release(pool, connection, **how)
        raise asyncpg.InternalClientError("PoolConnectionHolder.release() called on a free connection holder")

    monkeypatch.setattr(asyncpg.Pool, "release", release_what_is_free)
    session = await a.open_session("a", NOW)
    await put_work(a, *work(1))

    assert await claimed(a, session) == ["plan-000001-0"]


async def test_a_server_that_was_killed_is_used_again_when_it_is_back(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create_database())
    ledger = await open_postgres(url)
    try:
        await put_work(ledger, make_command(make_plan(1)))
        await asyncio.to_thread(own_postgres.crash)
        with pytest.raises(UnavailableError):
            await put_work(ledger, make_command(make_plan(2)))
        with pytest.raises(UnavailableError):
            await ledger.unpublished(1)

        await asyncio.to_thread(own_postgres.start)

        assert (await stored(ledger, "plan-000001-0")).id == "plan-000001-0"
        assert await known(ledger, plans={"plan-000002"}) == Known()
        await put_work(ledger, make_command(make_plan(3)))
    finally:
        await ledger.close()
