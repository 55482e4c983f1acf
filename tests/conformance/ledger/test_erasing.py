"""Every ledger: what goes when its time is over, in small batches, and what stays for as long as it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from service.application.ports import CommandQuery, Ledger
from service.domain.binding import BindingState
from service.domain.command import Command, CommandState, Plan, PlanState, Session
from service.domain.desk import GivenAnswer
from service.domain.ledger_state import Act, Changes, Fact, Known
from service.domain.replay import ReplayState
from service.domain.retention import FINISHED, Erasable
from service.domain.taking_in import keys_of, take_in
from service.domain.value import replace
from tests.builders import (
    NOW,
    make_binding,
    make_command,
    make_event,
    make_inbound,
    make_intake_policy,
    make_plan,
    make_read,
)
from tests.conformance.ledger.bench import (
    Bench,
    DeskLedger,
    attempt,
    claimed,
    known,
    make_hold,
    make_item,
    make_letter,
    make_replay,
    message,
    moved,
    on_desk,
    put,
    put_desk,
    put_work,
)

LATER: Final = NOW + 1_000_000
FAR: Final = NOW + 20 * 366 * 86_400.0  # later than the clock of any server that these tests run on


async def erase(ledger: Ledger, *kinds: Erasable, before: float = NOW, limit: int = 100) -> int:
    """Erase all of these kinds, as the step does: again and again until nothing is left. How many rows went."""
    erased = 0
    for what in kinds or FINISHED:
        while batch := await ledger.erase(what, before=before, limit=limit):
            erased += batch
    return erased


async def put_ended(ledger: Ledger, *numbers: int, at: float = NOW, **fields: Any) -> list[Command]:
    """Store plans that ended at that time, each with its event and a command that has an attempt and a history."""
    plans = [make_plan(n, state=PlanState.COMPLETED, ended_at=at, **fields) for n in numbers]
    commands = [make_command(plan, state=CommandState.SUCCEEDED, ended_at=at, due_at=None) for plan in plans]
    await put(
        ledger,
        events=[make_event(n) for n in numbers],
        plans=plans,
        commands=commands,
        attempts=[attempt(command) for command in commands],
        history=[moved(command, CommandState.SUCCEEDED) for command in commands],
    )
    return commands


async def plans(ledger: Ledger) -> Sequence[Plan]:
    return await ledger.plans(CommandQuery(limit=1000))


def fact(number: int = 1, **fields: Any) -> Fact:
    defaults = {"id": f"f-{number}", "subject": f"agent:realm/{number}", "kind": "approved", "apply_id": None}
    return Fact(**{**defaults, "reason": None, "received_at": NOW, **fields})


# ---------------------------------------------------------------------- plans


async def test_a_plan_that_ended_long_ago_goes_with_all_that_belongs_to_it(ledger: Ledger) -> None:
    (gone,) = await put_ended(ledger, 1)
    (kept,) = await put_ended(ledger, 2, at=NOW + 1)

    erased = await ledger.erase(Erasable.PLANS, before=NOW, limit=100)

    assert erased == 4  # the plan, its command, its attempt and its history
    assert await ledger.story(gone.id) is None
    assert [plan.id for plan in await plans(ledger)] == [kept.plan_id]
    story = await ledger.story(kept.id)
    assert story is not None
    assert (len(story.attempts), len(story.history)) == (1, 1)


@pytest.mark.parametrize("state", [s for s in CommandState if not s.ended])
async def test_unfinished_work_never_goes_however_old_it_is(ledger: Ledger, state: CommandState) -> None:
    work = [make_command(make_plan(number), state=state) for number in (1, 2)]
    await put_work(ledger, *work)
    wrong = make_plan(2, state=PlanState.FAILED, ended_at=NOW)  # a plan that says it ended while its work goes on
    await put(ledger, plans=[wrong], events=[make_event(1), make_event(2)])

    assert await erase(ledger, *Erasable, before=LATER) == 0

    assert list(await ledger.commands(CommandQuery())) == work
    assert len((await known(ledger, events={("urn:hr", "event-1"), ("urn:hr", "event-2")})).digests) == 2


async def test_a_batch_takes_the_oldest_and_no_more_than_its_limit(ledger: Ledger) -> None:
    for number in (3, 1, 2):
        await put_ended(ledger, number, at=NOW + number)

    assert await ledger.erase(Erasable.PLANS, before=LATER, limit=2) == 8
    assert [plan.id for plan in await plans(ledger)] == ["plan-000003"]
    assert await ledger.erase(Erasable.PLANS, before=LATER, limit=2) == 4
    assert await ledger.erase(Erasable.PLANS, before=LATER, limit=2) == 0


async def test_a_plan_with_a_long_history_goes_piece_by_piece(ledger: Ledger) -> None:
    (command,) = await put_ended(ledger, 1)
    await put(ledger, history=[moved(command, CommandState.WAITING, NOW + n) for n in range(24)])

    batches = [await ledger.erase(Erasable.PLANS, before=NOW, limit=1) for _ in range(4)]

    assert batches == [10, 10, 5 + 3, 0]
    assert await ledger.story(command.id) is None


async def test_bindings_and_acts_stay(bench: Bench) -> None:
    await put_ended(bench.ledger, 1)
    live = make_binding(state=BindingState.LIVE, applied={"name": "A"}, applied_at=5, revisions={"urn:hr": 3})
    released = make_binding(make_plan(2), state=BindingState.RELEASED)
    act = Act(at=NOW, actor="ann", kind="replay", object="plan-1", reason="fixed")
    await put(bench.ledger, bindings=[live, released], acts=[act])

    await erase(bench.ledger, *Erasable, before=LATER)

    ledger = await bench.reopen()
    loaded = await known(ledger, subjects={live.subject, released.subject})
    assert loaded.bindings == (live, released)


# ---------------------------------------------------------------------- events and their identities


async def test_an_event_goes_after_its_plan_and_is_known_for_as_long_as_its_identity(bench: Bench) -> None:
    await put_ended(bench.ledger, 1)
    await put_work(bench.ledger, make_command(make_plan(2)))
    await put(bench.ledger, events=[make_event(2), make_event(3, received_at=NOW + 1)])
    key = ("urn:hr", "event-1")

    assert await erase(bench.ledger, Erasable.EVENTS) == 0  # their plans are there, or they came later
    assert await erase(bench.ledger) == 4 + 1

    ledger = await bench.reopen()
    assert (await known(ledger, events={key})).digests == {key: "digest-1"}
    assert await erase(ledger, Erasable.IDENTITIES) == 1
    assert (await known(ledger, events={key, ("urn:hr", "event-2")})).digests == {("urn:hr", "event-2"): "digest-2"}


async def test_an_event_that_is_read_again_after_its_plan_was_erased_was_delivered_before(ledger: Ledger) -> None:
    event, policy = make_read(make_inbound()), make_intake_policy()

    async def take() -> Changes:
        return await ledger.transact(keys_of([event], policy), lambda seen: take_in(seen, [event], policy, NOW))

    first = await take()
    (plan,) = first.plans
    done = [replace(c, state=CommandState.SUCCEEDED, ended_at=NOW, due_at=None) for c in first.commands]
    await put(ledger, plans=[replace(plan, state=PlanState.COMPLETED, ended_at=NOW)], commands=done)
    assert await erase(ledger, *Erasable, before=LATER) > 0

    assert await take() == Changes()
    assert await plans(ledger) == []


async def test_arrivals_never_go_back_for_the_newest_identity_stays(bench: Bench) -> None:
    await put_ended(bench.ledger, 1, 2, 3)

    assert await erase(bench.ledger, *Erasable, before=LATER) == 12 + 3 + 2

    ledger = await bench.reopen()
    assert (await known(ledger)).next_arrival == 4
    (event,) = (await put(ledger, events=[make_event(4)])).events
    assert event.arrival == 4
    # a newer one is there now: it may go
    assert await erase(ledger, Erasable.IDENTITIES, before=LATER) == 1


async def test_an_identity_stays_while_its_event_is_there(ledger: Ledger) -> None:
    await put_ended(ledger, 1, 2)

    assert await erase(ledger, Erasable.IDENTITIES, before=LATER) == 0


# ---------------------------------------------------------------------- facts


async def test_a_fact_that_was_taken_goes_after_the_command_that_took_it(ledger: Ledger) -> None:
    (command,) = await put_ended(ledger, 1)
    taken = fact(taken_by=command.id)
    await put(ledger, facts=[taken])
    assert await erase(ledger, Erasable.FACTS) == 0

    assert await erase(ledger, Erasable.PLANS, Erasable.FACTS) == 4 + 1


async def test_a_fact_that_waits_goes_unless_unfinished_work_of_its_subject_could_take_it(ledger: Ledger) -> None:
    await put_work(ledger, make_command(make_plan(1)))
    await put(ledger, facts=[fact(1), fact(2), fact(3, received_at=NOW + 1)])

    assert await erase(ledger, Erasable.FACTS) == 1

    subjects = {f"agent:realm/{number}" for number in (1, 2, 3)}
    assert [kept.id for kept in (await known(ledger, subjects=subjects)).facts] == ["f-1", "f-3"]


# ---------------------------------------------------------------------- what else is over


async def test_messages_go_some_time_after_they_were_published_and_never_before(bench: Bench) -> None:
    await put(bench.ledger, outbox=[message(number, created_at=0.0) for number in (1, 2, 3)])
    await bench.ledger.mark_published(["message-1"], NOW)
    await bench.ledger.mark_published(["message-2"], NOW + 1)

    assert await erase(bench.ledger, Erasable.MESSAGES) == 1
    assert await erase(bench.ledger, Erasable.MESSAGES, before=LATER) == 1

    ledger = await bench.reopen()
    assert [m.id for m in await ledger.unpublished(10)] == ["message-3"]
    await put(ledger, outbox=[message(4)])
    unpublished = await ledger.unpublished(10)
    assert [m.id for m in unpublished] == ["message-3", "message-4"]
    assert unpublished[0].seq < unpublished[1].seq


async def test_notes_of_dead_letters_go(ledger: Ledger) -> None:
    await put(ledger, dead_letters=[make_letter(1), make_letter(2), make_letter(3, seen_at=NOW + 1)])

    assert await ledger.erase(Erasable.DEAD_LETTERS, before=NOW, limit=1) == 1
    assert await erase(ledger, Erasable.DEAD_LETTERS) == 1
    assert await erase(ledger, Erasable.DEAD_LETTERS, before=NOW + 1) == 1


async def test_holds_that_were_released_go_and_those_that_stand_stop_as_before(
    ledger: Ledger, session: Session
) -> None:
    await put(ledger, holds=[make_hold(1, released_at=NOW), make_hold(2)])
    await put_work(ledger, make_command())

    assert await erase(ledger, Erasable.HOLDS, before=LATER) == 1

    assert await claimed(ledger, session) == []


async def test_sessions_that_have_ended_go_and_fences_grow_on(bench: Bench) -> None:
    await bench.ledger.open_session("me", NOW)
    second = await bench.ledger.open_session("me", NOW)

    assert await erase(bench.ledger, Erasable.SESSIONS, before=FAR) == 1

    assert await bench.ledger.keep_session(second) == 1
    await bench.ledger.end_session(second, NOW)
    assert await erase(bench.ledger, Erasable.SESSIONS, before=FAR) == 1
    third = await (await bench.reopen()).open_session("me", NOW)
    assert third.fence > second.fence


async def test_what_a_session_that_is_gone_left_in_flight_is_still_found(ledger: Ledger) -> None:
    lost = await ledger.open_session("me", NOW)
    flying = make_command(state=CommandState.IN_FLIGHT, owner=lost.fence)
    await put_work(ledger, flying)
    await put(ledger, outbox=[message(1)])
    session = await ledger.open_session("me", NOW)

    await erase(ledger, *Erasable, before=FAR)

    assert list(await ledger.orphans(session)) == [flying]
    assert [m.id for m in await ledger.unpublished(10)] == ["message-1"]


async def test_a_replay_goes_some_time_after_its_end_with_its_items(ledger: DeskLedger) -> None:
    ended: dict[str, Any] = {"state": ReplayState.FINISHED, "ended_at": NOW}
    late: dict[str, Any] = {"state": ReplayState.CANCELLED, "ended_at": NOW + 1}
    replays = [make_replay(1, **ended), make_replay(2, **late), make_replay(3)]
    await put_desk(ledger, replays=replays, items=[make_item(n, replay) for replay in (1, 2, 3) for n in (1, 2)])

    assert await erase(ledger, Erasable.REPLAYS) == 2 + 1

    assert list(await ledger.replays(unfinished=False)) == [replays[2], replays[1]]
    items = [len(await ledger.replay_items(f"replay-{number}")) for number in (1, 2, 3)]
    assert items == [0, 2, 2]


async def test_a_large_replay_goes_piece_by_piece(ledger: DeskLedger) -> None:
    ended = make_replay(state=ReplayState.FINISHED, ended_at=NOW)
    await put_desk(ledger, replays=[ended], items=[make_item(number) for number in range(1, 25)])

    batches = [await ledger.erase(Erasable.REPLAYS, before=NOW, limit=1) for _ in range(4)]

    assert batches == [10, 10, 4 + 1, 0]


async def test_an_answer_goes_some_time_after_it_was_given(ledger: DeskLedger) -> None:
    answers = [
        GivenAnswer(key=f"ann:{nth}", digest="d", status=200, document={}, given_at=NOW + nth) for nth in (0, 1, 2)
    ]
    await put_desk(ledger, answers=answers)

    assert await ledger.erase(Erasable.ANSWERS, before=NOW + 1, limit=1) == 1
    assert await erase(ledger, Erasable.ANSWERS, before=NOW + 1) == 1

    assert set((await on_desk(ledger, answers={"ann:0", "ann:1", "ann:2"})).desk.answers) == {"ann:2"}


async def test_an_empty_ledger_has_nothing_to_erase(ledger: Ledger) -> None:
    assert [await ledger.erase(what, before=LATER, limit=100) for what in Erasable] == [0] * len(Erasable)
    assert await known(ledger) == Known()
