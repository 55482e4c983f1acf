"""Every ledger: what a transaction loads and writes."""

from __future__ import annotations

import pytest

from service.application.ports import Ledger
from service.domain.binding import BindingState
from service.domain.command import CommandState, PlanState, WaitCause
from service.domain.dead_letter import DeadLetter
from service.domain.ledger_state import Act, Changes, Fact, Keys, Known
from service.domain.outcome import ErrorClass, Failure
from service.domain.value import replace
from tests.builders import NOW, make_binding, make_command, make_event, make_order, make_plan
from tests.conformance.ledger.bench import (
    Bench,
    attempt,
    known,
    message,
    moved,
    put,
    put_work,
    stored,
)


async def test_rows_come_back_as_they_were_written(ledger: Ledger) -> None:
    failure = Failure(
        error_class=ErrorClass.RETRYABLE,
        code="InternalError",
        message="try again",
        request_id="r-1",
        field="name",
        retries=3,
        afterwards=ErrorClass.CAPACITY,
    )
    plan = make_plan(
        1, state=PlanState.FAILED, ended_at=NOW + 1, failure=failure, waiting_told=True, event_key=b"\xff", epoch=2
    )
    command = make_command(
        plan,
        state=CommandState.WAITING,
        cause=WaitCause.RETRY,
        order=make_order(1, revision=7),
        effective_at=NOW - 1,
        attempts=2,
        retries=1,
        first_at=NOW,
        last_at=NOW + 1,
        queue_seconds=0.5,
        quota_seconds=0.25,
        vendor_seconds=0.125,
        result="done",
        facts={"extension": "1001"},
        failure=failure,
        traceparent="00-1-2-03",
    )
    calls = [attempt(command), attempt(command, 2, ended_at=NOW + 1, outcome="retryable", code="X", request_id="r")]
    changes = [moved(command, CommandState.IN_FLIGHT), replace(moved(command, command.state), before=None)]

    await put(ledger, plans=[plan], commands=[command], attempts=calls, history=changes)

    story = await ledger.story(command.id)
    assert story is not None
    assert (story.command, story.plan) == (command, plan)
    assert (story.attempts, story.history) == (tuple(calls), tuple(changes))


async def test_tuples_in_wanted_states_come_back_as_json_lists(ledger: Ledger) -> None:
    await put_work(ledger, make_command(wanted={"skill_group_ids": (1, 2)}))

    assert (await stored(ledger, make_command().id)).wanted == {"skill_group_ids": [1, 2]}


async def test_a_row_that_exists_is_replaced(ledger: Ledger) -> None:
    plan, command = make_plan(), make_command()
    await put(ledger, plans=[plan], commands=[command], attempts=[attempt(command)], bindings=[make_binding()])
    newer_plan = replace(plan, epoch=1, waiting_told=True)
    newer = replace(command, epoch=1, attempts=1, facts={"a": 1})
    done = attempt(command, ended_at=NOW + 1, outcome="succeeded")
    live = make_binding(state=BindingState.LIVE, applied={"name": "A"}, applied_at=5, revisions={"urn:hr": 3})

    await put(ledger, plans=[newer_plan], commands=[newer], attempts=[done], bindings=[live])

    story = await ledger.story(command.id)
    assert story is not None
    assert (story.plan, story.command, story.attempts) == (newer_plan, newer, (done,))
    assert (await known(ledger, subjects={plan.subject})).bindings == (live,)


async def test_an_event_is_known_by_its_digest_and_keeps_its_first_content(ledger: Ledger) -> None:
    await put(ledger, events=[make_event(1)])
    await put(ledger, events=[make_event(1, digest="other")])

    loaded = await known(ledger, events={("urn:hr", "event-1"), ("urn:hr", "event-2")})

    assert loaded.digests == {("urn:hr", "event-1"): "digest-1"}


