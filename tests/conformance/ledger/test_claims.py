"""Every ledger: who may run what, and when."""

from __future__ import annotations

from typing import Any

import pytest

from service.application.ports import Claim, ClaimRoom, Ledger, UnavailableError
from service.domain.command import CommandState, Lane, Session, WaitCause
from service.domain.ledger_state import HoldKind
from service.domain.value import replace
from tests.builders import CREATE, NOW, make_binding, make_command, make_order, make_plan
from tests.conformance.ledger.bench import (
    APPLY,
    Bench,
    claimed,
    make_hold,
    put,
    put_work,
    room,
    stored,
)


async def test_fences_grow_with_every_session(bench: Bench) -> None:
    first = await bench.ledger.open_session("me", NOW)
    second = await bench.ledger.open_session("me", NOW)
    third = await (await bench.reopen()).open_session("me", NOW)

    assert first.fence < second.fence < third.fence
    assert {first.owner, second.owner, third.owner} == {"me"}


async def test_a_session_that_has_ended_claims_nothing(ledger: Ledger) -> None:
    session = await ledger.open_session("me", NOW)
    await put_work(ledger, make_command())
    await ledger.open_session("me", NOW)

    with pytest.raises(UnavailableError):
        await ledger.claim(session, NOW, (room(),))


async def test_a_new_session_frees_what_was_claimed_and_not_marked(bench: Bench) -> None:
    session = await bench.ledger.open_session("me", NOW)
    await put_work(bench.ledger, make_command())
    await claimed(bench.ledger, session)

    ledger = await bench.reopen()
    session = await ledger.open_session("me", NOW)

    assert (await stored(ledger, make_command().id)).owner is None
    assert await claimed(ledger, session) == [make_command().id]


async def test_orphans_are_commands_in_flight_of_earlier_sessions(bench: Bench) -> None:
    session = await bench.ledger.open_session("me", NOW)
    mine, older, claimed_only = (make_command(make_plan(number)) for number in (2, 1, 3))
    await put_work(bench.ledger, mine, older, claimed_only)
    await claimed(bench.ledger, session)
    left = [replace(command, state=CommandState.IN_FLIGHT, owner=session.fence) for command in (mine, older)]
    await put(bench.ledger, commands=left)
    assert list(await bench.ledger.orphans(session)) == []

    ledger = await bench.reopen()
    session = await ledger.open_session("me", NOW)

    assert list(await ledger.orphans(session)) == [left[1], left[0]]


async def test_a_claim_brings_the_command_with_its_plan_and_binding(ledger: Ledger, session: Session) -> None:
    plan, binding = make_plan(), make_binding()
    await put(ledger, plans=[plan], commands=[make_command(plan)], bindings=[binding])

    [claim] = await ledger.claim(session, NOW, (room(),))

    assert claim == Claim(command=make_command(plan, owner=session.fence, claims=1), plan=plan, binding=binding)
    assert await stored(ledger, claim.command.id) == claim.command


async def test_a_claimed_command_is_not_claimed_again(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command())

    assert len(await claimed(ledger, session)) == 1
    assert await claimed(ledger, session) == []


async def test_a_released_command_can_be_claimed_again(ledger: Ledger, session: Session) -> None:
    command = make_command()
    await put_work(ledger, command)
    await claimed(ledger, session)

    await ledger.release(session, [command.id, "unknown"])

    assert await claimed(ledger, session) == [command.id]


async def test_every_claim_of_a_command_is_counted(ledger: Ledger, session: Session) -> None:
    command = make_command()
    await put_work(ledger, command)

    for number in (1, 2):
        [claim] = await ledger.claim(session, NOW, (room(),))
        assert (claim.command.claims, (await stored(ledger, command.id)).claims) == (number, number)
        await ledger.release(session, [command.id])


