import pytest

from service.domain.binding import BindingState
from service.domain.command import CommandState, Plan, PlanState
from service.domain.draft import Draft
from service.domain.ledger_state import Changes, Fact, Known, OutboxMessage
from service.domain.lifecycle import ForbiddenTransitionError
from service.domain.value import replace
from tests.builders import NOW, make_binding, make_command, make_event, make_plan

ONE, TWO = make_plan(1), make_plan(2, subject="agent:realm/1")
TAKEN = make_command(ONE)


def message(body: bytes = b"{}", message_id: str = "msg_1") -> OutboxMessage:
    return OutboxMessage(id=message_id, topic="t", key=None, value=body, headers=(), order_by="s", created_at=NOW)


def test_nothing_done_changes_nothing() -> None:
    known = Known(plans={ONE.id: ONE}, commands=(TAKEN,), bindings=(make_binding(),))
    assert Draft(known, NOW).changes() == Changes()


def test_later_decisions_see_what_earlier_ones_wrote() -> None:
    draft = Draft(Known(next_arrival=7), NOW)
    draft.put_event(make_event(1))
    draft.put_plan(ONE)
    draft.add_command(TAKEN, why="planned")
    draft.put_binding(make_binding(ONE))
    assert draft.digest_of(("urn:hr", "event-1")) == "digest-1"
    assert (draft.plan(ONE.id), draft.steps_of(ONE.id), draft.command(TAKEN.id)) == (ONE, [TAKEN], TAKEN)
    assert draft.holder_of(TAKEN.resource) == draft.binding_of(ONE.subject) == make_binding(ONE)
    assert [draft.take_arrival(), draft.take_arrival()] == [7, 8]


def test_only_what_was_touched_is_written_and_only_as_it_stands_last() -> None:
    draft = Draft(Known(plans={ONE.id: ONE, TWO.id: TWO}, commands=(TAKEN, make_command(TWO))), NOW)
    draft.move(TAKEN, CommandState.IN_FLIGHT, why="a")
    draft.move(TAKEN, CommandState.IN_FLIGHT, why="b")
    changes = draft.changes()
    assert [c.id for c in changes.commands] == [TAKEN.id]
    assert [row.cause for row in changes.history] == ["a", "b"]
    assert changes.plans == ()


def test_forbidden_move_changes_nothing() -> None:
    ended = replace(TAKEN, state=CommandState.SUCCEEDED)
    draft = Draft(Known(plans={ONE.id: ONE}, commands=(ended,)), NOW)
    with pytest.raises(ForbiddenTransitionError):
        draft.move(ended, CommandState.PENDING, why="again")
    assert draft.changes() == Changes()


def test_message_is_told_once_by_its_id() -> None:
    draft = Draft(Known(), NOW)
    for body in (b"first", b"second"):
        draft.tell(message(body))
    assert [m.value for m in draft.changes().outbox] == [b"first"]


def test_open_plans_are_those_of_the_subject_or_the_resource_in_their_order() -> None:
    other = make_plan(3, subject="agent:realm/3")
    ended = make_plan(4, subject="agent:realm/1", state=PlanState.FAILED)
    plans = {p.id: p for p in (TWO, other, ended, ONE)}
    shared = make_command(other, resource=TAKEN.resource)
    draft = Draft(Known(plans=plans, commands=(TAKEN, make_command(TWO), shared)), NOW)
    assert draft.open_plans(ONE.subject, ()) == [ONE, TWO]
    assert draft.open_plans("agent:realm/9", {TAKEN.resource}) == [ONE, other]


def test_held_binding_goes_before_a_released_one_of_a_higher_generation() -> None:
    held, released = make_binding(), make_binding(generation=2, state=BindingState.RELEASED)
    assert Draft(Known(bindings=(released, held)), NOW).binding_of(held.subject) == held
    assert Draft(Known(bindings=(released,)), NOW).binding_of(held.subject) == released
    assert Draft(Known(bindings=(released,)), NOW).holder_of(held.resource) is None


def test_facts_come_oldest_first_and_taken_ones_no_more() -> None:
    facts = [
        Fact(id=i, subject="s", kind="approved", apply_id=None, reason=None, received_at=at, taken_by=taken)
        for i, at, taken in [("late", NOW + 1, None), ("early", NOW, None), ("gone", NOW - 1, "cmd")]
    ]
    draft = Draft(Known(facts=tuple(facts)), NOW)
    assert [fact.id for fact in draft.facts_for("s")] == ["early", "late"]
    assert draft.facts_for("t") == []


def test_reservation_of_an_ended_plan_is_released() -> None:
    failed = replace(ONE, state=PlanState.FAILED)
    draft = Draft(Known(plans={ONE.id: failed}, bindings=(make_binding(ONE),)), NOW)
    draft.release_reservation(failed)
    assert [b.state for b in draft.changes().bindings] == [BindingState.RELEASED]


def test_reservation_passes_to_the_subjects_next_plan() -> None:
    failed = replace(ONE, state=PlanState.FAILED)
    heir = make_command(TWO, resource=TAKEN.resource)
    draft = Draft(Known(plans={p.id: p for p in (failed, TWO)}, commands=(heir,), bindings=(make_binding(ONE),)), NOW)
    draft.release_reservation(failed)
    assert [(b.state, b.plan_id) for b in draft.changes().bindings] == [(BindingState.RESERVED, TWO.id)]


def test_reservation_that_an_earlier_failed_plan_left_is_released_too() -> None:
    failed = {p.id: replace(p, state=PlanState.FAILED) for p in (ONE, TWO)}
    draft = Draft(Known(plans=failed, bindings=(make_binding(ONE),)), NOW)
    draft.release_reservation(failed[TWO.id])
    assert [b.state for b in draft.changes().bindings] == [BindingState.RELEASED]


def test_applied_binding_is_no_reservation() -> None:
    live = make_binding(ONE, state=BindingState.LIVE, applied={"extension": "1001"})
    draft = Draft(Known(plans={ONE.id: ONE}, bindings=(live,)), NOW)
    draft.release_reservation(ONE)
    assert draft.changes() == Changes()


def test_what_a_draft_is_asked_for_does_not_grow_with_what_it_knows() -> None:
    plans = [make_plan(number) for number in range(1, 2001)]
    known = Known(plans={plan.id: plan for plan in plans}, commands=tuple(make_command(plan) for plan in plans))
    looked_at: list[str] = []

    class Watched(dict[str, Plan]):
        def __getitem__(self, plan_id: str) -> Plan:
            looked_at.append(plan_id)
            return super().__getitem__(plan_id)

    draft = Draft(known, NOW)
    draft._plans = Watched(draft._plans)

    assert draft.open_plans(plans[7].subject, [make_command(plans[9]).resource]) == [plans[7], plans[9]]
    assert sorted(looked_at) == [plans[7].id, plans[9].id]