async def test_arrivals_are_assigned_in_order_and_given_ones_are_kept(ledger: Ledger) -> None:
    first = await put(ledger, events=[make_event(1), make_event(2)])
    second = await put(ledger, events=[make_event(3, arrival=7), make_event(4)])

    assert [event.arrival for event in first.events + second.events] == [1, 2, 7, 8]
    assert (await known(ledger)).next_arrival == 9


async def test_an_arrival_is_never_given_twice(ledger: Ledger) -> None:
    await put(ledger, events=[make_event(1)])

    with pytest.raises(ValueError, match="the ledger refuses"):
        await put(ledger, events=[make_event(2, arrival=1)])


async def test_what_a_decision_raises_undoes_everything(ledger: Ledger) -> None:
    def decide(_: Known) -> Changes:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await ledger.transact(Keys(), decide)

    assert (await known(ledger)).next_arrival == 1


async def test_a_refused_change_undoes_its_whole_transaction(ledger: Ledger) -> None:
    orphan = make_command(make_plan(2))

    with pytest.raises(ValueError, match="the ledger refuses"):
        await put(ledger, plans=[make_plan(1)], events=[make_event(1)], commands=[orphan])

    loaded = await known(ledger, plans={make_plan(1).id}, events={("urn:hr", "event-1")})
    assert (loaded.plans, loaded.digests) == ({}, {})


async def test_an_attempt_needs_its_command(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="the ledger refuses"):
        await put(ledger, attempts=[attempt(make_command())])


async def test_a_resource_has_one_held_binding(ledger: Ledger) -> None:
    await put(ledger, bindings=[make_binding()])

    with pytest.raises(ValueError, match="the ledger refuses"):
        await put(ledger, bindings=[make_binding(subject="agent:realm/2")])


async def test_a_released_resource_can_be_bound_in_the_same_transaction(ledger: Ledger) -> None:
    await put(ledger, bindings=[make_binding()])
    taken = make_binding(subject="agent:realm/0")

    await put(ledger, bindings=[taken, make_binding(state=BindingState.RELEASED)])

    assert (await known(ledger, resources={taken.resource})).bindings == (taken,)


async def test_bindings_loaded_are_the_held_ones_and_each_subjects_last_released(ledger: Ledger) -> None:
    first, second = (make_binding(state=BindingState.RELEASED, generation=n) for n in (1, 2))
    held = make_binding(generation=3)
    holder = make_binding(make_plan(2))
    released = make_binding(make_plan(3), state=BindingState.RELEASED)
    await put(ledger, bindings=[first, second, held, holder, released, make_binding(make_plan(4))])

    loaded = await known(ledger, subjects={held.subject}, resources={holder.resource, released.resource})

    assert loaded.bindings == (second, held, holder)


async def test_open_plans_of_a_subject_are_loaded_with_all_their_commands(ledger: Ledger) -> None:
    plan, other = make_plan(1), make_plan(2)
    done = make_command(plan, state=CommandState.SUCCEEDED, ended_at=NOW)
    left = make_command(plan, 1)
    await put(ledger, plans=[plan, other], commands=[done, left, make_command(other)])

    loaded = await known(ledger, subjects={plan.subject})

    assert (loaded.plans, loaded.commands) == ({plan.id: plan}, (done, left))


async def test_open_plans_with_a_command_on_a_resource_are_loaded_even_when_that_command_has_ended(
    ledger: Ledger,
) -> None:
    plan = make_plan(1)
    done = make_command(plan, state=CommandState.SUCCEEDED, ended_at=NOW, resource="number:acme_cn/+1")
    left = make_command(plan, 1)
    await put(ledger, plans=[plan], commands=[done, left])

    assert (await known(ledger, resources={"number:acme_cn/+1"})).commands == (done, left)