async def test_what_a_session_has_claimed_beyond_its_knowledge_is_released(ledger: Ledger, session: Session) -> None:
    known, lost, marked, anothers = (make_command(make_plan(number)) for number in range(1, 5))
    await put_work(ledger, known, lost)
    await claimed(ledger, session)
    flying = replace(marked, state=CommandState.IN_FLIGHT, owner=session.fence)
    await put_work(ledger, flying, replace(anothers, owner=session.fence + 5))

    assert await ledger.release_others(session, [known.id]) == 1

    owners = [(await stored(ledger, c.id)).owner for c in (known, lost, marked, anothers)]
    assert owners == [session.fence, None, session.fence, session.fence + 5]


async def test_only_the_owner_releases_and_never_what_is_marked(ledger: Ledger, session: Session) -> None:
    claimed_by_me = make_command(make_plan(1), owner=session.fence)
    another = make_command(make_plan(2), owner=session.fence + 5)
    marked = make_command(make_plan(3), owner=session.fence, state=CommandState.IN_FLIGHT)
    await put_work(ledger, claimed_by_me, another, marked)

    await ledger.release(session, [claimed_by_me.id, another.id, marked.id])

    owners = [(await stored(ledger, c.id)).owner for c in (claimed_by_me, another, marked)]
    assert owners == [None, another.owner, marked.owner]


async def test_only_due_unfinished_commands_not_in_flight_are_claimed(ledger: Ledger, session: Session) -> None:
    due = make_command(make_plan(1), state=CommandState.WAITING, cause=WaitCause.RETRY)
    others = [
        make_command(make_plan(2), due_at=NOW + 1),
        make_command(make_plan(3), due_at=None),
        make_command(make_plan(4), state=CommandState.IN_FLIGHT),
        make_command(make_plan(5), state=CommandState.IN_DOUBT, due_at=None),
        make_command(make_plan(6), state=CommandState.SUCCEEDED),
    ]
    await put_work(ledger, due, *others)

    assert await claimed(ledger, session) == [due.id]
    assert await claimed(ledger, session, now=NOW + 1) == [others[0].id]


async def test_doubt_whose_look_is_due_is_claimed_and_freed_with_its_session(ledger: Ledger, session: Session) -> None:
    doubt = make_command(make_plan(1), state=CommandState.IN_DOUBT, lane=Lane.SETTLE)
    await put_work(ledger, doubt)
    room = ClaimRoom(quota_group=doubt.quota_group, operation=doubt.operation, lane=Lane.SETTLE, room=1)

    assert [c.command.id for c in await ledger.claim(session, NOW, [room])] == [doubt.id]
    await ledger.release(session, [doubt.id])
    assert [c.command.id for c in await ledger.claim(session, NOW, [room])] == [doubt.id]
    again = await ledger.open_session("me", NOW)
    assert [c.command.id for c in await ledger.claim(again, NOW, [room])] == [doubt.id]


async def test_a_room_takes_only_its_group_operation_and_lane_and_no_more_than_fit(
    ledger: Ledger, session: Session
) -> None:
    await put_work(
        ledger,
        make_command(make_plan(1)),
        make_command(make_plan(2)),
        make_command(make_plan(3), operation=APPLY),
        make_command(make_plan(4), lane=Lane.REPLAY),
        make_command(make_plan(5), quota_group="other"),
    )

    assert await claimed(ledger, session, room(0)) == []
    assert await claimed(ledger, session, room(1)) == ["plan-000001-0"]
    both = await claimed(ledger, session, room(operation=APPLY), room(lane=Lane.REPLAY))
    assert both == ["plan-000003-0", "plan-000004-0"]


async def test_the_longest_due_is_claimed_first_then_the_earlier_arrival(ledger: Ledger, session: Session) -> None:
    await put_work(
        ledger,
        make_command(make_plan(1), due_at=NOW),
        make_command(make_plan(3), due_at=NOW - 5),
        make_command(make_plan(2), due_at=NOW - 5),
    )

    assert await claimed(ledger, session) == ["plan-000002-0", "plan-000003-0", "plan-000001-0"]


