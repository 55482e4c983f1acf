"""What a plan waits for, who ends that, and what overtook it."""

from typing import Any

import pytest

from service.domain.command import Command, CommandState, Lane, PlanState, WaitCause
from service.domain.explaining import SENTENCES, Wait, overtaken_by, wait_of
from service.domain.ledger_state import Hold, HoldKind
from tests.builders import NOW, make_command, make_order, make_plan

PLAN = make_plan(1)


def hold(kind: HoldKind = HoldKind.HOLD, **fields: Any) -> Hold:
    given = {"id": "hold_1", "kind": kind, "reason": "maintenance", "actor": "ann", "created_at": NOW}
    return Hold(**{**given, "account": "acme_cn", **fields})


def waiting(command: Command, *, holds: tuple[Hold, ...] = (), at_most: float | None = None) -> Wait:
    return wait_of(PLAN, command, others=(make_plan(2),), holds=holds, now=NOW, at_most=at_most)


@pytest.mark.parametrize("cause", WaitCause)
def test_every_cause_has_a_sentence_and_somebody_who_ends_it(cause: WaitCause) -> None:
    found = waiting(make_command(PLAN, state=CommandState.WAITING, cause=cause, due_at=NOW + 5))
    assert found.cause == cause
    assert found.who_acts == SENTENCES[cause][1]
    assert found.sentence


@pytest.mark.parametrize("at_most", [None, 12.0])
def test_turn_under_the_quota_ends_when_its_lane_is_empty_at_the_latest(at_most: float | None) -> None:
    found = waiting(make_command(PLAN), at_most=at_most)
    assert (found.cause, found.expected_at) == ("quota", None if at_most is None else NOW + 12.0)


def test_only_open_plans_are_waited_for_and_never_oneself() -> None:
    command = make_command(PLAN, state=CommandState.WAITING, cause=WaitCause.EARLIER_WORK, due_at=None)
    others = (PLAN, make_plan(2), make_plan(3, state=PlanState.COMPLETED), make_plan(4, state=PlanState.FAILED))
    found = wait_of(PLAN, command, others=others, holds=(), now=NOW, at_most=None)
    assert found.behind == (make_plan(2).id,)


@pytest.mark.parametrize("state", [CommandState.PENDING, CommandState.IN_DOUBT])
def test_hold_goes_before_any_other_cause(state: CommandState) -> None:
    found = waiting(make_command(PLAN, state=state), holds=(hold(),))
    assert (found.cause, found.who_acts, found.hold) == ("hold", "operator", "hold_1")


def test_call_on_its_way_is_not_stopped_by_a_hold() -> None:
    found = waiting(make_command(PLAN, state=CommandState.IN_FLIGHT), holds=(hold(),))
    assert (found.cause, found.who_acts) == ("vendor", "vendor")


def test_hold_of_something_else_stops_nothing() -> None:
    assert waiting(make_command(PLAN), holds=(hold(account="acme_sg"),)).cause == "quota"


def test_quarantine_is_not_waited_for_by_its_probe() -> None:
    command = make_command(PLAN, state=CommandState.WAITING, cause=WaitCause.QUARANTINE, due_at=NOW + 9)
    sick = hold(HoldKind.QUARANTINE)
    assert waiting(command, holds=(sick,)).hold == "hold_1"
    probe = hold(HoldKind.QUARANTINE, probe=command.id)
    assert (waiting(command, holds=(probe,)).cause, waiting(command, holds=(probe,)).hold) == ("quarantine", None)


@pytest.mark.parametrize(("lane", "who"), [(Lane.SETTLE, "cordboard"), (Lane.SWEEP, "operator")])
def test_doubt_is_ended_by_who_can_find_out(lane: Lane, who: str) -> None:
    command = make_command(PLAN, state=CommandState.IN_DOUBT, lane=lane, due_at=NOW + 3)
    assert waiting(command).who_acts == who


def test_failed_plan_was_overtaken_by_later_ones_of_its_subject_that_completed() -> None:
    failed = make_plan(5, state=PlanState.FAILED, subject="agent:realm/x")
    same = {"subject": "agent:realm/x"}
    others = (
        make_plan(6, state=PlanState.COMPLETED, **same),
        make_plan(7, state=PlanState.OPEN, **same),
        make_plan(8, state=PlanState.FAILED, **same),
        make_plan(9, state=PlanState.COMPLETED),
        make_plan(4, state=PlanState.COMPLETED, **same),
        make_plan(10, state=PlanState.COMPLETED, order=make_order(1), **same),
    )
    assert overtaken_by(failed, others) == (make_plan(6).id,)


@pytest.mark.parametrize("state", [PlanState.OPEN, PlanState.COMPLETED])
def test_only_what_failed_is_overtaken(state: PlanState) -> None:
    later = make_plan(2, state=PlanState.COMPLETED, subject=PLAN.subject)
    assert overtaken_by(make_plan(1, state=state), (later,)) == ()
