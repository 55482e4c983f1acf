"""Every ledger: what operators ask of it, page by page, and how much of it stands how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from service.application.inquiry import ActQuery, EventQuery, LetterQuery, Tally
from service.application.ports import CommandQuery
from service.domain.command import CommandState, Lane, PlanState, WaitCause
from service.domain.dead_letter import LetterState
from service.domain.desk import QuotaRate
from service.domain.ledger_state import HoldKind
from service.domain.outcome import ErrorClass
from service.domain.replay import ItemState, ReplayState
from service.domain.retention import Erasable
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW, make_command, make_event, make_plan
from tests.conformance.ledger.bench import (
    APPLY,
    DeskLedger,
    make_act,
    make_failure,
    make_hold,
    make_item,
    make_letter,
    make_replay,
    message,
    put,
    put_desk,
)

# ---------------------------------------------------------------------- commands and plans


FILTERS = [
    ({"error_class": "retryable"}, "1 2"),
    ({"code": "InternalError.DBError"}, "1"),
    ({"code": "InternalError"}, ""),
    ({"code": "InternalError*"}, "1 2"),
    ({"code": "*"}, "1 2 3 4"),
    ({"code": "a%_b*"}, "3"),
    ({"code": "A%*"}, "4"),
    ({"error_class": "retryable", "code": "InternalError.T*"}, "2"),
    ({"since": NOW + 2}, "2 3 4"),
    ({"until": NOW + 2}, "1 5"),
    ({"since": NOW + 2, "until": NOW + 3}, "2"),
    ({"since": NOW, "until": NOW + 1, "states": ("failed", "pending", "open")}, "5"),
    ({"states": ("failed",), "code": "InternalError*", "after": "plan-000001-0"}, "2"),
    ({"states": ("failed", "pending", "open"), "limit": 3}, "1 2 3"),
    ({"states": ("pending", "open", "failed"), "after": "plan-000003-0", "limit": 9}, "4 5"),
    ({"subject": "agent:realm/2", "states": ("failed", "pending", "open"), "code": "Int*"}, "2"),
    ({"subject": "agent:realm/2", "states": ("pending", "open")}, ""),
    ({"plan_id": "plan-000003", "account": "acme_cn", "subject": "agent:realm/3"}, "3"),
    ({"plan_id": "plan-000003", "subject": "agent:realm/1"}, ""),
    ({"operation": APPLY}, "4"),
    ({"operation": APPLY, "states": ("failed",), "error_class": "permanent"}, "4"),
]


async def put_failed(ledger: DeskLedger) -> None:
    """Four plans that failed one after the other, each with its command, and an open one."""
    failures = {
        1: make_failure(),
        2: make_failure("InternalError.Timeout"),
        3: make_failure("a%_b.1", error_class=ErrorClass.CONFLICT),
        4: make_failure("A%", error_class=ErrorClass.PERMANENT),
    }
    for number, failure in failures.items():
        ended: dict[str, Any] = {"ended_at": NOW + number, "failure": failure}
        plan = make_plan(number, state=PlanState.FAILED, **ended)
        operation = APPLY if number == 4 else CREATE
        command = make_command(plan, state=CommandState.FAILED, operation=operation, due_at=None, **ended)
        await put(ledger, plans=[plan], commands=[command])
    await put(ledger, plans=[make_plan(5)], commands=[make_command(make_plan(5), operation="another")])


def numbers(found: Sequence[Any]) -> str:
    return " ".join(str(int(row.id[5:11])) for row in found)


@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_commands_are_found_by_what_they_failed_of_and_when(
    ledger: DeskLedger, query: dict[str, Any], expected: str
) -> None:
    await put_failed(ledger)

    assert numbers(await ledger.commands(CommandQuery(**query))) == expected


@pytest.mark.parametrize(("query", "expected"), FILTERS)
async def test_plans_are_found_as_their_commands_are(ledger: DeskLedger, query: dict[str, Any], expected: str) -> None:
    await put_failed(ledger)
    after = query.get("after")

    found = await ledger.plans(CommandQuery(**{**query, "after": after and after[:11]}))

    assert numbers(found) == expected


async def test_a_plan_is_of_the_operation_of_the_step_that_failed(ledger: DeskLedger) -> None:
    plan = make_plan(1, state=PlanState.FAILED, ended_at=NOW)
    done = make_command(plan, 0, state=CommandState.SUCCEEDED, operation=CREATE)
    failed = make_command(plan, 1, state=CommandState.FAILED, operation=APPLY)
    await put(ledger, plans=[plan], commands=[done, failed])

    assert numbers(await ledger.plans(CommandQuery(operation=CREATE))) == ""
    assert numbers(await ledger.plans(CommandQuery(operation=APPLY))) == "1"


async def test_pages_of_several_states_follow_one_another_without_a_gap(ledger: DeskLedger) -> None:
    states = [CommandState.PENDING, CommandState.FAILED, CommandState.WAITING, CommandState.SUCCEEDED]
    plans = [make_plan(number) for number in range(1, 30)]
    commands = [make_command(plan, state=states[plan.order.arrival % 4]) for plan in plans]
    await put(ledger, plans=plans, commands=commands)
    query = CommandQuery(states=("failed", "pending", "waiting"), limit=4)
    found: list[str] = []

    while page := await ledger.commands(query):
        assert len(page) <= 4
        found += [command.id for command in page]
        query = replace(query, after=page[-1].id)

    assert found == [c.id for c in commands if c.state is not CommandState.SUCCEEDED]


# ---------------------------------------------------------------------- events, dead letters, acts


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "4 3 2 1"),
        ({"limit": 2}, "4 3"),
        ({"limit": 2, "before": 3}, "2 1"),
        ({"id": "event-2"}, "4 2"),
        ({"id": "event-2", "source": "urn:hr"}, "2"),
        ({"subject": "agent:realm/2"}, "4 2"),
        ({"subject": "agent:realm/2", "before": 4}, "2"),
        ({"subject": "agent:realm/2", "id": "event-1"}, ""),
        ({"type": "hr.agent.changed.v1"}, "3"),
        ({"since": NOW + 2, "until": NOW + 4}, "3 2"),
    ],
)
async def test_events_are_listed_newest_first_and_filtered(
    ledger: DeskLedger, query: dict[str, Any], expected: str
) -> None:
    events = [
        make_event(1, received_at=NOW + 1),
        make_event(2, received_at=NOW + 2),
        make_event(3, received_at=NOW + 3, type="hr.agent.changed.v1"),
        make_event(2, received_at=NOW + 4, source="urn:other"),
    ]
    await put(ledger, events=events)

    found = await ledger.events(EventQuery(**query))

    assert " ".join(str(event.arrival) for event in found) == expected
    assert all(event == replace(events[event.arrival - 1], arrival=event.arrival) for event in found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "4 3 2 1"),
        ({"limit": 3}, "4 3 2"),
        ({"topic": "crm.events"}, "3"),
        ({"reason": "id_reused"}, "2"),
        ({"state": "open"}, "4 3 2"),
        ({"state": "discarded"}, "1"),
        ({"since": NOW + 2, "until": NOW + 4}, "3 2"),
    ],
)
async def test_dead_letters_are_listed_newest_first_and_filtered(
    ledger: DeskLedger, query: dict[str, Any], expected: str
) -> None:
    letters = [
        make_letter(1, seen_at=NOW + 1),
        make_letter(2, seen_at=NOW + 2, reason="id_reused", field="id"),
        make_letter(3, seen_at=NOW + 3, topic="crm.events"),
        make_letter(4, seen_at=NOW + 4),
    ]
    await put(ledger, dead_letters=letters[:2])
    await put(ledger, dead_letters=letters[2:])
    await put_desk(ledger, letters=[replace(letters[0], state=LetterState.DISCARDED, closed_at=NOW + 9)])

    found = await ledger.dead_letters(LetterQuery(**query))

    assert " ".join(str(letter.offset) for letter in found) == expected


async def test_pages_of_dead_letters_follow_one_another(ledger: DeskLedger) -> None:
    await put(ledger, dead_letters=[make_letter(offset) for offset in range(5)])
    query, found = LetterQuery(limit=2), list[int]()

    while page := await ledger.dead_letters(query):
        found += [letter.offset for letter in page]
        query = replace(query, before=page[-1].seq)

    assert found == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "3 2 1"),
        ({"limit": 1}, "3"),
        ({"actor": "bob"}, "2"),
        ({"kind": "release"}, "3"),
        ({"object": "hold-1"}, "3 1"),
        ({"object": "hold-1", "kind": "hold"}, "1"),
        ({"since": NOW + 2, "until": NOW + 3}, "2"),
    ],
)
async def test_acts_are_listed_newest_first_and_filtered(
    ledger: DeskLedger, query: dict[str, Any], expected: str
) -> None:
    acts = [make_act(1), make_act(2, actor="bob", detail={"a": [1]}), make_act(3, kind="release", object="hold-1")]
    await put(ledger, acts=acts[:2])
    await put(ledger, acts=acts[2:])

    found = await ledger.acts(ActQuery(**query))

    assert " ".join(str(int(act.at - NOW)) for act in found) == expected
    assert all(replace(act, seq=0) == acts[int(act.at - NOW) - 1] for act in found)
    if found:
        older = await ledger.acts(ActQuery(**{**query, "before": found[-1].seq, "limit": 50}))
        assert all(act.seq < found[-1].seq for act in older)


# ---------------------------------------------------------------------- holds, quotas, replays


async def test_holds_that_stand_and_released_ones_are_told_apart_newest_first(ledger: DeskLedger) -> None:
    standing = [make_hold(n, created_at=NOW + n, kind=HoldKind.HOLD) for n in (1, 2)]
    released = [make_hold(n, created_at=NOW, released_at=NOW + 10 - n) for n in (3, 4)]
    await put(ledger, holds=[*standing, *released])

    assert [hold.id for hold in await ledger.holds(standing=True)] == ["hold-2", "hold-1"]
    assert list(await ledger.holds(standing=False)) == released
    assert [hold.id for hold in await ledger.holds(standing=True, limit=1)] == ["hold-2"]


async def test_changed_quotas_are_told_by_group_and_operation(ledger: DeskLedger) -> None:
    rates = [
        QuotaRate(quota_group=group, operation=operation, rate=rate, changed_at=NOW, actor="ann", reason="asked to")
        for group, operation, rate in [("b", CREATE, None), (GROUP, CREATE, 2.0), ("b", APPLY, 0.5)]
    ]
    await put_desk(ledger, rates=rates)

    assert list(await ledger.rates()) == [rates[0], rates[2], rates[1]]


async def test_replays_are_listed_newest_first(ledger: DeskLedger) -> None:
    replays = [make_replay(n, state=state) for n, state in enumerate(ReplayState, start=1)]
    await put_desk(ledger, replays=replays)

    assert list(await ledger.replays(unfinished=False)) == replays[::-1]
    assert [one.state for one in await ledger.replays(unfinished=True)] == ["paused", "running"]
    assert [one.id for one in await ledger.replays(unfinished=False, limit=1)] == ["replay-4"]
    assert await ledger.replay("replay-9") is None


async def test_items_come_with_their_plans_as_those_are_now(ledger: DeskLedger) -> None:
    plan = make_plan(1, state=PlanState.FAILED, ended_at=NOW, planned=False, failure=make_failure())
    await put(ledger, plans=[plan])
    items = [
        make_item(1, state=ItemState.BEGUN, epoch=1, at=NOW),
        make_item(2),
        make_item(3, state=ItemState.REFUSED, why="overtaken", at=NOW),
        make_item(4),
    ]
    await put_desk(ledger, items=[*items, make_item(1, replay=2)])

    found = await ledger.replay_items("replay-1")

    assert [(one.item, one.plan) for one in found] == [(items[0], plan), *((item, None) for item in items[1:])]
    assert [one.item.number for one in await ledger.replay_items("replay-1", after=1, limit=2)] == [2, 3]
    assert [one.item.number for one in await ledger.replay_items("replay-1", pending=True)] == [2, 4]
    assert [one.item.number for one in await ledger.replay_items("replay-1", pending=True, after=2)] == [4]
    assert [await ledger.begun(f"replay-{number}") for number in (1, 2, 9)] == [2, 0, 0]


async def test_a_large_replay_is_told_whole(ledger: DeskLedger) -> None:
    items = [make_item(n, state=ItemState.BEGUN if n <= 1500 else ItemState.PENDING) for n in range(1, 2501)]
    await put_desk(ledger, items=items)

    assert await ledger.begun("replay-1") == 1500
    assert [one.item.number for one in await ledger.replay_items("replay-1", limit=700)] == list(range(1, 701))
    pending = await ledger.replay_items("replay-1", pending=True)
    assert [one.item.number for one in pending] == list(range(1501, 2501))


# ---------------------------------------------------------------------- what was told


async def test_messages_are_told_as_long_as_the_outbox_has_them(ledger: DeskLedger) -> None:
    await put(ledger, outbox=[message(1), message(2)])
    await ledger.mark_published(["message-1"], NOW + 1)
    assert await ledger.told({"message-1", "message-2", "message-9"}) == {"message-1": NOW + 1, "message-2": None}

    await ledger.erase(Erasable.MESSAGES, before=NOW + 1, limit=10)

    assert await ledger.told({"message-1", "message-2"}) == {"message-2": None}
    assert await ledger.told(set()) == {}


async def test_the_bytes_of_a_dead_letter_are_there_while_the_outbox_has_them(ledger: DeskLedger) -> None:
    letter = message(1, topic="dlq.hr.events", key=b"\xff", value=b"{")
    await put(ledger, outbox=[letter, message(2, topic="dlq.hr.events", key=None, value=None), message(3)])

    found = [await ledger.letter_bytes(f"message-{number}") for number in (1, 2, 3, 9)]

    assert found == [(b"\xff", b"{"), (None, None), None, None]


# ---------------------------------------------------------------------- tallies


def told(tallies: Sequence[Tally]) -> set[Tally]:
    """Those that every ledger tells: what has succeeded is not among them."""
    return {tally for tally in tallies if tally.state not in {"succeeded", "completed"}}


def make_tally(**fields: Any) -> Tally:
    defaults = {"kind": "command", "account": "acme_cn", "operation": CREATE, "lane": "live", "state": "pending"}
    return Tally(**{**defaults, "cause": "", "error_class": "", "code": "", "number": 1, **fields})


def of_plans(state: str, number: int, **fields: Any) -> Tally:
    return make_tally(kind="plan", operation="", lane="", state=state, number=number, **fields)


async def test_what_stands_alike_is_tallied_together(ledger: DeskLedger) -> None:
    waiting: dict[str, Any] = {"state": CommandState.WAITING, "cause": WaitCause.APPROVAL}
    await put(ledger, plans=[make_plan(n) for n in range(1, 7)])
    await put(
        ledger,
        commands=[
            make_command(make_plan(1)),
            make_command(make_plan(2)),
            make_command(make_plan(3), lane=Lane.REPLAY),
            make_command(make_plan(4), **waiting),
            make_command(make_plan(5), account="other"),
            make_command(make_plan(6), state=CommandState.SUCCEEDED),
        ],
    )

    assert told(await ledger.tallies()) == {
        make_tally(number=2),
        make_tally(lane="replay"),
        make_tally(state="waiting", cause="approval"),
        make_tally(account="other"),
        of_plans("open", 6),
    }


async def test_what_has_failed_is_tallied_by_class_and_code_with_its_times(ledger: DeskLedger) -> None:
    await put_failed(ledger)
    early = make_plan(6, state=PlanState.FAILED, ended_at=NOW, failure=make_failure(), planned=False, account=None)
    again = make_plan(7, state=PlanState.FAILED, ended_at=NOW + 7, failure=make_failure())
    await put(ledger, plans=[early, again])

    failed = {
        (t.kind, t.account, t.operation, t.error_class, t.code): (t.number, t.first_at, t.last_at)
        for t in await ledger.tallies()
        if t.state == "failed"
    }

    retryable = ("retryable", "InternalError.DBError")
    assert failed.pop(("plan", "acme_cn", "", *retryable)) == (2, NOW + 1, NOW + 7)
    assert failed.pop(("plan", "", "planning", *retryable)) == (1, NOW, NOW)
    assert failed.pop(("command", "acme_cn", CREATE, *retryable)) == (1, NOW + 1, NOW + 1)
    assert failed.pop(("command", "acme_cn", APPLY, "permanent", "A%")) == (1, NOW + 4, NOW + 4)
    assert len(failed) == 5


async def test_oldest_is_the_age_of_what_is_unfinished_by_account_lane_and_state(ledger: DeskLedger) -> None:
    await put(ledger, plans=[make_plan(n) for n in range(1, 6)])
    await put(
        ledger,
        commands=[
            make_command(make_plan(1), created_at=NOW + 9),
            make_command(make_plan(2), created_at=NOW + 3),
            make_command(make_plan(3), lane=Lane.REPLAY, created_at=NOW + 4),
            make_command(make_plan(4), account="other", state=CommandState.IN_DOUBT, created_at=NOW + 5),
            make_command(make_plan(5), state=CommandState.SUCCEEDED, created_at=NOW),
        ],
    )

    assert await ledger.oldest() == {
        ("acme_cn", "live", "pending"): NOW + 3,
        ("acme_cn", "replay", "pending"): NOW + 4,
        ("other", "live", "in_doubt"): NOW + 5,
    }


async def test_tallies_follow_what_happens(ledger: DeskLedger) -> None:
    plan, command = make_plan(), make_command()
    ended = {"ended_at": NOW + 1, "failure": make_failure()}
    await put(ledger, plans=[plan], commands=[command])
    assert told(await ledger.tallies()) == {make_tally(), of_plans("open", 1)}

    failed = replace(command, state=CommandState.FAILED, **ended)
    await put(ledger, plans=[replace(plan, state=PlanState.FAILED, **ended)], commands=[failed])
    about = {"error_class": "retryable", "code": "InternalError.DBError", "first_at": NOW + 1, "last_at": NOW + 1}
    assert told(await ledger.tallies()) == {make_tally(state="failed", **about), of_plans("failed", 1, **about)}

    reopened = replace(command, epoch=1, lane=Lane.REPLAY)
    await put(ledger, plans=[replace(plan, epoch=1)], commands=[reopened])
    assert told(await ledger.tallies()) == {make_tally(lane="replay"), of_plans("open", 1)}

    done = replace(reopened, state=CommandState.SUCCEEDED, ended_at=NOW + 2)
    await put(ledger, plans=[replace(plan, epoch=1, state=PlanState.COMPLETED, ended_at=NOW + 2)], commands=[done])
    assert told(await ledger.tallies()) == set()

    await put(ledger, plans=[replace(plan, epoch=2, state=PlanState.FAILED, **ended)], commands=[replace(failed)])
    await ledger.erase(Erasable.PLANS, before=NOW + 9, limit=10)
    assert list(await ledger.tallies()) == []


async def test_a_failure_without_a_reason_is_tallied_too(ledger: DeskLedger) -> None:
    await put(ledger, plans=[make_plan()], commands=[make_command(state=CommandState.FAILED)])

    assert told(await ledger.tallies()) == {make_tally(state="failed"), of_plans("open", 1)}