async def test_a_backlog_far_longer_than_a_claim_is_claimed_oldest_first(ledger: Ledger, session: Session) -> None:
    commands = [make_command(make_plan(n)) for n in range(1, 301)]
    await put_work(ledger, *commands)

    taken = [await claimed(ledger, session, room(10)) for _ in range(30)]

    assert [command_id for claim in taken for command_id in claim] == [command.id for command in commands]


async def test_accounts_of_a_group_are_served_in_turn_across_claims(ledger: Ledger, session: Session) -> None:
    many = [make_command(make_plan(n, account="a"), due_at=NOW - 9) for n in range(1, 7)]
    few = [make_command(make_plan(n, account="b")) for n in range(7, 9)]
    await put_work(ledger, *many, *few)

    in_one = [c[-8:-2] for c in await claimed(ledger, session, room(3))]
    then = [(await claimed(ledger, session, room(1)))[0][-8:-2] for _ in range(3)]

    assert in_one == ["000001", "000007", "000002"]
    assert then == ["000008", "000003", "000004"]


@pytest.mark.parametrize("shared", ["subject", "resource"])
@pytest.mark.parametrize(
    "busy",
    [
        {"owner": 99},
        {"state": CommandState.IN_FLIGHT, "owner": 99},
        {"state": CommandState.IN_DOUBT},
    ],
    ids=["claimed", "in_flight", "in_doubt"],
)
async def test_busy_work_of_the_same_subject_or_resource_stands_in_the_way_even_if_later(
    ledger: Ledger, session: Session, shared: str, busy: dict[str, Any]
) -> None:
    same: dict[str, Any] = {shared: "the:same"}
    later = make_command(make_plan(2), due_at=None, **{**same, **busy})
    await put_work(ledger, make_command(make_plan(1), **same), later)

    assert await claimed(ledger, session) == []


@pytest.mark.parametrize("shared", ["subject", "resource"])
async def test_earlier_unfinished_work_stands_in_the_way_of_later(
    ledger: Ledger, session: Session, shared: str
) -> None:
    same: dict[str, Any] = {shared: "the:same"}
    earlier = make_command(make_plan(1), state=CommandState.WAITING, cause=WaitCause.APPROVAL, due_at=None, **same)
    later = make_command(make_plan(2), **same)
    await put_work(ledger, earlier, later)
    assert await claimed(ledger, session) == []

    await put(ledger, commands=[replace(earlier, state=CommandState.FAILED)])

    assert await claimed(ledger, session) == [later.id]


async def test_order_is_by_effective_time_before_arrival(ledger: Ledger, session: Session) -> None:
    same: dict[str, Any] = {"subject": "the:same"}
    first = make_command(make_plan(2, order=make_order(2, at=1)), **same)
    second = make_command(make_plan(1, order=make_order(1, at=2)), **same)
    await put_work(ledger, first, second)

    assert await claimed(ledger, session) == [first.id]


async def test_an_earlier_step_stands_in_the_way_of_a_later_one(ledger: Ledger, session: Session) -> None:
    plan = make_plan()
    await put_work(ledger, make_command(plan, 1), make_command(plan, 0, attempts=1, due_at=NOW + 9))

    assert await claimed(ledger, session) == []


async def test_work_that_is_not_effective_yet_holds_nobody_up_unless_busy(ledger: Ledger, session: Session) -> None:
    same: dict[str, Any] = {"subject": "the:same"}
    future = make_command(make_plan(1), effective_at=NOW + 9, due_at=NOW + 9, **same)
    running = make_command(make_plan(3), effective_at=NOW + 9, owner=99, subject="the:other")
    await put_work(
        ledger, future, running, make_command(make_plan(2), **same), make_command(make_plan(4), subject="the:other")
    )

    assert await claimed(ledger, session) == ["plan-000002-0"]