async def test_open_plans_with_a_command_of_a_subject_are_loaded(ledger: Ledger) -> None:
    plan = make_plan(1)
    command = make_command(plan, subject="number:acme_cn/+1")
    await put(ledger, plans=[plan], commands=[command])

    assert (await known(ledger, subjects={"number:acme_cn/+1"})).plans == {plan.id: plan}


async def test_ended_plans_are_loaded_only_by_name(ledger: Ledger) -> None:
    plan, command = make_plan(), make_command(state=CommandState.SUCCEEDED, ended_at=NOW)
    await put(ledger, plans=[plan], commands=[command])
    ended = replace(plan, state=PlanState.COMPLETED, ended_at=NOW)
    await put(ledger, plans=[ended])

    assert (await known(ledger, subjects={plan.subject}, resources={command.resource})).plans == {}
    named = await known(ledger, plans={plan.id, "plan-unknown"})
    assert (named.plans, named.commands) == ({plan.id: ended}, (command,))


async def test_a_plan_opened_again_is_loaded_again(ledger: Ledger) -> None:
    plan, command = make_plan(), make_command(state=CommandState.FAILED, ended_at=NOW)
    await put(ledger, plans=[replace(plan, state=PlanState.FAILED)], commands=[command])
    await put(ledger, plans=[plan])

    assert (await known(ledger, resources={command.resource})).plans == {plan.id: plan}


async def test_facts_wait_with_their_subject_until_they_are_taken(ledger: Ledger) -> None:
    fact = Fact(id="f-1", subject="number:1", kind="approved", apply_id="7", reason=None, received_at=NOW)
    earlier = replace(fact, id="f-2", received_at=NOW - 1)
    elsewhere = replace(fact, id="f-3", subject="number:2")
    await put(ledger, facts=[fact, earlier, elsewhere])
    assert (await known(ledger, subjects={"number:1"})).facts == (earlier, fact)

    await put(ledger, facts=[replace(earlier, taken_by="command-1")])

    assert (await known(ledger, subjects={"number:1"})).facts == (fact,)


async def test_a_batch_of_500_is_one_transaction(ledger: Ledger) -> None:
    plans = [make_plan(number) for number in range(1, 501)]
    keys = Keys(
        events=frozenset(("urn:hr", plan.event_id) for plan in plans),
        subjects=frozenset(plan.subject for plan in plans),
        resources=frozenset(make_command(plan).resource for plan in plans),
    )

    def decide(_: Known) -> Changes:
        return Changes(
            events=tuple(make_event(number) for number in range(1, 501)),
            plans=tuple(plans),
            commands=tuple(make_command(plan) for plan in plans),
            bindings=tuple(make_binding(plan) for plan in plans),
        )

    await ledger.transact(keys, decide)

    loaded = await known(ledger, events=set(keys.events), subjects=set(keys.subjects), resources=set(keys.resources))
    assert [len(part) for part in (loaded.digests, loaded.plans, loaded.commands, loaded.bindings)] == [500] * 4
    assert loaded.next_arrival == 501


async def test_acts_and_dead_letters_are_taken(ledger: Ledger) -> None:
    act = Act(at=NOW, actor="ann", kind="replay", object="plan-1", reason="fixed", detail={"dry": False})
    letter = DeadLetter(
        topic="hr.events",
        partition=0,
        offset=1,
        reason="not_json",
        field=None,
        message="not JSON",
        size=3,
        digest="abc",
        seen_at=NOW,
    )

    await put(ledger, acts=[act, act], dead_letters=[letter])
    await put(ledger, dead_letters=[letter])  # the same record read again after a crash


async def test_what_was_acknowledged_is_there_after_a_restart(bench: Bench) -> None:
    command = make_command()
    await put(bench.ledger, plans=[make_plan()], commands=[command], outbox=[message(1)], events=[make_event(1)])

    ledger = await bench.reopen()

    assert await stored(ledger, command.id) == command
    assert [m.id for m in await ledger.unpublished(10)] == ["message-1"]
    assert (await known(ledger)).next_arrival == 2
