"""Every ledger: what holds stop, who probes, and which quota group waiting work pays to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.application.ports import Ledger
from service.domain.command import CommandState, Lane, Session
from service.domain.ledger_state import HoldKind
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW, make_command, make_order, make_plan
from tests.conformance.ledger.bench import APPLY, Bench, claimed, known, make_hold, put, put_work, room, stored

ACCOUNT = "acme_cn"


async def test_a_hold_comes_back_as_it_was_written(bench: Bench) -> None:
    full = make_hold(
        account=ACCOUNT, operation=CREATE, subject="agent:1", resource="extension:1", probe="plan-000001-0"
    )
    await put(bench.ledger, holds=[full])

    assert (await known(await bench.reopen(), accounts={ACCOUNT})).holds == (full,)


async def test_an_account_loads_its_standing_quarantines_in_the_order_of_their_ids(ledger: Ledger) -> None:
    second, first = make_hold(2, account=ACCOUNT), make_hold(1, account=ACCOUNT, operation=CREATE)
    others = [
        make_hold(3, account="b"),
        make_hold(4),
        make_hold(5, account=ACCOUNT, released_at=NOW),
        make_hold(6, account=ACCOUNT, kind=HoldKind.HOLD),
    ]
    await put(ledger, holds=[second, *others, first])

    assert (await known(ledger, accounts={ACCOUNT, "c"})).holds == (first, second)
    assert (await known(ledger, subjects={"agent:realm/1"})).holds == ()


async def test_a_hold_is_replaced_whole_and_frees_its_work_when_released(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command())
    hold = make_hold(account=ACCOUNT)
    await put(ledger, holds=[hold])
    assert await claimed(ledger, session) == []

    await put(ledger, holds=[replace(hold, released_at=NOW)])

    assert await claimed(ledger, session) == [make_command().id]
    assert (await known(ledger, accounts={ACCOUNT})).holds == ()


async def test_whoever_waits_for_commands_hears_of_a_hold(ledger: Ledger) -> None:
    heard = ledger.subscribe("commands")

    await put(ledger, holds=[make_hold(released_at=NOW)])

    async with asyncio.timeout(0.5):  # unheard, it would take a second
        await heard()


@pytest.mark.parametrize("scope", [{}, {"account": ACCOUNT}, {"operation": CREATE}, {"subject": "the:same"}])
async def test_a_probe_passes_its_hold_and_nothing_else_does(
    ledger: Ledger, session: Session, scope: dict[str, Any]
) -> None:
    fields: dict[str, Any] = {"subject": "the:same", "effective_at": NOW + 9}  # not ordered among themselves
    await put_work(ledger, *[make_command(make_plan(n), **fields) for n in (1, 2, 3)])
    await put(ledger, holds=[make_hold(probe="plan-000002-0", **scope)])

    assert await claimed(ledger, session) == ["plan-000002-0"]
    await ledger.release(session, ["plan-000002-0"])
    assert await claimed(ledger, session) == ["plan-000002-0"]


async def test_a_probe_is_claimed_before_older_work(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1), due_at=NOW - 9), make_command(make_plan(2)))
    await put(ledger, holds=[make_hold(account=ACCOUNT, operation=APPLY, probe="plan-000002-0")])

    assert await claimed(ledger, session) == ["plan-000002-0", "plan-000001-0"]


async def test_a_probe_is_not_claimed_before_it_is_due_nor_anything_else(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1)), make_command(make_plan(2), due_at=NOW + 5))
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe="plan-000002-0")])

    assert await claimed(ledger, session) == []
    assert await claimed(ledger, session, now=NOW + 5) == ["plan-000002-0"]


async def test_a_probe_passes_its_own_hold_only(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1)))
    await put(ledger, holds=[make_hold(1, account=ACCOUNT, probe="plan-000001-0"), make_hold(2, operation=CREATE)])

    assert await claimed(ledger, session) == []


@pytest.mark.parametrize("spot", [{"lane": Lane.SETTLE}, {"operation": APPLY}, {"quota_group": "other"}])
async def test_a_probe_waits_for_a_room_of_its_own(ledger: Ledger, session: Session, spot: dict[str, Any]) -> None:
    await put_work(ledger, make_command(make_plan(1)), make_command(make_plan(2), **spot))
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe="plan-000002-0")])

    assert await claimed(ledger, session) == []
    assert await claimed(ledger, session, room(**spot)) == ["plan-000002-0"]


async def test_held_work_hides_neither_the_probe_nor_other_accounts(ledger: Ledger, session: Session) -> None:
    held = [make_command(make_plan(n), due_at=NOW - 9) for n in range(1, 201)]
    probe, other = make_command(make_plan(201)), make_command(make_plan(202, account="b"))
    await put_work(ledger, *held, probe, other)
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe=probe.id)])

    assert await claimed(ledger, session, room(2)) == [probe.id, other.id]


async def test_held_subjects_hide_neither_their_probe_nor_free_work_for_long(ledger: Ledger, session: Session) -> None:
    held = [make_command(make_plan(n), subject="the:same", due_at=NOW - 9) for n in range(1, 201)]
    await put_work(ledger, *held, make_command(make_plan(300)), make_command(make_plan(301), subject="the:other"))
    await put(
        ledger, holds=[make_hold(1, subject="the:same"), make_hold(2, subject="the:other", probe="plan-000301-0")]
    )

    taken = [await claimed(ledger, session, room(1)) for _ in range(7)]

    assert taken[0] == ["plan-000301-0"]
    assert [command_id for claim in taken for command_id in claim] == ["plan-000301-0", "plan-000300-0"]


@pytest.mark.parametrize("probe", ["unknown", "plan-000009-0"])
async def test_one_command_stands_in_for_a_probe_that_has_ended(ledger: Ledger, session: Session, probe: str) -> None:
    await put_work(
        ledger,
        make_command(make_plan(1)),
        make_command(make_plan(2)),
        make_command(make_plan(3), operation=APPLY),
        make_command(make_plan(4, account="b")),
        make_command(make_plan(9), state=CommandState.CANCELLED),
    )
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe=probe)])

    rooms = (room(), room(operation=APPLY))
    assert await claimed(ledger, session, *rooms) == ["plan-000001-0", "plan-000004-0"]
    assert await claimed(ledger, session, *rooms) == [], "one is under way"
    await put(ledger, commands=[make_command(make_plan(1), state=CommandState.IN_FLIGHT, owner=session.fence)])
    assert await claimed(ledger, session, *rooms) == [], "still"
    await put(ledger, commands=[make_command(make_plan(1), due_at=NOW + 1)])
    assert await claimed(ledger, session, *rooms) == ["plan-000002-0"], "it came to nothing, and was not made the probe"


async def test_whoever_stands_in_and_is_made_the_probe_remains_the_only_one(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1)), make_command(make_plan(2)))
    hold = make_hold(account=ACCOUNT, probe="unknown")
    await put(ledger, holds=[hold])
    assert await claimed(ledger, session) == ["plan-000001-0"]

    await put(
        ledger,
        commands=[make_command(make_plan(1), due_at=NOW + 5)],
        holds=[replace(hold, probe="plan-000001-0")],
    )

    assert await claimed(ledger, session) == []
    assert await claimed(ledger, session, now=NOW + 5) == ["plan-000001-0"]


async def test_without_a_probe_nobody_stands_in(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command())
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe=None)])

    assert await claimed(ledger, session) == []


async def test_a_second_hold_stops_whoever_would_stand_in(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1)), make_command(make_plan(2)))
    await put(ledger, holds=[make_hold(1, account=ACCOUNT, probe="unknown"), make_hold(2, subject="agent:realm/1")])

    assert await claimed(ledger, session) == ["plan-000002-0"]


async def test_a_probe_behind_earlier_held_work_is_stood_in_for(ledger: Ledger, session: Session) -> None:
    """Else both would wait for ever: the probe for its turn, the work before it for the probe."""
    earlier = make_command(make_plan(1, order=make_order(1, at=1)), subject="the:same")
    probe = make_command(make_plan(2, order=make_order(2, at=2)), subject="the:same")
    await put_work(ledger, earlier, probe)
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe=probe.id)])

    assert await claimed(ledger, session) == [earlier.id]


async def test_a_probe_that_time_cannot_bring_is_stood_in_for(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command(make_plan(1)), make_command(make_plan(2), due_at=None))
    await put(ledger, holds=[make_hold(account=ACCOUNT, probe="plan-000002-0")])

    assert await claimed(ledger, session) == ["plan-000001-0"]


async def test_regroup_lets_unfinished_work_pay_to_its_accounts_present_group(bench: Bench) -> None:
    moving = [
        make_command(make_plan(1)),
        make_command(make_plan(2), state=CommandState.WAITING, due_at=None),
        make_command(make_plan(3), state=CommandState.IN_FLIGHT, owner=1),
        make_command(make_plan(4), state=CommandState.IN_DOUBT),
    ]
    staying = [
        make_command(make_plan(5), state=CommandState.SUCCEEDED),
        make_command(make_plan(6, account="b")),
        make_command(make_plan(7), quota_group="rotated"),
        make_command(make_plan(8, account="c")),
    ]
    await put_work(bench.ledger, *moving, *staying)

    assert await bench.ledger.regroup({ACCOUNT: "rotated", "b": GROUP, "unknown": "rotated"}) == 4
    assert await bench.ledger.regroup({ACCOUNT: "rotated"}) == 0
    assert await bench.ledger.regroup({}) == 0

    ledger = await bench.reopen()
    for command in moving:
        assert await stored(ledger, command.id) == replace(command, quota_group="rotated")
    for command in staying:
        assert await stored(ledger, command.id) == command


async def test_regrouped_work_is_claimed_in_its_new_room(ledger: Ledger, session: Session) -> None:
    await put_work(ledger, make_command())
    heard = ledger.subscribe("commands")

    await ledger.regroup({ACCOUNT: "rotated"})

    async with asyncio.timeout(0.5):
        await heard()
    assert await claimed(ledger, session) == []
    assert await claimed(ledger, session, room(quota_group="rotated")) == [make_command().id]