async def test_work_that_became_effective_holds_later_work_up(ledger: Ledger, session: Session) -> None:
    same: dict[str, Any] = {"subject": "the:same"}
    effective = make_command(make_plan(1), effective_at=NOW, due_at=None, **same)
    await put_work(ledger, effective, make_command(make_plan(2), **same))

    assert await claimed(ledger, session) == []


async def test_a_plan_that_has_begun_goes_on_before_earlier_work_that_came_late(
    ledger: Ledger, session: Session
) -> None:
    late = make_command(make_plan(2, order=make_order(2, at=1)), subject="the:same")
    begun = make_plan(1, subject="the:same", order=make_order(1, at=2))
    done = make_command(begun, 0, state=CommandState.SUCCEEDED, attempts=1, subject="the:same")
    following = make_command(begun, 1, subject="the:same")
    await put_work(ledger, late, done, following)

    assert await claimed(ledger, session) == [following.id]


async def test_work_handed_back_unsent_is_not_held_up_by_earlier_work_that_was_parked_behind_it(
    ledger: Ledger, session: Session
) -> None:
    parked = make_plan(2, subject="the:same", order=make_order(2, at=1))
    waiting = {"state": CommandState.WAITING, "due_at": None, "subject": "the:same"}
    first = make_command(parked, 0, cause=WaitCause.EARLIER_WORK, **waiting)
    following = make_command(parked, 1, cause=WaitCause.EARLIER_STEP, **waiting)
    back = make_command(make_plan(1, order=make_order(1, at=2)), subject="the:same", retries=1)
    await put_work(ledger, first, following, back)

    assert await claimed(ledger, session) == [back.id]


async def test_a_subject_or_resource_is_claimed_once_in_a_call(ledger: Ledger, session: Session) -> None:
    # not effective yet, though due: neither holds the other up by order
    fields: dict[str, Any] = {"effective_at": NOW + 9}
    await put_work(
        ledger,
        make_command(make_plan(1), subject="s:1", resource="r:1", **fields),
        make_command(make_plan(2), subject="s:1", resource="r:2", **fields),
        make_command(make_plan(3), subject="s:3", resource="r:1", **fields),
        make_command(make_plan(4), subject="s:1", resource="r:4", operation=APPLY, **fields),
        make_command(make_plan(5), subject="s:5", resource="r:1", account="b", **fields),
    )

    assert await claimed(ledger, session, room(), room(operation=APPLY)) == ["plan-000001-0"]


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"account": "acme_cn"},
        {"operation": CREATE},
        {"subject": "agent:realm/1"},
        {"resource": "extension:acme_cn/1001"},
        {"account": "acme_cn", "operation": CREATE, "subject": "agent:realm/1"},
    ],
)
async def test_a_hold_stops_what_matches_all_its_parts(ledger: Ledger, session: Session, scope: dict[str, Any]) -> None:
    await put_work(ledger, make_command())

    await put(ledger, holds=[make_hold(kind=HoldKind.HOLD, **scope)])

    assert await claimed(ledger, session) == []


@pytest.mark.parametrize(
    "scope", [{"account": "b"}, {"account": "acme_cn", "operation": APPLY}, {"subject": "agent:realm/2"}]
)
async def test_a_hold_leaves_alone_what_differs_in_one_part(
    ledger: Ledger, session: Session, scope: dict[str, Any]
) -> None:
    await put_work(ledger, make_command())

    await put(ledger, holds=[make_hold(kind=HoldKind.HOLD, **scope)])

    assert len(await claimed(ledger, session)) == 1


async def test_blocked_work_never_hides_free_work_behind_it(ledger: Ledger, session: Session) -> None:
    blocker = make_command(make_plan(1), subject="the:same", state=CommandState.IN_DOUBT, due_at=None)
    blocked = [make_command(make_plan(n), subject="the:same", due_at=NOW - 9) for n in range(2, 202)]
    await put_work(ledger, blocker, *blocked, make_command(make_plan(300)))

    taken = [await claimed(ledger, session, room(1)) for _ in range(6)]

    assert [command_id for claim in taken for command_id in claim] == ["plan-000300-0"]
