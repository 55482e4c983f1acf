"""A sick account is stopped, probed by one command, and released by the first verdict of its vendor."""

from typing import Any

import pytest

from service.domain.command import CommandState, PlanState, WaitCause
from service.domain.ledger_state import Hold
from service.domain.outcome import ErrorClass, Failure, NotYet, Outcome, Result, StillUnknown, Succeeded
from service.domain.quarantine import QuarantinePolicy, is_verdict
from service.domain.value import replace
from tests.builders import NOW
from tests.unit.domain.test_settling import hire
from tests.unit.domain.world import DOWN, LOST, TAKEN, WRONG, World, done

POLICY = QuarantinePolicy()
REFUSED_KEY = Failure(error_class=ErrorClass.CREDENTIALS, code="AuthFailure.SecretIdNotFound", message="m")
NO_RIGHT = replace(REFUSED_KEY, code="UnauthorizedOperation", operation_only=True)


def sick(failure: Failure = REFUSED_KEY, **how: Any) -> World:
    world = World()
    world.take(hire("hire-1", agent_id="A1", extension="1001"), hire("hire-2", agent_id="A2", extension="1002"))
    world.run("hire-1", "extension", failure, created=True, **how)
    return world


def only_hold(world: World) -> Hold:
    (hold,) = world.holds.values()
    return hold


def test_refused_key_stops_the_account_and_its_work_waits() -> None:
    world = sick()
    hold, command = only_hold(world), world.step("hire-1", "extension")
    assert (hold.account, hold.operation, hold.probe, hold.released_at) == (command.account, None, command.id, None)
    assert (command.state, command.cause) == (CommandState.WAITING, WaitCause.QUARANTINE)
    assert command.due_at == NOW + POLICY.probe_seconds
    assert hold.stops(world.step("hire-2", "extension"))
    assert not hold.stops(command), "the probe is let through"
    assert len(world.told("account.quarantined")) == 1
    assert world.told("plan.waiting")[0]["data"]["cause"] == "quarantine"


def test_missing_right_stops_that_operation_only() -> None:
    hold = only_hold(sick(NO_RIGHT))
    assert hold.operation == "tencent_ccc.CreateExtension"


def test_others_that_meet_it_wait_without_a_second_quarantine() -> None:
    world = sick()
    world.run("hire-2", "extension", REFUSED_KEY, sent=False)
    assert len(world.holds) == 1
    assert world.step("hire-2", "extension").cause is WaitCause.QUARANTINE
    assert len(world.told("account.quarantined")) == 1


@pytest.mark.parametrize("failure", [REFUSED_KEY, DOWN])
def test_probes_that_fail_come_ever_later_and_never_end_the_work(failure: Failure) -> None:
    world = sick()
    pauses = []
    for _ in range(40):
        world.now += 1000
        world.run("hire-1", "extension", failure, created=True)
        command = world.step("hire-1", "extension")
        assert command.due_at is not None
        pauses.append(command.due_at - world.now)
    assert pauses[0] == 2 * POLICY.probe_seconds
    assert pauses[-1] == POLICY.longest_probe_seconds
    assert world.plan("hire-1").state is PlanState.OPEN
    assert len(world.holds) == 1


@pytest.mark.parametrize("outcome", [done(), WRONG, TAKEN], ids=["succeeded", "permanent", "conflict"])
def test_first_verdict_releases_the_account_and_says_so(outcome: Outcome) -> None:
    world = sick()
    world.now += 10
    world.run("hire-1", "extension", outcome, created=True)
    assert only_hold(world).released_at == world.now
    assert len(world.told("account.recovered")) == 1
    assert world.step("hire-1", "extension").state.ended


def test_success_of_what_was_in_flight_when_it_fell_sick_releases_nothing() -> None:
    world = World()
    world.take(hire("hire-1", agent_id="A1", extension="1001"), hire("hire-2", agent_id="A2", extension="1002"))
    world.run("hire-1", "extension", REFUSED_KEY, created=True)
    world.run("hire-2", "extension", done(), created=True)  # sent at the same moment
    assert only_hold(world).released_at is None
    assert world.step("hire-2", "extension").state is CommandState.SUCCEEDED


@pytest.mark.parametrize("failure", [DOWN, LOST])
def test_long_run_of_failures_stops_the_account(failure: Failure) -> None:
    assert sick(failure, run=POLICY.run - 1).holds == {}
    world = sick(failure, run=POLICY.run)
    assert only_hold(world).reason.startswith(failure.error_class)


def test_write_that_may_have_been_applied_is_in_doubt_also_when_it_stops_the_account() -> None:
    world = sick(LOST, run=POLICY.run)
    assert world.step("hire-1", "extension").state is CommandState.IN_DOUBT
    assert len(world.told("command.in_doubt")) == 1


def test_doubt_stays_a_doubt_while_the_account_is_stopped() -> None:
    world = sick(LOST)
    world.now += 1
    world.run("hire-1", "extension", REFUSED_KEY, sent=False)
    command = world.step("hire-1", "extension")
    assert command.state is CommandState.IN_DOUBT
    assert command.due_at == world.now + POLICY.probe_seconds


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Succeeded(result=Result.DONE), True),
        (NotYet(), True),
        (StillUnknown(absent=True), True),
        (StillUnknown(absent=False), False),
        (WRONG, True),
        (TAKEN, True),
        (Failure(error_class=ErrorClass.CAPACITY, code="C", message="m"), True),
        (REFUSED_KEY, False),
        (DOWN, False),
        (LOST, False),
        (Failure(error_class=ErrorClass.THROTTLED, code="C", message="m"), False),
    ],
)
def test_only_what_a_healthy_vendor_says_is_a_verdict(outcome: Outcome, expected: bool) -> None:
    assert is_verdict(outcome) is expected


def test_each_quarantine_has_ids_of_its_own() -> None:
    world = sick()
    world.now += 10
    world.run("hire-1", "extension", done(), created=True)
    world.run("hire-2", "extension", REFUSED_KEY, created=True)
    assert len(world.holds) == 2
    assert len({event["id"] for event in world.told("account.quarantined")}) == 2


def test_command_let_through_in_the_place_of_a_lost_probe_takes_it_with_its_pause() -> None:
    world = sick()
    world.now += 10
    world.run("hire-2", "extension", DOWN, sent=False)
    command = world.step("hire-2", "extension")
    assert only_hold(world).probe == command.id
    assert command.due_at == world.now + POLICY.probe_seconds


def test_command_let_through_that_finds_all_as_wanted_releases_the_account() -> None:
    world = sick()
    world.now += 10
    world.run("hire-2", "extension", done(Result.UNCHANGED), sent=False)
    assert only_hold(world).released_at == world.now
